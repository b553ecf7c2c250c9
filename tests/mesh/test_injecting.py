"""The rules of injecting, and its steps on a cluster in memory; `real/test_injecting_real.py` has the real parts."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shifter.cli.main import cli
from shifter.core.documents.mesh import Mesh
from shifter.errors import NotFoundError, RefusedError, TransientError
from shifter.mesh.injecting.checking import NamespaceSeen
from shifter.mesh.injecting.labels import KEPT, Choice, Kept, selects, wanted
from shifter.mesh.injecting.pods import Carrying, Sidecar, found, opted_out
from shifter.mesh.injecting.restarting import RESTARTED_AT, Restarted
from shifter.mesh.injecting.sequence import Injection, targets
from shifter.mesh.injecting.workloads import DAEMON_SETS, REPLICA_SETS, RESTARTER, STATEFUL_SETS
from shifter.mesh.installing.site import Patience, Site
from shifter.mesh.installing.steps import Told, carry_out, look_at
from shifter.ports.istioctl import Reach
from shifter.ports.kube import DEPLOYMENTS, Body, Change, Failing, Kind, KubeError, Listing
from shifter.ports.mesh import CORE_EVENTS, MUTATING_WEBHOOKS, NAMESPACES, PODS
from tests.mesh.guide import mesh_of

CLUSTER = "cls-a"
IMAGE = "docker.io/istio/proxyv2:1.18.5"
ENABLED = {"istio-injection": "enabled"}
OF_TCM = {"istio.io/rev": "1-18-5"}
SIDECAR = Sidecar(IMAGE, CLUSTER, "mesh1", None, frozenset({"1-18-5"}), "mesh-mn8gnn1g")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LOOK_SECONDS = 2.0

Json = dict[str, Any]


def a_mesh(*namespaces: str, **spec: Any) -> Mesh:  # noqa: ANN401 - JSON
    """A mesh of one cluster that gives these namespaces sidecars."""
    whole: Json = {
        "version": "1.18.5",
        "images": {"hub": "docker.io/istio", "tag": "1.18.5", "pullSecrets": []},
        "tcm": {"version": "1.18.5", "meshID": "mesh-mn8gnn1g"},
        "meshID": "mesh1",
        "network": "main",
        "primary": {"cluster": CLUSTER, "context": "a", "inject": list(namespaces or ("shop",))},
        **spec,
    }
    return mesh_of(whole)


def proxy(mesh: str = "mesh1", *, cluster: str = CLUSTER, image: str = IMAGE) -> Json:
    """A sidecar as istiod makes it."""
    env = [{"name": "ISTIO_META_MESH_ID", "value": mesh}, {"name": "ISTIO_META_CLUSTER_ID", "value": cluster}]
    return {"name": "istio-proxy", "image": image, "env": env}


def pod_of(*proxies: Json, labels: Json | None = None, annotations: Json | None = None, **spec: Any) -> Json:  # noqa: ANN401 - JSON
    """A pod with these sidecars beside its own container."""
    own = {"name": "web", "image": "shop/web:1"}
    metadata = {"name": "web-1", "labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": [own, *proxies], **spec}, "status": {"phase": "Running"}}


class Cluster:
    """An API server in memory, with a webhook, and with what makes pods of workloads: at once, unless it is `stuck`.

    Attributes:
        stuck: workloads whose new pods do not become ready; the old ones stay then.
        refuses: what admission has against made-up pods outside of `default`.
        before_replace: called before a write, once each.
        writes: every write: verb, kind, name.
        injects: the webhook adds sidecars.
        answers: so many made-up pods are still given one, then none; None for all.
    """

    def __init__(self, **namespaces: Mapping[str, str]) -> None:
        self.objects: dict[tuple[Kind, str, str], Body] = {}
        self.stuck: set[str] = set()
        self.refuses: KubeError | None = None
        self.before_replace: list[Callable[[], None]] = []
        self.writes: list[tuple[str, str, str]] = []
        self.injects = True
        self.answers: int | None = None
        self._numbers = itertools.count(1)
        self.put(NAMESPACES, "", "kube-system")
        self.put(NAMESPACES, "", "istio-system")
        webhooks = [{"name": "x.sidecar-injector.istio.io", "clientConfig": {"caBundle": "eA=="}}]
        self.put(MUTATING_WEBHOOKS, "", "istio-sidecar-injector", webhooks=webhooks)
        for name, labels in namespaces.items():
            self.put(NAMESPACES, "", name, labels=dict(labels))

    def put(self, kind: Kind, namespace: str, name: str, *, labels: Json | None = None, **parts: Any) -> Body:  # noqa: ANN401 - JSON
        """Put an object there, as if somebody else had."""
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{next(self._numbers)}", "labels": labels or {}}
        metadata |= {"resourceVersion": str(next(self._numbers)), "annotations": {}, **parts.pop("metadata", {})}
        self.objects[kind, namespace, name] = kind.body(metadata=metadata, **parts)
        return self.objects[kind, namespace, name]

    def label(self, name: str, labels: Mapping[str, str]) -> None:
        """Have somebody else set a namespace's labels."""
        metadata = self.objects[NAMESPACES, "", name]["metadata"]
        metadata |= {"labels": dict(labels), "resourceVersion": str(next(self._numbers))}

    def labels(self, name: str = "shop") -> Json:
        found_: Json = self.objects[NAMESPACES, "", name]["metadata"]["labels"]
        return found_

    def workload(self, name: str, kind: Kind = DEPLOYMENTS, *, labels: Json | None = None, **spec: Any) -> Body:  # noqa: ANN401 - JSON
        """Put a workload there whose one pod runs."""
        template = {"metadata": {"labels": {"app": name, **(labels or {})}}, "spec": {"containers": [{"name": name}]}}
        body = self.put(kind, "shop", name, spec={"replicas": 1, "template": template, **spec})
        body["metadata"]["generation"] = 0
        self._roll(kind, body)
        return body

    def pods(self) -> list[Body]:
        return [body for (kind, _, _), body in self.objects.items() if kind == PODS]

    def carry(self) -> set[str]:
        """What the pods of `shop` carry."""
        return {found(each, SIDECAR).carrying.value for each in self.pods()}

    def _roll(self, kind: Kind, body: Body) -> None:
        """Replace the pods of a workload: what the controllers do."""
        metadata, number = body["metadata"], body["metadata"]["generation"] + 1
        metadata["generation"] = number
        is_stuck = metadata["name"] in self.stuck
        mine = [key for key, each in self.objects.items() if key[0] == PODS and each["workload"] == metadata["uid"]]
        for key in mine if not is_stuck else ():
            del self.objects[key]
        owner, labels = body, {}
        if kind == DEPLOYMENTS:
            mark = {"deployment.kubernetes.io/revision": str(number)}
            metadata["annotations"] |= mark
            owner = self.put(
                *(REPLICA_SETS, "shop", f"{metadata['name']}-{number}"),
                metadata={"annotations": mark, "ownerReferences": [{"uid": metadata["uid"], "controller": True}]},
            )
        elif kind == STATEFUL_SETS:
            labels = {"controller-revision-hash": str(number)}
        else:
            metadata["annotations"] |= {"deprecated.daemonset.template.generation": str(number)}
            labels = {"pod-template-generation": str(number)}
        pod = self._made("shop", body["spec"]["template"])
        pod["metadata"]["labels"] |= labels
        about = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}
        self.put(
            *(PODS, "shop", f"{metadata['name']}-{number}"),
            metadata={**pod["metadata"], "ownerReferences": [{"kind": "ReplicaSet", **about}]},
            spec=pod["spec"],
            status={"phase": "Running", "containerStatuses": _waiting(metadata["name"]) if is_stuck else []},
            workload=metadata["uid"],
        )
        ready = 0 if is_stuck else 1
        counts = dict.fromkeys(("updatedReplicas", "updatedNumberScheduled"), 1)
        counts |= dict.fromkeys(("availableReplicas", "numberAvailable"), ready)
        body["status"] = {"observedGeneration": number, "replicas": 1, "desiredNumberScheduled": 1, **counts}
        body["status"]["updateRevision"] = str(number)

    def _made(self, namespace: str, template: Body) -> Body:
        """Return a pod of a template, as it comes out of admission."""
        choice, made = self.labels(namespace), copy.deepcopy(template)
        made["metadata"].setdefault("labels", {})
        says = made["metadata"]["labels"].get("sidecar.istio.io/inject")
        if says == "false" or not self.injects:
            return made
        if choice.get("istio-injection") == "enabled" or (namespace == "istio-system" and says == "true"):
            made["spec"]["containers"].append(proxy())
        elif "istio-injection" not in choice and choice.get("istio.io/rev") == "canary":
            made["spec"]["containers"].append(proxy())
            made["metadata"]["annotations"] = {"istio.io/rev": "canary"}
        elif "istio-injection" not in choice and choice.get("istio.io/rev") == "1-18-5":
            made["spec"]["containers"].append(proxy("mesh-mn8gnn1g"))
        return made

    # -- MeshApi -------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        body = self.objects.get((kind, namespace if kind.namespaced else "", name))
        if body is None:
            raise KubeError(Failing.MISSING, f'{kind.plural} "{name}" not found', status=404)
        return copy.deepcopy(body)

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        assert not labels
        return Listing(
            [copy.deepcopy(b) for (k, ns, _), b in self.objects.items() if k == kind and ns == namespace], "1"
        )

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        assert not status
        if self.before_replace:
            self.before_replace.pop(0)()
        key = (kind, namespace, body["metadata"]["name"])
        if body["metadata"]["resourceVersion"] != self.objects[key]["metadata"]["resourceVersion"]:
            raise KubeError(Failing.CONFLICT, "the object has been modified", status=409)
        self.writes.append(("replace", kind.plural, key[2]))
        body = copy.deepcopy(body)
        body["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.objects[key] = body
        return body

    def apply(
        self, kind: Kind, namespace: str, body: Body, *, manager: str, force: bool = False, dry_run: bool = False
    ) -> Body:
        assert force
        assert not dry_run
        kept = self.objects[kind, namespace, body["metadata"]["name"]]
        self.writes.append(("apply", kind.plural, body["metadata"]["name"]))
        template = kept["spec"]["template"]["metadata"]
        template.setdefault("annotations", {}).update(body["spec"]["template"]["metadata"]["annotations"])
        kept["metadata"]["managedFields"] = [{"manager": manager}]
        self._roll(kind, kept)
        return kept

    def rehearse(self, kind: Kind, namespace: str, body: Body) -> Body:
        assert kind == PODS
        if self.refuses is not None and namespace != "istio-system":
            raise self.refuses
        if self.answers is not None:
            self.injects, self.answers = self.answers > 0, self.answers - 1
        return self._made(namespace, body)

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        raise NotImplementedError

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        raise NotImplementedError

    def watch(
        self,
        kind: Kind,
        namespace: str,
        resource_version: str,
        *,
        seconds: float,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Change]:
        raise NotImplementedError

    def document(self, path: str) -> Body:
        raise NotImplementedError

    def pages(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Iterator[Sequence[Body]]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def _waiting(name: str) -> list[Json]:
    return [{"name": name, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]


class Telling:
    """What was told of steps."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def begins(self, step: object, look: object) -> None:
        """Nothing is kept of it."""

    def ended(self, told: Told) -> None:
        self.told.append(told)

    def says(self, title: str) -> str:
        return next(each.look.says for each in self.told if each.step.title.startswith(title))


@dataclass
class World:
    """A mesh over a cluster in memory; time passes only where somebody waits, and `meanwhile` is called then."""

    cluster: Cluster
    mesh: Mesh
    moment: float = 0.0
    meanwhile: Callable[[], None] = lambda: None

    def _pause(self, seconds: float) -> None:
        self.moment += seconds
        self.meanwhile()

    def injection(self, **how: Any) -> Injection:  # noqa: ANN401 - as the class
        patience = Patience(lambda: self.moment, self._pause, 10.0, 10.0, LOOK_SECONDS)
        site = Site(self.mesh.spec.primary, self.cluster, Reach("", "a"), patience)
        meant = targets(self.mesh, (), (), undone=how.get("undone", False))
        return Injection(self.mesh, {CLUSTER: site}, meant, lambda: NOW, lambda c, n: f"BACK {c} {n}", **how)

    def run(self, **how: Any) -> Telling:  # noqa: ANN401 - as the class
        telling = Telling()
        carry_out(self.injection(**how).steps(), telling, lambda: self.moment)
        return telling

    def look(self, **how: Any) -> tuple[bool, Telling]:  # noqa: ANN401 - as the class
        telling = Telling()
        return look_at(self.injection(**how).steps(), telling, lambda: self.moment), telling

    def check(self, **how: Any) -> NamespaceSeen:  # noqa: ANN401 - as the class
        (seen,) = self.injection(**how).check()
        return seen


@pytest.fixture
def world() -> World:
    """A namespace of TCM's, with a Deployment, a StatefulSet and a DaemonSet in it."""
    cluster = Cluster(shop={**OF_TCM, "team": "shop"})
    cluster.workload("web")
    cluster.workload("db", STATEFUL_SETS)
    cluster.workload("log", DAEMON_SETS)
    return World(cluster, a_mesh())


# -- which labels choose what ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "pod", "by_default", "by_canary"),
    [
        ({}, {}, False, False),
        (ENABLED, {}, True, False),
        (ENABLED, {"sidecar.istio.io/inject": "false"}, False, False),
        ({"istio-injection": "disabled"}, {"sidecar.istio.io/inject": "true"}, False, False),
        ({**ENABLED, "istio.io/rev": "canary"}, {}, True, False),
        ({"istio-injection": "disabled", "istio.io/rev": "canary"}, {}, False, False),
        ({"istio.io/rev": "default"}, {}, True, False),
        ({"istio.io/rev": "canary"}, {}, False, True),
        ({"istio.io/rev": "canary"}, {"istio.io/rev": "default"}, False, True),
        ({}, {"istio.io/rev": "canary"}, False, True),
        ({}, {"istio.io/rev": "default"}, True, False),
        ({}, {"sidecar.istio.io/inject": "true"}, True, False),
        ({}, {"sidecar.istio.io/inject": "true", "istio.io/rev": "1-18-5"}, False, False),
    ],
)
def test_the_older_label_wins_and_a_pod_is_asked_only_where_its_namespace_is_silent(
    namespace: Json, pod: Json, *, by_default: bool, by_canary: bool
) -> None:
    choice = Choice.of(namespace)

    assert selects(choice, pod, None) is by_default
    assert selects(choice, pod, "canary") is by_canary


def test_a_namespace_has_exactly_one_of_the_two_labels_afterwards() -> None:
    before = {"team": "shop", "istio-injection": "disabled", "istio.io/rev": "1-18-5"}

    assert wanted(None).put_into(before) == {"team": "shop", **ENABLED}
    assert wanted("canary").put_into(before) == {"team": "shop", "istio.io/rev": "canary"}


def test_what_is_kept_is_read_as_it_was_written() -> None:
    kept = Kept(Choice(revision="1-18-5"), Choice(injection="enabled"))

    assert Kept.of({KEPT: str(kept)}) == kept
    assert Kept.of({}) is None


# -- whose sidecar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "carrying", "says"),
    [
        (pod_of(proxy()), Carrying.OURS, ""),
        (pod_of(proxy(), annotations={"istio.io/rev": "default"}), Carrying.OURS, ""),
        (pod_of(proxy(), labels=OF_TCM, annotations={"istio.io/rev": "default"}), Carrying.OURS, ""),
        (pod_of(initContainers=[{**proxy(), "restartPolicy": "Always"}]), Carrying.OURS, ""),
        (pod_of(initContainers=[{"name": "istio-init", "image": IMAGE}]), Carrying.NONE, "has no sidecar"),
        (pod_of(), Carrying.NONE, "has no sidecar"),
        (pod_of(proxy("mesh-mn8gnn1g")), Carrying.OTHERS, "has TCM's sidecar"),
        (pod_of(proxy(), annotations={"istio.io/rev": "1-18-5"}), Carrying.OTHERS, "has TCM's sidecar"),
        (pod_of(proxy("mesh2")), Carrying.OTHERS, "has another sidecar: mesh mesh2 instead of mesh1"),
        (pod_of(proxy(cluster="cls-b")), Carrying.OTHERS, "has another sidecar: cluster cls-b instead of cls-a"),
        (
            pod_of(proxy(image="hub/proxyv2:1.17.0")),
            Carrying.OTHERS,
            f"has another sidecar: image hub/proxyv2:1.17.0 instead of {IMAGE}",
        ),
        (
            pod_of(proxy(), annotations={"istio.io/rev": "old"}),
            Carrying.OTHERS,
            "has another sidecar: revision old instead of default",
        ),
        (
            pod_of(proxy(), {**proxy(), "name": "proxy-2"}),
            Carrying.OTHERS,
            "has 2 sidecars: istio-proxy, proxy-2",
        ),
        (pod_of(hostNetwork=True), Carrying.OPTED_OUT, "uses its node's network"),
        (
            pod_of(labels={"sidecar.istio.io/inject": "false"}),
            Carrying.OPTED_OUT,
            "says sidecar.istio.io/inject=false",
        ),
    ],
)
def test_a_pod_tells_whose_sidecar_it_carries(pod: Json, carrying: Carrying, says: str) -> None:
    seen = found(pod, SIDECAR)

    assert (seen.carrying, seen.says) == (carrying, says)


@pytest.mark.parametrize(
    ("label", "annotation", "out"),
    [("true", "false", False), ("false", "true", True), (None, "no", True), (None, "YES", False), (None, None, False)],
)
def test_the_label_that_opts_out_is_asked_before_the_annotation(
    label: str | None, annotation: str | None, *, out: bool
) -> None:
    said = {"labels": label, "annotations": annotation}
    metadata = {place: {"sidecar.istio.io/inject": value} for place, value in said.items() if value is not None}

    assert bool(opted_out(metadata, {})) is out


# -- which namespaces --------------------------------------------------------------------------------------------


def test_the_namespaces_are_those_of_the_file_and_of_those_the_named_ones() -> None:
    mesh = a_mesh("shop", "pay")

    assert [each.namespace for each in targets(mesh, (), (), undone=False)] == ["shop", "pay"]
    assert [each.namespace for each in targets(mesh, (CLUSTER,), ("pay",), undone=False)] == ["pay"]


def test_what_the_file_no_longer_lists_can_be_undone_by_its_name() -> None:
    assert [each.namespace for each in targets(a_mesh("shop"), (), ("pay",), undone=True)] == ["pay"]


@pytest.mark.parametrize(
    ("clusters", "namespaces", "says"),
    [
        (("cls-x",), (), "the mesh main has no cluster cls-x; it has cls-a"),
        ((), ("pay",), "the mesh main does not list namespace pay under inject of any cluster"),
        ((CLUSTER,), ("pay",), "the mesh main does not list namespace pay under inject of cluster cls-a"),
        ((), ("kube-system",), "namespace kube-system never gets sidecars"),
        ((), ("istio-system",), "namespace istio-system never gets sidecars"),
    ],
)
def test_a_name_that_is_not_meant_by_the_file_is_refused(
    clusters: tuple[str, ...], namespaces: tuple[str, ...], says: str
) -> None:
    with pytest.raises(NotFoundError, match=says):
        targets(a_mesh("shop"), clusters, namespaces, undone=False)


# -- labels ------------------------------------------------------------------------------------------------------


def test_a_namespace_gets_the_label_and_its_old_one_is_kept_in_the_same_write(world: World) -> None:
    told = world.run()

    assert world.cluster.labels() == {"team": "shop", **ENABLED}
    annotations = world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"]
    assert json.loads(annotations[KEPT]) == {"before": OF_TCM, "after": ENABLED}
    assert world.cluster.writes == [("replace", "namespaces", "shop")]
    assert told.says("labels") == "istio-injection=enabled; a new pod gets the sidecar"


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (OF_TCM, "istio-injection=enabled instead of istio.io/rev=1-18-5, which is TCM's"),
        ({"istio.io/rev": "old"}, "istio-injection=enabled instead of istio.io/rev=old, which is another mesh's"),
        (
            {"istio-injection": "disabled"},
            "istio-injection=enabled instead of istio-injection=disabled: somebody has switched injection off there",
        ),
        ({}, "istio-injection=enabled instead of no label"),
        (
            {"pod-security.kubernetes.io/enforce": "baseline"},
            (
                "istio-injection=enabled instead of no label; warning: pod-security.kubernetes.io/enforce=baseline lets"
                " no pod in that needs NET_ADMIN, as sidecars without Istio's CNI plugin do"
            ),
        ),
    ],
)
def test_what_a_namespace_says_today_is_told_before_it_is_changed(world: World, labels: Json, says: str) -> None:
    world.cluster.label("shop", labels)

    needed, told = world.look()

    assert needed
    assert told.says("labels") == says
    assert not world.cluster.writes


