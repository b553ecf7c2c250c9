"""The rules of `tests/contract/test_kube_*.py` on a real API server, through the client that goes to production."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import Configuration

from shifter.adapters.kube.client import KubeClient
from tests.cluster.plane import ControlPlane
from tests.contract.kube_subjects import Subject
from tests.contract.test_kube_api import ApiRules
from tests.contract.test_kube_definitions import DefinitionRules
from tests.contract.test_kube_watches import WatchRules
from tests.contract.test_kube_writes import WriteRules

CRDS = Path(__file__).parents[2] / "deploy" / "chart" / "crds"
OURS = ("shifts", "shiftfleets", "shiftorders", "shiftrecords")
DEADLINE_SECONDS = 20.0
_NUMBERS = itertools.count(1)


def client_of(plane: ControlPlane, who: str) -> KubeClient:
    configuration = Configuration(host=plane.url, api_key={"authorization": f"Bearer {plane.token(who)}"})
    configuration.ssl_ca_cert = str(plane.credentials.authority)
    return KubeClient(configuration)


@pytest.fixture(scope="module")
def defined(running_plane: ControlPlane) -> None:
    """Our kinds are served."""
    running_plane.kubectl("root", "apply", "-f", str(CRDS))
    names = (f"crd/{plural}.shifter.io" for plural in OURS)
    running_plane.kubectl("root", "wait", "--for=condition=Established", "--timeout=20s", *names)


class Real:
    """Gives a rule the API server."""

    @pytest.fixture
    def kube(self, plane: ControlPlane, defined: None) -> Iterator[Subject]:
        del defined
        first, second = (f"rules-{next(_NUMBERS)}" for _ in range(2))
        plane.apply(
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (first, second))
        )
        api, other = client_of(plane, "root"), client_of(plane, "root")

        def terminate(name: str) -> None:
            plane.kubectl("root", "delete", "namespace", name, "--wait=false")
            deadline = time.monotonic() + DEADLINE_SECONDS
            asked = ("get", "namespace", name, "-o", "jsonpath={.status.phase}")
            while plane.kubectl("root", *asked).stdout != "Terminating":
                assert time.monotonic() < deadline, "the namespace stays active"
                time.sleep(0.05)

        yield Subject(api, other, "root", first, second, terminate)
        api.close()
        other.close()


class TestRealApi(Real, ApiRules):
    pass


class TestRealWrites(Real, WriteRules):
    pass


class TestRealWatches(Real, WatchRules):
    pass


class TestRealDefinitions(Real, DefinitionRules):
    pass
