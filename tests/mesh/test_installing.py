"""What the installer's steps see and say, on clusters that are nothing but objects in memory."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import yaml

from shifter.core.documents.mesh import Mesh
from shifter.errors import RefusedError, ShifterError, TransientError
from shifter.mesh.installing.control_plane import ControlPlane, Doing, Operator, Serving, injection, rollout
from shifter.mesh.installing.gateways import GatewayReady
from shifter.mesh.installing.guards import authority_missing, other_mesh
from shifter.mesh.installing.joining import Joined, RemoteSecret
from shifter.mesh.installing.living import BALANCER, COMPONENT, lacking, refuse_what_cannot_change
from shifter.mesh.installing.manifests import Manifests, refuse_unwanted
from shifter.mesh.installing.record import Installed, Stage, read, write
from shifter.mesh.installing.site import Patience, Site
from shifter.mesh.installing.steps import EarlierError, InstallError, Look, Outcome, Told, carry_out, look_at
from shifter.mesh.operators.rendering import operator_of_member, operator_of_primary
from shifter.ports.istioctl import IstioctlError, Reach
from shifter.ports.kube import DEPLOYMENTS, Body, Failing, Kind, KubeError, Listing
from shifter.ports.mesh import CONFIG_MAPS, CORE_EVENTS, MUTATING_WEBHOOKS, PODS, SECRETS, SERVICES, MeshApi
from tests.mesh.guide import guide_mesh

SYSTEM = "istio-system"
IMAGE = "docker.io/istio/proxyv2:1.18.5"
STATES = Kind("install.istio.io", "v1alpha1", "istiooperators", "IstioOperator")


class Memory:
    """The part of a `MeshApi` that the steps use. `rehearsed` makes what would become of a pod."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Body] = {}
        self.rehearsed: Callable[[Body], Body] = lambda body: body
        self.failing: KubeError | None = None

    def put(self, kind: Kind, name: str, namespace: str = SYSTEM, **parts: Any) -> Body:  # noqa: ANN401 - JSON
        metadata = {"name": name, **({"namespace": namespace} if kind.namespaced else {}), **parts.pop("metadata", {})}
        body = kind.body(metadata=metadata, **parts)
        self.objects[kind.plural, namespace if kind.namespaced else "", name] = body
        return body

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        if self.failing is not None:
            raise self.failing
        try:
            return copy.deepcopy(self.objects[kind.plural, namespace if kind.namespaced else "", name])
        except KeyError:
            raise KubeError(Failing.MISSING, f"{kind.plural} {name} not found") from None

    def list(self, kind: Kind, namespace: str) -> Listing:
        found = [
            copy.deepcopy(body)
            for (plural, where, _), body in self.objects.items()
            if plural == kind.plural and namespace in ("", where)
        ]
        return Listing(found, "1")

    def apply(self, kind: Kind, namespace: str, body: Body, *, manager: str, force: bool) -> Body:
        del manager, force
        self.objects[kind.plural, namespace if kind.namespaced else "", body["metadata"]["name"]] = body
        return body

    def rehearse(self, kind: Kind, namespace: str, body: Body) -> Body:
        del kind, namespace
        return self.rehearsed(body)


@dataclass
class Tool:
    """An istioctl that renders what it is told to, and notes what it is asked to install."""

    version: str = "1.18.5"
    rendered: str = ""
    secret: str = ""
    failing: IstioctlError | None = None
    installed: list[str] = field(default_factory=list)

    def validate(self, operator: str) -> None:
        """Nothing is asked of it here."""

    def manifest(self, operator: str) -> str:
        del operator
        return self.rendered

    def install(self, operator: str, into: Reach, *, ready_within_seconds: float) -> str:
        del into, ready_within_seconds
        self.installed.append(operator)
        if self.failing is not None:
            raise self.failing
        return ""

    def remote_secret(self, of: Reach, *, name: str, server: str) -> str:
        del of, name, server
        return self.secret