@pytest.mark.parametrize("values", [{"istio_cni": {"enabled": True}}, {"pilot": {"cni": {"enabled": True}}}])
def test_pod_security_is_not_warned_of_where_the_file_has_the_cni_plugin(world: World, values: Json) -> None:
    world.cluster.label("shop", {"pod-security.kubernetes.io/enforce": "restricted"})
    world.mesh = a_mesh(values=values)

    _, told = world.look()

    assert "warning" not in told.says("labels")


def test_a_mesh_with_a_revision_labels_with_it_and_takes_the_older_label_away(world: World) -> None:
    world.mesh = a_mesh(revision="canary")
    webhooks = [{"name": "x.sidecar-injector.istio.io", "clientConfig": {"caBundle": "eA=="}}]
    world.cluster.put(MUTATING_WEBHOOKS, "", "istio-sidecar-injector-canary", webhooks=webhooks)
    world.cluster.label("shop", ENABLED)

    world.run(restarts=True)

    assert world.cluster.labels() == {"istio.io/rev": "canary"}
    assert not world.check().wrong


def test_another_revision_of_the_mesh_keeps_what_was_found_first(world: World) -> None:
    world.run()
    world.mesh = a_mesh(revision="canary")
    webhooks = [{"name": "x.sidecar-injector.istio.io", "clientConfig": {"caBundle": "eA=="}}]
    world.cluster.put(MUTATING_WEBHOOKS, "", "istio-sidecar-injector-canary", webhooks=webhooks)

    world.run()

    annotations = world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"]
    assert json.loads(annotations[KEPT]) == {"before": OF_TCM, "after": {"istio.io/rev": "canary"}}


