"""The mesh file: what it defaults to, and every rule that makes one invalid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from shifter.core.documents.mesh import Mesh, autoscaling_of, release_line
from shifter.core.documents.mesh_gateways import Autoscaling, Balancer, InternalBalancer, Workload
from shifter.core.documents.mesh_values import OWNED

Json = dict[str, Any]

PUBLIC: Json = {"name": "istio-ingressgateway", "loadBalancer": {"public": True}}
EAST_WEST: Json = {"loadBalancer": {"existing": "lb-lujb6a5a"}}
MEMBER: Json = {"cluster": "cls-ne1cw84b", "context": "tke-member-1"}


def a_mesh(primary: Json | None = None, members: list[Json] | None = None, **spec: Any) -> Mesh:  # noqa: ANN401 - JSON
    whole: Json = {
        "version": "1.18.5",
        "images": {"hub": "docker.io/istio", "tag": "1.18.5", "pullSecrets": []},
        "meshID": "mesh1",
        "network": "main",
        "primary": {"cluster": "cls-dxgdg1rl", "context": "tke-primary", **(primary or {})},
        **({} if members is None else {"members": members}),
        **spec,
    }
    document = {"kind": "Mesh", "metadata": {"name": "main"}, "spec": whole}
    return Mesh.model_validate_json(json.dumps(document))


def a_gateway(**changes: Any) -> Mesh:  # noqa: ANN401 - JSON
    return a_mesh({"gateways": [{**PUBLIC, **changes}]})


def refusal(caught: pytest.ExceptionInfo[ValidationError]) -> tuple[str, ...]:
    """The place at which the only refusal points."""
    (error,) = caught.value.errors()
    return tuple(str(step) for step in (*error["loc"], *error.get("ctx", {}).get("at", ())))


def test_what_is_not_said_is_not_there() -> None:
    mesh = a_mesh()
    spec = mesh.spec

    assert (mesh.name, [each.cluster for each in mesh.clusters]) == ("main", ["cls-dxgdg1rl"])
    assert (spec.revision, spec.tcm, spec.certificates) == (None, None, None)
    assert (spec.mesh_config, spec.values, spec.pod_disruption_budget) == ({}, {}, True)
    assert (spec.primary.gateways, spec.primary.inject, spec.primary.east_west) == ((), (), None)
    assert (spec.primary.kubeconfig_file, spec.primary.uid) == (None, None)
    assert spec.members == ()


def test_the_clusters_are_the_primary_and_then_the_members() -> None:
    mesh = a_mesh({"eastWest": EAST_WEST}, [MEMBER, {**MEMBER, "cluster": "cls-3", "context": "three"}])

    assert [each.cluster for each in mesh.clusters] == ["cls-dxgdg1rl", "cls-ne1cw84b", "cls-3"]


@pytest.mark.parametrize("key", ["version", "images", "meshID", "network", "primary"])
def test_what_decides_which_mesh_it_is_must_be_said(key: str) -> None:
    document = json.loads(a_mesh().model_dump_json(by_alias=True, exclude_none=True))
    del document["spec"][key]

    with pytest.raises(ValidationError, match="Field required"):
        Mesh.model_validate_json(json.dumps(document))


@pytest.mark.parametrize("key", ["hub", "tag", "pullSecrets"])
def test_no_default_decides_where_images_come_from(key: str) -> None:
    images = {"hub": "docker.io/istio", "tag": "1.18.5", "pullSecrets": []}
    del images[key]

    with pytest.raises(ValidationError, match="Field required"):
        a_mesh(images=images)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hub": "gcr.io/istio-testing"}, "builds of Istio's own tests"),
        ({"hub": "registry.istio.io/testing"}, "builds of Istio's own tests"),
        ({"tag": "latest"}, "names another image tomorrow"),
        ({"tag": "latest-distroless"}, "names another image tomorrow"),
        ({"hub": "https://docker.io/istio"}, "should match pattern"),
        ({"tag": "a b"}, "should match pattern"),
        ({"pullSecrets": ["a", "a"]}, "a Secret is listed twice"),
        ({"pullPolicy": "Always"}, "Extra inputs"),
    ],
)
def test_images_that_are_no_release_are_refused(changes: Json, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        a_mesh(images={"hub": "docker.io/istio", "tag": "1.18.5", "pullSecrets": [], **changes})


@pytest.mark.parametrize("version", ["1.18.5", "1.18.7", "1.31.0"])
def test_versions_of_a_known_release_are_taken(version: str) -> None:
    assert release_line(a_mesh(version=version).spec.version) == ".".join(version.split(".")[:2])


@pytest.mark.parametrize("version", ["1.16.5", "1.24.0", "2.0.0"])
def test_a_release_for_which_nothing_was_ever_rendered_is_refused(version: str) -> None:
    with pytest.raises(ValidationError, match=r"it knows 1\.18\.x and 1\.31\.x"):
        a_mesh(version=version)


@pytest.mark.parametrize("version", ["1.18", "v1.18.5", "1.18.5-dev", "latest"])
def test_a_version_has_three_numbers(version: str) -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        a_mesh(version=version)


@pytest.mark.parametrize("tcm", [{"revision": "1-18-5"}, {"version": "1.18.5"}])
def test_the_revision_of_tcm_is_refused(tcm: Json) -> None:
    with pytest.raises(ValidationError, match="this mesh's webhook would inject wherever TCM's does") as caught:
        a_mesh(tcm=tcm, revision="1-18-5")

    assert refusal(caught) == ("spec", "revision")
    assert a_mesh(tcm=tcm, revision="next").spec.revision == "next"


def test_the_revision_that_means_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="is what Istio calls having none"):
        a_mesh(revision="default")


def test_the_id_of_tcms_mesh_is_refused() -> None:
    with pytest.raises(ValidationError, match="two meshes that both run need two ids") as caught:
        a_mesh(tcm={"meshID": "mesh1"})

    assert refusal(caught) == ("spec", "meshID")
    assert a_mesh(tcm={"meshID": "mesh-mn8gnn1g"}).spec.mesh_id == "mesh1"


def test_a_revision_would_cut_off_the_members_on_1_18() -> None:
    said = r"calls a member's istiod Service istiod, and its webhook looks for istiod-next"
    with pytest.raises(ValidationError, match=said) as caught:
        a_mesh({"eastWest": EAST_WEST}, [MEMBER], revision="next")

    assert refusal(caught) == ("spec", "members")
    assert a_mesh(revision="next").spec.members == ()
    assert a_mesh({"eastWest": EAST_WEST}, [MEMBER], revision="next", version="1.31.0").spec.revision == "next"


def test_a_wrong_version_is_told_once_although_members_depend_on_it() -> None:
    with pytest.raises(ValidationError) as caught:
        a_mesh({"eastWest": EAST_WEST}, [MEMBER], revision="next", version="1.16.5")

    assert [each["loc"] for each in caught.value.errors()] == [("spec", "version")]


def test_istiod_looks_for_its_ca_under_one_name_only() -> None:
    assert a_mesh(certificates={"secret": "cacerts"}).spec.certificates is not None
    with pytest.raises(ValidationError, match="'cacerts'"):
        a_mesh(certificates={"secret": "my-ca"})


# ---- clusters ----------------------------------------------------------------------------------------------------


def test_members_need_a_way_to_istiod() -> None:
    with pytest.raises(ValidationError, match="the primary's eastWest gateway, and it has none") as caught:
        a_mesh(members=[MEMBER])

    assert refusal(caught) == ("spec", "members")


def test_a_primary_that_is_wrong_is_told_once_although_members_depend_on_it() -> None:
    with pytest.raises(ValidationError) as caught:
        a_mesh({"context": ""}, [MEMBER])

    assert [each["loc"] for each in caught.value.errors()] == [("spec", "primary", "context")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster", "cls-dxgdg1rl"),
        ("context", "tke-primary"),
        ("uid", "7c1d0c9e"),
    ],
)
def test_a_member_that_is_the_primary_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValidationError, match="is another cluster's of this mesh already") as caught:
        a_mesh({"eastWest": EAST_WEST, "uid": "7c1d0c9e"}, [{**MEMBER, key: value}])

    assert refusal(caught) == ("spec", "members", "0", key)


def test_two_members_behind_one_address_are_refused() -> None:
    server = "https://10.0.3.4:443"
    others = {"cluster": "cls-3", "context": "three", "server": server}
    with pytest.raises(ValidationError, match="is another cluster's of this mesh already") as caught:
        a_mesh({"eastWest": EAST_WEST}, [{**MEMBER, "server": server}, others])

    assert refusal(caught) == ("spec", "members", "1", "server")


def test_one_name_of_a_context_in_two_kubeconfigs_is_two_contexts() -> None:
    mesh = a_mesh({"eastWest": EAST_WEST}, [{**MEMBER, "context": "tke-primary", "kubeconfigFile": "/b.yaml"}])

    assert [each.kubeconfig_file for each in mesh.clusters] == [None, "/b.yaml"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"server": "http://10.0.3.4"}, "should match pattern"),
        ({"server": "https://user@10.0.3.4"}, "should match pattern"),
        ({"cluster": "CLS"}, "not a Kubernetes name"),
        ({"kubeconfigFile": ""}, "at least 1 character"),
        ({"eastWest": EAST_WEST}, "Extra inputs"),
        ({"istiod": {"replicas": 2}}, "Extra inputs"),
    ],
)
def test_a_member_has_no_control_plane_and_plain_names(changes: Json, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        a_mesh({"eastWest": EAST_WEST}, [{**MEMBER, **changes}])


@pytest.mark.parametrize(
    ("inject", "said"),
    [
        (["istio-system"], "the control plane's own namespace gets no sidecars"),
        (["kube-system"], "a namespace of Kubernetes itself"),
        (["shop", "shop"], "a namespace is listed twice"),
        (["Shop"], "not a Kubernetes name"),
    ],
)
def test_namespaces_that_cannot_take_sidecars_are_refused(inject: list[str], said: str) -> None:
    assert a_mesh({"inject": ["shop", "pay"]}).spec.primary.inject == ("shop", "pay")
    with pytest.raises(ValidationError, match=said):
        a_mesh({"inject": inject})


# ---- gateways ----------------------------------------------------------------------------------------------------


def test_a_gateway_is_public_only_if_it_says_so() -> None:
    with pytest.raises(ValidationError, match=r"how is it reached\? Say loadBalancer") as caught:
        a_mesh({"gateways": [{"name": "istio-ingressgateway"}]})

    assert refusal(caught) == ("spec", "primary", "gateways", "0")


def test_a_gateway_that_is_not_there_needs_no_way_to_it() -> None:
    mesh = a_mesh({"gateways": [{"name": "istio-ingressgateway", "enabled": False}]})

    assert not mesh.spec.primary.gateways[0].enabled


@pytest.mark.parametrize(
    "balancer",
    [{}, {"public": True, "subnet": "subnet-19exjv5n"}, {"existing": "lb-1a2b3c4d", "subnet": "subnet-19exjv5n"}],
)
def test_a_clb_is_said_in_exactly_one_way(balancer: Json) -> None:
    with pytest.raises(ValidationError, match="say one of public, subnet and existing"):
        a_gateway(loadBalancer=balancer)


@pytest.mark.parametrize(
    ("balancer", "said"),
    [
        ({"public": False}, "is not public anyway: say subnet, existing or service instead"),
        ({"subnet": "net-1"}, "should match pattern"),
        ({"existing": "lbl-1a2b3c4d"}, "should match pattern"),
    ],
)
def test_a_clb_that_cannot_be_is_refused(balancer: Json, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        a_gateway(loadBalancer=balancer)


def test_the_way_to_istiod_cannot_be_public() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        a_mesh({"eastWest": {"loadBalancer": {"public": True}}})


@pytest.mark.parametrize("balancer", [{}, {"existing": "lb-lujb6a5a", "subnet": "subnet-oz2k2du5"}])
def test_the_clb_of_the_way_to_istiod_is_said_in_exactly_one_way(balancer: Json) -> None:
    with pytest.raises(ValidationError, match="say either existing or subnet"):
        a_mesh({"eastWest": {"loadBalancer": balancer}})


def test_tke_is_told_of_a_clb_by_annotation_and_of_a_public_one_by_none() -> None:
    existing, subnet = (
        "service.kubernetes.io/tke-existed-lbid",
        "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid",
    )

    assert Balancer(public=True).annotations() == {}
    assert Balancer(existing="lb-1a2b3c4d").annotations() == {existing: "lb-1a2b3c4d"}
    assert Balancer(subnet="subnet-19exjv5n").annotations() == {subnet: "subnet-19exjv5n"}
    assert InternalBalancer(existing="lb-1a2b3c4d").annotations() == {existing: "lb-1a2b3c4d"}
    assert InternalBalancer(subnet="subnet-19exjv5n").annotations() == {subnet: "subnet-19exjv5n"}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("service.kubernetes.io/tke-existed-lbid", "write it as loadBalancer.existing"),
        ("service.kubernetes.io/qcloud-loadbalancer-internal-subnetid", "write it as loadBalancer.subnet"),
        ("service.kubernetes.io/loadbalance-id", "TKE's service controller writes it"),
    ],
)
def test_which_clb_it_is_cannot_be_said_by_annotation(key: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        a_gateway(annotations={key: "lb-1a2b3c4d"})

    assert refusal(caught)[-2:] == ("annotations", key)


def test_other_annotations_are_taken() -> None:
    annotations = {"service.cloud.tencent.com/direct-access": "true"}

    assert a_gateway(annotations=annotations).spec.primary.gateways[0].annotations == annotations


def test_a_service_of_another_type_has_no_clb() -> None:
    with pytest.raises(ValidationError, match="a NodePort Service has no CLB") as caught:
        a_gateway(service="NodePort")

    assert refusal(caught)[-1] == "service"
    without = {"name": "istio-ingressgateway", "service": "NodePort"}
    assert a_mesh({"gateways": [without]}).spec.primary.gateways[0].load_balancer is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"externalTrafficPolicy": "Local"}, "nothing from outside comes to a ClusterIP Service"),
        (
            {"ports": [{"name": "https", "port": 443, "targetPort": 8443, "nodePort": 31443}]},
            "a ClusterIP Service has no node ports",
        ),
    ],
)
def test_nothing_from_outside_reaches_a_service_inside(changes: Json, said: str) -> None:
    inside = {"name": "istio-ingressgateway", "service": "ClusterIP"}
    with pytest.raises(ValidationError, match=said):
        a_mesh({"gateways": [{**inside, **changes}]})

    ports = [{"name": "https", "port": 443, "targetPort": 8443}]
    assert a_mesh({"gateways": [{**inside, "ports": ports}]}).spec.primary.gateways[0].service == "ClusterIP"


@pytest.mark.parametrize(
    ("second", "said", "at"),
    [
        ({"name": "https", "port": 444, "targetPort": 8444}, "this name is another port's already", ("1", "name")),
        ({"name": "other", "port": 443, "targetPort": 8444}, "this number is another port's already", ("1", "port")),
        ({"name": "status-port", "port": 444, "targetPort": 8444}, "always there as status-port", ("1",)),
        ({"name": "status", "port": 15021, "targetPort": 15021}, "always there as status-port", ("1",)),
    ],
)
def test_ports_that_take_anothers_place_are_refused(second: Json, said: str, at: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        a_gateway(ports=[{"name": "https", "port": 443, "targetPort": 8443}, second])

    assert refusal(caught)[-len(at) :] == at


def test_one_number_may_be_two_ports_of_two_protocols() -> None:
    ports = [
        {"name": name, "port": 443, "targetPort": 8443, "protocol": what} for name, what in (("a", "TCP"), ("b", "UDP"))
    ]

    assert len(a_gateway(ports=ports).spec.primary.gateways[0].ports) == 2


def test_pods_without_privileges_have_no_low_ports() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1024"):
        a_gateway(ports=[{"name": "https", "port": 443, "targetPort": 443}])


def test_a_gateways_pods_are_found_by_its_own_name() -> None:
    names = ("istio-ingressgateway", "istio-ingressgateway-intranet", "edge")
    selectors = [a_gateway(name=name).spec.primary.gateways[0].selector() for name in names]

    assert selectors == [
        {"app": "istio-ingressgateway", "istio": "ingressgateway"},
        {"app": "istio-ingressgateway-intranet", "istio": "ingressgateway-intranet"},
        {"app": "edge", "istio": "edge"},
    ]


def test_labels_add_to_those_that_a_gateway_has() -> None:
    gateway = a_gateway(name="edge", labels={"istio": "ingressgateway", "team": "shop"}).spec.primary.gateways[0]

    assert gateway.selector() == {"app": "edge", "istio": "ingressgateway", "team": "shop"}


_AS_THE_FIRST: Json = {"app": "istio-ingressgateway", "istio": "ingressgateway"}


@pytest.mark.parametrize(
    ("second", "said", "key"),
    [
        ({"name": "istio-ingressgateway", "namespace": "staging"}, "istioctl 1.18 keeps one of a name", "name"),
        ({"name": "edge", "labels": _AS_THE_FIRST}, "would select the pods of istio-ingressgateway", "labels"),
        ({"name": "edge", "labels": {**_AS_THE_FIRST, "a": "b"}}, "gateways of one namespace need other", "labels"),
    ],
)
def test_gateways_that_take_each_others_place_are_refused(second: Json, said: str, key: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        a_mesh({"gateways": [PUBLIC, {**PUBLIC, **second}]})

    assert refusal(caught) == ("spec", "primary", "gateways", "1", key)


def test_a_gateway_whose_name_makes_its_labels_those_of_another_is_refused_by_name() -> None:
    first = {**PUBLIC, "name": "edge", "labels": {"app": "ingress", "istio": "ingress"}}
    with pytest.raises(ValidationError, match="would select the pods of edge") as caught:
        a_mesh({"gateways": [first, {**PUBLIC, "name": "ingress"}]})

    assert refusal(caught)[-1] == "name"


def test_gateways_of_the_same_labels_may_be_in_two_namespaces() -> None:
    labels = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    staging = {**PUBLIC, "name": "edge", "namespace": "staging", "labels": labels}

    assert len(a_mesh({"gateways": [PUBLIC, staging]}).spec.primary.gateways) == 2


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ({"name": "istio-eastwestgateway"}, "the gateway that eastWest makes has this name"),
        ({"labels": {"app": "istio-eastwestgateway"}}, "is the label of the gateway that eastWest makes"),
    ],
)
def test_nothing_takes_the_place_of_the_way_to_istiod(gateway: Json, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        a_mesh({"eastWest": EAST_WEST, "gateways": [{**PUBLIC, **gateway}]})

    assert a_mesh({"gateways": [{**PUBLIC, **gateway}]}).spec.primary.east_west is None


def test_a_member_is_looked_at_by_itself() -> None:
    twice = {**MEMBER, "gateways": [PUBLIC, PUBLIC]}
    with pytest.raises(ValidationError, match=r"istioctl 1\.18 keeps one of a name") as caught:
        a_mesh(
            {"eastWest": EAST_WEST, "gateways": [PUBLIC]}, [{**MEMBER, "gateways": [PUBLIC]}, {**twice, "cluster": "c"}]
        )

    assert refusal(caught)[:3] == ("spec", "members", "1")


def test_one_clb_is_one_gateways() -> None:
    used = {**PUBLIC, "loadBalancer": {"existing": "lb-lujb6a5a"}}
    said = "of two Services one would take the other's listeners"
    with pytest.raises(ValidationError, match=said) as own:
        a_mesh({"eastWest": EAST_WEST, "gateways": [used]})
    with pytest.raises(ValidationError, match=said) as other:
        a_mesh({"eastWest": EAST_WEST}, [{**MEMBER, "gateways": [used]}])

    assert refusal(own) == ("spec", "primary", "gateways", "0", "loadBalancer", "existing")
    assert refusal(other) == ("spec", "members", "0", "gateways", "0", "loadBalancer", "existing")


def test_a_gateway_is_not_where_kubernetes_itself_is() -> None:
    with pytest.raises(ValidationError, match="nothing of a mesh belongs there"):
        a_gateway(namespace="kube-system")


# ---- pods --------------------------------------------------------------------------------------------------------


def test_a_number_of_pods_leaves_nothing_to_scale() -> None:
    usual = Autoscaling(min=2, max=5)

    assert autoscaling_of(Workload(), usual) == usual
    assert autoscaling_of(Workload(replicas=3), usual) == Autoscaling(min=3, max=3)
    assert autoscaling_of(Workload(autoscaling=Autoscaling(min=4, max=9)), usual) == Autoscaling(min=4, max=9)


def test_either_a_number_of_pods_or_an_autoscaler() -> None:
    with pytest.raises(ValidationError, match="so nothing can scale them"):
        a_gateway(replicas=2, autoscaling={"min": 2, "max": 5})


def test_an_autoscaler_needs_room() -> None:
    with pytest.raises(ValidationError, match="max must be at least min"):
        a_gateway(autoscaling={"min": 5, "max": 2})


@pytest.mark.parametrize("amount", ["500m", "2", "0.5", "2Gi", "128Mi", "1G"])
def test_amounts_are_kubernetes_own(amount: str) -> None:
    gateway = a_gateway(resources={"requests": {"cpu": amount}}).spec.primary.gateways[0]

    assert gateway.resources.requests.cpu == amount


@pytest.mark.parametrize("amount", [2, "2 Gi", "half", "-1", "2GB"])
def test_amounts_of_another_form_are_refused(amount: object) -> None:
    with pytest.raises(ValidationError, match=r"valid string|should match pattern"):
        a_gateway(resources={"requests": {"cpu": amount}})


# ---- what is passed through --------------------------------------------------------------------------------------


def test_what_only_istio_knows_is_passed_through() -> None:
    values = {
        "global": {"proxy": {"logLevel": "warning"}},
        "pilot": {"env": {"PILOT_FILTER_GATEWAY_CLUSTER_CONFIG": True}},
    }
    mesh = a_mesh(values=values, meshConfig={"accessLogFile": "/dev/stdout"})

    assert (mesh.spec.values, mesh.spec.mesh_config) == (values, {"accessLogFile": "/dev/stdout"})


@pytest.mark.parametrize("path", OWNED, ids=".".join)
def test_what_has_a_place_of_its_own_is_refused_among_values(path: tuple[str, ...]) -> None:
    values: Any = "x"
    for step in reversed(path):
        values = {step: values}
    with pytest.raises(ValidationError, match=rf"shifter says this itself: {OWNED[path]}") as caught:
        a_mesh(values=values)

    assert refusal(caught) == ("spec", "values", *path)


def test_all_values_that_have_a_place_of_their_own_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        a_mesh(values={"hub": "x", "global": {"meshID": "a", "proxy": {}, "network": "b"}})

    assert [".".join(map(str, each["loc"])) for each in caught.value.errors()] == [
        "spec.values.hub",
        "spec.values.global.meshID",
        "spec.values.global.network",
    ]


def test_a_list_where_a_mapping_might_be_is_left_to_istio() -> None:
    assert a_mesh(values={"global": ["x"]}).spec.values == {"global": ["x"]}
