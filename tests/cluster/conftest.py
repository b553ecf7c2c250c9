"""One real control plane for all tests in here, and a fresh namespace for each of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.connecting import Cluster, connect
from tests.cluster.installation import ACCOUNT, define, install, uninstall
from tests.cluster.plane import ControlPlane
from tests.cluster.tools import ClusterTools, find_tools

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def tools() -> ClusterTools:
    return find_tools(os.environ)


@pytest.fixture(scope="session")
def running_plane(tools: ClusterTools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tools, tmp_path_factory.mktemp("plane") / "run", os.environ) as plane:
        plane.start()
        yield plane


@pytest.fixture
def plane(running_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane; whatever a test does to its processes is undone after it."""
    yield running_plane
    running_plane.mend()


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of this test's own. It stays until the plane goes: to delete one costs a server more than a test."""
    name = f"test-{next(_NUMBERS)}"
    plane.add_namespace(name)
    return name


@pytest.fixture(scope="session")
def kinds(running_plane: ControlPlane) -> None:
    """Our kinds are served."""
    define(running_plane)


@pytest.fixture
def installed(plane: ControlPlane, namespace: str, kinds: None) -> Iterator[str]:
    """The namespace into which the chart is installed with its defaults; ann, vic and adm have their roles in it."""
    del kinds
    install(plane, namespace)
    yield namespace
    plane.mend()
    uninstall(plane, namespace)


@pytest.fixture
def connected() -> Iterator[Callable[[Path], KubeClient]]:
    """Makes the client that a kubeconfig leads to."""
    with ExitStack() as stack:
        yield lambda place: stack.enter_context(closing(connect(Cluster(kubeconfig=str(place)), {})))


@pytest.fixture
def client(plane: ControlPlane, connected: Callable[[Path], KubeClient]) -> Callable[[str], KubeClient]:
    """Makes the client of a person."""
    return lambda who: connected(plane.kubeconfig(who))


@pytest.fixture
def admin_api(client: Callable[[str], KubeClient]) -> KubeClient:
    """The client of somebody who may do everything."""
    return client("root")


@pytest.fixture
def service_api(plane: ControlPlane, installed: str, connected: Callable[[Path], KubeClient]) -> KubeClient:
    """The client that the service itself has where the chart is installed."""
    return connected(plane.account_kubeconfig(installed, ACCOUNT))