def test_a_second_run_writes_nothing(world: World) -> None:
    world.run(restarts=True)
    world.cluster.writes.clear()

    needed, _ = world.look(restarts=True)
    world.run(restarts=True)

    assert not needed
    assert not world.cluster.writes


def test_labels_that_somebody_changed_since_are_not_overwritten(world: World) -> None:
    world.run()
    world.cluster.label("shop", {"istio-injection": "disabled"})

    for how in ({}, {"undone": True}):
        with pytest.raises(RefusedError, match="somebody has changed it since, and that is not overwritten") as refused:
            world.run(**how)
        assert "has istio-injection=disabled, where shifter wrote istio-injection=enabled" in str(refused.value)
        assert refused.value.remedy.endswith(f"kubectl annotate namespace shop {KEPT}-")
    assert world.cluster.labels() == {"istio-injection": "disabled"}


def test_a_change_between_look_and_write_is_looked_at_again(world: World) -> None:
    world.cluster.before_replace = [lambda: world.cluster.label("shop", {**OF_TCM, "new": "yes"})]

    world.run()

    assert world.cluster.labels() == {"new": "yes", **ENABLED}


@pytest.mark.fault(
    on="people",
    fault="change a namespace while it is labelled, again and again",
    does="refuses after 5 tries; nothing of theirs is overwritten",
    sees="error `was changed by somebody else 5 times`",
    safe_within="at once",
)
def test_a_namespace_that_is_changed_all_the_time_is_left_alone(world: World) -> None:
    world.cluster.before_replace = [lambda: world.cluster.label("shop", OF_TCM)] * 5

    with pytest.raises(RefusedError, match="was changed by somebody else 5 times while shifter was to label it"):
        world.run()

    assert world.cluster.labels() == OF_TCM


