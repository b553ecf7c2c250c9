"""The store in a cluster as one end of a copy: from a file and back, and what a killed or a refused copy leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.kube.transfer import COPYING, KubeTransfer, Office
from shifter.adapters.saved_records import link_of
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.transfer import SqliteTransfer
from shifter.core.chain import Walk
from shifter.core.deciding.orders import FLEET, Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.documents.leasing import LeaseTiming
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import FleetState, Freeze, ShiftState
from shifter.errors import NotFoundError, RefusedError, StoreUnavailableError
from shifter.ports import Saved, SavedFleet, Store
from shifter.ports.kube import LEASES, Kind
from shifter.ports.transfers import Contents
from shifter.service.copying import Wanted, contents_of, copy, records_of
from tests.documents import a_policy
from tests.kube import Fault, MemoryApi, MemoryCluster
from tests.reports import a_report

NAMESPACE = "shifter-system"
PLACE = "namespace shifter-system of the cluster lab"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WANTED = Wanted("ann", NOON + timedelta(hours=1))
TIMING = LeaseTiming()


class Bench:
    """A cluster, and a clock that only moves when somebody waits for the lease."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.api = MemoryApi(self.cluster)
        self.seconds = 1000.0
        self.clocks = Clocks(lambda: self.seconds, lambda: self.seconds, self.wall)
        self._numbers = count()

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def store(self) -> KubeStore:
        return KubeStore(MemoryApi(self.cluster), NAMESPACE, f"writer-{next(self._numbers)}", self._token)

    def transfer(self) -> KubeTransfer:
        store = KubeStore(self.api, NAMESPACE, f"copy-{next(self._numbers)}", self._token)
        return KubeTransfer(self.api, NAMESPACE, PLACE, store, Office("copy", TIMING, self.clocks, self.wait))

    def leader(self) -> KubeLease:
        """Return a lease that somebody else holds."""
        lease = KubeLease(MemoryApi(self.cluster), Claim(NAMESPACE, "shifter-0", "main"), TIMING, clocks=self.clocks)
        while not lease.valid():
            lease.step()
            self.wait(1.0)
        return lease

    def _token(self) -> str:
        return f"t{next(self._numbers)}"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _state(name: str, **changes: object) -> ShiftState:
    return ShiftState.model_validate({"name": name, "policy": a_policy(name), "since": NOON, **changes})


def _record(shift: str, minute: float) -> NewRecord:
    return NewRecord(NOON + timedelta(minutes=minute), shift, What.HOLDS, "shifter", f"{shift} {minute}")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[SqliteTransfer]:
    """A file with two shifts under way, one answered order, a freeze, and records of a shift that is gone."""
    path = tmp_path / "old.db"
    for _ in range(4):
        SqliteLease(path).release()
    with closing(SqliteStore(path)) as store:
        for name in ("pay", "shop"):
            store.save(_state(name), 0, [_record(name, 0)])
        order = store.create_order(OrderRequest("shop", Verb.PAUSE, "bob", "lunch"), NOON)
        answer = OrderAnswer(order.id, Answer.ACCEPTED, "paused", NOON + timedelta(minutes=1))
        store.save(_state("shop", last_order=order.id), 1, [_record("shop", 1)], [answer])
        freeze = Freeze(by="bob", reason="Singles' Day", at=NOON)
        store.save_fleet(FleetState(freezes=(freeze,)), 0, [_record(FLEET, 2), _record("gone", 3)])
        for minute in range(4, 34):
            store.save(_state("pay", sequence=minute), minute - 3, [_record("pay", minute)])
        store.report(a_report(NOON, "shop"))
    with closing(SqliteTransfer(path)) as end:
        yield end


def _sound(store: Store) -> bool:
    walks = {chain: Walk() for chain in store.chains()}
    for chain, walk in walks.items():
        while walk.take(store.chain(walk.next_id, 10, chain)):
            pass
    return all(walk.result().sound for walk in walks.values())


def _told(store: Store) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for link in records_of(store):
        if link.what != What.COPIED:
            told.setdefault(link.shift, []).append(link.reason)
    return told


