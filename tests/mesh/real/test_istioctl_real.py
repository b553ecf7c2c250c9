"""What the real istioctl of both releases makes of our IstioOperators, and of the guide's where ours differ.

The programs are made by `tests.mesh.tools`, minutes on a cold cache. No cluster is asked: what is looked at is what
istioctl would apply.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from shifter.core.documents.mesh import Mesh
from shifter.files.documents import load_mesh
from shifter.mesh.operators.rendering import Operator, operator_of_member, operator_of_primary
from tests.mesh.guide import GOLDEN, ISTIOD_ADDRESS, guide_mesh, steps
from tests.mesh.tools import RELEASES, Release, find_istio

Json = dict[str, Any]

SECONDS = 60
SUBNET = "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid"
EXISTING = "service.kubernetes.io/tke-existed-lbid"

each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.minor)
each_golden_file = pytest.mark.parametrize(
    ("line", "name"), [pytest.param(line, name, id=name) for line, name, _ in steps()]
)


@cache
def program(release: Release) -> Path:
    return find_istio(release, os.environ).istioctl


def version_of(release: Release) -> str:
    return find_istio(release, os.environ).version


def release_of(line: str) -> Release:
    return next(release for release in RELEASES if release.minor == line)


def istioctl(release: Release, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it where it finds no cluster and no configuration."""
    environment = {"HOME": str(home), "KUBECONFIG": str(home / "none"), "PATH": ""}
    return subprocess.run(
        [program(release), *words], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def generated(release: Release, home: Path, text: str) -> list[Json]:
    """The objects that istioctl would apply, definitions of kinds left out; it must have nothing to warn of."""
    (home / "operator.yaml").write_text(text, encoding="utf-8")
    checked = istioctl(release, home, "validate", "-f", str(home / "operator.yaml"))
    made = istioctl(release, home, "manifest", "generate", "-f", str(home / "operator.yaml"))

    assert (checked.returncode, made.returncode, made.stderr) == (0, 0, ""), (checked, made.stderr)
    assert (checked.stdout + checked.stderr).strip() == f'"{home}/operator.yaml" is valid'
    documents = (each for each in yaml.load_all(made.stdout, Loader=yaml.CSafeLoader) if each)
    return [each for each in documents if each["kind"] != "CustomResourceDefinition"]


def by_name(objects: list[Json], kind: str) -> dict[str, Json]:
    """The objects of a kind, by namespace and name."""
    return {
        f"{each['metadata'].get('namespace', '')}/{each['metadata']['name']}": each
        for each in objects
        if each["kind"] == kind
    }


def only(objects: list[Json], kind: str) -> Json:
    (found,) = by_name(objects, kind).values()
    return found


def environment_of(deployment: Json) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def member_of(mesh: Mesh) -> Operator:
    return operator_of_member(mesh, mesh.spec.members[0], ISTIOD_ADDRESS)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Release, str], list[Json]]:
    return lambda release, text: generated(release, tmp_path, text)


Make = Callable[[Release, str], list[Json]]

# ---- ours --------------------------------------------------------------------------------------------------------


@each_release
def test_the_golden_files_are_of_the_releases_that_are_tried(release: Release) -> None:
    said = (GOLDEN / f"{release.minor}-2-primary.yaml").read_text(encoding="utf-8")

    assert f'tag: "{version_of(release)}"' in said


@each_golden_file
def test_every_golden_file_is_valid(line: str, name: str, tmp_path: Path) -> None:
    checked = istioctl(release_of(line), tmp_path, "validate", "-f", str(GOLDEN / name))

    assert checked.returncode == 0, checked.stderr
    assert "warning" not in (checked.stdout + checked.stderr).lower()