def test_a_namespace_that_is_not_there_stops_everything_before_it_begins(world: World) -> None:
    world.mesh = a_mesh("shop", "pay")

    with pytest.raises(RefusedError, match="there is no namespace pay; make it first, or take it out of the file's"):
        world.run()

    assert not world.cluster.writes


def test_a_namespace_that_is_being_deleted_stops_everything_before_it_begins(world: World) -> None:
    world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"

    with pytest.raises(RefusedError, match="namespace shop is being deleted; wait until it is gone, or take it out"):
        world.run()


def test_an_annotation_that_shifter_did_not_write_is_not_guessed_at(world: World) -> None:
    world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"] = {KEPT: '["enabled"]'}

    for how in ({}, {"undone": True}):
        with pytest.raises(RefusedError, match="is not what shifter wrote, so nobody knows which labels it had"):
            world.run(**how)


# -- what must be there before, and what must come of it ---------------------------------------------------------


def test_nothing_is_labelled_where_the_webhook_adds_no_sidecar(world: World) -> None:
    world.cluster.injects = False

    with pytest.raises(RefusedError, match="pods would not get the sidecar: the webhook adds no sidecar to a new pod"):
        world.run()

    assert world.cluster.labels() == {"team": "shop", **OF_TCM}


@pytest.mark.fault(
    on="Kubernetes",
    fault="a namespace's pod security lets no sidecar in",
    does="puts the namespace's labels back; restarts nothing",
    sees="error `no pod with a sidecar may run in namespace`",
    safe_within="at once",
)
def test_labels_are_put_back_where_no_pod_with_a_sidecar_may_run(world: World) -> None:
    said = 'pods "shifter-made-up" is forbidden: violates PodSecurity "restricted:latest": NET_ADMIN'
    world.cluster.refuses = KubeError(Failing.DENIED, said, status=403)

    with pytest.raises(RefusedError, match="no pod with a sidecar may run in namespace shop") as refused:
        world.run(restarts=True)

    assert str(refused.value).endswith("; the labels are as they were")
    assert world.cluster.labels() == {"team": "shop", **OF_TCM}
    assert KEPT not in world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"]
    assert {kind for _, kind, _ in world.cluster.writes} == {"namespaces"}


