"""What a test may let go wrong at a door to the cluster in memory, and what has then happened behind it."""

from __future__ import annotations

import pytest

from shifter.adapters.kube.kinds import SHIFT_ORDERS, SHIFTS
from shifter.ports.kube import ACCESS_REVIEWS, LEASES, SELF_REVIEWS, Body, Failing, Kind, KubeError
from tests.contract.kube_subjects import a_lease, a_shift, refused, seen
from tests.kube import WRITES, Call, Fault, MemoryApi, MemoryCluster, ends_at_once, ordered_by_themselves

HERE = "shifter-system"


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(remembers=5)


@pytest.fixture
def api(cluster: MemoryCluster) -> MemoryApi:
    return MemoryApi(cluster, "ana", waiting=ends_at_once)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_strikes_as_often_as_it_is_told_and_then_no_more(api: MemoryApi, fault: Fault) -> None:
    api.fail(fault, "get", times=2)
    api.create(LEASES, HERE, a_lease())

    for _ in range(2):
        with pytest.raises(KubeError):
            api.get(LEASES, HERE, "one")

    assert api.get(LEASES, HERE, "one")["spec"]["holderIdentity"] == "a"
    assert api.count("get") == 3


@pytest.mark.parametrize(
    ("fault", "failing", "kept"),
    [
        (Fault.DOWN, Failing.UNAVAILABLE, False),
        (Fault.THROTTLED, Failing.UNAVAILABLE, False),
        (Fault.TIMEOUT, Failing.AMBIGUOUS, False),
        (Fault.ERROR, Failing.AMBIGUOUS, False),
        (Fault.DENIED, Failing.DENIED, False),
        (Fault.LOST, Failing.AMBIGUOUS, True),
        (Fault.ERROR_AFTER, Failing.AMBIGUOUS, True),
        (Fault.GARBLED, Failing.AMBIGUOUS, True),
    ],
)
def test_a_write_that_failed_was_carried_out_or_not(
    cluster: MemoryCluster, api: MemoryApi, fault: Fault, failing: Failing, *, kept: bool
) -> None:
    api.fail(fault, *WRITES, kind=LEASES)

    error = refused(lambda: api.create(LEASES, HERE, a_lease()))

    assert error.failing is failing
    assert len(cluster.list(LEASES, HERE, {}).items) == kept


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.ERROR, Fault.LOST])
def test_a_read_that_failed_leaves_nothing_open(api: MemoryApi, fault: Fault) -> None:
    api.fail(fault)

    assert refused(lambda: api.list(LEASES, HERE)).failing is Failing.UNAVAILABLE


def test_an_answer_to_a_question_that_is_no_json_is_undecodable(api: MemoryApi) -> None:
    api.fail(Fault.GARBLED, times=2)

    assert refused(lambda: api.list(LEASES, HERE)).failing is Failing.UNDECODABLE
    assert refused(lambda: api.create(SELF_REVIEWS, "", SELF_REVIEWS.body())).failing is Failing.UNDECODABLE


def test_a_fault_is_at_one_door_and_of_one_kind_and_name(cluster: MemoryCluster, api: MemoryApi) -> None:
    api.fail(Fault.ERROR, "get", kind=LEASES, name="one", times=None)
    for name in ("one", "two"):
        api.create(LEASES, HERE, a_lease(name))
    api.create(SHIFTS, HERE, a_shift())

    api.get(LEASES, HERE, "two")
    api.get(SHIFTS, HERE, "one")
    MemoryApi(cluster).get(LEASES, HERE, "one")
    refused(lambda: api.get(LEASES, HERE, "one"))
    api.heal()
    api.get(LEASES, HERE, "one")


def test_another_may_write_while_a_call_is_on_its_way(cluster: MemoryCluster, api: MemoryApi) -> None:
    other = MemoryApi(cluster)
    created = api.create(LEASES, HERE, a_lease())

    def write(_: Call) -> None:
        other.replace(LEASES, HERE, created | {"spec": {"holderIdentity": "other"}})

    api.meanwhile(write, "replace")

    assert refused(lambda: api.replace(LEASES, HERE, created | {"spec": {}})).failing is Failing.CONFLICT
    assert api.get(LEASES, HERE, "one")["spec"] == {"holderIdentity": "other"}


