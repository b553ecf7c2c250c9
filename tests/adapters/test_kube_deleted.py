"""Does a leader notice that a Shift's object is gone, at what cost, and what is written in its place?"""

from __future__ import annotations

from itertools import count

import pytest

from shifter.adapters.kube.kinds import SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.roll import CALL_SECONDS, LONGEST_SECONDS, Roll
from shifter.adapters.kube.store import KubeStore
from shifter.errors import ConflictError, StoreUnavailableError
from shifter.ports.kube import Body
from tests.contract.stores import a_fleet, a_record, a_report, a_state, examined
from tests.kube import Fault, MemoryApi
from tests.kube_cluster import MemoryCluster

NAMESPACE = "shifter-system"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(MemoryCluster())


@pytest.fixture
def person(api: MemoryApi) -> MemoryApi:
    return MemoryApi(api.cluster)


@pytest.fixture
def leader(api: MemoryApi, clock: Clock) -> KubeStore:
    names = (f"n{number}" for number in count())
    return KubeStore(api, NAMESPACE, "leader", names.__next__, monotonic=clock, calls_roll=True)


def opened(api: MemoryApi) -> KubeStore:
    return KubeStore(api, NAMESPACE, "next", lambda: "n")


def delete(person: MemoryApi, name: str = "shop") -> None:
    """Delete a Shift, and take its finalizer away."""
    person.delete(SHIFTS, NAMESPACE, name)
    body = person.get(SHIFTS, NAMESPACE, name)
    body["metadata"]["finalizers"] = []
    person.replace(SHIFTS, NAMESPACE, body)


def test_a_shift_that_is_gone_is_told_once(leader: KubeStore, person: MemoryApi, clock: Clock) -> None:
    leader.save(a_state(), 0)
    leader.save(a_state("cart"), 0)
    delete(person)

    first = list(leader.deleted())
    clock.seconds += CALL_SECONDS

    assert first == ["shop"]
    assert list(leader.deleted()) == []


def test_a_shift_that_was_saved_anew_can_be_gone_again(leader: KubeStore, person: MemoryApi, clock: Clock) -> None:
    for _ in range(2):
        leader.save(a_state(), 0)
        delete(person)
        clock.seconds += CALL_SECONDS

        assert list(leader.deleted()) == ["shop"]


def test_a_shift_of_which_only_a_report_could_be_written_is_not_gone(leader: KubeStore) -> None:
    leader.report(a_report())

    assert list(leader.deleted()) == []


def test_all_shifts_are_listed_together_and_not_more_often_than_every_ten_seconds(
    leader: KubeStore, api: MemoryApi, clock: Clock
) -> None:
    for number in range(20):
        leader.save(a_state(f"shop-{number}"), 0)
    api.calls.clear()

    for seconds in (0, 1, 5, CALL_SECONDS - 1, CALL_SECONDS):
        clock.seconds = seconds
        leader.deleted()

    assert [(each.verb, each.kind) for each in api.calls] == [("list", SHIFTS)] * 2


@pytest.mark.parametrize(("took", "pause"), [(0, CALL_SECONDS), (0.1, CALL_SECONDS), (2, 100), (15, LONGEST_SECONDS)])
def test_the_longer_a_list_takes_the_later_is_the_next(clock: Clock, took: float, pause: float) -> None:
    def listed() -> dict[str, Body]:
        clock.seconds += took
        return {}

    roll = Roll(listed, clock)
    found = [roll.call()]
    clock.seconds += pause - 0.01
    found.append(roll.call())
    clock.seconds += 0.01

    assert found == [{}, None]
    assert roll.call() == {}


def test_nothing_is_gone_while_shifts_cannot_be_listed(
    leader: KubeStore, api: MemoryApi, person: MemoryApi, clock: Clock
) -> None:
    leader.save(a_state(), 0)
    delete(person)
    api.fail(Fault.DOWN, "list", kind=SHIFTS)

    first = list(leader.deleted())
    clock.seconds += CALL_SECONDS

    assert first == []
    assert list(leader.deleted()) == ["shop"]


def test_who_does_not_serve_lists_nothing(api: MemoryApi, person: MemoryApi) -> None:
    store = opened(api)
    store.save(a_state(), 0)
    delete(person)
    api.calls.clear()

    assert list(store.deleted()) == []
    assert api.calls == []