def test_labels_are_put_back_where_a_new_pod_gets_no_sidecar_in_time(world: World) -> None:
    world.cluster.before_replace = [lambda: setattr(world.cluster, "injects", False)]

    with pytest.raises(TransientError, match="a new pod in namespace shop has no sidecar; the labels are as they were"):
        world.run()

    assert world.cluster.labels() == {"team": "shop", **OF_TCM}


def test_labels_that_were_there_before_stay_if_a_new_pod_gets_no_sidecar(world: World) -> None:
    world.cluster.label("shop", ENABLED)
    world.cluster.answers = 1

    with pytest.raises(TransientError, match="has no sidecar; the labels are as shifter found them"):
        world.run()

    assert world.cluster.labels() == ENABLED


def test_a_cluster_that_refuses_pods_for_its_own_reasons_does_not_keep_a_namespace_from_its_label(world: World) -> None:
    world.cluster.refuses = KubeError(Failing.DENIED, "exceeded quota: pods", status=403)

    world.run()

    assert world.cluster.labels() == {"team": "shop", **ENABLED}


# -- restarts ----------------------------------------------------------------------------------------------------


def test_a_restart_brings_the_sidecar_to_all_three_kinds(world: World) -> None:
    world.run(restarts=True)

    assert world.cluster.carry() == {"this mesh's"}
    assert not world.check().wrong
    web = world.cluster.objects[DEPLOYMENTS, "shop", "web"]
    assert web["spec"]["template"]["metadata"]["annotations"] == {RESTARTED_AT: "2026-11-22T12:00:00Z"}
    assert web["metadata"]["managedFields"] == [{"manager": RESTARTER}]


