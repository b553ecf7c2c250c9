"""A whole life of the real service under the rights that the chart grants: none is missing, and none is too many.

What is judged is the API server's audit log: each right is one verb on one resource in one namespace, by name where it
was granted by name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.kinds import SHIFT_ORDERS, SHIFT_RECORDS
from shifter.core.phases import Phase
from shifter.core.state import ShiftState
from shifter.ports.kube import AUTOSCALERS, DEPLOYMENTS, EVENTS, LEASES, Kind, KubeApi, KubeError
from tests.cluster.installation import ACCOUNT, an_order, install, uninstall
from tests.cluster.plane import ControlPlane
from tests.cluster.replicas import Replicas
from tests.cluster.rights import Everywhere, allows, asked, bound, refused, told
from tests.contract.stores import a_record
from tests.documents import a_policy
from tests.process.conftest import SHOP

READY: Final = 3
"""Replicas that are ready of every Deployment, and what the floors of its autoscaler become."""

BYSTANDER: Final = "bystander"

LIFE_SECONDS: Final = 300
"""How long a whole life may take where others want the same cores; half a minute on two that nobody else wants."""

LONG_AGO: Final = timedelta(days=400)
"""Beyond the default `retention`."""

FOR_EVERYBODY: Final = frozenset(
    {"selfsubjectaccessreviews.authorization.k8s.io", "selfsubjectreviews.authentication.k8s.io"}
)
"""What Kubernetes lets everybody create who is known to it: questions about themselves."""


@pytest.fixture
def tcm(namespace: str) -> str:
    """The namespace of TCM's gateway."""
    return f"{namespace}-tcm"


@pytest.fixture
def istio(namespace: str) -> str:
    """The namespace of Istio's gateway."""
    return f"{namespace}-istio"


@pytest.fixture
def workloads(plane: ControlPlane, namespace: str, tcm: str, istio: str, kinds: None) -> Iterator[tuple[str, ...]]:
    """Shifter is installed and knows of gateways and workloads of both meshes; the namespaces that concern it."""
    del kinds
    for name in (tcm, istio):
        plane.add_namespace(name)
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}})
    values = [
        *(f"sourceGateways[0].namespace={tcm}", "sourceGateways[0].deployment=ingress"),
        "sourceGateways[0].autoscaler=ingress-scaler",
        *(f"sourceGateways[1].namespace={SHOP}", "sourceGateways[1].deployment=web"),
        *(f"targetWorkloads[0].namespace={istio}", "targetWorkloads[0].deployment=ingress"),
        "targetWorkloads[0].autoscaler=ingress-scaler",
        *(f"targetWorkloads[1].namespace={SHOP}", "targetWorkloads[1].deployment=web"),
    ]
    install(plane, namespace, *(word for value in values for word in ("--set", value)))
    yield (namespace, tcm, istio, SHOP)
    plane.mend()
    uninstall(plane, namespace)
    for name in (tcm, istio, SHOP):
        plane.kubectl("root", "delete", "rolebindings", "-n", name, "-l", "app.kubernetes.io/part-of=shifter")


@pytest.fixture
def stage(tmp_path: Path, plane: ControlPlane, admin_api: KubeClient, workloads: tuple[str, ...]) -> Iterator[Replicas]:
    """Two replicas whose files name the workloads; soaks are so long that a migration stays where it is."""
    namespace, tcm, istio, shop = workloads
    for where, deployment in ((tcm, "ingress"), (istio, "ingress"), (shop, "web")):
        run(admin_api, where, deployment)
    with Replicas(tmp_path / "stage", plane, namespace, admin_api, soak_seconds=3600.0) as made:
        config = str(plane.account_kubeconfig(namespace, ACCOUNT))
        gateways = {
            side: {"kubeconfigFile": config, "gateway": gateway(where)}
            for side, where in (("source", tcm), ("target", istio))
        }
        change(made.path / "fleet.yaml", clusters=gateways)
        change(made.path / "policies" / f"{SHOP}.yaml", wayBack={"deployments": [f"{shop}/web"]})
        # Nobody led before here: so the service makes the Lease itself.
        admin_api.delete(LEASES, namespace, "shifter")
        yield made


@pytest.mark.timeout(LIFE_SECONDS)
def test_the_service_is_denied_nothing_and_uses_everything_that_it_was_granted(
    stage: Replicas, plane: ControlPlane, workloads: tuple[str, ...]
) -> None:
    who = f"system:serviceaccount:{stage.namespace}:{ACCOUNT}"
    live_through_everything(stage, workloads[1])
    for replica in stage.replicas.values():
        replica.stop()

    rights = bound(plane, stage.namespace, ACCOUNT)
    until_logged(lambda: not unused(plane, who, rights))
    assert set(rights) == set(workloads)
    assert unused(plane, who, rights) == []
    assert refused(plane, who) == []
    besides = [each for each in asked(plane, who) if not allows(rights.get(each.namespace, ()), each.right)]
    assert {each.right.resource for each in besides} <= FOR_EVERYBODY


