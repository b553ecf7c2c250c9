"""The chart applied to a cluster: again, and what its service account may do there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.kinds import SHIFTS
from shifter.ports.kube import DEPLOYMENTS, LEASES, KubeError
from tests.cluster.installation import ACCOUNT, render
from tests.cluster.plane import ControlPlane
from tests.cluster.replicas import Replicas
from tests.cluster.rights import Asked, Right, allows, asked, granted
from tests.process.conftest import DEADLINE_SECONDS

LOGGED_SECONDS = 10.0
REFUSED = 4
"""The exit status of `shifter run` where something refuses it."""


@pytest.fixture
def stage(tmp_path: Path, plane: ControlPlane, installed: str, admin_api: KubeClient) -> Iterator[Replicas]:
    with Replicas(tmp_path / "stage", plane, installed, admin_api) as made:
        yield made


def test_installing_again_changes_nothing(plane: ControlPlane, installed: str) -> None:
    objects = {"apiVersion": "v1", "kind": "List", "items": render(plane, installed)}

    done = plane.kubectl("root", "diff", "-f", "-", said=json.dumps(objects), check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_a_service_that_was_given_another_installations_namespace_ends_and_says_why(stage: Replicas) -> None:
    stage.run("shifter-a")
    stage.until_somebody_leads()
    place = stage.path / "fleet.yaml"
    fleet = yaml.safe_load(place.read_text())
    place.write_text(yaml.safe_dump({**fleet, "metadata": {"name": "green"}}))

    stage.run("shifter-b", ready=False)
    code = stage.replicas["shifter-b"].wait(DEADLINE_SECONDS)

    log = stage.replicas["shifter-b"].log_path.read_text()
    own = fleet["metadata"]["name"]
    assert code == REFUSED
    assert f"is of the installation '{own}', and this one is 'green': give each a namespace of its own" in log
    assert "Traceback" not in log
    assert stage.leads("shifter-a")


def test_the_service_account_has_the_rights_of_its_role(
    plane: ControlPlane, installed: str, service_api: KubeClient
) -> None:
    roles = [each for each in render(plane, installed) if each["kind"] == "Role"]

    service_api.list(SHIFTS, installed)
    with pytest.raises(KubeError, match="forbidden"):
        service_api.get(LEASES, installed, "another")
    with pytest.raises(KubeError, match="forbidden"):
        service_api.get(DEPLOYMENTS, "default", "any")

    told = told_of(plane, installed, 3)
    rights = granted(roles)
    assert [bool(allows(rights, each.right)) for each in told] == [True, False, False]
    assert told == [
        Asked(Right("list", "shifts.shifter.io"), installed, 200),
        Asked(Right("get", "leases.coordination.k8s.io", "another"), installed, 403),
        Asked(Right("get", "deployments.apps", "any"), "default", 403),
    ]


def test_a_right_by_name_allows_no_other_name() -> None:
    rule = {"apiGroups": ["", "apps"], "resources": ["a", "a/status"], "verbs": ["get"], "resourceNames": ["one"]}
    rights = granted([{"rules": [rule]}])

    assert rights == {Right("get", each, "one") for each in ("a", "a/status", "a.apps", "a.apps/status")}
    assert allows(rights, Right("get", "a.apps/status", "one")) == {Right("get", "a.apps/status", "one")}
    assert not allows(rights, Right("get", "a", "two"))
    assert not allows(rights, Right("list", "a"))


def told_of(plane: ControlPlane, namespace: str, count: int) -> list[Asked]:
    """What the service account asked; the log is written a moment after an answer."""
    deadline = time.monotonic() + LOGGED_SECONDS
    while len(found := asked(plane, f"system:serviceaccount:{namespace}:{ACCOUNT}")) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found