def test_without_a_restart_the_pods_are_told_by_name(world: World) -> None:
    world.run()

    assert [(each.name, each.owner, each.says) for each in world.check().wrong] == [
        ("db-1", "StatefulSet db", "has TCM's sidecar"),
        ("log-1", "DaemonSet log", "has TCM's sidecar"),
        ("web-1", "Deployment web", "has TCM's sidecar"),
    ]


def test_workloads_that_opted_out_are_not_restarted_and_told_apart(world: World) -> None:
    world.cluster.workload("batch", labels={"sidecar.istio.io/inject": "false"})

    world.run(restarts=True)

    assert ("apply", "deployments", "batch") not in world.cluster.writes
    seen = world.check()
    assert not seen.wrong
    assert [each.name for each in seen.pods if each.carrying is Carrying.OPTED_OUT] == ["batch-1"]


def test_so_many_are_restarted_together_and_no_more(world: World) -> None:
    told = world.run(restarts=True, at_a_time=2)

    assert [each.step.title for each in told.told if isinstance(each.step, Restarted)] == [
        "pods in shop of Deployment web, StatefulSet db",
        "pods in shop of DaemonSet log",
    ]


@pytest.mark.parametrize(
    ("kind", "spec", "says"),
    [
        (DEPLOYMENTS, {"paused": True}, "its rollouts are paused: kubectl rollout resume deployment/odd"),
        (STATEFUL_SETS, {"updateStrategy": {"type": "OnDelete"}}, "it replaces pods only when they are deleted"),
        (STATEFUL_SETS, {"updateStrategy": {"rollingUpdate": {"partition": 2}}}, "it replaces no pod below number 2"),
    ],
)
def test_a_workload_that_would_not_replace_its_pods_is_not_restarted_and_says_why(
    world: World, kind: Kind, spec: Json, says: str
) -> None:
    world.cluster.workload("odd", kind, **spec)

    world.run(restarts=True)

    (wrong,) = world.check().wrong
    assert wrong.name == "odd-1"
    assert says in wrong.says
    assert ("apply", kind.plural, "odd") not in world.cluster.writes


