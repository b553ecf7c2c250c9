"""`shifter mesh inject` on a real API server: istiod's own webhook injects, Kubernetes' controllers replace pods."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from shifter.mesh.installing.sequence import Plan
from shifter.mesh.installing.steps import Look, Step, Told, carry_out
from shifter.wiring.meshes import connected, find_istioctl
from tests.cluster.tools import find_tools
from tests.mesh.guide import Json, mesh_of
from tests.mesh.real.conftest import Guide, Story
from tests.mesh.real.running import MEMBER, PRIMARY, Ended, begun, kill
from tests.mesh.tools import OF_THE_GUIDE, find_istio
from tests.mesh.towns import SYSTEM, Town, TownCluster

OF_TCM: Final = {"istio.io/rev": "1-18-5"}
KEPT: Final = "shifter.io/labels-before"
NODE: Final = "node-1"
_RUN_SECONDS: Final = 180.0
_SOON_SECONDS: Final = 60.0
_PROGRAM: Final = "from shifter.cli.main import main; main()"
_NUMBERS: Final = itertools.count(1)

Body = dict[str, Any]


class _Silent:
    """Is told of the installation, which is not what is tested here."""

    def begins(self, step: Step, look: Look) -> None:
        """Nothing is said of it."""

    def ended(self, told: Told) -> None:
        """Nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A namespace of TCM's in a cluster with the new mesh, and somebody with the mesh file that lists it."""

    here: TownCluster
    folder: Path
    spec: Json
    name: str

    def command(self, *words: str, ready: str = "60s") -> list[str]:
        place = self.folder / f"{self.name}.yaml"
        body = {"apiVersion": "shifter.io/v1alpha1", "kind": "Mesh", "metadata": {"name": "main"}, "spec": self.spec}
        place.write_text(json.dumps(body), encoding="utf-8")
        return [
            *(sys.executable, "-c", _PROGRAM, "mesh", "inject"),
            *("--file", str(place), "--ready-timeout", ready, *words),
        ]

    def runs(self, *words: str, ready: str = "60s") -> Ended:
        done = subprocess.run(
            self.command(*words, ready=ready),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def starts(self, *words: str, ready: str = "60s") -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words, ready=ready),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def has(self, *workloads: Body) -> None:
        """Somebody has applied these, and their pods are ready."""
        self.here.plane.apply(*workloads)
        wanted = sum(each["spec"].get("replicas", 1) for each in workloads)
        _until(lambda: len([pod for pod in self.pods() if _is_ready(pod)]) == wanted)

    def pods(self) -> Sequence[Body]:
        found = self.here.asking.items(f"/api/v1/namespaces/{self.name}/pods")
        return [each for each in found if not each["metadata"].get("deletionTimestamp")]

    def uids(self, app: str = "") -> set[str]:
        return {
            each["metadata"]["uid"] for each in self.pods() if not app or each["metadata"]["labels"].get("app") == app
        }

    def proxies(self) -> list[Body]:
        """Every sidecar of every pod; current releases make it an init container that stays."""
        specs = [pod["spec"] for pod in self.pods()]
        containers = [each for spec in specs for each in (*spec["containers"], *spec.get("initContainers", ()))]
        return [each for each in containers if each["name"] == "istio-proxy"]

    def told(self) -> list[tuple[str, str]]:
        """What every sidecar is told: its cluster and its mesh."""
        said = [{each["name"]: each.get("value", "") for each in proxy["env"]} for proxy in self.proxies()]
        return [(each["ISTIO_META_CLUSTER_ID"], each["ISTIO_META_MESH_ID"]) for each in said]

    def itself(self) -> Body:
        return self.here.asking("GET", f"/api/v1/namespaces/{self.name}")

    def versions(self) -> list[Any]:
        """Something that is another after every write: of the namespace, and of what its Deployments say."""
        found = self.here.asking.items(f"/apis/apps/v1/namespaces/{self.name}/deployments")
        return [self.itself()["metadata"]["resourceVersion"], *(each["metadata"]["generation"] for each in found)]

    def own_labels(self) -> dict[str, str]:
        labels = self.itself()["metadata"]["labels"]
        return {key: value for key, value in labels.items() if not key.startswith("kubernetes.io/")}

    def workload(self, name: str, kind: str = "Deployment", **spec: Any) -> Body:  # noqa: ANN401 - JSON
        metadata = {"labels": {"app": name, **spec.pop("labels", {})}}
        template = {"metadata": metadata, "spec": {"containers": [{"name": name, "image": "shop/web:1"}]}}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
        }


