"""A mesh's cluster is reached when somebody asks, as the fleet file says, and anew when it does not know us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shifter.adapters.kube.mesh_cluster import MeshCluster, surroundings_of
from shifter.core.deciding.pinning import Workload
from shifter.core.documents.clusters import Cluster
from shifter.errors import CapacityUnavailableError, ConfigError
from shifter.ports.kube import DEPLOYMENTS, KubeApi
from tests.kube import Fault, MemoryApi
from tests.scaled import NAME, NAMESPACE, ScaledGateway


def settings(file: str | None = None, **gateway: str) -> Cluster:
    known = {} if file is None else {"kubeconfigFile": file}
    return Cluster.model_validate({**known, "gateway": {"namespace": NAMESPACE, "deployment": NAME, **gateway}})


def test_the_gateway_and_any_deployment_are_found_by_their_names() -> None:
    there = ScaledGateway(2, 1)
    cluster = MeshCluster(settings(), "tcm", lambda: there.api)

    assert cluster.gateway().observe() == Workload(2, 1)
    assert cluster.deployment(f"{NAMESPACE}/{NAME}").observe() == Workload(2, 1)
    with pytest.raises(CapacityUnavailableError, match="istio's cluster has no Deployment shop/checkout"):
        MeshCluster(settings(), "istio", lambda: there.api).deployment("shop/checkout").observe()


def test_autoscaler_and_uid_of_the_file_are_those_of_the_gateway() -> None:
    there = ScaledGateway(2, 1)

    with pytest.raises(CapacityUnavailableError, match=f"no HorizontalPodAutoscaler {NAMESPACE}/other"):
        MeshCluster(settings(autoscaler="other"), "tcm", lambda: there.api).gateway().observe()
    with pytest.raises(CapacityUnavailableError, match="not 7c1d: it is another cluster's"):
        MeshCluster(settings(uid="7c1d"), "tcm", lambda: there.api).gateway().observe()


@pytest.mark.fault(
    on="Kubernetes",
    fault="the kubeconfig of tcm's cluster is missing or wrong",
    does="starts; holds; a rollback goes on; tried again with every look",
    sees="hold `cold source`: tcm's cluster cannot be reached: ...",
    safe_within="at once",
)
def test_a_kubeconfig_that_is_missing_is_told_when_asked_and_tried_again() -> None:
    there = ScaledGateway(2, 1)
    tries: Iterator[KubeApi | None] = iter([None, there.api])

    def connect() -> KubeApi:
        found = next(tries)
        if found is None:
            raise ConfigError("no such file: tcm.yaml")
        return found

    gateway = MeshCluster(settings(), "tcm", connect).gateway()
    with pytest.raises(CapacityUnavailableError) as caught:
        gateway.observe()

    assert str(caught.value) == "tcm's cluster cannot be reached: no such file: tcm.yaml"
    assert caught.value.remedy == "mend kubeconfigFile or context in the fleet's clusters"
    assert gateway.observe() == Workload(2, 1)


def test_it_is_connected_to_once_and_anew_only_when_it_does_not_know_us() -> None:
    there = ScaledGateway(2, 1)
    made: list[KubeApi] = []

    def connect() -> KubeApi:
        made.append(MemoryApi(there.hand.cluster) if made else there.api)
        return made[-1]

    gateway = MeshCluster(settings(), "tcm", connect).gateway()
    gateway.observe()
    there.api.fail(Fault.DENIED, "get", kind=DEPLOYMENTS)
    with pytest.raises(CapacityUnavailableError):
        gateway.observe()
    gateway.observe()
    once = len(made)
    there.api.fail(Fault.UNKNOWN_USER, "get", kind=DEPLOYMENTS)
    with pytest.raises(CapacityUnavailableError, match="does not know who asks"):
        gateway.observe()
    gateway.observe()

    assert (once, len(made)) == (1, 2)


def test_without_a_file_no_kubeconfig_that_lies_about_is_taken_for_the_own_cluster() -> None:
    environ = {"KUBECONFIG": "/a", "HOME": "/root", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}

    assert surroundings_of(settings(), environ) == {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert surroundings_of(settings("/etc/tcm.yaml"), environ) == environ