def test_a_file_becomes_objects_that_a_service_goes_on_with(bench: Bench, old: SqliteTransfer) -> None:
    before = contents_of(old)
    told = _told(old.store)
    copied = copy(old, bench.transfer(), WANTED)
    store = bench.store()

    assert dict(store.load().readable) == before.states
    assert store.load()["pay"].version == 31
    assert store.load_fleet().state == before.fleet.state
    assert sorted(store.reports()) == ["shop"]
    assert (_told(store), _sound(store)) == (told, True)
    assert (copied.left_out, copied.records) == (1, 35)
    assert store.save(_state("pay"), 31, [_record("pay", 90)]) == 32
    assert store.create_order(OrderRequest("shop", Verb.PAUSE, "bob", ""), NOON).id > before.last_obeyed


def test_records_of_a_shift_that_is_gone_are_in_the_chain_of_all(bench: Bench, old: SqliteTransfer) -> None:
    copy(old, bench.transfer(), WANTED)
    store = bench.store()

    assert store.chains() == (FLEET, "pay", "shop")
    assert [record.record.reason for record in store.history("gone")] == ["gone 3"]


def test_the_way_back_loses_nothing_either(bench: Bench, old: SqliteTransfer, tmp_path: Path) -> None:
    told, states = _told(old.store), dict(old.store.load().readable)
    copy(old, bench.transfer(), WANTED)
    service = bench.store()
    order = service.create_order(OrderRequest("shop", Verb.PROMOTE, "eve", "go"), NOON)
    path = tmp_path / "new.db"
    with closing(SqliteTransfer(path)) as new:
        copied = copy(bench.transfer(), new, replace(WANTED, at=NOON + timedelta(hours=2)))
        (waiting,) = new.store.open_orders()

        assert (_told(new.store), _sound(new.store)) == (told, True)
        assert dict(new.store.load().readable) == states
        assert (waiting.id, waiting.request, copied.waiting) == (order.id, order.request, 1)
    lease = SqliteLease(path)
    lease.release()
    assert lease.notes == ()


def test_the_next_leader_has_an_epoch_above_all_before(bench: Bench, old: SqliteTransfer) -> None:
    before = old.epoch()
    end = bench.transfer()
    copy(old, end, WANTED)

    of_the_copy = end.epoch()

    assert bench.leader().epoch > of_the_copy > before >= 4


def test_the_old_cluster_is_frozen(bench: Bench, old: SqliteTransfer, tmp_path: Path) -> None:
    copy(old, bench.transfer(), WANTED)
    with closing(SqliteTransfer(tmp_path / "new.db")) as new:
        assert copy(bench.transfer(), new, WANTED).unfrozen == ""
    freezes = bench.store().load_fleet().state.freezes

    assert freezes[-1].reason.startswith(f"this store was copied to {tmp_path / 'new.db'}: go on there")


def test_answered_orders_come_back_with_their_answers(bench: Bench, tmp_path: Path) -> None:
    service = bench.store()
    service.save(_state("shop"), 0)
    order = service.create_order(OrderRequest("shop", Verb.PAUSE, "eve", ""), NOON)
    answer = OrderAnswer(order.id, Answer.REFUSED, "no", NOON + timedelta(minutes=1))
    service.save(_state("shop", last_order=order.id), 1, [_record("shop", 1)], [answer])
    with closing(SqliteTransfer(tmp_path / "new.db")) as new:
        copy(bench.transfer(), new, WANTED)
        found = new.store.order(order.id)

    assert (found.answer, found.answer_text) == (Answer.REFUSED, "no")


