"""Is what was put back from a backup, or carried into another cluster, taken for what was saved last?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import count

import pytest

from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.objects import FLEET_OBJECT
from shifter.adapters.kube.store import KubeStore
from shifter.core.deciding.orders import FLEET
from shifter.core.state import ShiftState
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.ports.kube import Body, Kind
from tests.contract.stores import a_fleet, a_record, a_state, examined
from tests.kube import Fault, MemoryApi
from tests.kube_cluster import MemoryCluster

NAMESPACE = "shifter-system"
OTHER = "what is saved of shop was written for another object than the one that it is in: it was put back"

Open = Callable[[], KubeStore]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def api(cluster: MemoryCluster) -> MemoryApi:
    return MemoryApi(cluster)


@pytest.fixture
def opened(api: MemoryApi) -> Open:
    numbers = count()
    return lambda: KubeStore(api, NAMESPACE, f"writer-{next(numbers)}", lambda: f"n{next(numbers)}")


@pytest.fixture
def store(opened: Open) -> KubeStore:
    return opened()


def taken(api: MemoryApi, kind: Kind, name: str) -> Body:
    """Return a backup of an object, without what an API server gives to each."""
    body = api.get(kind, NAMESPACE, name)
    for each in ("uid", "resourceVersion", "creationTimestamp"):
        del body["metadata"][each]
    return body


def delete(api: MemoryApi, kind: Kind, name: str) -> None:
    """Delete an object, whatever holds it."""
    body = api.get(kind, NAMESPACE, name)
    body["metadata"]["finalizers"] = []
    api.replace(kind, NAMESPACE, body)
    api.delete(kind, NAMESPACE, name)


def put(api: MemoryApi, kind: Kind, backup: Body, *, status: bool = True) -> None:
    """Put a backup in place, as `kubectl create` and `kubectl replace --subresource=status` do."""
    made = api.create(kind, NAMESPACE, {**backup, "status": {}})
    if status:
        api.replace(kind, NAMESPACE, {**made, "status": backup["status"]}, status=True)


def restore(api: MemoryApi, kind: Kind, backup: Body, *, status: bool = True) -> None:
    delete(api, kind, backup["metadata"]["name"])
    put(api, kind, backup, status=status)


def answered(order: int) -> ShiftState:
    """Return a state that remembers an order as answered."""
    return a_state().model_copy(update={"last_order": order})


def looked(store: KubeStore) -> str:
    """Return what a store says of what it loads."""
    store.load_fleet()
    store.load()
    return store.put_back()


def test_what_was_saved_here_was_not_put_back(store: KubeStore, opened: Open) -> None:
    store.save_fleet(a_fleet(), 0)
    store.save(a_state(), store.save(a_state(), 0))

    assert looked(store) == looked(opened()) == ""


@pytest.mark.fault(
    on="Kubernetes",
    fault="a Shift is put back from a backup (kubectl, Velero), or carried here from another cluster",
    does="knows it by the object's uid, and freezes all shifts until a person has looked; they still go back",
    sees="hold `restored`: what is saved of shop was written for another object than the one that it is in",
    safe_within="at once, or one tick while running",
)
def test_a_shift_that_was_put_back_is_known_until_it_is_believed(
    store: KubeStore, api: MemoryApi, opened: Open
) -> None:
    store.save_fleet(a_fleet(), 0)
    version = store.save(a_state(share=5), 0)
    backup = taken(api, SHIFTS, "shop")
    store.save(a_state(), version)
    restore(api, SHIFTS, backup)

    anew = opened()
    found = anew.load()["shop"]
    anew.save(found.state, found.version)
    told = looked(opened())
    anew.believe()

    assert told.startswith(OTHER)
    assert told.endswith("`shifter reconcile` where the balancer differs, then unfreeze")
    assert found.state.share == 5
    assert anew.put_back() == looked(opened()) == ""


def test_a_running_service_notices_at_its_next_save(store: KubeStore, api: MemoryApi) -> None:
    version = store.save(a_state(), 0)
    restore(api, SHIFTS, taken(api, SHIFTS, "shop"))

    store.save(a_state(share=5), version)

    assert store.put_back().startswith(OTHER)


def test_what_all_shifts_have_in_common_is_known_in_the_same_way(
    store: KubeStore, api: MemoryApi, opened: Open
) -> None:
    store.save_fleet(a_fleet(), 0)
    restore(api, SHIFT_FLEETS, taken(api, SHIFT_FLEETS, FLEET_OBJECT))

    anew = opened()
    told = looked(anew)
    anew.believe()

    assert told.startswith("what is saved of all shifts together was written for another object")
    assert looked(opened()) == ""


@pytest.mark.fault(
    on="Kubernetes",
    fault="a backup is put back without the statuses (Velero's default)",
    does="what has a history and no state was put back, and is no new shift: all are frozen until a person has looked",
    sees="hold `restored`: nothing is saved any more of shop, though there is history",
    safe_within="at once",
)
def test_a_shift_that_was_put_back_without_its_status_is_no_new_one(
    store: KubeStore, api: MemoryApi, opened: Open
) -> None:
    store.save_fleet(a_fleet(), 0)
    store.save(a_state(), 0, [a_record("one")])
    restore(api, SHIFTS, taken(api, SHIFTS, "shop"), status=False)

    anew = opened()
    told = looked(anew)
    anew.believe()
    anew.save(a_state(), 0, [a_record("two")])

    assert told.startswith("nothing is saved any more of shop, though there is history: it was put back")
    assert looked(opened()) == ""
    assert (examined(anew, "shop").count, examined(anew, "shop").findings) == (2, ())


def test_a_freeze_that_is_gone_while_its_history_is_there_is_not_forgotten(
    store: KubeStore, api: MemoryApi, opened: Open
) -> None:
    store.save_fleet(a_fleet(), 0, [a_record("frozen", shift=FLEET)])
    delete(api, SHIFT_FLEETS, FLEET_OBJECT)

    anew = opened()
    told = looked(anew)
    anew.save_fleet(a_fleet(), 0)
    again = looked(opened())
    anew.believe()

    assert told.startswith("nothing is saved any more of all shifts together, though there is history: it was put back")
    assert again.startswith("what is saved of all shifts together was written for another object")
    assert looked(opened()) == ""


@pytest.mark.fault(
    on="Kubernetes",
    fault="etcd is put back from a snapshot under a running service",
    does="a version that goes down is noticed by whoever saw the higher one; a start later only drift tells",
    sees="hold `restored`: what is saved of shop went back from version 2 to 1",
    safe_within="one tick",
)
def test_a_version_that_goes_down_is_noticed_by_who_saw_it(store: KubeStore, cluster: MemoryCluster) -> None:
    version = store.save(a_state(), 0)
    snapshot = copy.deepcopy(cluster._kept[SHIFTS])  # the disk of etcd
    store.save(a_state(share=5), version)
    cluster._kept[SHIFTS] = snapshot

    store.load()
    told = store.put_back()
    store.believe()

    assert told.startswith("what is saved of shop went back from version 2 to 1: it was put back from a backup")
    assert store.put_back() == ""


def test_a_late_listing_is_not_taken_for_a_backup(store: KubeStore, api: MemoryApi) -> None:
    version = store.save(a_state(), 0)

    def save(_: object) -> None:
        store.save(a_state(share=5), version)

    api.meanwhile(save, "list", kind=SHIFTS, after=True)
    store.load()

    assert store.put_back() == ""
    store.save(a_state(), version + 1)


def test_history_goes_on_after_the_records_that_stayed(store: KubeStore, api: MemoryApi, opened: Open) -> None:
    version = store.save(a_state(), 0, [a_record("one")])
    backup = taken(api, SHIFTS, "shop")
    version = store.save(a_state(share=5), version, [a_record("two"), a_record("three")])
    restore(api, SHIFTS, backup)

    anew = opened()
    found = anew.load()["shop"]
    anew.believe()
    anew.save(found.state, found.version, [a_record("four")])

    assert [each.record.reason for each in anew.history()] == ["one", "two", "three", "four"]
    assert (examined(anew, "shop").count, examined(anew, "shop").findings) == (4, ())


def test_history_goes_on_where_its_beginning_was_pruned_meanwhile(
    store: KubeStore, api: MemoryApi, opened: Open
) -> None:
    store.save(a_state(), 0, [a_record("one")])
    backup = taken(api, SHIFTS, "shop")
    store.save(a_state(share=5), 1, [a_record("two"), a_record("three")])
    api.delete(SHIFT_RECORDS, NAMESPACE, "shift-shop.0000000001")
    restore(api, SHIFTS, backup)

    anew = opened()
    anew.load()
    anew.believe()

    assert anew.chain(1, 10, "shop").anchor.id == 1
    assert [link.id for link in anew.chain(1, 10, "shop").links] == [2, 3]


@pytest.mark.fault(
    on="Kubernetes",
    fault="a Shift comes from a cluster that counted its orders higher",
    does="forgets what was answered there; orders that are given here are obeyed",
    sees="hold `restored`",
    safe_within="at once",
)
def test_orders_that_another_cluster_counted_hide_none_that_is_given_here(
    store: KubeStore, api: MemoryApi, opened: Open
) -> None:
    store.save(answered(10**9), 0)
    store.save_fleet(a_fleet().model_copy(update={"last_order": 10**9}), 0)
    fleet, shift = taken(api, SHIFT_FLEETS, FLEET_OBJECT), taken(api, SHIFTS, "shop")
    restore(api, SHIFT_FLEETS, fleet)
    restore(api, SHIFTS, shift)

    anew = opened()

    assert anew.load_fleet().state.last_order == 0
    assert anew.load()["shop"].state.last_order == 0


def test_orders_that_this_cluster_counted_stay_answered(store: KubeStore, api: MemoryApi, opened: Open) -> None:
    store.save(answered(3), 0)
    restore(api, SHIFTS, taken(api, SHIFTS, "shop"))

    assert opened().load()["shop"].state.last_order == 3


def test_a_belief_that_could_not_be_written_down_is_tried_again(store: KubeStore, api: MemoryApi, opened: Open) -> None:
    store.save(a_state(), 0)
    restore(api, SHIFTS, taken(api, SHIFTS, "shop"))
    anew = opened()
    anew.load()
    api.fail(Fault.DOWN, "replace_status")

    with pytest.raises(StoreUnavailableError):
        anew.believe()
    told = anew.put_back()
    anew.believe()

    assert told.startswith(OTHER)
    assert anew.put_back() == ""


def test_a_backup_that_is_deleted_again_is_none(store: KubeStore, api: MemoryApi, opened: Open) -> None:
    store.save(a_state(), 0)
    restore(api, SHIFTS, taken(api, SHIFTS, "shop"))
    anew = opened()
    anew.load()
    delete(api, SHIFTS, "shop")

    anew.believe()

    assert anew.put_back() == ""


def test_definitions_that_drop_the_uid_are_noticed(store: KubeStore, cluster: MemoryCluster) -> None:
    place = (SHIFTS.group, SHIFTS.plural)
    older = copy.deepcopy(cluster.schemas[place])
    del older["properties"]["status"]["properties"]["writtenFor"]
    cluster.schemas[place] = older

    with pytest.raises(RefusedError, match="the cluster's definitions are of an earlier shifter"):
        store.save(a_state(), 0)


def test_a_few_of_many_are_named(store: KubeStore, api: MemoryApi, opened: Open) -> None:
    for name in "abcde":
        store.save(a_state(name), 0)
        restore(api, SHIFTS, taken(api, SHIFTS, name))

    anew = opened()
    anew.load()

    assert "of c was written for another object than the one that it is in; and 2 more: it was" in anew.put_back()