@each_release
def test_the_primary_has_istiod_and_the_way_to_it_and_no_other_gateway(release: Release, make: Make) -> None:
    objects = make(release, operator_of_primary(guide_mesh(version_of(release))).text)
    deployments, services = by_name(objects, "Deployment"), by_name(objects, "Service")
    istiod = deployments["istio-system/istiod"]

    assert set(deployments) == set(services) == {"istio-system/istiod", "istio-system/istio-eastwestgateway"}
    assert istiod["spec"]["replicas"] == 2
    assert environment_of(istiod)["EXTERNAL_ISTIOD"] == "true"
    assert environment_of(istiod)["CLUSTER_ID"] == "cls-dxgdg1rl"
    way = services["istio-system/istio-eastwestgateway"]
    assert (way["spec"]["type"], way["metadata"]["annotations"]) == ("LoadBalancer", {EXISTING: "lb-lujb6a5a"})
    assert [each["port"] for each in way["spec"]["ports"]] == [15021, 15443, 15012, 15017]
    assert environment_of(deployments["istio-system/istio-eastwestgateway"])["ISTIO_META_NETWORK"] == "main"


@each_release
def test_a_first_installation_has_no_gateway_at_all(release: Release, make: Make) -> None:
    mesh = guide_mesh(version_of(release))
    primary = make(release, operator_of_primary(mesh, bare=True).text)
    member = make(release, operator_of_member(mesh, mesh.spec.members[0], ISTIOD_ADDRESS, bare=True).text)

    assert set(by_name(primary, "Deployment")) == {"istio-system/istiod"}
    assert by_name(member, "Deployment") == {}
    assert set(by_name(member, "Service")) == {"istio-system/istiod"}


@each_release
def test_a_member_finds_istiod_by_the_address_and_says_who_it_is(release: Release, make: Make) -> None:
    objects = make(release, member_of(guide_mesh(version_of(release))).text)
    hooks = only(objects, "MutatingWebhookConfiguration")["webhooks"]
    ends = str([*by_name(objects, "Endpoints").values(), *by_name(objects, "EndpointSlice").values()])

    assert {each["clientConfig"]["service"]["path"] for each in hooks} == {"/inject/cluster/cls-ne1cw84b/net/main"}
    assert ISTIOD_ADDRESS in ends
    assert "istio-system/istio-reader-service-account" in by_name(objects, "ServiceAccount")  # of the remote secret
    for deployment in by_name(objects, "Deployment").values():
        said = environment_of(deployment)
        assert (said["ISTIO_META_CLUSTER_ID"], said["ISTIO_META_MESH_ID"]) == ("cls-ne1cw84b", "mesh1")


@each_release
def test_each_gateway_of_the_guide_selects_its_own_pods_and_only_those_asked_for_are_public(
    release: Release, make: Make
) -> None:
    objects = make(release, member_of(guide_mesh(version_of(release))).text)
    services = {name: each for name, each in by_name(objects, "Service").items() if not name.endswith("/istiod")}
    deployments = by_name(objects, "Deployment")

    assert (
        set(services)
        == set(deployments)
        == {
            "istio-system/istio-ingressgateway",
            "istio-system/istio-ingressgateway-intranet",
            "staging/istio-ingressgateway-staging",
        }
    )
    for name, service in services.items():
        wanted = service["spec"]["selector"].items()
        labels = {other: each["spec"]["template"]["metadata"]["labels"] for other, each in deployments.items()}
        assert [other for other, each in labels.items() if wanted <= each.items()] == [name]
    assert {name for name, each in services.items() if not each["metadata"].get("annotations")} == {
        "istio-system/istio-ingressgateway",
        "staging/istio-ingressgateway-staging",
    }
    intranet = services["istio-system/istio-ingressgateway-intranet"]
    assert intranet["metadata"]["annotations"] == {SUBNET: "subnet-19exjv5n"}