def _is_ready(pod: Body) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _SOON_SECONDS
    while not holds():
        assert time.monotonic() < ends, "what a test waits for did not come"
        time.sleep(0.1)


@contextmanager
def _no_istiod(shop: Shop) -> Iterator[None]:
    """Nobody answers the webhook in this `with` block."""
    scaled = ("root", "scale", "deployment", "istiod", "-n", SYSTEM)
    shop.here.plane.kubectl(*scaled, "--replicas=0")
    _until(lambda: shop.here.istiods.one is None)
    try:
        yield
    finally:
        shop.here.plane.kubectl(*scaled, "--replicas=1")
        _until(lambda: shop.runs("--dry-run").code == 0)


@pytest.fixture(scope="module")
def meshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TownCluster, Path, Json]]:
    """A cluster with the new mesh in it."""
    tools = find_istio(OF_THE_GUIDE, os.environ)
    folder = tmp_path_factory.mktemp("injecting")
    with Town(find_tools(os.environ), tools.discovery, folder / "town", (PRIMARY,)) as town:
        primary = {"cluster": PRIMARY, "context": PRIMARY, "kubeconfigFile": str(town.kubeconfig())}
        spec: Json = {
            "version": tools.version,
            "images": {"hub": "docker.io/istio", "tag": tools.version, "pullSecrets": []},
            "tcm": {"version": "1.18.5", "meshID": "mesh-mn8gnn1g"},
            "meshID": "mesh1",
            "network": "main",
            "primary": {**primary, "istiod": {"replicas": 1}},
        }
        mesh = mesh_of(spec)
        with connected(mesh, os.environ, ready_seconds=120, address_seconds=60) as sites:
            istioctl = find_istioctl(tools.version, str(tools.istioctl), "", os.environ)
            carry_out(Plan(mesh, sites, istioctl).steps(), _Silent(), time.monotonic)
        # A machine for the DaemonSet; without a kubelet nobody else says that it can be used.
        town.primary.plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        free = json.dumps({"spec": {"taints": None}})
        town.primary.plane.kubectl("root", "patch", "node", NODE, "--type=merge", "-p", free)
        yield town.primary, folder, spec


@pytest.fixture
def shop(meshed: tuple[TownCluster, Path, Json]) -> Shop:
    here, folder, spec = meshed
    name = f"shop-{next(_NUMBERS)}"
    here.plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": OF_TCM}})
    return Shop(here, folder, {**spec, "primary": {**spec["primary"], "inject": [name]}}, name)


def test_sidecars_come_with_a_restart_stay_at_a_second_run_and_go_with_undo(shop: Shop) -> None:
    shop.has(
        *(shop.workload("web", replicas=2), shop.workload("api")),
        shop.workload("batch", labels={"sidecar.istio.io/inject": "false"}),
        *(shop.workload("db", "StatefulSet", replicas=2), shop.workload("log", "DaemonSet")),
    )
    asked = len(shop.here.network.asked())

    done = shop.runs("--restart", "--yes")

    assert done.code == 0, done.said
    assert "6 with this mesh's sidecar, 1 opted out" in done.out
    assert "(Deployment batch): says sidecar.istio.io/inject=false" in done.out
    assert shop.own_labels() == {"istio-injection": "enabled"}
    assert shop.told() == [(PRIMARY, "mesh1")] * 6
    assert len(shop.here.network.asked()) > asked  # istiod's webhook was really called

    before, version = shop.uids(), shop.itself()["metadata"]["resourceVersion"]
    again = shop.runs("--restart", "--yes")
    assert again.code == 0, again.said
    assert (shop.uids(), shop.itself()["metadata"]["resourceVersion"]) == (before, version)

    back = shop.runs("--undo", "--restart", "--yes")
    assert back.code == 0, back.said
    assert shop.own_labels() == OF_TCM
    assert KEPT not in shop.itself()["metadata"].get("annotations", {})
    assert not shop.proxies()