def test_a_shift_that_is_being_deleted_is_known_though_nothing_was_to_be_saved(
    leader: KubeStore, person: MemoryApi
) -> None:
    leader.save(a_state(), 0)
    person.delete(SHIFTS, NAMESPACE, "shop")
    before = list(leader.leaving())

    assert list(leader.deleted()) == []
    assert before == []
    assert list(leader.leaving()) == ["shop"]


def test_a_shift_that_was_put_back_in_anothers_place_is_known_though_nothing_was_to_be_saved(
    leader: KubeStore, person: MemoryApi
) -> None:
    leader.save(a_state(), 0)
    backup = person.get(SHIFTS, NAMESPACE, "shop")
    delete(person)
    metadata = {key: backup["metadata"][key] for key in ("name", "labels", "finalizers")}
    made = person.create(SHIFTS, NAMESPACE, {**backup, "metadata": metadata, "status": {}})
    person.replace(SHIFTS, NAMESPACE, {**made, "status": backup["status"]}, status=True)

    assert list(leader.deleted()) == []
    assert leader.put_back().startswith("what is saved of shop was written for another object")


def test_an_empty_object_in_the_place_of_one_with_a_history_is_gone_and_suspected(
    leader: KubeStore, person: MemoryApi
) -> None:
    leader.save(a_state(), 0, [a_record("one")])
    spec = person.get(SHIFTS, NAMESPACE, "shop")["spec"]
    delete(person)
    person.create(SHIFTS, NAMESPACE, SHIFTS.body(metadata={"name": "shop"}, spec=spec))

    assert list(leader.deleted()) == ["shop"]
    assert leader.put_back().startswith("nothing is saved any more of shop, though there is history")


def test_a_report_on_what_was_deleted_makes_no_object_that_hides_that(
    leader: KubeStore, person: MemoryApi, api: MemoryApi
) -> None:
    leader.save(a_state(), 0, [a_record("one")])
    leader.report(a_report())
    delete(person)

    with pytest.raises(ConflictError, match="shop was deleted from the cluster"):
        leader.report(a_report("news", wanted=25))
    leader.report(a_report("more news", wanted=50))
    between = person.list(SHIFTS, NAMESPACE).items
    leader.save(a_state(), 0, [a_record("two")])
    leader.report(a_report("more news", wanted=50))

    assert between == []
    assert leader.reports()["shop"].reason == "more news"
    assert (examined(opened(api), "shop").count, examined(opened(api), "shop").findings) == (2, ())
    assert opened(api).load()["shop"].version == 1


def test_what_was_told_of_a_shift_that_is_gone_is_told_of_the_new_one_too(leader: KubeStore, person: MemoryApi) -> None:
    leader.save(a_state(), 0, [a_record("one")])
    leader.report(a_report())
    delete(person)
    leader.deleted()
    leader.save(a_state(), 0)

    leader.report(a_report())

    assert leader.reports()["shop"] == a_report()


def test_a_report_without_a_state_hides_from_nobody_that_there_is_history(
    leader: KubeStore, person: MemoryApi, api: MemoryApi
) -> None:
    leader.save_fleet(a_fleet(), 0)
    leader.save(a_state(), 0, [a_record("one")])
    delete(person)
    spec = {"namespaces": ["shop"], "steps": [100]}
    made = person.create(SHIFTS, NAMESPACE, SHIFTS.body(metadata={"name": "shop"}, spec=spec))
    status = {"report": "{}", "writtenFor": made["metadata"]["uid"]}
    person.replace(SHIFTS, NAMESPACE, {**made, "status": status}, status=True)

    anew = opened(api)
    anew.load()
    told = anew.put_back()
    anew.believe()
    again = opened(api)
    again.load()

    assert told.startswith("nothing is saved any more of shop, though there is history: it was put back")
    assert again.put_back() == ""


def test_a_new_shift_whose_save_failed_is_not_begun_by_its_report_where_there_is_history(
    api: MemoryApi, person: MemoryApi
) -> None:
    first = opened(api)
    first.save(a_state(), 0, [a_record("one")])
    delete(person)
    store = opened(api)
    api.fail(Fault.DOWN, "create", kind=SHIFTS)
    with pytest.raises(StoreUnavailableError):
        store.save(a_state(), 0)

    store.report(a_report())

    assert person.list(SHIFTS, NAMESPACE).items == []
    assert len(person.list(SHIFT_RECORDS, NAMESPACE).items) == 1