def test_a_process_may_die_after_a_write_and_before_its_answer(cluster: MemoryCluster, api: MemoryApi) -> None:
    def die(_: Call) -> None:
        raise InterruptedError

    api.meanwhile(die, "create", after=True)

    with pytest.raises(InterruptedError):
        api.create(LEASES, HERE, a_lease())

    assert cluster.list(LEASES, HERE, {}).items


def test_a_watch_in_steps_tells_what_there_is_and_ends(api: MemoryApi) -> None:
    since = api.list(LEASES, HERE).resource_version
    api.create(LEASES, HERE, a_lease())

    assert seen(api.watch(LEASES, HERE, since, seconds=3_600)) == [("ADDED", "one", "a")]


def test_a_watch_begins_within_so_many_changes(api: MemoryApi) -> None:
    since = api.list(LEASES, HERE).resource_version
    for number in range(5):
        api.create(LEASES, HERE, a_lease(f"{number}"))
    assert len(seen(api.watch(LEASES, HERE, since, seconds=1))) == 5

    api.create(LEASES, HERE, a_lease("more"))

    error = refused(lambda: list(api.watch(LEASES, HERE, since, seconds=1)))
    assert error.failing is Failing.EXPIRED


@pytest.mark.parametrize(("verb", "kind", "allowed"), [("update", SHIFTS, False), ("get", SHIFTS, True)])
def test_what_is_denied_is_not_allowed(api: MemoryApi, verb: str, kind: Kind, *, allowed: bool) -> None:
    api.fail(Fault.DENIED, "replace", kind=SHIFTS, times=None)
    asked = {"namespace": HERE, "verb": verb, "group": kind.group, "resource": kind.plural}

    review = api.create(ACCESS_REVIEWS, "", ACCESS_REVIEWS.body(spec={"resourceAttributes": asked}))

    assert review["status"] == {"allowed": allowed}


def test_an_order_in_anothers_name_is_refused_where_that_is_asked_for(cluster: MemoryCluster, api: MemoryApi) -> None:
    cluster.rules[SHIFT_ORDERS] = [ordered_by_themselves]

    def order(by: str) -> Body:
        spec = {"shift": "one", "verb": "pause", "by": by}
        return api.create(SHIFT_ORDERS, HERE, SHIFT_ORDERS.body(metadata={"generateName": "pause-"}, spec=spec))

    assert "spec.by must be ana, not bob" in str(refused(lambda: order("bob")))
    assert order("ana")["spec"]["by"] == "ana"


def test_a_namespace_that_is_swept_keeps_what_finalizers_hold(cluster: MemoryCluster, api: MemoryApi) -> None:
    held = a_shift("held")
    held["metadata"]["finalizers"] = ["shifter.io/in-flight"]
    for body in (held, a_shift("free")):
        api.create(SHIFTS, HERE, body)
    cluster.terminate(HERE)

    cluster.sweep(HERE)

    (left,) = api.list(SHIFTS, HERE).items
    assert left["metadata"]["name"] == "held"
    assert "deletionTimestamp" in left["metadata"]
    assert refused(lambda: api.create(SHIFTS, HERE, a_shift("new"))).failing is Failing.DENIED
    cluster.add_namespace(HERE)
    api.create(SHIFTS, HERE, a_shift("new"))


def test_a_kind_whose_definition_was_taken_away_is_gone_with_its_objects(
    cluster: MemoryCluster, api: MemoryApi
) -> None:
    api.create(SHIFTS, HERE, a_shift())
    cluster.withdraw(SHIFTS)
    assert refused(lambda: api.list(SHIFTS, HERE)).failing is Failing.MISSING

    cluster.define(SHIFTS)

    assert not api.list(SHIFTS, HERE).items