@pytest.mark.fault(
    on="process",
    fault="`shifter mesh inject` is killed with -9 in any of its steps",
    does="running it again goes on; no workload is restarted twice, and undo knows the first labels",
    sees="nothing but the next run, which from another machine first waits for the lock",
    safe_within="at once",
)
def test_a_run_that_was_killed_in_every_step_is_resumed_and_restarts_nothing_twice(shop: Shop) -> None:
    shop.has(shop.workload("api", replicas=2), shop.workload("web"))
    killed: list[str] = []
    code = None

    while code is None:
        before, run = shop.versions(), shop.starts("--restart", "--yes", "--at-a-time", "1")
        for step in begun(run):
            if killed.count(step) == 1:  # once before its write, and once after
                _until(lambda: shop.versions() != before)  # noqa: B023 - asked in this round of the loop
            if killed.count(step) < 2:
                killed.append(step)
                kill(run)
                break
        else:
            code = run.wait(30)
            assert run.stderr is not None
            run.stderr.close()

    assert code == 0
    assert [step.split("  ")[1].split(" in ")[0] for step in dict.fromkeys(killed)] == [
        f"labels of namespace {shop.name}",
        "pods",
        "pods",
    ]
    assert len(killed) > len(set(killed))
    assert len(shop.proxies()) == 3
    kept = json.loads(shop.itself()["metadata"]["annotations"][KEPT])
    assert kept == {"before": OF_TCM, "after": {"istio-injection": "enabled"}}
    assert shop.versions()[1:] == [2, 2]


@pytest.mark.fault(
    on="Kubernetes",
    fault="istiod's webhook does not answer when namespaces are to be injected",
    does="labels nothing and restarts nothing",
    sees="error `its webhook does not answer`, exit code 4",
    safe_within="at once",
)
def test_nothing_is_labelled_while_the_webhook_does_not_answer(shop: Shop) -> None:
    with _no_istiod(shop):
        refused = shop.runs("--yes")

    assert refused.code == 4, refused.said
    assert f"error: {PRIMARY}: pods would not get the sidecar: its webhook does not answer" in refused.said
    assert shop.own_labels() == OF_TCM


@pytest.mark.fault(
    on="Kubernetes",
    fault="istiod's webhook stops answering between a restart and its new pods",
    does="stops; the old pods stay, and a later run goes on",
    sees="error `nothing after it was restarted`, with what the cluster says",
    safe_within="--ready-timeout",
)
def test_a_webhook_that_stops_answering_in_the_middle_costs_no_pod(shop: Shop) -> None:
    shop.has(shop.workload("api"), shop.workload("web"))
    web = shop.uids("web")
    shop.here.machines.broken["api"] = "ContainerCreating"
    run = shop.starts("--restart", "--yes", "--at-a-time", "1", ready="15s")
    next(step for step in begun(run) if "Deployment api" in step)

    with _no_istiod(shop):
        del shop.here.machines.broken["api"]
        assert run.stderr is not None
        said = run.stderr.read()
        run.stderr.close()
        assert (run.wait(30), shop.uids("web")) == (5, web), said

    assert f"Deployment web in namespace {shop.name}: 0 of 1 pods are new and ready; the cluster says: " in said
    assert "FailedCreate: Error creating: Internal error occurred: failed calling webhook" in said
    done = shop.runs("--restart", "--yes")
    assert done.code == 0, done.said
    assert len(shop.proxies()) == 2