@dataclass
class Clock:
    """Time goes by only while somebody waits."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


MESH: Mesh = guide_mesh("1.18.5")
PRIMARY, MEMBER = MESH.clusters


def _site(api: Memory, cluster: Any = PRIMARY) -> Site:  # noqa: ANN401 - either model
    clock = Clock()
    patience = Patience(clock, clock.pause, 10, 10)
    return Site(cluster, cast("MeshApi", api), Reach("/kubeconfig", "c"), patience)


@pytest.fixture
def api() -> Memory:
    return Memory()


def _deployment(image: str = "docker.io/istio/pilot:1.18.5", **labels: str) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"name": "a", "image": image}]}}
    return {"metadata": {"labels": labels}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": pod}}


def _service(kind: str = "LoadBalancer", **annotations: str) -> dict[str, Any]:
    said = {f"service.kubernetes.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"annotations": said, "labels": {COMPONENT: "IngressGateways"}}, "spec": {"type": kind}}


def _wanted(kind: Kind, name: str, parts: Mapping[str, Any]) -> Body:
    metadata = {"name": name, "namespace": SYSTEM, **parts.get("metadata", {})}
    return kind.body(**{**parts, "metadata": metadata})


# -- steps ---------------------------------------------------------------------------------------------------------


@dataclass
class Stepping:
    """A step that is needed so many times."""

    needed: int
    title: str = "a step"
    cluster: str = "cls-1"
    acts: int = 0
    earlier: bool = False

    def look(self) -> Look:
        if self.earlier:
            raise EarlierError("an address is missing")
        return Look(needed=self.needed > 0, says="something is missing" if self.needed else "fine")

    def act(self) -> None:
        self.acts += 1
        self.needed -= 1


class Listening:
    def __init__(self) -> None:
        self.told: list[Told] = []

    def begins(self, step: Any, look: Look) -> None:  # noqa: ANN401 - any step
        """Nothing is kept of it."""

    def ended(self, told: Told) -> None:
        self.told.append(told)


def test_a_step_that_is_not_needed_is_not_carried_out() -> None:
    step, listening = Stepping(0), Listening()

    carry_out([step], listening, Clock())

    assert step.acts == 0
    assert [each.outcome for each in listening.told] == [Outcome.WAS_DONE]


def test_a_step_that_is_needed_afterwards_is_an_error_and_the_next_is_not_begun() -> None:
    first, second = Stepping(2), Stepping(1)

    with pytest.raises(InstallError, match="cls-1: a step: carried out, and still needed: something is missing"):
        carry_out([first, second], Listening(), Clock())

    assert second.acts == 0


def test_a_step_that_cannot_look_yet_is_planned_as_not_known() -> None:
    listening = Listening()

    needed = look_at([Stepping(0), Stepping(0, earlier=True)], listening, Clock())

    assert needed
    assert [each.outcome for each in listening.told] == [Outcome.WAS_DONE, Outcome.NOT_KNOWN_YET]
    assert listening.told[1].look.says == "an address is missing"


# -- guards --------------------------------------------------------------------------------------------------------


def test_a_ca_that_is_missing_or_lacks_a_part_is_named(api: Memory) -> None:
    missing = authority_missing(_site(api))
    api.put(SECRETS, "cacerts", data={"ca-cert.pem": "eA==", "ca-key.pem": "eA==", "root-cert.pem": "eA=="})

    lacks = authority_missing(_site(api))

    assert missing.startswith("the Secret istio-system/cacerts, named by certificates, does not exist; kubectl create")
    assert lacks == "the Secret istio-system/cacerts lacks cert-chain.pem"


def _state(name: str = "installed-state", mesh_id: str = "mesh1", cluster: str = "cls-dxgdg1rl") -> dict[str, Any]:
    values = {"global": {"meshID": mesh_id, "multiCluster": {"clusterName": cluster}}}
    return {"name": name, "spec": {"profile": "default", "values": values}}


def _has_istiod(api: Memory) -> None:
    api.put(DEPLOYMENTS, "istiod", **_deployment(app="istiod"))


def test_several_istio_operators_are_refused(api: Memory) -> None:
    _has_istiod(api)
    api.put(STATES, **_state())
    api.put(STATES, **_state("installed-state-eastwest"))

    said = other_mesh(_site(api), MESH)

    assert said.startswith("there are several IstioOperators here (installed-state, installed-state-eastwest): each")


@pytest.mark.parametrize(
    ("mesh_id", "cluster", "said"),
    [
        ("mesh1", "cls-dxgdg1rl", ""),
        ("mesh2", "cls-dxgdg1rl", "its meshID is mesh2, and the file says mesh1"),
        ("mesh1", "cls-else", "it is the cluster cls-else of its mesh, and the file says cls-dxgdg1rl"),
    ],
)
def test_only_the_files_own_mesh_is_taken_over(api: Memory, mesh_id: str, cluster: str, said: str) -> None:
    _has_istiod(api)
    api.put(STATES, **_state(mesh_id=mesh_id, cluster=cluster))

    found = other_mesh(_site(api), MESH)

    assert said in found
    assert bool(found) == bool(said)


def test_what_a_current_istioctl_keeps_is_read_as_well(api: Memory) -> None:
    _has_istiod(api)
    values = {"global": {"meshID": "mesh2", "multiCluster": {"clusterName": "cls-dxgdg1rl"}}}
    api.put(CONFIG_MAPS, "values", data={"merged-values": json.dumps(values)})

    said = other_mesh(_site(api), MESH)

    assert "shifter did not install the istiod that serves here, and it is another mesh's: its meshID is mesh2" in said


@pytest.mark.parametrize(
    ("mesh_id", "said"), [("mesh1", ""), ("mesh2", "its meshID is mesh2, and the file says mesh1")]
)
def test_a_member_without_a_record_is_known_by_its_gateways(api: Memory, mesh_id: str, said: str) -> None:
    env = [{"name": "ISTIO_META_CLUSTER_ID", "value": MEMBER.cluster}, {"name": "ISTIO_META_MESH_ID", "value": mesh_id}]
    gateway = _deployment(IMAGE, **{COMPONENT: "IngressGateways"})
    gateway["spec"]["template"]["spec"]["containers"][0]["env"] = env
    api.put(DEPLOYMENTS, "gateway", **gateway)
    service = {"service": {"namespace": SYSTEM, "name": "istiod"}}
    webhooks = [{"name": "namespace.sidecar-injector.istio.io", "clientConfig": service}]
    api.put(MUTATING_WEBHOOKS, "istio-sidecar-injector", webhooks=webhooks)

    found = other_mesh(_site(api, MEMBER), MESH)

    assert said in found
    assert bool(found) == bool(said)


def test_a_primary_is_not_made_a_member(api: Memory) -> None:
    member = MEMBER.model_copy(update={"cluster": PRIMARY.cluster})
    write(_site(api), Installed(operator_of_primary(MESH).text, "1.18.5", Stage.WHOLE))

    said = other_mesh(_site(api, member), MESH)

    assert "shifter has installed another mesh here: it has istiod, and the file's has none" in said


def test_a_member_is_not_made_a_primary(api: Memory) -> None:
    (member,) = MESH.spec.members
    primary = PRIMARY.model_copy(update={"cluster": member.cluster})
    write(_site(api), Installed(operator_of_member(MESH, member, "10.0.0.1").text, "1.18.5", Stage.WHOLE))

    said = other_mesh(_site(api, primary), MESH)

    assert "it is a member, and the file says primary" in said


# -- manifests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rendered", "said"),
    [("a: [", "what istioctl rendered is no YAML"), ("- a\n", "holds something that is no object of Kubernetes")],
)
def test_a_manifest_that_is_none_is_refused(rendered: str, said: str) -> None:
    with pytest.raises(InstallError, match=said):
        Manifests(Tool(rendered=rendered)).of("operator")


def test_a_public_service_that_the_file_does_not_ask_for_is_refused() -> None:
    public = _wanted(SERVICES, "istio-ingressgateway", _service())

    with pytest.raises(RefusedError, match="renders the public Service istio-system/istio-ingressgateway, and"):
        refuse_unwanted(MESH, PRIMARY, [public])

    refuse_unwanted(MESH, MEMBER, [public])


def test_images_of_another_registry_are_refused() -> None:
    strange = _wanted(DEPLOYMENTS, "istiod", _deployment("registry.istio.io/testing/pilot:latest"))

    with pytest.raises(RefusedError, match=r"renders the images registry\.istio\.io/testing/pilot:latest, and"):
        refuse_unwanted(MESH, PRIMARY, [strange])


# -- what lives ----------------------------------------------------------------------------------------------------


def test_what_is_gone_or_runs_something_else_is_seen(api: Memory) -> None:
    api.put(DEPLOYMENTS, "istiod", **_deployment("docker.io/istio/pilot:1.17.0"))
    api.put(SERVICES, "gateway", **_service("NodePort"))
    wanted = [
        _wanted(DEPLOYMENTS, "istiod", _deployment()),
        _wanted(SERVICES, "gateway", _service()),
        _wanted(CONFIG_MAPS, "istio", {}),
    ]

    said = lacking(_site(api), wanted)

    assert "Deployment istio-system/istiod runs docker.io/istio/pilot:1.17.0" in said
    assert "Service istio-system/gateway is of type NodePort" in said
    assert "ConfigMap istio-system/istio is gone" in said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"tke_existed_lbid": "lb-1"}, "has a public CLB of its own, and the file says the existing CLB lb-1"),
        (
            {"qcloud_loadbalancer_internal_subnetid": "subnet-1"},
            {"qcloud_loadbalancer_internal_subnetid": "subnet-2"},
            "has a CLB of its own in subnet-1, and the file says a CLB of its own in subnet-2",
        ),
        ({"tke_existed_lbid": "lb-1"}, {}, "has the existing CLB lb-1, and the file says a public CLB of its own"),
    ],
)
def test_no_service_is_given_another_clb(api: Memory, before: Any, after: Any, said: str) -> None:  # noqa: ANN401 - keywords
    api.put(SERVICES, "gateway", **_service(**before))

    with pytest.raises(RefusedError, match=said):
        refuse_what_cannot_change(_site(api), [_wanted(SERVICES, "gateway", _service(**after))], allow_removal=True)


# -- istioctl ------------------------------------------------------------------------------------------------------


def _doing(api: Memory, tool: Tool, *, allow_removal: bool = False) -> Doing:
    return Doing(_site(api), MESH, tool, Manifests(tool), allow_removal)


def test_gateways_are_never_taken_away_by_a_control_plane_without_them(api: Memory) -> None:
    tool = Tool(rendered=yaml.safe_dump(_wanted(DEPLOYMENTS, "gateway", _deployment())))
    api.put(DEPLOYMENTS, "gateway", **_deployment(**{COMPONENT: "IngressGateways"}))
    doing = _doing(api, tool)
    step = ControlPlane(doing, lambda: "bare", Operator(doing, lambda: "whole"), "control plane")

    step.act()

    assert tool.installed == ["whole"]
    assert read(doing.site) == Installed("whole", "1.18.5", Stage.WHOLE)


def test_a_gateway_that_would_go_stops_even_a_run_that_resumes_a_killed_one(api: Memory) -> None:
    tool = Tool(rendered=yaml.safe_dump(_wanted(DEPLOYMENTS, "kept", _deployment())))
    api.put(DEPLOYMENTS, "gone", **_deployment(**{COMPONENT: "IngressGateways"}))
    doing = _doing(api, tool)
    write(doing.site, Installed("whole", "1.18.5", Stage.BEGUN))

    with pytest.raises(RefusedError, match="the file does not have istio-system/gone: istioctl would remove that"):
        Operator(doing, lambda: "edited").look()


def test_what_istioctl_leaves_although_it_was_to_go_is_told(api: Memory) -> None:
    tool = Tool(rendered=yaml.safe_dump(_wanted(DEPLOYMENTS, "kept", _deployment())))
    api.put(DEPLOYMENTS, "old", **_deployment(**{COMPONENT: "IngressGateways"}))

    with pytest.raises(InstallError, match="istioctl has left istio-system/old, which another release of it had"):
        Operator(_doing(api, tool, allow_removal=True), lambda: "whole").act()


def test_another_release_of_istioctl_installs_again(api: Memory) -> None:
    doing = _doing(api, Tool())
    write(doing.site, Installed("whole", "1.18.4", Stage.WHOLE))

    look = Operator(doing, lambda: "whole").look()

    assert look == Look(needed=True, says="istioctl install: from 1.18.4 to 1.18.5")


def test_an_edited_file_is_shown_as_a_difference(api: Memory) -> None:
    doing = _doing(api, Tool())
    write(doing.site, Installed("a: 1\n", "1.18.5", Stage.WHOLE))

    look = Operator(doing, lambda: "a: 2\n").look()

    assert look.says == "istioctl install: it differs"
    assert look.detail.splitlines()[-2:] == ["-a: 1", "+a: 2"]


def test_a_failed_installation_stays_begun(api: Memory) -> None:
    doing = _doing(api, Tool(failing=IstioctlError("`istioctl install` failed with exit code 1: no")))

    with pytest.raises(InstallError, match="cls-dxgdg1rl: `istioctl install` failed with exit code 1: no"):
        Operator(doing, lambda: "whole").act()

    assert read(doing.site) == Installed("whole", "1.18.5", Stage.BEGUN)


# -- what is waited for --------------------------------------------------------------------------------------------


def test_a_rollout_says_what_it_lacks(api: Memory) -> None:
    site = _site(api)
    said = [rollout(site, SYSTEM, "a")]
    api.put(DEPLOYMENTS, "a", metadata={"generation": 2}, spec={"replicas": 2}, status={"observedGeneration": 1})
    said.append(rollout(site, SYSTEM, "a"))
    status = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}
    api.put(DEPLOYMENTS, "a", metadata={"generation": 2}, spec={"replicas": 2}, status=status)

    said.append(rollout(site, SYSTEM, "a"))

    assert said == [
        "there is no Deployment istio-system/a",
        "Deployment istio-system/a: what was changed is not looked at yet",
        "Deployment istio-system/a: 1 of 2 pods are ready",
    ]


def _has_injector(api: Memory, bundle: str = "eA==") -> None:
    webhooks = [{"name": "a.sidecar-injector.istio.io", "clientConfig": {"caBundle": bundle}}]
    api.put(MUTATING_WEBHOOKS, "istio-sidecar-injector", webhooks=webhooks)


def _with_sidecar(image: str) -> Callable[[Body], Body]:
    return lambda body: {**body, "spec": {"containers": [{"name": "istio-proxy", "image": image}]}}


def test_an_injection_says_what_it_lacks(api: Memory) -> None:
    site = _site(api)
    said = [injection(site, IMAGE, None)]
    _has_injector(api, "")
    said.append(injection(site, IMAGE, None))
    _has_injector(api)
    said.append(injection(site, IMAGE, None))
    api.rehearsed = _with_sidecar("docker.io/istio/proxyv2:1.17.0")
    said.append(injection(site, IMAGE, None))
    api.rehearsed = _with_sidecar(IMAGE)

    said.append(injection(site, IMAGE, None))

    assert said == [
        "there is no webhook istio-sidecar-injector",
        "istiod has not written its certificate into the webhook istio-sidecar-injector yet",
        "the webhook adds no sidecar to a new pod",
        f"the webhook injects docker.io/istio/proxyv2:1.17.0, and {IMAGE} is wanted",
        "",
    ]


def test_a_webhook_that_nobody_answers_is_something_missing(api: Memory) -> None:
    _has_injector(api)

    def refuse(body: Body) -> Body:
        raise KubeError(Failing.UNAVAILABLE, f'failed calling webhook "x": {body["kind"]}')

    api.rehearsed = refuse

    assert injection(_site(api), IMAGE, None) == 'its webhook does not answer: failed calling webhook "x": Pod'


def test_an_istiod_that_does_not_come_is_told_with_its_pods_reasons(api: Memory) -> None:
    waiting = {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    api.put(PODS, "istiod-1", status=waiting)

    with pytest.raises(TransientError) as caught:
        Serving(_site(api), IMAGE, None).act()

    missing = "there is no Deployment istio-system/istiod"
    assert str(caught.value) == f"cls-dxgdg1rl: after 10 s: {missing}; the cluster says: istiod-1: ImagePullBackOff"


def test_a_member_that_is_not_served_is_told_what_to_look_at(api: Memory) -> None:
    with pytest.raises(TransientError, match="istiod has not written its root certificate there yet") as caught:
        Joined(_site(api, MEMBER), IMAGE, None).act()

    assert caught.value.remedy.startswith("istiod looks at a member when its Secret appears")


def _ready_gateway(api: Memory, **annotations: str) -> None:
    api.put(DEPLOYMENTS, "gw", spec={"replicas": 0}, status={})
    service = _service(**annotations)
    api.put(SERVICES, "gw", **service, status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})


def test_a_gateway_is_ready_only_with_its_clb(api: Memory) -> None:
    step = GatewayReady(_site(api), SYSTEM, "gw", balanced=True, existing="lb-1")
    _ready_gateway(api)
    unknown = step.look()
    _ready_gateway(api, **{BALANCER.removeprefix("service.kubernetes.io/"): "lb-1"})

    known = step.look()

    assert unknown == Look(needed=True, says="Service istio-system/gw does not say which CLB it has")
    assert known == Look(needed=False, says="at 10.0.0.1")


def test_a_gateway_with_another_clb_than_the_files_is_refused(api: Memory) -> None:
    _ready_gateway(api, loadbalance_id="lb-2")

    with pytest.raises(RefusedError, match="Service istio-system/gw has the CLB lb-2, and the file says lb-1"):
        GatewayReady(_site(api), SYSTEM, "gw", balanced=True, existing="lb-1").look()


def test_events_of_a_service_are_told_once_and_the_last_ones(api: Memory) -> None:
    _ready_gateway(api)
    about = {"kind": "Service", "name": "gw"}
    for number in range(5):
        parts: dict[str, Any] = {
            "type": "Warning",
            "reason": "Quota",
            "message": f"no {min(number, 3)}",
        }
        api.put(CORE_EVENTS, f"e{number}", **parts, involvedObject=about, lastTimestamp=f"2026-01-01T00:00:0{number}Z")

    with pytest.raises(TransientError, match=r"the cluster says: Quota: no 2; Quota: no 3$"):
        GatewayReady(_site(api), SYSTEM, "gw", balanced=True).act()


# -- remote secrets ------------------------------------------------------------------------------------------------


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _kubeconfig(server: str, token: str) -> str:
    clusters, users = [{"cluster": {"server": server}}], [{"user": {"token": token}}]
    return yaml.safe_dump({"clusters": clusters, "users": users})


@pytest.fixture
def joining(api: Memory) -> tuple[RemoteSecret, Memory, Memory, Tool]:
    theirs, tool = Memory(), Tool()
    token_secret = "istio-reader-service-account-istio-remote-secret-token"
    theirs.put(SECRETS, token_secret, data={"token": _encoded("the-token")})
    return RemoteSecret(_site(api), _site(theirs, MEMBER), tool, "https://10.0.3.4:443"), api, theirs, tool


def _kept(api: Memory, server: str, token: str) -> None:
    api.put(SECRETS, "istio-remote-secret-cls-ne1cw84b", data={MEMBER.cluster: _encoded(_kubeconfig(server, token))})


Joining = tuple[RemoteSecret, Memory, Memory, Tool]


@pytest.mark.parametrize(
    ("server", "token", "says"),
    [
        ("https://10.0.3.4:443", "the-token", "is there"),
        ("https://10.9.9.9:443", "the-token", "make it anew: it leads to https://10.9.9.9:443"),
        ("https://10.0.3.4:443", "old", "make it anew: its credential is not cls-ne1cw84b's any more"),
    ],
)
def test_a_remote_secret_must_lead_to_the_member(joining: Joining, server: str, token: str, says: str) -> None:
    step, api, _, _ = joining
    _kept(api, server, token)

    assert step.look() == Look(needed=says != "is there", says=says)


@pytest.mark.parametrize("printed", ["", "a: [", "kind: Secret\nstringData: {other: very-secret}\n"])
def test_what_istioctl_prints_instead_of_a_secret_is_never_quoted(joining: Joining, printed: str) -> None:
    step, _, _, tool = joining
    tool.secret = printed

    with pytest.raises(InstallError, match="did not print the one remote Secret of cls-ne1cw84b") as caught:
        step.act()

    assert "very-secret" not in str(caught.value)


def test_a_remote_secret_is_applied_as_istioctl_made_it(joining: Joining) -> None:
    step, _, _, tool = joining
    made: Mapping[str, Any] = {
        "kind": "Secret",
        "metadata": {"labels": {"istio/multiCluster": "true"}, "annotations": {"networking.istio.io/cluster": "x"}},
        "stringData": {MEMBER.cluster: _kubeconfig("https://10.0.3.4:443", "the-token")},
    }
    tool.secret = yaml.safe_dump(made)

    step.act()

    assert not step.look().needed


# -- what a server has against it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (Failing.UNAVAILABLE, TransientError),
        (Failing.AMBIGUOUS, TransientError),
        (Failing.DENIED, RefusedError),
        (Failing.CONFLICT, RefusedError),
    ],
)
def test_what_a_server_has_against_it_names_the_cluster_and_what_was_asked(
    api: Memory, failing: Failing, kind: type[ShifterError]
) -> None:
    api.failing = KubeError(failing, "no\x1b[31m")

    with pytest.raises(kind, match=r"^cls-dxgdg1rl: cannot read configmaps shifter-mesh: no"):
        read(_site(api))