def test_a_pod_that_nobody_replaces_is_told_with_who_made_it(world: World) -> None:
    world.cluster.put(PODS, "shop", "lonely", spec={"containers": []}, status={"phase": "Running"})
    owners = {"ownerReferences": [{"kind": "Job", "name": "report", "controller": True, "uid": "x"}]}
    world.cluster.put(PODS, "shop", "report-1", metadata=owners, spec={"containers": []}, status={"phase": "Running"})
    world.cluster.put(PODS, "shop", "report-0", metadata=owners, spec={"containers": []}, status={"phase": "Succeeded"})

    wrong = {each.name: each for each in world.check().wrong}

    assert wrong["lonely"].says == (
        "has no sidecar; no Deployment, StatefulSet or DaemonSet makes it: replace it yourself"
    )
    assert wrong["report-1"].owner == "Job report"
    assert "report-0" not in wrong


@pytest.mark.fault(
    on="Kubernetes",
    fault="a workload does not become ready after its restart",
    does="stops; its old pods and all later workloads stay as they are",
    sees="error `nothing after it was restarted`, with the way back",
    safe_within="--ready-timeout",
)
def test_the_first_workload_that_does_not_become_ready_ends_it(world: World) -> None:
    world.cluster.stuck = {"web"}
    world.cluster.put(
        *(CORE_EVENTS, "shop", "e"),
        type="Warning",
        reason="FailedCreate",
        message="failed calling webhook",
        involvedObject={"kind": "ReplicaSet", "name": "web-2"},
    )

    with pytest.raises(TransientError) as late:
        world.run(restarts=True, at_a_time=1)

    assert str(late.value) == (
        "cls-a: after 10 s Deployment web in namespace shop: 0 of 1 pods are new and ready; the cluster says:"
        " FailedCreate: failed calling webhook; web CrashLoopBackOff; nothing after it was restarted"
    )
    assert late.value.remedy == "mend it and run this again, or go back: BACK cls-a shop"
    assert [name for verb, _, name in world.cluster.writes if verb == "apply"] == ["web"]


def test_a_stateful_set_that_is_stuck_names_what_only_a_person_can_do(world: World) -> None:
    world.cluster.stuck = {"db"}

    with pytest.raises(TransientError, match="StatefulSet db in namespace shop: 0 of 1 pods are new and ready") as late:
        world.run(restarts=True)

    assert late.value.remedy.endswith("never replaces a pod that did not become ready: delete that pod yourself")