def test_a_workload_that_does_not_become_ready_ends_it_and_undo_leads_back(shop: Shop) -> None:
    shop.has(shop.workload("api"), shop.workload("web"))
    web = shop.uids("web")
    shop.here.machines.broken["api"] = "CrashLoopBackOff"

    late = shop.runs("--restart", "--yes", "--at-a-time", "1", ready="6s")

    assert late.code == 5, late.said
    assert f"{PRIMARY}: after 6 s Deployment api in namespace {shop.name}: 0 of 1 pods are new and ready" in late.said
    assert "CrashLoopBackOff; nothing after it was restarted" in late.said
    assert f"--namespace {shop.name} --undo --restart" in late.said
    assert shop.uids("web") == web

    del shop.here.machines.broken["api"]
    back = shop.runs("--undo", "--restart", "--yes")
    assert back.code == 0, back.said
    assert shop.own_labels() == OF_TCM
    assert not shop.proxies()


def test_labels_are_put_back_where_pod_security_lets_no_sidecar_in(shop: Shop) -> None:
    strict = "pod-security.kubernetes.io/enforce=restricted"
    shop.here.plane.kubectl("root", "label", "namespace", shop.name, strict)

    refused = shop.runs("--yes")

    assert refused.code == 4, refused.said
    assert f"warning: {strict} lets no pod in that needs NET_ADMIN" in refused.said
    assert f"no pod with a sidecar may run in namespace {shop.name}: pods" in refused.said
    assert "; the labels are as they were" in refused.said
    key, _, value = strict.partition("=")
    assert shop.own_labels() == {**OF_TCM, key: value}


def test_pods_that_still_have_no_sidecar_are_told_by_name_and_by_exit_code(shop: Shop) -> None:
    shop.has(shop.workload("web"))

    done = shop.runs("--yes", "-o", "json")

    assert done.code == 6, done.said
    assert "error: 1 pod does not carry what their namespace chooses" in done.said
    assert "--restart replaces them" in done.said
    body = json.loads(done.out)
    assert (body["kind"], body["complete"]) == ("MeshInjection", False)
    ((pod,),) = [each["pods"] for each in body["namespaces"]]
    assert (pod["owner"], pod["sidecar"], pod["says"]) == ("Deployment web", "none", "has no sidecar")


def test_a_namespace_taken_out_of_the_file_is_told_of_until_it_is_undone(shop: Shop) -> None:
    assert shop.runs("--yes").code == 0
    other = replace(shop, spec={**shop.spec, "primary": {**shop.spec["primary"], "inject": ["default"]}})

    told = other.runs("--yes")
    undone = other.runs("--namespace", shop.name, "--undo", "--yes")

    other.runs("--undo", "--yes")
    assert f"namespace {shop.name} has shifter's label and is not in the file: shifter mesh inject -f" in told.said
    assert undone.code == 0, undone.said
    assert shop.own_labels() == OF_TCM


def test_nothing_is_changed_unless_somebody_says_yes(shop: Shop) -> None:
    unasked = shop.runs("--restart")
    looked = shop.runs("--restart", "--dry-run")

    assert unasked.code == 2, unasked.said
    assert "have these namespaces injected and restart what makes their pods: not confirmed" in unasked.said
    assert "which is TCM's" in unasked.said  # who would be asked has read it
    assert looked.code == 0, looked.said
    assert "nothing was changed: --dry-run" in looked.said
    assert shop.own_labels() == OF_TCM


@pytest.mark.timeout(400)  # the first of a release waits for a whole installation
def test_a_members_pods_get_sidecars_that_name_the_member_by_each_release(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    here, name = guide.town.clusters[MEMBER], f"shop-{next(_NUMBERS)}"
    here.plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": OF_TCM}})
    (member,) = guide.person.spec["members"]
    shop = Shop(here, guide.person.folder, {**guide.person.spec, "members": [{**member, "inject": [name]}]}, name)
    shop.has(shop.workload("web"), shop.workload("api"))

    done = shop.runs("--restart", "--yes")
    told, again = shop.told(), shop.runs("--restart", "--yes")
    back = shop.runs("--undo", "--restart", "--yes")

    assert told == [(MEMBER, "mesh1")] * 2
    assert (done.code, again.code, back.code) == (0, 0, 0), done.said + again.said + back.said
    assert "2 with this mesh's sidecar" in done.out
    assert "restart" not in again.said
    assert (shop.own_labels(), shop.proxies()) == (OF_TCM, [])