class TestRefusals:
    """What stands in the way, in words; and nothing is written."""

    def test_a_leader_alive(self, bench: Bench, old: SqliteTransfer) -> None:
        bench.leader()
        with pytest.raises(RefusedError) as refused:
            copy(old, bench.transfer(), WANTED)

        said = f"a leader is alive on {PLACE}: shifter-0 holds the lease {NAMESPACE}/shifter"
        assert str(refused.value) == said
        assert bench.api.list(SHIFT_FLEETS, NAMESPACE).items == []

    def test_a_leader_whose_clock_is_behind_is_waited_for_in_vain(self, bench: Bench) -> None:
        alive = bench.leader()
        end = bench.transfer()

        def waits(seconds: float) -> None:
            bench.wait(seconds)
            alive.step()

        end._office = Office("copy", TIMING, replace(bench.clocks, wall=lambda: NOON + timedelta(days=1)), waits)
        said = r"cannot be kept to ourselves within 96 s: .*shifter-0"
        with pytest.raises(StoreUnavailableError, match=said), end.guarded():
            raise AssertionError("led beside a leader")

    def test_an_api_server_that_does_not_answer(self, bench: Bench) -> None:
        end = bench.transfer()

        def waits(seconds: float) -> None:
            bench.wait(seconds)
            bench.api.set(down=True)

        end._office = Office("copy", TIMING, bench.clocks, waits)
        with (
            pytest.raises(StoreUnavailableError, match=r"within 96 s: .*cannot be renewed: connection refused"),
            end.guarded(),
        ):
            raise AssertionError("led without an answer")

    def test_a_lease_that_is_lost_meanwhile(self, bench: Bench) -> None:
        end = bench.transfer()
        with (
            pytest.raises(StoreUnavailableError, match=f"the lease of {PLACE} was lost while it was copied"),
            end.guarded(),
        ):
            bench.wait(100.0)

    @pytest.mark.parametrize(
        ("verb", "kind", "what"),
        [
            ("replace", LEASES, "update leases.coordination.k8s.io shifter"),
            ("create", LEASES, "create leases.coordination.k8s.io"),
            ("create", SHIFT_RECORDS, "create shiftrecords.shifter.io"),
        ],
    )
    @pytest.mark.parametrize("dry_run", [False, True])
    def test_who_has_not_the_services_rights_and_without_any_waiting(
        self, bench: Bench, old: SqliteTransfer, verb: str, kind: Kind, what: str, *, dry_run: bool
    ) -> None:
        bench.api.user = "ann"
        bench.api.fail(Fault.DENIED, verb, kind=kind, times=None)
        with pytest.raises(RefusedError) as refused:
            copy(old, bench.transfer(), replace(WANTED, dry_run=dry_run))

        assert str(refused.value) == (
            f"ann may not {what} in namespace {NAMESPACE}: whoever copies needs the service's own rights"
        )
        assert refused.value.remedy == (
            "for as long as it takes: kubectl -n shifter-system create rolebinding copying --role=shifter --user=ann"
        )
        assert (bench.seconds, bench.api.count("create", "replace", kind=LEASES)) == (1000.0, 0)

    def test_a_namespace_on_its_way_out_is_not_waited_for(self, bench: Bench, old: SqliteTransfer) -> None:
        bench.cluster.terminate(NAMESPACE)
        with pytest.raises(
            RefusedError, match=r"cannot be kept to ourselves: .*because it is being terminated"
        ) as told:
            copy(old, bench.transfer(), WANTED)

        assert told.value.remedy.startswith("the namespace is being deleted")
        assert bench.seconds < 1000.0 + TIMING.hand_over_seconds

    def test_a_namespace_that_is_not_there_is_not_waited_for(self, bench: Bench, old: SqliteTransfer) -> None:
        bench.api.fail(Fault.NO_KIND, "create", kind=LEASES, times=None, saying=f'namespaces "{NAMESPACE}" not found')
        with pytest.raises(NotFoundError, match=f'cannot be kept to ourselves: namespaces "{NAMESPACE}" not found'):
            copy(old, bench.transfer(), WANTED)

        assert bench.seconds < 1000.0 + TIMING.hand_over_seconds

    def test_orders_that_wait(self, bench: Bench, old: SqliteTransfer) -> None:
        old.store.create_order(OrderRequest("shop", Verb.PROMOTE, "eve", ""), NOON)
        with pytest.raises(
            RefusedError, match=r"1 order waits for an answer, and in .* nobody could tell who gave them"
        ):
            copy(old, bench.transfer(), WANTED)

    def test_numbers_that_the_cluster_has_not_reached(self, bench: Bench, old: SqliteTransfer) -> None:
        far = old.store.load()["shop"].state.model_copy(update={"last_order": 10**9})
        old.store.save(far, 2)
        with pytest.raises(
            RefusedError, match=r"orders up to 1000000000 were answered, and .* they would be taken for"
        ):
            copy(old, bench.transfer(), WANTED)

    def test_a_name_that_no_object_can_have(self, bench: Bench) -> None:
        contents = Contents({"Shop_1": Saved(_state("shop"), 1)}, SavedFleet(FleetState(), 0), {}, (), 0)
        with pytest.raises(
            RefusedError, match="no object in a cluster can be called 'Shop_1': it cannot be copied into"
        ):
            bench.transfer().check(contents)

    def test_an_order_that_nobody_understands(self, bench: Bench) -> None:
        service = bench.store()
        service.create_order(OrderRequest("shop", Verb.PAUSE, "eve", ""), NOON)
        (body,) = bench.api.list(SHIFT_ORDERS, NAMESPACE).items
        bench.api.replace(SHIFT_ORDERS, NAMESPACE, {**body, "status": {"answer": "accepted"}}, status=True)
        with pytest.raises(RefusedError, match="the order pause-t1 is not understood: KeyError"):
            bench.transfer().orders()

    @pytest.mark.parametrize(
        "made", [lambda store: store.save(_state("shop"), 0), lambda store: store.save_fleet(FleetState(), 0)]
    )
    def test_a_namespace_that_is_in_use(self, bench: Bench, old: SqliteTransfer, made: Callable[[Store], int]) -> None:
        made(bench.store())
        with pytest.raises(RefusedError, match=f"{PLACE} is not empty: (1 shift|the state of all shifts together);"):
            copy(old, bench.transfer(), WANTED)