def test_the_account_may_do_nothing_but_what_the_chart_grants_it(
    plane: ControlPlane, workloads: tuple[str, ...], connected: Callable[[Path], KubeClient]
) -> None:
    namespace = workloads[0]
    rights = bound(plane, namespace, ACCOUNT)
    plane.kubectl("root", "create", "serviceaccount", "nobody", "-n", namespace)
    service, nobody = (connected(plane.account_kubeconfig(namespace, name)) for name in (ACCOUNT, "nobody"))

    more = {where: told(service, where) - told(nobody, where) for where in (*workloads, "default", "kube-system")}

    assert set(rights) == set(workloads)
    assert more == {**rights, "default": set(), "kube-system": set()}


def live_through_everything(stage: Replicas, tcm: str) -> None:
    """Start, climb, be told this and that, be killed, go back, be deleted, hand over."""
    api = stage.api
    leave_an_old_order(stage)
    stage.run()
    first = stage.until_somebody_leads()
    stage.until_share(50)
    assert floors(api, tcm, SHOP) == [READY, READY], "a step before the floors were pinned"

    give(stage, "ann", "pause", SHOP)
    give(stage, "adm", "freeze")
    leave_an_old_record(stage)
    stage.replicas[first].kill()
    second = stage.until_somebody_leads(first)
    stage.run(first)
    give(stage, "adm", "unfreeze")
    give(stage, "ann", "resume", SHOP)

    give(stage, "ann", "rollback", SHOP, "--yes")
    stage.until_phase(Phase.ROLLED_BACK)
    stage.until(lambda: floors(api, tcm, SHOP) == [1, 1], "the floors are not put back")
    old = f"{BYSTANDER}.1"
    stage.until(lambda: not is_there(api, SHIFT_RECORDS, stage.namespace, old), "old records are not dropped")

    at = (SHOP, "-n", stage.namespace)
    stage.plane.kubectl("root", "delete", "shift", *at, "--wait=false")
    loose = json.dumps({"metadata": {"finalizers": None}})
    stage.plane.kubectl("root", "patch", "shift", *at, "--type=merge", "--patch", loose)
    stage.replicas[second].ask_to_stop()
    stage.until_somebody_leads(second)
    reasons = {event["reason"] for event in api.list(EVENTS, stage.namespace).items}
    assert {"WriteBegun", "WriteDone", "Ordered", "AutoscalerPinned"} <= reasons


def leave_an_old_order(stage: Replicas) -> None:
    """One that was answered long ago."""
    order = stage.api.create(SHIFT_ORDERS, stage.namespace, an_order(stage.namespace, "root", shift=BYSTANDER))
    number, at = int(order["metadata"]["resourceVersion"]), (datetime.now(UTC) - LONG_AGO).isoformat()
    status = {"id": number, "answer": "accepted", "text": "paused", "at": at}
    stage.api.replace(SHIFT_ORDERS, stage.namespace, {**order, "status": status}, status=True)


def leave_an_old_record(stage: Replicas) -> None:
    """One of a shift whose policy is gone."""
    policy = a_policy(BYSTANDER, analysis={"latency": {"enabled": False}})
    long_ago = datetime.now(UTC) - LONG_AGO
    state = ShiftState(name=BYSTANDER, policy=policy, since=long_ago)
    stage.store.save(state, 0, [a_record(at=long_ago, shift=BYSTANDER)])


def give(stage: Replicas, who: str, *words: str) -> None:
    done = stage.type(who, *words, "--reason", "drill", "--wait")
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}; {stage.told()}"


def run(api: KubeApi, namespace: str, name: str) -> None:
    """Make a Deployment that has all of its replicas, as a controller would report it, and its autoscaler."""
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "proxy", "image": "proxy"}]}}
    spec = {"replicas": READY, "selector": {"matchLabels": labels}, "template": pod}
    made = api.create(DEPLOYMENTS, namespace, DEPLOYMENTS.body(metadata={"name": name}, spec=spec))
    api.replace(DEPLOYMENTS, namespace, {**made, "status": {"replicas": READY, "readyReplicas": READY}}, status=True)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    scaling = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10}
    api.create(AUTOSCALERS, namespace, AUTOSCALERS.body(metadata={"name": f"{name}-scaler"}, spec=scaling))


def gateway(namespace: str) -> Mapping[str, str]:
    return {"namespace": namespace, "deployment": "ingress", "autoscaler": "ingress-scaler"}


def floors(api: KubeApi, tcm: str, shop: str) -> list[int]:
    found = (api.get(AUTOSCALERS, where, name) for where, name in ((tcm, "ingress-scaler"), (shop, "web-scaler")))
    return [autoscaler["spec"]["minReplicas"] for autoscaler in found]


def is_there(api: KubeApi, kind: Kind, namespace: str, name: str) -> bool:
    try:
        api.get(kind, namespace, name)
    except KubeError:
        return False
    return True


def change(place: Path, **spec: object) -> None:
    document: dict[str, Any] = yaml.safe_load(place.read_text())
    document["spec"] |= spec
    place.write_text(yaml.safe_dump(document))


def unused(plane: ControlPlane, who: str, rights: Everywhere) -> Collection[str]:
    """Return the rights that no request of somebody has needed so far."""
    requests = asked(plane, who)
    used = {
        (each.namespace, right) for each in requests for right in allows(rights.get(each.namespace, ()), each.right)
    }
    return sorted(f"{right} in {where}" for where in rights for right in rights[where] if (where, right) not in used)


def until_logged(done: Callable[[], bool]) -> None:
    """Wait for the audit log, which is written a moment after the answers, but not for ever."""
    deadline = time.monotonic() + 5.0
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