def test_a_run_that_was_ended_in_the_middle_waits_for_what_it_began_and_restarts_it_no_second_time(
    world: World,
) -> None:
    world.cluster.stuck = {"web"}
    with pytest.raises(TransientError):
        world.run(restarts=True, at_a_time=1)
    web = world.cluster.objects[DEPLOYMENTS, "shop", "web"]

    def mended() -> None:
        web["status"]["availableReplicas"] = 1
        world.cluster.objects.pop((PODS, "shop", "web-1"), None)

    world.meanwhile = mended
    world.run(restarts=True, at_a_time=1)

    assert world.cluster.carry() == {"this mesh's"}
    assert [name for verb, _, name in world.cluster.writes if verb == "apply"] == ["web", "db", "log"]


# -- back again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [OF_TCM, {"istio-injection": "disabled", "istio.io/rev": "x"}, {}])
def test_undo_restores_exactly_the_labels_that_were_there(world: World, labels: Json) -> None:
    world.cluster.label("shop", {**labels, "team": "shop"})
    world.run()

    world.run(undone=True)

    assert world.cluster.labels() == {**labels, "team": "shop"}
    assert KEPT not in world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"]


def test_undo_with_a_restart_brings_the_pods_back_and_a_second_one_changes_nothing(world: World) -> None:
    world.run(restarts=True)

    world.run(undone=True, restarts=True)

    assert world.cluster.carry() == {"another's"}
    assert not world.check(undone=True).wrong
    world.cluster.writes.clear()
    world.run(undone=True, restarts=True)
    assert not world.cluster.writes


def test_undo_tells_which_pods_still_carry_the_sidecar(world: World) -> None:
    world.run(restarts=True)

    world.run(undone=True)

    assert {each.says for each in world.check(undone=True).wrong} == {"still has this mesh's sidecar"}


def test_a_dry_run_of_undo_knows_which_workloads_it_would_restart(world: World) -> None:
    world.run(restarts=True)

    needed, told = world.look(undone=True, restarts=True)

    assert needed
    assert told.says("labels") == "istio.io/rev=1-18-5 instead of istio-injection=enabled, as it was"
    assert told.says("pods in shop") == "restart Deployment web, StatefulSet db, DaemonSet log"


def test_undo_needs_no_webhook(world: World) -> None:
    world.run(restarts=True)
    world.cluster.injects = False

    world.run(undone=True, restarts=True)

    assert world.cluster.carry() == {"none"}


def test_undo_leaves_alone_what_shifter_never_labelled(world: World) -> None:
    told = world.run(undone=True, restarts=True)

    assert not world.cluster.writes
    assert told.says("labels") == "istio.io/rev=1-18-5: nothing to put back"


def test_undo_of_a_namespace_that_is_gone_is_done(world: World) -> None:
    del world.cluster.objects[NAMESPACES, "", "shop"]

    told = world.run(undone=True)

    assert told.says("labels") == "the namespace is gone, or will be"


def test_labels_that_were_put_back_by_hand_are_changed_again_and_kept_as_found_first(world: World) -> None:
    world.run()
    first = Kept.of(world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"])
    world.cluster.label("shop", OF_TCM)

    world.run()

    assert world.cluster.labels() == ENABLED
    assert Kept.of(world.cluster.objects[NAMESPACES, "", "shop"]["metadata"]["annotations"]) == first


def test_a_namespace_that_the_file_no_longer_lists_is_not_forgotten(world: World) -> None:
    world.run()
    world.cluster.put(NAMESPACES, "", "pay")
    world.mesh = a_mesh("pay")

    assert world.injection().forgotten() == [(CLUSTER, "shop")]
    assert not World(world.cluster, a_mesh("shop", "pay")).injection().forgotten()


# -- the command -------------------------------------------------------------------------------------------------


def _written(folder: Path, *namespaces: str) -> str:
    place = folder / "mesh.yaml"
    body = json.loads(a_mesh(*namespaces).model_dump_json(by_alias=True, exclude_none=True))
    body["spec"]["primary"]["inject"] = list(namespaces)
    place.write_text(json.dumps(body), encoding="utf-8")
    return str(place)


def test_a_file_that_lists_no_namespace_is_an_error_and_not_silence(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["mesh", "inject", "-f", _written(tmp_path)])

    assert done.exit_code == 2
    assert "error: the mesh main lists no namespace under inject there" in done.stderr


def test_an_unknown_namespace_ends_with_the_code_for_not_found(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["mesh", "inject", "-f", _written(tmp_path, "shop"), "-n", "pay"])

    assert done.exit_code == 3
    assert "does not list namespace pay under inject of any cluster" in done.stderr
    assert "hint: add it to the file" in done.stderr