@each_release
def test_everything_that_a_file_can_say_arrives(release: Release, make: Make) -> None:
    edge = {
        "name": "edge",
        "namespace": "edge",
        "service": "NodePort",
        "replicas": 3,
        "externalTrafficPolicy": "Local",
        "labels": {"istio": "ingressgateway", "team": "on"},
        "annotations": {"service.cloud.tencent.com/direct-access": "true"},
        "ports": [
            {"name": "https", "port": 443, "targetPort": 8443, "nodePort": 31443},
            {"name": "quic", "port": 443, "targetPort": 8443, "protocol": "UDP"},
        ],
        "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "2", "memory": "2Gi"}},
    }
    inside = {"name": "inside", "service": "ClusterIP", "autoscaling": {"min": 3, "max": 9, "cpuPercent": 55}}
    primary = {
        "cluster": "cls-dxgdg1rl",
        "context": "p",
        "istiod": {"autoscaling": {"min": 2, "max": 4, "cpuPercent": 60}, "resources": {"requests": {"cpu": "1"}}},
        "gateways": [edge, inside, {"name": "off", "enabled": False}],
    }
    mesh = guide_mesh(
        version_of(release),
        primary=primary,
        members=[],
        revision="next",
        images={"hub": "mirror.example.com:5000/istio", "tag": "123e456", "pullSecrets": ["registry"]},
        podDisruptionBudget=False,
        meshConfig={"accessLogFile": "/dev/stdout"},
        values={"pilot": {"env": {"PILOT_X": "1e3"}}},
    )
    objects = make(release, operator_of_primary(mesh).text)
    deployments, services = by_name(objects, "Deployment"), by_name(objects, "Service")
    scalers = by_name(objects, "HorizontalPodAutoscaler")

    assert set(deployments) == {"edge/edge", "istio-system/inside", "istio-system/istiod-next"}
    assert {
        container["image"].rpartition("/")[0] + ":" + container["image"].rpartition(":")[2]
        for each in deployments.values()
        for container in each["spec"]["template"]["spec"]["containers"]
    } == {"mirror.example.com:5000/istio:123e456"}
    assert all(
        each["imagePullSecrets"] == [{"name": "registry"}] for each in by_name(objects, "ServiceAccount").values()
    )
    assert by_name(objects, "PodDisruptionBudget") == {}
    assert environment_of(deployments["istio-system/istiod-next"])["PILOT_X"] == "1e3"
    assert "accessLogFile: /dev/stdout" in by_name(objects, "ConfigMap")["istio-system/istio-next"]["data"]["mesh"]

    spec = services["edge/edge"]["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert [(each["name"], each["port"], each["protocol"], each.get("nodePort")) for each in spec["ports"]] == [
        ("status-port", 15021, "TCP", None),
        ("https", 443, "TCP", 31443),
        ("quic", 443, "UDP", None),
    ]
    assert spec["selector"] == {"app": "edge", "istio": "ingressgateway", "team": "on"}
    assert services["edge/edge"]["metadata"]["annotations"] == {"service.cloud.tencent.com/direct-access": "true"}
    assert services["istio-system/inside"]["spec"]["type"] == "ClusterIP"
    (container,) = deployments["edge/edge"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}

    def pods(name: str) -> tuple[int, int, int]:
        found = scalers[name]["spec"]
        (metric,) = found["metrics"]
        return found["minReplicas"], found["maxReplicas"], metric["resource"]["target"]["averageUtilization"]

    assert pods("edge/edge") == (3, 3, 80)
    assert pods("istio-system/inside") == (3, 9, 55)
    assert pods("istio-system/istiod-next") == (2, 4, 60)


# ---- the guide's -------------------------------------------------------------------------------------------------

HEAD = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n"
TWO_GATEWAYS = """\
  profile: remote
  components:
    ingressGateways:
      - name: istio-ingressgateway
        enabled: true
      - name: istio-ingressgateway-intranet
        enabled: true
"""
FORGOTTEN = """\
  components:
    ingressGateways:
      - name: istio-eastwestgateway
        enabled: true
"""
LABELS = """\
  components:
    ingressGateways:
      - name: istio-ingressgateway
        labels: {istio: edge}
"""
UNASKED = """\
  components:
    ingressGateways:
      - {name: istio-ingressgateway, enabled: false}
  values:
    gateways:
      istio-ingressgateway: {enabled: true}
"""
REVISED_MEMBER = """\
  profile: remote
  revision: next
  values:
    global: {remotePilotAddress: 10.0.250.58}
"""