@pytest.mark.fault(
    on="process",
    fault="a copy into a cluster is killed half-way",
    does="all shifts stay frozen there; the old store goes on",
    sees="freeze: a copy into this store is under way, or was interrupted",
    safe_within="at once",
)
@pytest.mark.parametrize("calls", [0, 1, 2, 39, 40, 41, 43, 44])
def test_whatever_is_left_of_a_killed_copy_is_frozen_and_known_for_what_it_is(
    bench: Bench, old: SqliteTransfer, calls: int
) -> None:
    written = count()

    def die(_: object) -> None:
        if next(written) == calls:
            raise KeyboardInterrupt

    for kind in (SHIFT_FLEETS, SHIFT_RECORDS, SHIFTS):
        bench.api.meanwhile(die, "create", "replace_status", kind=kind, times=None)
    with pytest.raises(KeyboardInterrupt):
        copy(old, bench.transfer(), WANTED)
    bench.api = MemoryApi(bench.cluster)
    fleet = bench.store().load_fleet()
    left = bench.transfer().occupied()

    if fleet.version:
        assert [(freeze.by, freeze.reason) for freeze in fleet.state.freezes] == [(SERVICE, COPYING)]
        assert left.startswith(COPYING)
        assert left.endswith(f"kubectl delete shifts,shiftfleets,shiftorders,shiftrecords --all -n {NAMESPACE}")
        with pytest.raises(RefusedError, match=f"is not empty: {COPYING}"):
            copy(old, bench.transfer(), WANTED)
    else:
        assert calls < 2
        assert not bench.api.list(SHIFT_RECORDS, NAMESPACE).items
        assert not bench.api.list(SHIFTS, NAMESPACE).items
    assert len(old.store.load_fleet().state.freezes) == 1, "the old store goes on"
    if not fleet.version:
        assert copy(old, bench.transfer(), WANTED).records == 35


def test_a_copy_knows_the_epochs_and_the_objects_that_it_is_written_for(old: SqliteTransfer, bench: Bench) -> None:
    copy(old, bench.transfer(), WANTED)

    shift = bench.api.get(SHIFTS, NAMESPACE, "shop")
    fleet = bench.api.get(SHIFT_FLEETS, NAMESPACE, "fleet")
    for body in (shift, fleet):
        assert body["status"]["writtenFor"] == body["metadata"]["uid"]
        assert body["status"]["epoch"] == old.epoch()
    store = bench.store()
    store.load_fleet()
    store.load()
    assert store.put_back() == ""
    assert store.last_epoch() == old.epoch()


def test_a_copy_knows_the_epochs_that_only_its_history_knows(bench: Bench) -> None:
    notes = [NewRecord(NOON, FLEET, What.COPIED, "ann", "copied")]
    written = [link_of(replace(_record("gone", 0), epoch=12)), replace(link_of(_record("gone", 1)), epoch="odd")]
    contents = Contents({"shop": Saved(_state("shop"), 1)}, SavedFleet(FleetState(), 1), {}, (), 4)

    bench.transfer().take(contents, written, notes)

    assert bench.store().last_epoch() == 12
