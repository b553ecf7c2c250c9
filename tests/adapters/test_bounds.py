"""Can what somebody quotes, or the largest policy, keep a store from ever saving again?"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from shifter.adapters.bounds import LARGEST_REPORT_BYTES, LONGEST_EVIDENCE, LONGEST_TEXT
from shifter.adapters.kube.kinds import SHIFT_ORDERS, SHIFTS
from shifter.adapters.kube.objects import order_body
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.memory_store import MemoryStore
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.state import Direction, FindingReport, HoldReport, Intent, ShiftState
from shifter.errors import RefusedError
from shifter.ports import Store
from tests.contract.stores import NOW, a_record, a_report, a_request, a_state, examined
from tests.documents import a_policy
from tests.kube import MemoryApi
from tests.kube_cluster import MemoryCluster

NAMESPACE = "shifter-system"
NOVEL = "because 原因 " * 4_000


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(MemoryCluster())


@pytest.fixture
def cluster(api: MemoryApi) -> KubeStore:
    tokens = count()
    return KubeStore(api, NAMESPACE, "writer", lambda: f"n{next(tokens)}")


@pytest.fixture(params=["memory", "cluster"])
def store(request: pytest.FixtureRequest, cluster: KubeStore) -> Store:
    return MemoryStore() if request.param == "memory" else cluster


def largest_policy() -> ShiftPolicy:
    """As many of everything as a policy may have, each as long as it may be."""
    names = [f"{index:03d}{'n' * 60}" for index in range(400)]
    rules = [
        {"listener": f"lbl-{index:060d}", "domain": f"{index:03d}{'d' * 116}", "url": f"/{index:03d}{'u' * 195}"}
        for index in range(100)
    ]
    custom = [{"name": f"c{index}{'c' * 50}", "margin": {"ratio": 1.5, "percent": 0.5}} for index in range(10)]
    return a_policy(
        namespace=None,
        namespaces=names,
        loadBalancer=f"lb-{'b' * 60}",
        routes=rules,
        steps=[2 * step for step in range(1, 51)],
        approvals=[{"before": 2 * step} for step in range(1, 51)],
        wayBack={"deployments": [f"{name}/{'d' * 250}" for name in names[:20]]},
        analysis={"custom": [{"name": each["name"]} for each in custom]},
    )


def under_way(policy: ShiftPolicy, members: int) -> ShiftState:
    """A state in the middle of a write, after another one that was given up: weights five times over."""
    weights = {route.id: {f"ins-{member:08d}:31080": 10 for member in range(members)} for route in policy.routes}
    intent = Intent(
        sequence=2,
        epoch=1,
        direction=Direction.CLIMB,
        from_share=2,
        to_share=4,
        reason=NOVEL,
        by="ann",
        created_at=NOW,
        deadline=NOW,
        before=weights,
        weights=weights,
    )
    return ShiftState(
        name="shop", policy=policy, since=NOW, share=2, weights=weights, intent=intent, abandoned=intent, sequence=2
    )


@pytest.mark.fault(
    on="Kubernetes",
    fault="a sentence, evidence or a report is longer than the definitions allow",
    does="keeps its beginning and says how long it was; every save goes on",
    sees="`… (48000 characters)` at the end of the reason",
    safe_within="at once",
)
def test_a_novel_of_a_reason_is_kept_in_part_and_stops_no_save(store: Store) -> None:
    novel = replace(a_record(NOVEL), evidence={"said": "x" * (LONGEST_EVIDENCE + 1)})

    version = store.save(a_state(), 0, [novel])
    store.save(a_state(share=5), version, [a_record("next")])

    told, after = (each.record for each in store.history("shop"))
    assert len(told.reason) == LONGEST_TEXT
    assert told.reason.startswith("because 原因 because")
    assert told.reason.endswith(f"… ({len(NOVEL)} characters)")
    assert told.evidence == {"omitted": "200012 characters of evidence"}
    assert after.reason == "next"
    assert examined(store, store.chains()[0]).sound


def test_a_novel_of_an_answer_is_kept_in_part(store: Store) -> None:
    order = store.create_order(a_request(), NOW)
    store.save(a_state(), 0, (), [OrderAnswer(order.id, Answer.REFUSED, NOVEL, NOW)])

    assert len(store.order(order.id).answer_text) == LONGEST_TEXT


def test_the_longest_order_that_kubectl_can_give_is_filed_and_answered(cluster: KubeStore, api: MemoryApi) -> None:
    request = OrderRequest("shop", Verb.PAUSE, "系" * 253, "因" * 1000)
    api.create(SHIFT_ORDERS, NAMESPACE, order_body("by-kubectl", request))
    (order,) = cluster.open_orders()

    cluster.save(a_state(), 0, [a_record(request.reason)], [OrderAnswer(order.id, Answer.ACCEPTED, "paused", NOW)])

    assert cluster.open_orders() == ()
    assert examined(cluster, "shop").sound


def test_a_report_about_very_much_is_told_in_brief(store: Store) -> None:
    finding = FindingReport(metric="errors", verdict="pass", source=1, target=1, limit=1, unit="%", text=NOVEL)
    report = a_report().model_copy(
        update={
            "reason": NOVEL,
            "holds": (HoldReport(kind="drift", reason=NOVEL),) * 100,
            "findings": (finding,) * 60,
            "warnings": (NOVEL,) * 100,
            "members": {f"route {number}": NOVEL for number in range(100)},
            "dropped": {f"pod {number}": NOVEL for number in range(1_000)},
        }
    )
    store.save(a_state(), 0)
    store.report(report)

    told = store.reports()["shop"]
    assert len(told.reason) == 500
    assert (len(told.holds), len(told.findings), len(told.warnings)) == (20, 50, 20)
    assert (len(told.members), len(told.dropped)) == (50, 50)


def test_a_report_of_usual_size_is_told_as_it_is(store: Store) -> None:
    report = a_report("x" * (LARGEST_REPORT_BYTES // 2))
    store.save(a_state(), 0)
    store.report(report)

    assert store.reports()["shop"].reason == report.reason


def test_the_largest_policy_is_saved_in_the_middle_of_its_writes(cluster: KubeStore, api: MemoryApi) -> None:
    state = under_way(largest_policy(), members=10)

    cluster.save(state, 0, [a_record(NOVEL)] * 20)

    assert cluster.load()["shop"].state == state
    assert len(api.get(SHIFTS, NAMESPACE, "shop")["spec"]["namespaces"]) == 256


@pytest.mark.fault(
    on="Kubernetes",
    fault="a state is larger than one object may be",
    does="saves nothing of it and climbs no more; it still goes back",
    sees="hold `unreadable`: what is to be saved of shop is N bytes, and an object in a cluster takes 786432: ...",
    safe_within="at once",
)
def test_a_state_that_no_object_takes_is_refused_with_what_to_do(cluster: KubeStore, api: MemoryApi) -> None:
    state = under_way(largest_policy(), members=100)
    said = r"saved of shop is \d+ bytes, and an object in a cluster takes 786432: 100 routes with 10000 members are too"

    with pytest.raises(RefusedError, match=said) as refused:
        cluster.save(state, 0)

    assert str(refused.value).endswith("too many for one policy; divide it into several")
    assert api.count("create", "replace_status") == 0
