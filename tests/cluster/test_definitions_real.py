"""What a real API server lets into our objects: each rule of the definitions takes its good and refuses its bad."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.ports.kube import Failing, Kind, KubeError
from tests.cluster.installation import an_order

pytestmark = pytest.mark.usefixtures("kinds")

HASH = "a" * 64


def a_record(number: int) -> dict[str, Any]:
    told = {"at": "2026-03-01T12:00:00Z", "shift": "shop", "what": "order", "by": "ann", "reason": "why"}
    return {"id": number, **told, "sequence": "0", "epoch": "1", "evidence": "{}", "hash": HASH}


def a_history(*numbers: int, head: int, anchor: int = 0) -> dict[str, Any]:
    ends = {"head": {"id": head, "hash": HASH}, "anchor": {"id": anchor, "hash": HASH}}
    return {**ends, "unflushed": [a_record(number) for number in numbers]}


def a_shift(name: str = "shop") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"namespaces": ["shop", "cart"], "steps": [1, 5.5, 100]}}


def a_status() -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True", "reason": "AsExpected", "message": ""}
    return {
        "version": 3,
        "savedBy": "a-token",
        "state": "{}",
        "report": "{}",
        "history": a_history(4, 5, head=5),
        "phase": "Shifting",
        "share": 5.5,
        "wanted": 100,
        "written": None,
        "observed": None,
        "step": "2/3",
        "verdict": "pass",
        "holds": ["paused"],
        "message": "because",
        "observedGeneration": 1,
        "intent": {"sequence": 1, "epoch": 1, "from": 5.5, "to": 100},
        "answers": [
            {"order": "pause-1", "id": 7, "answer": "accepted", "text": "paused", "at": "2026-03-01T12:00:00Z"}
        ],
        "conditions": [{**condition, "lastTransitionTime": "2026-03-01T12:00:00Z"}],
    }


def refusal(error: KubeError) -> str:
    assert error.failing is Failing.INVALID
    return str(error)


def made(api: KubeClient, kind: Kind, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    return api.create(kind, namespace, {"apiVersion": kind.api_version, "kind": kind.name, **body})


def saved(api: KubeClient, kind: Kind, namespace: str, body: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    return api.replace(kind, namespace, {**body, "status": status}, status=True)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"steps": [1, 1, 100]}, "every step is above the one before"),
        ({"steps": [5, 1, 100]}, "every step is above the one before"),
        ({"steps": [0, 100]}, "should be greater than 0"),
        ({"steps": [1, 100.5]}, "should be less than or equal to 100"),
        ({"steps": [number / 2 for number in range(1, 52)]}, "must have at most 50 items"),
        ({"namespaces": ["shop", "shop"]}, "Duplicate value"),
        ({"namespaces": ["s" * 64]}, "may not be more than 63"),
    ],
)
def test_a_shift_with_a_spec_that_cannot_be_is_refused(
    admin_api: KubeClient, namespace: str, spec: dict[str, Any], said: str
) -> None:
    body = a_shift()
    body["spec"] |= spec

    with pytest.raises(KubeError) as caught:
        made(admin_api, SHIFTS, namespace, body)

    assert said in refusal(caught.value)


def test_a_status_is_kept_as_it_was_written(admin_api: KubeClient, namespace: str) -> None:
    body = made(admin_api, SHIFTS, namespace, a_shift())

    kept = saved(admin_api, SHIFTS, namespace, body, a_status())

    assert kept["status"] == a_status()
    assert kept["spec"] == a_shift()["spec"]


@pytest.mark.fault(
    on="people",
    fault="put an earlier status of a Shift back, or take it away",
    does="the API server refuses; nothing moves",
    sees="`version never decreases`; `the state is never taken away`",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version never decreases"),
        ({"version": None}, "version never decreases"),
        ({"state": None}, "the state is never taken away"),
        ({"state": "x" * 786_433}, "may not be more than 786432"),
        ({"share": 101}, "less than or equal to 100"),
        ({"written": -1}, "greater than or equal to 0"),
        ({"intent": {"sequence": 1, "epoch": 1, "from": 0, "to": 100.1}}, "less than or equal to 100"),
        ({"history": a_history(5, 4, head=5)}, "numbered without a gap"),
        ({"history": a_history(3, 5, head=5)}, "numbered without a gap"),
        ({"history": a_history(5, 5, head=5)}, "numbered without a gap"),
        ({"history": a_history(4, 5, head=6)}, "numbered without a gap"),
        ({"history": a_history(*range(1, 22), head=21)}, "must have at most 20 items"),
        ({"history": a_history(head=5, anchor=6)}, "the anchor is not after the head"),
        ({"answers": [{"order": "o", "id": 1, "answer": "maybe", "text": "", "at": ""}]}, "Unsupported value"),
    ],
)
def test_a_status_that_cannot_be_is_refused(
    admin_api: KubeClient, namespace: str, change: dict[str, Any], said: str
) -> None:
    body = made(admin_api, SHIFTS, namespace, a_shift())
    before = saved(admin_api, SHIFTS, namespace, body, a_status())
    status = {key: value for key, value in {**a_status(), **change}.items() if change.get(key, value) is not None}

    with pytest.raises(KubeError) as caught:
        saved(admin_api, SHIFTS, namespace, before, status)

    assert said in refusal(caught.value)


@pytest.mark.parametrize("history", [a_history(head=0), a_history(head=9, anchor=9), a_history(9, head=9, anchor=3)])
def test_a_history_may_begin_and_end_so(admin_api: KubeClient, namespace: str, history: dict[str, Any]) -> None:
    body = made(admin_api, SHIFTS, namespace, a_shift())

    kept = saved(admin_api, SHIFTS, namespace, body, {**a_status(), "history": history})

    assert kept["status"]["history"] == history


def test_a_status_cannot_be_taken_away_but_the_finalizer_can(admin_api: KubeClient, namespace: str) -> None:
    body = a_shift()
    body["metadata"]["finalizers"] = ["shifter.io/in-flight"]
    kept = saved(admin_api, SHIFTS, namespace, made(admin_api, SHIFTS, namespace, body), a_status())

    with pytest.raises(KubeError) as caught:
        admin_api.replace(SHIFTS, namespace, {key: kept[key] for key in kept if key != "status"}, status=True)
    admin_api.delete(SHIFTS, namespace, "shop")
    held = admin_api.get(SHIFTS, namespace, "shop")
    held["metadata"]["finalizers"] = []
    admin_api.replace(SHIFTS, namespace, held)

    assert "never taken away" in refusal(caught.value)
    assert held["status"] == a_status()
    assert not admin_api.list(SHIFTS, namespace).items


@pytest.mark.parametrize(("name", "taken"), [("fleet", True), ("another", False)])
def test_there_is_one_fleet_object(admin_api: KubeClient, namespace: str, name: str, *, taken: bool) -> None:
    body = {"metadata": {"name": name}, "spec": {}}

    try:
        made(admin_api, SHIFT_FLEETS, namespace, body)
        told = ""
    except KubeError as error:
        told = refusal(error)

    assert (told == "") is taken
    assert taken or "its name is fleet" in told


@pytest.mark.parametrize(
    "spec",
    [
        {"verb": "pause", "handsOffSeconds": 1800},
        {"verb": "pause", "handsOffSeconds": 0.5, "full": False, "override": False, "adopt": False},
        {"verb": "promote", "share": 50, "override": True},
        {"verb": "promote", "full": True},
        {"verb": "approve", "share": 0.1},
        {"verb": "rollback", "override": True},
        {"verb": "reconcile", "adopt": True},
        {"verb": "freeze", "shift": "*"},
        {"verb": "unfreeze", "shift": "*"},
    ],
)
def test_an_order_that_means_something_is_taken(admin_api: KubeClient, namespace: str, spec: dict[str, Any]) -> None:
    asked = an_order(namespace, "root", **spec)

    kept = made(admin_api, SHIFT_ORDERS, namespace, asked)

    assert kept["spec"] == asked["spec"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"verb": "resume", "handsOffSeconds": 60}, "handsOffSeconds belongs to pause"),
        ({"verb": "pause", "handsOffSeconds": 0}, "should be greater than 0"),
        ({"verb": "pause", "handsOffSeconds": 366 * 86_400 + 1}, "less than or equal to"),
        ({"verb": "rollback", "share": 5}, "share belongs to promote and approve"),
        ({"verb": "promote", "share": 0}, "should be greater than 0"),
        ({"verb": "promote", "share": 100.1}, "less than or equal to 100"),
        ({"verb": "rollback", "full": True}, "full belongs to promote"),
        ({"verb": "pause", "override": True}, "override belongs to promote and rollback"),
        ({"verb": "promote", "adopt": True}, "adopt belongs to reconcile"),
        ({"verb": "freeze", "shift": "shop"}, "freeze and unfreeze are for all shifts together"),
        ({"verb": "pause", "shift": "*"}, "freeze and unfreeze are for all shifts together"),
        ({"verb": "dance"}, "Unsupported value"),
        ({"verb": "pause", "shift": "Shop"}, "should match"),
        ({"verb": "pause", "reason": "x" * 1001}, "may not be more than 1000"),
    ],
)
def test_an_order_that_means_nothing_is_refused(
    admin_api: KubeClient, namespace: str, spec: dict[str, Any], said: str
) -> None:
    asked = an_order(namespace, "root")
    asked["spec"] |= spec

    with pytest.raises(KubeError) as caught:
        made(admin_api, SHIFT_ORDERS, namespace, asked)

    assert said in refusal(caught.value)


def test_an_order_is_answered_once(admin_api: KubeClient, namespace: str) -> None:
    answer = {"id": 7, "answer": "accepted", "text": "paused", "at": "2026-03-01T12:00:00Z"}
    given = made(admin_api, SHIFT_ORDERS, namespace, an_order(namespace, "root"))
    answered = saved(admin_api, SHIFT_ORDERS, namespace, given, answer)

    for change in ({**answer, "answer": "refused"}, {**answer, "text": "no"}, {}):
        with pytest.raises(KubeError) as caught:
            saved(admin_api, SHIFT_ORDERS, namespace, answered, change)
        assert "an answer is given once and never changed" in refusal(caught.value)

    again = saved(admin_api, SHIFT_ORDERS, namespace, answered, answer)
    assert again["status"] == answer


@pytest.mark.fault(
    on="people",
    fault="edit an order or a record in the cluster",
    does="the API server refuses; history and orders stay as they were",
    sees="`an order is given once and never changed; give another one`",
    safe_within="at once",
)
@pytest.mark.parametrize("kind", [SHIFT_ORDERS, SHIFT_RECORDS], ids=["order", "record"])
def test_what_was_said_once_is_never_changed(admin_api: KubeClient, namespace: str, kind: Kind) -> None:
    record = {"metadata": {"name": "shift-shop.1"}, "spec": {"chain": "shop", **a_record(1)}}
    body = record if kind is SHIFT_RECORDS else an_order(namespace, "root")
    changed = copy.deepcopy(made(admin_api, kind, namespace, body))
    changed["spec"]["reason"] = "another"

    with pytest.raises(KubeError) as caught:
        admin_api.replace(kind, namespace, changed)

    assert "once and never changed" in refusal(caught.value)


def test_a_record_without_its_hash_is_none(admin_api: KubeClient, namespace: str) -> None:
    spec = {key: value for key, value in {"chain": "shop", **a_record(1)}.items() if key != "hash"}

    with pytest.raises(KubeError) as caught:
        made(admin_api, SHIFT_RECORDS, namespace, {"metadata": {"name": "shift-shop.1"}, "spec": spec})

    assert "spec.hash: Required value" in refusal(caught.value)
