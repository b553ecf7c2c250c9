"""IstioOperators: the guide's examples as they are rendered, and what holds for every mesh file."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.documents.mesh import RELEASE_LINES, Mesh
from shifter.errors import RefusedError
from shifter.mesh.operators.putting import together
from shifter.mesh.operators.releases import RELEASES, Warned, warnings
from shifter.mesh.operators.rendering import Operator, exposing_istiod, operator_of_member, operator_of_primary
from shifter.mesh.operators.surroundings import NamespaceWanted, namespaces
from shifter.mesh.yaml_text import BY_HAND, yaml_text
from tests.mesh.guide import GOLDEN, ISTIOD_ADDRESS, VERSIONS, guide_mesh, mesh_of, steps

Json = dict[str, Any]

STEPS = [pytest.param(name, text, id=name) for _, name, text in steps()]
EXISTING = "service.kubernetes.io/tke-existed-lbid"
SUBNET = "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid"
EVERY_RELEASE = pytest.mark.parametrize("version", VERSIONS.values())
TODAY = date(2026, 11, 22)


def spec_of(operator: Operator) -> Json:
    found: Json = operator.body["spec"]
    return found


def gateways_of(operator: Operator) -> list[Json]:
    found: list[Json] = spec_of(operator)["components"]["ingressGateways"]
    return found


def only_member(mesh: Mesh) -> Operator:
    return operator_of_member(mesh, mesh.spec.members[0], ISTIOD_ADDRESS)


def with_gateway(version: str, **gateway: Any) -> Json:  # noqa: ANN401 - JSON
    """The rendered form of the only gateway of a mesh of one cluster."""
    given_one = {"name": "edge", "loadBalancer": {"public": True}, **gateway}
    primary = {"cluster": "cls-dxgdg1rl", "context": "tke-primary", "gateways": [given_one]}
    _, rendered = gateways_of(operator_of_primary(guide_mesh(version, primary=primary, members=[])))
    return rendered


# ---- the guide ---------------------------------------------------------------------------------------------------


def test_every_release_line_that_a_file_may_name_is_rendered_and_known() -> None:
    assert tuple(VERSIONS) == tuple(RELEASES) == RELEASE_LINES
    assert [operator_of_primary(guide_mesh(version)).cluster for version in VERSIONS.values()] == ["cls-dxgdg1rl"] * 2


@pytest.mark.parametrize(("name", "text"), STEPS)
def test_the_guides_examples_are_rendered_as_they_always_were(name: str, text: str) -> None:
    golden = (GOLDEN / name).read_text(encoding="utf-8")

    assert text == golden, "changed; if that is meant: .venv/bin/python -m tests.mesh.guide"


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {name for _, name, _ in steps()}


@EVERY_RELEASE
def test_a_cluster_has_one_operator_without_a_name(version: str) -> None:
    mesh = guide_mesh(version)
    operators = [operator_of_primary(mesh), only_member(mesh)]

    assert [each.cluster for each in operators] == ["cls-dxgdg1rl", "cls-ne1cw84b"]
    for each in operators:
        assert list(each.body) == ["apiVersion", "kind", "spec"]
        assert each.text.count("\nkind: IstioOperator\n") == 1
        assert yaml.safe_load(each.text) == each.body


@EVERY_RELEASE
def test_all_clusters_agree_on_the_mesh(version: str) -> None:
    mesh = guide_mesh(version, images={"hub": "mirror.example.com/istio", "tag": version, "pullSecrets": ["registry"]})
    both = [spec_of(operator_of_primary(mesh)), spec_of(only_member(mesh))]

    for each in both:
        values = each["values"]["global"]
        assert (each["hub"], each["tag"]) == ("mirror.example.com/istio", version)
        assert (values["meshID"], values["network"], values["imagePullSecrets"]) == ("mesh1", "main", ["registry"])
        assert values["defaultPodDisruptionBudget"] == {"enabled": True}
    assert [each["values"]["global"]["multiCluster"] for each in both] == [
        {"clusterName": "cls-dxgdg1rl"},
        {"clusterName": "cls-ne1cw84b"},
    ]


@EVERY_RELEASE
def test_the_gateway_that_a_profile_brings_is_switched_off_unless_the_file_has_it(version: str) -> None:
    mesh = guide_mesh(version)
    off = {"name": "istio-ingressgateway", "enabled": False}

    assert gateways_of(operator_of_primary(mesh))[0] == off
    assert gateways_of(operator_of_primary(mesh, bare=True)) == [off]
    assert gateways_of(operator_of_member(mesh, mesh.spec.members[0], ISTIOD_ADDRESS, bare=True)) == [off]
    assert off not in gateways_of(only_member(mesh))


@EVERY_RELEASE
def test_a_gateway_that_is_switched_off_says_nothing_else(version: str) -> None:
    found = with_gateway(version, enabled=False, annotations={"a": "b"})

    assert found == {"name": "edge", "namespace": "istio-system", "enabled": False}


@EVERY_RELEASE
def test_members_are_told_where_istiod_is_and_who_they_are(version: str) -> None:
    values = spec_of(only_member(guide_mesh(version)))["values"]

    assert spec_of(only_member(guide_mesh(version)))["profile"] == "remote"
    assert values["global"]["remotePilotAddress"] == ISTIOD_ADDRESS
    assert values["istiodRemote"] == {"injectionPath": "/inject/cluster/cls-ne1cw84b/net/main"}


@pytest.mark.parametrize("address", ["", "pending", "istiod.example.com", "10.0.250.58:15012", "fd00::1", "10.0.250"])
def test_a_member_is_not_rendered_without_the_address_of_istiod(address: str) -> None:
    mesh = guide_mesh("1.18.5")

    with pytest.raises(RefusedError, match="cls-ne1cw84b would not find istiod by it"):
        operator_of_member(mesh, mesh.spec.members[0], address)


def test_each_release_has_its_own_words_for_an_istiod_that_serves_others() -> None:
    old, new = (spec_of(operator_of_primary(guide_mesh(version)))["values"] for version in VERSIONS.values())

    assert (old["pilot"]["env"], "externalIstiod" in old["global"]) == ({"EXTERNAL_ISTIOD": True}, False)
    assert ("env" in new["pilot"], new["global"]["externalIstiod"]) == (False, True)


@EVERY_RELEASE
def test_the_way_to_istiod_is_an_internal_clb_with_the_four_ports_of_the_guide(version: str) -> None:
    (_, gateway) = gateways_of(operator_of_primary(guide_mesh(version)))
    primary = {"cluster": "cls-dxgdg1rl", "context": "p", "eastWest": {"loadBalancer": {"subnet": "subnet-oz2k2du5"}}}
    (_, other) = gateways_of(operator_of_primary(guide_mesh(version, primary=primary)))

    assert gateway["name"] == "istio-eastwestgateway"
    assert gateway["label"]["topology.istio.io/network"] == "main"
    assert [each["port"] for each in gateway["k8s"]["service"]["ports"]] == [15021, 15443, 15012, 15017]
    assert gateway["k8s"]["serviceAnnotations"] == {EXISTING: "lb-lujb6a5a"}
    assert other["k8s"]["serviceAnnotations"] == {SUBNET: "subnet-oz2k2du5"}


@pytest.mark.parametrize("line", RELEASE_LINES)
def test_istiod_is_exposed_under_its_revision(line: str) -> None:
    plain = guide_mesh(VERSIONS[line])
    revised = guide_mesh(VERSIONS[line], revision="next", members=[])

    assert "host: istiod.istio-system.svc.cluster.local" in exposing_istiod(plain)
    assert "host: istiod-next.istio-system.svc.cluster.local" in exposing_istiod(revised)
    assert spec_of(operator_of_primary(revised))["revision"] == "next"


@EVERY_RELEASE
def test_a_gateway_says_what_the_file_says(version: str) -> None:
    found = with_gateway(
        version,
        namespace="edge",
        loadBalancer={"existing": "lb-1a2b3c4d"},
        externalTrafficPolicy="Local",
        annotations={"service.cloud.tencent.com/direct-access": "true"},
        labels={"istio": "ingressgateway"},
        ports=[{"name": "https", "port": 443, "targetPort": 8443, "nodePort": 31443}],
        resources={"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
        replicas=3,
    )

    assert (found["namespace"], found["label"]) == ("edge", {"app": "edge", "istio": "ingressgateway"})
    settings = found["k8s"]
    assert (settings["hpaSpec"]["minReplicas"], settings["hpaSpec"]["maxReplicas"]) == (3, 3)
    assert settings["resources"] == {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    assert list(settings["serviceAnnotations"].items()) == [
        ("service.cloud.tencent.com/direct-access", "true"),
        (EXISTING, "lb-1a2b3c4d"),
    ]
    assert settings["service"] == {
        "externalTrafficPolicy": "Local",
        "ports": [
            {"name": "status-port", "port": 15021, "targetPort": 15021, "protocol": "TCP"},
            {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP", "nodePort": 31443},
        ],
    }


@EVERY_RELEASE
def test_a_gateway_without_a_clb_says_its_services_type(version: str) -> None:
    given_one = {"name": "edge", "service": "NodePort"}
    primary = {"cluster": "cls-dxgdg1rl", "context": "p", "gateways": [given_one]}
    (_, found) = gateways_of(operator_of_primary(guide_mesh(version, primary=primary, members=[])))

    assert found["k8s"]["service"] == {"type": "NodePort"}


@EVERY_RELEASE
def test_istiod_has_a_number_of_pods_or_an_autoscaler(version: str) -> None:
    def pilot(**istiod: Any) -> Json:  # noqa: ANN401 - JSON
        primary = {"cluster": "cls-dxgdg1rl", "context": "p", "istiod": istiod}
        found: Json = spec_of(operator_of_primary(guide_mesh(version, primary=primary, members=[])))["values"]["pilot"]
        found.pop("env", None)
        return found

    scaling = {"autoscaleEnabled": True, "autoscaleMin": 2, "autoscaleMax": 4, "cpu": {"targetAverageUtilization": 60}}
    assert pilot() == {"autoscaleEnabled": False, "replicaCount": 2}
    assert pilot(replicas=3) == {"autoscaleEnabled": False, "replicaCount": 3}
    assert pilot(autoscaling={"min": 2, "max": 4, "cpuPercent": 60}) == scaling
    assert pilot(resources={"requests": {"cpu": "1"}})["resources"] == {"requests": {"cpu": "1"}}


@EVERY_RELEASE
def test_what_is_passed_through_stands_behind_ours_by_name(version: str) -> None:
    mesh = guide_mesh(
        version,
        meshConfig={"b": 1, "a": {"d": [{"z": 1, "y": 2}], "c": 0}},
        values={"z": 1, "global": {"proxy": {"logLevel": "warning"}}, "pilot": {"env": {"X": "1"}}},
        podDisruptionBudget=False,
    )
    for operator in (operator_of_primary(mesh), only_member(mesh)):
        spec = spec_of(operator)
        assert list(spec["meshConfig"]) == ["a", "b"]
        assert list(spec["meshConfig"]["a"]["d"][0]) == ["y", "z"]
        assert list(spec["values"]["global"])[-1] == "proxy"
        assert spec["values"]["global"]["defaultPodDisruptionBudget"] == {"enabled": False}
        assert spec["values"]["pilot"]["env"]["X"] == "1"
        assert list(spec["values"])[-1] == "z"


# ---- every mesh --------------------------------------------------------------------------------------------------

_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_WAYS = st.sampled_from(
    [
        {"loadBalancer": {"public": True}},
        {"loadBalancer": {"subnet": "subnet-19exjv5n"}},
        {"service": "NodePort"},
        {"service": "ClusterIP"},
    ]
)
_GATEWAYS = st.lists(
    st.builds(
        lambda name, way, namespace, enabled: {"name": name, "namespace": namespace, "enabled": enabled, **way},
        _NAMES | st.just("istio-ingressgateway"),
        _WAYS,
        st.sampled_from(["istio-system", "staging", "edge"]),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda each: each["name"].removeprefix("istio-"),
)
_PASSED = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    version = draw(st.sampled_from(list(VERSIONS.values())))
    primary = {
        "cluster": "cls-dxgdg1rl",
        "context": "tke-primary",
        "eastWest": {"loadBalancer": {"existing": "lb-lujb6a5a"}},
        "gateways": draw(_GATEWAYS),
    }
    members = [
        {"cluster": f"cls-{index}", "context": f"c{index}", "gateways": draw(_GATEWAYS)}
        for index in range(draw(st.integers(0, 2)))
    ]
    passed = draw(st.dictionaries(_NAMES, _PASSED, max_size=3))
    return guide_mesh(version, primary=primary, members=members, meshConfig=passed)


def operators_of(mesh: Mesh) -> list[Operator]:
    return [
        operator_of_primary(mesh),
        *(operator_of_member(mesh, member, ISTIOD_ADDRESS) for member in mesh.spec.members),
    ]


@given(meshes())
def test_every_gateway_is_there_once_and_none_is_public_unasked(mesh: Mesh) -> None:
    for operator, cluster in zip(operators_of(mesh), mesh.clusters, strict=True):
        names = [each["name"] for each in gateways_of(operator)]
        own = {each.name: each for each in cluster.gateways}
        assert len(names) == len(set(names))
        assert set(own) <= set(names)
        for each in gateways_of(operator):
            settings = each.get("k8s", {})
            says_more = settings.get("service", {}).get("type") or settings.get("serviceAnnotations")
            if each["enabled"] and not says_more:  # this is what TKE gives a public CLB
                balancer = own[each["name"]].load_balancer
                assert balancer is not None
                assert balancer.public


@given(meshes())
def test_rendering_is_the_same_each_time_and_what_is_written_is_what_is_meant(mesh: Mesh) -> None:
    again = mesh_of(mesh.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"])
    texts = [each.text for each in operators_of(mesh)]

    assert texts == [each.text for each in operators_of(again)]
    assert [yaml.safe_load(text) for text in texts] == [each.body for each in operators_of(mesh)]


@given(st.dictionaries(st.text(max_size=6), _PASSED, max_size=4))
def test_whatever_is_passed_through_is_written_so_that_it_is_read_again(value: Json) -> None:
    assert yaml.safe_load(yaml_text(value, style=BY_HAND)) == value or value == {}


@pytest.mark.parametrize(
    "word", ["123e456", "0o17", "1_000", "1.18.5", "on", "No", "null", "~", "1:30", "=", "2026-11-22", ""]
)
def test_what_some_yaml_reader_takes_for_something_else_is_quoted(word: str) -> None:
    assert yaml_text({"tag": word}, style=BY_HAND) == f'tag: "{word}"\n'


def test_words_paths_and_images_are_written_plainly() -> None:
    for word in ("docker.io/istio", "lb-lujb6a5a", "/inject/cluster/cls-1/net/main", "/dev/stdout", "a:b"):
        assert yaml_text({"x": word}, style=BY_HAND) == f"x: {word}\n"
    assert (
        yaml_text({"u": "a: b", "v": "a #b", "w": "a:", "y": 1}, style=BY_HAND)
        == 'u: "a: b"\nv: "a #b"\nw: "a:"\n"y": 1\n'
    )


def test_nothing_without_content_makes_a_line_too_many() -> None:
    assert yaml_text({"a": {}, "b": [], "c": [[1, 2], {}, {"d": [{}]}]}, style=BY_HAND) == (
        "a: {}\nb: []\nc:\n  - - 1\n    - 2\n  - {}\n  - d:\n      - {}\n"
    )


def test_ours_wins_over_what_is_passed_through() -> None:
    assert together({"a": {"b": 1}, "c": 2}, {"c": 3, "a": {"b": 4, "x": 5}}) == {"a": {"b": 1, "x": 5}, "c": 2}


# ---- what stands around an operator ------------------------------------------------------------------------------


def test_a_member_says_whose_istiod_serves_it_and_gateways_have_their_namespaces() -> None:
    mesh = guide_mesh("1.18.5")
    (member,) = mesh.spec.members
    network = {"topology.istio.io/network": "main"}

    assert namespaces(mesh, mesh.spec.primary) == (NamespaceWanted("istio-system", network),)
    assert namespaces(mesh, member) == (
        NamespaceWanted("istio-system", network, {"topology.istio.io/controlPlaneClusters": "cls-dxgdg1rl"}),
        NamespaceWanted("staging"),
    )


# ---- warnings ----------------------------------------------------------------------------------------------------


def warned(mesh: Mesh, kubernetes: dict[str, str] | None = None, today: date = TODAY) -> dict[str, str]:
    found = warnings(mesh, kubernetes or {}, today)
    assert all(isinstance(each, Warned) for each in found)
    return {".".join(map(str, each.path)): each.reason for each in found}


def test_a_root_that_istiod_makes_for_itself_is_told_loudly() -> None:
    assert warned(guide_mesh("1.31.0"))["spec.certificates"].startswith("SELF-SIGNED ROOT: ")
    assert warned(guide_mesh("1.31.0", certificates={"secret": "cacerts"})) == {}


def test_a_release_out_of_support_is_told_with_its_day() -> None:
    old = guide_mesh("1.18.5")

    assert "out of support since 2024-01-04" in warned(old)["spec.version"]
    assert "spec.version" not in warned(old, today=date(2024, 1, 4))


def test_an_end_that_nobody_announced_is_told_as_expected() -> None:
    new = guide_mesh("1.31.0")

    assert "spec.version" not in warned(new, today=date(2027, 1, 31))
    said = warned(new, today=date(2027, 2, 1))["spec.version"]
    assert "out of support since 2027-01-31, as istioctl expects" in said


@pytest.mark.parametrize(
    ("version", "kubernetes", "said"),
    [
        ("1.18.5", "v1.28.3-tke.4", "cls-ne1cw84b has Kubernetes 1.28; Istio 1.18 supports Kubernetes 1.24 to 1.27"),
        ("1.18.5", "v1.23.17", "cls-ne1cw84b has Kubernetes 1.23; Istio 1.18 supports"),
        ("1.31.0", "v1.31.0", "Istio 1.31 supports Kubernetes 1.32 to 1.36"),
        ("1.31.0", "v1.37.0", "cls-ne1cw84b has Kubernetes 1.37"),
        ("1.31.0", "2.34", "cls-ne1cw84b has Kubernetes 2.34"),
        ("1.31.0", "unknown", "says that its Kubernetes is 'unknown'"),
    ],
)
def test_a_cluster_whose_kubernetes_the_release_does_not_support_is_told(
    version: str, kubernetes: str, said: str
) -> None:
    found = warned(guide_mesh(version), {"cls-ne1cw84b": kubernetes})

    assert said in found["spec.members.0.cluster"]
    assert "spec.primary.cluster" not in found


@pytest.mark.parametrize(
    ("version", "kubernetes"), [("1.18.5", "v1.26.1-tke.3"), ("1.31.0", "1.34"), ("1.31.0", "v1.36.0+x")]
)
def test_a_kubernetes_that_the_release_supports_is_no_news(version: str, kubernetes: str) -> None:
    found = warned(guide_mesh(version), {"cls-ne1cw84b": kubernetes, "cls-dxgdg1rl": kubernetes})

    assert not [place for place in found if place.endswith("cluster")]


def test_another_release_than_tcms_is_told() -> None:
    found = warned(guide_mesh("1.31.0", tcm={"version": "1.18.5"}))

    assert found["spec.version"].startswith("TCM runs 1.18.5: mesh and release change at once")
    assert "TCM" not in warned(guide_mesh("1.31.0", tcm={"version": "1.31.0"})).get("spec.version", "")


@pytest.mark.parametrize(("tcm", "told"), [(None, True), ({"meshID": "mesh-1"}, True), ({"revision": "1-16-5"}, False)])
def test_a_revision_that_could_be_tcms_is_told_while_nobody_says_which_that_is(tcm: Json | None, told: bool) -> None:  # noqa: FBT001
    mesh = guide_mesh("1.31.0", revision="1-31-1", **({} if tcm is None else {"tcm": tcm}))

    assert ("TCM's revisions look like this" in warned(mesh).get("spec.revision", "")) == told


def test_images_that_are_elsewhere_or_another_version_are_told() -> None:
    images = {"hub": "registry.istio.io/release", "tag": "1.30.9", "pullSecrets": []}
    found = warned(guide_mesh("1.31.0", images=images))

    assert "Istio publishes no images there any more" in found["spec.images.hub"]
    assert "does not name 1.31.0" in found["spec.images.tag"]
    assert "spec.images.tag" not in warned(guide_mesh("1.31.0", images={**images, "tag": "1.31.0-distroless"}))


@pytest.mark.parametrize(
    ("version", "budget", "told"),
    [
        ("1.18.5", True, "its node can never be drained"),
        ("1.18.5", False, "nobody serves while it restarts or moves"),
        ("1.31.0", True, "nobody serves while it restarts or moves"),
    ],
)
def test_a_single_pod_is_told_with_what_comes_of_it(version: str, budget: bool, told: str) -> None:  # noqa: FBT001
    primary = {
        "cluster": "cls-dxgdg1rl",
        "context": "p",
        "istiod": {"replicas": 1},
        "eastWest": {"loadBalancer": {"existing": "lb-lujb6a5a"}, "autoscaling": {"min": 1, "max": 3}},
        "gateways": [
            {"name": "a", "service": "NodePort", "replicas": 1, "enabled": False},
            {"name": "b", "service": "NodePort", "replicas": 1},
        ],
    }
    mesh = guide_mesh(version, primary=primary, podDisruptionBudget=budget)

    assert [place for place, said in warned(mesh).items() if told in said] == [
        "spec.primary.istiod.replicas",
        "spec.primary.eastWest.autoscaling.min",
        "spec.primary.gateways.1.replicas",
    ]
