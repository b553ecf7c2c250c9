"""What the installer refuses, and what it says when a cluster, a cloud or istioctl fails: on a real cluster."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from shifter.lab.free_ports import LOOPBACK
from tests.cluster.tools import find_tools
from tests.mesh.real.running import PRIMARY, Person
from tests.mesh.tools import OF_THE_GUIDE, find_istio
from tests.mesh.towns import Town, TownCluster

GATEWAY = "istio-ingressgateway-intranet"
QUOTA = "LimitExceeded: the quota of CLB instances in this region is used up"
_SOON_SECONDS = 20.0

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lone:
    """One cluster without anything, and somebody with a mesh file of it."""

    here: TownCluster
    person: Person

    @contextmanager
    def having(self, *objects: Body) -> Iterator[None]:
        """Somebody has put this there."""
        self.here.plane.apply(*objects)
        yield
        said = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.here.plane.kubectl("root", "delete", "--wait=false", "--ignore-not-found", "-f", "-", said=said)

    def kubectl(self, *words: str) -> str:
        """Return what is answered to somebody who may do everything."""
        return self.here.plane.kubectl("root", *words).stdout


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    tools = find_istio(OF_THE_GUIDE, os.environ)
    folder = tmp_path_factory.mktemp("lone")
    with Town(find_tools(os.environ), tools.discovery, folder / "town", (PRIMARY,)) as town:
        gateway = {"name": GATEWAY, "loadBalancer": {"subnet": "subnet-19exjv5n"}}
        primary = {"cluster": PRIMARY, "context": PRIMARY, "kubeconfigFile": str(town.kubeconfig())}
        spec = {
            "version": tools.version,
            "images": {"hub": "docker.io/istio", "tag": tools.version, "pullSecrets": []},
            "meshID": "mesh1",
            "network": "main",
            "primary": {**primary, "gateways": [gateway]},
        }
        (folder / "person").mkdir()
        yield Lone(town.primary, Person(folder / "person", spec, tools.istioctl))


def _deployment(name: str, namespace: str, **labels: str) -> Body:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "discovery", "image": "some/pilot:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": pod},
    }


def _injector(name: str, namespace: str, **labels: str) -> Body:
    service = {"name": "istiod", "namespace": namespace, "path": "/inject"}
    webhook = {
        "name": "rev.namespace.sidecar-injector.istio.io",
        "clientConfig": {"service": service},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "namespaceSelector": {"matchLabels": {"nobody": "has-this"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": [webhook],
    }


def _namespace(name: str) -> Body:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


TCMS = {"tcm.cloud.tencent.com/managed-by": "mesh-mn8gnn1g", "app": "istiod"}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (_deployment("istiod-1-18-5", "default", **TCMS), "TCM's istiod runs here (Deployment default/istiod-1-18-5)"),
        (_injector("tcm-injector", "default", **TCMS), "TCM's injector serves here (webhook tcm-injector)"),
        (_injector("injector-x", "elsewhere"), "an istiod that is not the file's injects here (webhook injector-x)"),
        (
            _deployment("istiod", "default", app="istiod"),
            "an istiod that is not the file's runs here (Deployment default/istiod)",
        ),
        (
            _injector("injector-y", "istio-system"),
            "shifter did not install the istiod that serves here, and it does not say of which mesh it is",
        ),
    ],
    ids=["tcm-istiod", "tcm-injector", "other-injector", "other-istiod", "nobody's"],
)
def test_a_cluster_with_another_istiod_is_left_alone(lone: Lone, found: Body, said: str) -> None:
    with lone.having(found):
        refused = lone.person.runs("install")

    assert refused.code == 4, refused.said
    assert f"{said}: two istiods in one cluster overwrite each other's root certificate" in refused.said
    assert "istio-system" not in lone.kubectl("get", "namespaces")
    assert "shifter-mesh" not in lone.kubectl("get", "leases", "-n", "kube-system")


def test_a_context_of_another_cluster_is_refused(lone: Lone) -> None:
    elsewhere = {**lone.person.spec, "primary": {**lone.person.spec["primary"], "uid": "00000000-0000"}}

    refused = replace(lone.person, spec=elsewhere).runs("install")

    assert refused.code == 4, refused.said
    assert f'{PRIMARY}: the context "{PRIMARY}" leads to another cluster: its namespace kube-system' in refused.said
    assert "the file says 00000000-0000; mend the context" in refused.said


def test_two_contexts_of_one_cluster_are_refused(lone: Lone) -> None:
    config = json.loads(Path(lone.person.spec["primary"]["kubeconfigFile"]).read_text(encoding="utf-8"))
    config["contexts"].append({"name": "twin", "context": config["contexts"][0]["context"]})
    place = lone.person.folder / "twins.yaml"
    place.write_text(json.dumps(config), encoding="utf-8")
    east_west = {"loadBalancer": {"subnet": "subnet-19exjv5n"}}
    both = {
        **lone.person.spec,
        "primary": {**lone.person.spec["primary"], "kubeconfigFile": str(place), "eastWest": east_west},
        "members": [{"cluster": "cls-ne1cw84b", "context": "twin", "kubeconfigFile": str(place)}],
    }

    refused = replace(lone.person, spec=both).runs("plan")

    assert refused.code == 4, refused.said
    assert f'the context "twin" leads to the same cluster as that of {PRIMARY}; mend the context' in refused.said


def test_who_may_too_little_is_told_what_is_missing(lone: Lone) -> None:
    account = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "test-looks"}}
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]
    roles = (
        {**account, "kind": "ClusterRole", "rules": rules},
        {
            **account,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "test-looks"},
            "subjects": [{"kind": "User", "name": "eve"}],
        },
    )
    place = str(lone.here.plane.kubeconfig("eve"))
    hers = {**lone.person.spec, "primary": {**lone.person.spec["primary"], "context": "eve", "kubeconfigFile": place}}
    nobody = replace(lone.person, spec=hers).runs("install")

    with lone.having(*roles):
        refused = replace(lone.person, spec=hers).runs("install")

    assert nobody.code == 4, nobody.said
    assert f"{PRIMARY}: cannot read namespaces kube-system:" in nobody.said
    assert refused.code == 4, refused.said
    said = "no permission to create namespaces, patch namespaces, create pods, patch secrets and 17 more"
    assert f"{PRIMARY}: {said}; an installation needs a cluster administrator's rights" in refused.said


@pytest.mark.fault(
    on="Kubernetes",
    fault="istio-system is being deleted",
    does="refuses to install into it",
    sees="error `namespace istio-system is being deleted`",
    safe_within="at once",
)
def test_a_namespace_that_is_being_deleted_is_waited_for_by_a_person(lone: Lone) -> None:
    kept: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kept", "namespace": "istio-system", "finalizers": ["shifter.io/test"]},
    }
    lone.here.plane.apply(_namespace("istio-system"), kept)
    lone.kubectl("delete", "namespace", "istio-system", "--wait=false")

    refused = lone.person.runs("install")

    lone.kubectl("patch", "configmap", "kept", "-n", "istio-system", "-p", '{"metadata": {"finalizers": null}}')
    lone.kubectl("wait", "--for=delete", "namespace/istio-system", "--timeout=20s")
    assert refused.code == 4, refused.said
    assert f"{PRIMARY}: namespace istio-system is being deleted" in refused.said
    assert "hint: wait until it is gone" in refused.said


def test_a_cluster_that_does_not_answer_is_unreachable(lone: Lone) -> None:
    place = lone.person.folder / "nowhere.yaml"
    text = Path(lone.person.spec["primary"]["kubeconfigFile"]).read_text(encoding="utf-8")
    place.write_text(text.replace(lone.here.plane.url, f"https://{LOOPBACK}:1"), encoding="utf-8")
    away = {**lone.person.spec, "primary": {**lone.person.spec["primary"], "kubeconfigFile": str(place)}}

    failed = replace(lone.person, spec=away).runs("plan")

    assert failed.code == 5, failed.said
    assert f"error: {PRIMARY}: cannot read namespaces kube-system" in failed.said
    assert "Traceback" not in failed.said


Wrapping = Callable[[str], Path]


@pytest.fixture
def wrapped(lone: Lone, tmp_path: Path) -> Wrapping:
    """Makes a program that does something else than istioctl for some of its commands."""

    def made(body: str) -> Path:
        path = tmp_path / "istioctl"
        path.write_text(f'#!/bin/sh\nreal={lone.person.istioctl}\n{body}\nexec $real "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return path

    return made


def test_an_istioctl_of_another_release_is_refused(lone: Lone, wrapped: Wrapping) -> None:
    liar = wrapped("""[ "$1" = version ] && { echo '{"clientVersion": {"version": "1.18.4"}}'; exit; }""")

    refused = replace(lone.person, istioctl=liar).runs("install")

    assert refused.code == 2, refused.said
    assert "is istioctl 1.18.4, and 1.18.5 is wanted" in refused.said


def test_an_istioctl_that_renders_images_of_developers_is_refused(lone: Lone, wrapped: Wrapping) -> None:
    strange = wrapped("""[ "$1" = manifest ] && { $real "$@" | sed s:docker.io/istio:gcr.io/istio-testing:; exit; }""")

    refused = replace(lone.person, istioctl=strange).runs("plan")

    assert refused.code == 4, refused.said
    assert "renders the images gcr.io/istio-testing/pilot:1.18.5, and the file says docker.io/istio" in refused.said


def test_an_istioctl_that_hangs_is_ended_and_the_next_run_goes_on(lone: Lone, wrapped: Wrapping) -> None:
    hanging = wrapped("""[ "$1" = install ] && exec sleep 600""")

    failed = replace(lone.person, istioctl=hanging, patience="1s").runs("install")
    planned = lone.person.runs("plan")

    assert failed.code == 1, failed.said
    assert f"error: {PRIMARY}: `" in failed.said
    assert "had not ended in time and was ended" in failed.said
    assert f"+ {PRIMARY}  control plane: istioctl install, without gateways" in planned.out


@pytest.mark.fault(
    on="Kubernetes",
    fault="istiod crashes while a mesh is installed",
    does="stops; gateways are not begun",
    sees="error with the pods' reasons: `CrashLoopBackOff`",
    safe_within="--ready-timeout",
)
def test_an_istiod_that_crashes_is_named_with_its_reason(lone: Lone) -> None:
    lone.here.machines.broken["istiod"] = "CrashLoopBackOff"

    failed = replace(lone.person, patience="8s").runs("install")

    lone.here.machines.broken.clear()
    assert failed.code == 1, failed.said
    assert "of its pods the cluster says: istiod-" in failed.said
    assert ": CrashLoopBackOff" in failed.said
    assert "what was installed stays, and the rest is caught up on" in failed.said


def test_what_a_cluster_forbids_is_told_in_its_words(lone: Lone) -> None:
    told = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "test-forbids"}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    webhook = {
        "name": "forbids.example.com",
        "clientConfig": {"service": {"name": "nobody", "namespace": "default"}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}},
    }
    with lone.having({**told, "kind": "ValidatingWebhookConfiguration", "webhooks": [webhook]}):
        _until(lambda: _is_forbidden(lone))
        failed = lone.person.runs("install")

    _until(lambda: not _is_forbidden(lone))
    assert failed.code in {4, 5}, failed.said
    assert f"{PRIMARY}: cannot apply configmaps shifter-mesh:" in failed.said
    assert 'failed calling webhook "forbids.example.com"' in failed.said


def _is_forbidden(lone: Lone) -> bool:
    words = ("create", "configmap", "test-probe", "-n", "istio-system", "--dry-run=server")
    return lone.here.plane.kubectl("root", *words, check=False).returncode != 0


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _SOON_SECONDS
    while not holds():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.1)


@pytest.mark.fault(
    on="Kubernetes",
    fault="a gateway's CLB never gets an address",
    does="stops; the next run waits for it again",
    sees="error `has no address`, with the Service's Events",
    safe_within="--address-timeout",
)
def test_a_balancer_that_never_comes_is_told_with_what_the_cloud_says(lone: Lone) -> None:
    lone.here.balancers.refused[GATEWAY] = QUOTA

    failed = replace(lone.person, address_patience="3s").runs("install")
    planned = lone.person.runs("plan")
    lone.here.balancers.refused.clear()
    resumed = lone.person.runs("install")

    assert failed.code == 5, failed.said
    missing = f"after 3 s: Service istio-system/{GATEWAY} has no address"
    assert f"{PRIMARY}: {missing}; the cluster says: EnsureServiceFailed: {QUOTA}" in failed.said
    assert f"+ {PRIMARY}  gateway istio-system/{GATEWAY}: Service istio-system/{GATEWAY} has no address" in planned.out
    assert resumed.code == 0, resumed.said
    assert f"+ {PRIMARY}  its IstioOperator" not in resumed.said


def test_other_labels_of_an_installed_gateway_are_refused(lone: Lone) -> None:
    (gateway,) = lone.person.spec["primary"]["gateways"]
    renamed = {**gateway, "labels": {"istio": "ingressgateway"}}
    edited = {**lone.person.spec, "primary": {**lone.person.spec["primary"], "gateways": [renamed]}}

    refused = replace(lone.person, spec=edited).runs("install")

    assert refused.code == 4, refused.said
    assert f"Deployment istio-system/{GATEWAY} selects its pods by app={GATEWAY}, istio=" in refused.said
    assert "that cannot be changed in place" in refused.said


def test_another_meshs_file_is_refused(lone: Lone) -> None:
    refused = replace(lone.person, spec={**lone.person.spec, "meshID": "mesh2"}).runs("install")

    assert refused.code == 4, refused.said
    assert "shifter has installed another mesh here: its meshID is mesh1, and the file says mesh2" in refused.said


def test_a_gateway_that_would_lose_its_clb_is_refused(lone: Lone) -> None:
    bare = {"name": GATEWAY, "service": "NodePort"}
    edited = {**lone.person.spec, "primary": {**lone.person.spec["primary"], "gateways": [bare]}}

    refused = replace(lone.person, spec=edited).runs("plan")

    assert refused.code == 4, refused.said
    assert f"Service istio-system/{GATEWAY} has a CLB of its own in subnet-19exjv5n, and by the file" in refused.said