@each_release
def test_the_guides_gateways_would_select_each_others_pods(release: Release, make: Make) -> None:
    services = by_name(make(release, HEAD + TWO_GATEWAYS), "Service")

    assert [each["spec"]["selector"] for each in services.values()] == [
        {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    ] * 2


def test_the_guides_second_file_would_bring_a_public_gateway_on_the_guides_release(make: Make) -> None:
    old, new = (by_name(make(release, HEAD + FORGOTTEN), "Service") for release in RELEASES)
    found = old["istio-system/istio-ingressgateway"]

    assert (found["spec"]["type"], found["metadata"].get("annotations")) == ("LoadBalancer", None)
    assert "istio-system/istio-ingressgateway" not in new  # here a file's list takes the place of the profile's


@each_release
def test_a_value_would_bring_a_gateway_that_is_switched_off(release: Release, make: Make) -> None:
    assert "istio-system/istio-ingressgateway" in by_name(make(release, HEAD + UNASKED), "Service")


@each_release
def test_labels_of_a_gateway_are_unknown_to_istioctl(release: Release, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(HEAD + LABELS, encoding="utf-8")
    checked = istioctl(release, tmp_path, "manifest", "generate", "-f", str(tmp_path / "labels.yaml"))

    assert checked.returncode != 0
    assert 'unknown field "labels"' in checked.stderr


@pytest.mark.parametrize(("line", "service"), [("1.18", "istiod"), ("1.31", "istiod-next")])
def test_a_member_of_a_revision_finds_its_istiod_on_the_current_release_alone(
    line: str, service: str, make: Make
) -> None:
    objects = make(release_of(line), HEAD + REVISED_MEMBER)
    hook = only(objects, "MutatingWebhookConfiguration")["webhooks"][0]

    assert hook["clientConfig"]["service"]["name"] == "istiod-next"
    assert only(objects, "Service")["metadata"]["name"] == service


def test_of_two_gateways_of_one_name_the_guides_release_keeps_one(make: Make) -> None:
    one_name = HEAD + (
        "  profile: remote\n"
        "  components:\n"
        "    ingressGateways:\n"
        "      - {name: edge, namespace: shop, enabled: true}\n"
        "      - {name: edge, namespace: pay, enabled: true}\n"
    )
    old, new = (by_name(make(release, one_name), "Deployment") for release in RELEASES)

    assert (set(old), set(new)) == ({"pay/edge"}, {"shop/edge", "pay/edge"})


@pytest.mark.parametrize(("line", "budgets"), [("1.18", {"istio-system/istiod", "istio-system/edge"}), ("1.31", set())])
def test_a_single_pod_has_a_budget_on_the_guides_release_alone(line: str, budgets: set[str], make: Make) -> None:
    primary = {
        "cluster": "cls-dxgdg1rl",
        "context": "p",
        "istiod": {"replicas": 1},
        "gateways": [{"name": "edge", "service": "NodePort", "replicas": 1}],
    }
    mesh = guide_mesh(version_of(release_of(line)), primary=primary, members=[])

    assert set(by_name(make(release_of(line), operator_of_primary(mesh).text), "PodDisruptionBudget")) == budgets


def test_the_example_file_is_what_the_guides_release_takes(make: Make) -> None:
    mesh = load_mesh(Path(__file__).parents[3] / "policies" / "mesh.yaml")

    assert "istio-system/istiod" in by_name(make(release_of("1.18"), operator_of_primary(mesh).text), "Deployment")
    assert len(by_name(make(release_of("1.18"), member_of(mesh).text), "Deployment")) == 3
