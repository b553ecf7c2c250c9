"""A store copied into another: everything arrives, nothing is made up, and two of them never lead."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.transfer import SqliteTransfer
from shifter.core.chain import Examined, Walk
from shifter.core.deciding.orders import FLEET, Answer, Order, OrderAnswer, OrderRequest, Verb
from shifter.core.records import NewRecord, What
from shifter.core.state import FleetState, Freeze, ShiftState
from shifter.errors import ConflictError, InvariantError, RefusedError
from shifter.ports import WHOLE, Store
from shifter.ports.transfers import Contents, KeptOrder, Transferable
from shifter.service.copying import Copied, Wanted, contents_of, copy, records_of
from tests.apart import Apart
from tests.documents import a_policy
from tests.reports import a_report

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WANTED = Wanted("ann@desk", NOON + timedelta(hours=1))
FIRST_EPOCH = 7


def _state(name: str, **changes: object) -> ShiftState:
    return ShiftState.model_validate({"name": name, "policy": a_policy(name), "since": NOON, **changes})


def _record(shift: str, minute: float, reason: str = "looked") -> NewRecord:
    return NewRecord(NOON + timedelta(minutes=minute), shift, What.HOLDS, "shifter", reason, evidence={"share": 25.0})


def _filled(path: Path, *, waiting: bool = True) -> SqliteTransfer:
    """Return a store of two shifts under way: saved often, with answered and open orders, frozen, and led before."""
    for _ in range(FIRST_EPOCH):
        SqliteLease(path).release()
    with closing(SqliteStore(path)) as store:
        for name in ("pay", "shop"):
            store.save(_state(name), 0, [_record(name, 0)])
        first = store.create_order(OrderRequest("shop", Verb.PAUSE, "bob", "lunch"), NOON)
        paused = _state("shop", last_order=first.id)
        answer = OrderAnswer(first.id, Answer.ACCEPTED, "paused", NOON + timedelta(minutes=2))
        store.save(paused, 1, [_record("shop", 2, f"answered {first.id}")], [answer])
        if waiting:
            store.create_order(OrderRequest("pay", Verb.PROMOTE, "eve", "go", share=50.0), NOON + timedelta(minutes=3))
        freeze = Freeze(by="bob", reason="Singles' Day", at=NOON)
        store.save_fleet(FleetState(freezes=(freeze,)), 0, [_record(FLEET, 4)])
        store.save_fleet(FleetState(freezes=(freeze,), last_order=0), 1, [_record(FLEET, 5)])
        store.save(_state("pay", sequence=3), 1, [_record("pay", 6)])
        store.report(a_report(NOON, "shop"))
    return SqliteTransfer(path)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[SqliteTransfer]:
    """The filled store."""
    with closing(_filled(tmp_path / "old.db")) as filled:
        yield filled


@pytest.fixture
def settled(tmp_path: Path) -> Iterator[SqliteTransfer]:
    """The same without an order that waits."""
    with closing(_filled(tmp_path / "old.db", waiting=False)) as filled:
        yield filled


@pytest.fixture
def target(tmp_path: Path) -> Iterator[SqliteTransfer]:
    """A file that is not there yet."""
    with closing(SqliteTransfer(tmp_path / "new.db")) as empty:
        yield empty


def _walked(store: Store, chain: str) -> Examined:
    walk = Walk()
    while walk.take(store.chain(walk.next_id, 2, chain)):
        pass
    return walk.result()


def _texts(store: Store, shift: str) -> list[tuple[str, ...]]:
    told = [each for each in records_of(store) if each.shift == shift and each.what != What.COPIED]
    return [(each.at, each.what, each.by, each.reason, each.sequence, each.epoch, each.evidence) for each in told]


def _files_of(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


class TestIntoAFile:
    """A file copied into a file: nothing but the ids of records may change."""

    def test_everything_arrives_with_its_versions_and_numbers(
        self, source: SqliteTransfer, target: SqliteTransfer
    ) -> None:
        before = contents_of(source)
        copy(source, target, WANTED)
        after = contents_of(target)

        assert (after.states, after.fleet, after.reports) == (before.states, before.fleet, before.reports)
        assert {name: saved.version for name, saved in after.states.items()} == {"pay": 2, "shop": 2}
        assert after.fleet.version == 2
        assert after.orders == before.orders

    def test_history_keeps_its_texts_and_is_sound(self, source: SqliteTransfer, target: SqliteTransfer) -> None:
        before = {shift: _texts(source.store, shift) for shift in ("pay", "shop", FLEET)}
        copy(source, target, WANTED)

        assert {shift: _texts(target.store, shift) for shift in ("pay", "shop", FLEET)} == before
        assert _walked(target.store, WHOLE).sound

    def test_the_last_record_says_where_it_all_comes_from(self, source: SqliteTransfer, target: SqliteTransfer) -> None:
        old = _walked(source.store, WHOLE)
        copy(source, target, WANTED)
        (note,) = target.store.history(limit=1)

        assert (note.record.what, note.record.shift, note.record.by) == (What.COPIED, FLEET, "ann@desk")
        assert note.record.reason == (
            f"copied from {source.place}: 6 records, the last of them 6 with the hash {old.head.hash}"
        )
        assert note.record.evidence["head"] == {"id": 6, "hash": old.head.hash}

    def test_orders_and_epochs_are_counted_on_from_where_they_were(
        self, source: SqliteTransfer, target: SqliteTransfer, tmp_path: Path
    ) -> None:
        before = source.epoch()
        copy(source, target, WANTED)
        order = target.store.create_order(OrderRequest("pay", Verb.PAUSE, "bob", ""), NOON)
        lease = SqliteLease(tmp_path / "new.db")
        lease.release()

        assert order.id == 3
        assert lease.epoch > before >= FIRST_EPOCH

    def test_a_service_finds_nothing_to_complain_of(
        self, source: SqliteTransfer, target: SqliteTransfer, tmp_path: Path
    ) -> None:
        copy(source, target, WANTED)
        lease = SqliteLease(tmp_path / "new.db")
        lease.release()

        assert lease.notes == ()

    def test_the_old_store_is_frozen_and_says_where_to_go_on(
        self, source: SqliteTransfer, target: SqliteTransfer
    ) -> None:
        copied = copy(source, target, WANTED)
        said = f"this store was copied to {target.place}: go on there; unfreeze only to go on here instead"

        assert [freeze.reason for freeze in source.store.load_fleet().state.freezes] == ["Singles' Day", said]
        assert source.store.history(limit=1)[0].record.reason == f"copied to {target.place}; frozen here"
        assert copied.unfrozen == ""

    def test_pruned_records_are_told_of(self, source: SqliteTransfer, target: SqliteTransfer) -> None:
        source.store.prune(NOON + timedelta(minutes=3))
        copied = copy(source, target, WANTED)

        assert copied.records == 3
        assert target.store.history(limit=1)[0].record.reason.endswith("; older ones, up to 3, were pruned there")
        assert _walked(target.store, WHOLE).sound

    def test_a_dry_run_tells_the_same_and_touches_nothing(
        self, source: SqliteTransfer, target: SqliteTransfer, tmp_path: Path
    ) -> None:
        source.close()
        before = _files_of(tmp_path)
        again = SqliteTransfer(tmp_path / "old.db")
        found = copy(again, target, replace(WANTED, dry_run=True))
        again.close()

        assert (found.records, found.waiting, len(found.contents.states)) == (6, 1, 2)
        assert _files_of(tmp_path) == before

    def test_killed_halfway_there_is_nothing_in_it(self, source: SqliteTransfer, target: SqliteTransfer) -> None:
        contents, links = contents_of(source), list(records_of(source.store))

        def torn() -> Iterator[object]:
            yield from links[:2]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            target.take(contents, torn(), ())  # type: ignore[arg-type] # as the records of a store come

        assert target.occupied() == ""
        assert copy(source, target, WANTED).records == 6


class TestBetweenKinds:
    """A file copied into chains apart, and back."""

    def test_each_chain_gets_its_records_and_a_note(self, settled: SqliteTransfer) -> None:
        apart = Apart()
        old = _walked(settled.store, WHOLE)
        copy(settled, apart, WANTED)

        assert {chain: len(links) for chain, links in apart.links.items()} == {"pay": 3, "shop": 3, FLEET: 3}
        assert all(_walked(apart.store, chain).sound for chain in apart.chains())
        assert all(old.head.hash in links[-1].reason for links in apart.links.values())

    def test_answered_orders_may_be_left_to_the_history(self, settled: SqliteTransfer) -> None:
        apart = Apart()
        copied = copy(settled, apart, WANTED)

        assert (copied.left_out, copied.waiting, apart.orders()) == (1, 0, ())

    def test_the_way_back_keeps_every_text_in_order(self, settled: SqliteTransfer, target: SqliteTransfer) -> None:
        apart = Apart()
        before = {shift: _texts(settled.store, shift) for shift in ("pay", "shop", FLEET)}
        states = dict(settled.store.load().readable)
        copy(settled, apart, WANTED)
        copy(apart, target, replace(WANTED, at=NOON + timedelta(hours=2)))

        assert {shift: _texts(target.store, shift) for shift in ("pay", "shop", FLEET)} == before
        assert dict(target.store.load().readable) == states
        assert _walked(target.store, WHOLE).sound
        notes = [each for each in target.store.history() if each.record.what is What.COPIED]
        assert [note.record.shift for note in notes[-3:]] == [FLEET, "pay", "shop"]

    def test_records_of_chains_apart_come_by_time_and_keep_their_order(self) -> None:
        apart = Apart()
        for shift, minute in (("shop", 5), ("shop", 1), ("pay", 2)):
            apart.save_fleet(FleetState(), 0, [_record(shift, minute, f"{shift} {minute}")])

        assert [link.reason for link in records_of(apart.store)] == ["pay 2", "shop 5", "shop 1"]

    def test_numbers_that_would_be_taken_for_answered_are_refused(
        self, settled: SqliteTransfer, target: SqliteTransfer
    ) -> None:
        apart = Apart()
        apart.contents = replace(contents_of(settled), states={"shop": contents_of(settled).states["shop"]})
        apart.contents.states["shop"].state.__dict__["last_order"] = 9_000

        with pytest.raises(RefusedError, match="orders up to 9000 were answered"):
            copy(apart, Apart("elsewhere"), WANTED)
        assert copy(apart, target, WANTED).contents.last_order == 9_000
        assert target.store.create_order(OrderRequest("shop", Verb.PAUSE, "bob", ""), NOON).id == 9_001


class TestRefusals:
    """What stands in the way is said, and nothing is touched."""

    @pytest.mark.fault(
        on="people",
        fault="copy a store while a service runs on it, or on the other",
        does="refuses; nothing is written",
        sees="another shifter runs on this store: pid ...",
        safe_within="at once",
    )
    @pytest.mark.parametrize("dry_run", [False, True])
    @pytest.mark.parametrize("which", ["old.db", "new.db"])
    def test_a_leader_alive_on_either_side(
        self, source: SqliteTransfer, target: SqliteTransfer, tmp_path: Path, which: str, *, dry_run: bool
    ) -> None:
        lease = SqliteLease(tmp_path / which)
        try:
            with pytest.raises(RefusedError) as refused:
                copy(source, target, replace(WANTED, dry_run=dry_run))
        finally:
            lease.release()

        lock = tmp_path / f"{which}.lock"
        who = "a leader is alive on" if dry_run else "another shifter runs on this store: pid "
        assert str(refused.value).startswith(who)
        assert str(refused.value).endswith(f"holds {lock}")
        assert target.occupied() == ""

    def test_a_lock_that_cannot_be_looked_at_may_be_a_leaders(self, tmp_path: Path) -> None:
        lock = tmp_path / "new.db.lock"
        lock.symlink_to(lock)
        target = SqliteTransfer(tmp_path / "new.db")

        assert target.leader() == f"that cannot be told, {lock} cannot be read"

    def test_the_same_store_twice(self, source: SqliteTransfer, tmp_path: Path) -> None:
        link = tmp_path / "link.db"
        link.symlink_to(tmp_path / "old.db")

        with pytest.raises(RefusedError, match=f"both are the same store: {source.place}"):
            copy(source, SqliteTransfer(link), WANTED)

    def test_nothing_to_copy(self, source: SqliteTransfer, target: SqliteTransfer) -> None:
        with pytest.raises(RefusedError, match=f"there is nothing in {target.place} to copy"):
            copy(target, source, replace(WANTED, dry_run=True))

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_a_target_that_has_something(self, source: SqliteTransfer, tmp_path: Path, *, dry_run: bool) -> None:
        with closing(_filled(tmp_path / "full.db")) as full:
            said = (
                "is not empty: 2 shifts, 1 report, 2 orders, 6 records; a copy is only made into a store with nothing"
            )
            with pytest.raises(RefusedError, match=said):
                copy(source, full, replace(WANTED, dry_run=dry_run))

    def test_a_fleet_state_alone_is_something(self, source: SqliteTransfer, target: SqliteTransfer) -> None:
        target.store.save_fleet(FleetState(), 0)

        with pytest.raises(RefusedError, match="is not empty: the state of all shifts together; a copy"):
            copy(source, target, WANTED)

    def test_a_state_that_cannot_be_read(self, source: SqliteTransfer, target: SqliteTransfer, tmp_path: Path) -> None:
        _meddle(tmp_path / "old.db", "UPDATE shifts SET version = version + 1, state = '{}' WHERE name = 'pay'")

        with pytest.raises(RefusedError, match="saved state of pay is not understood"):
            copy(source, target, WANTED)
        assert target.occupied() == ""

    def test_an_unsound_history_unless_told_so(
        self, source: SqliteTransfer, target: SqliteTransfer, tmp_path: Path
    ) -> None:
        _meddle(tmp_path / "old.db", "DROP TRIGGER history_fixed", "UPDATE history SET why = 'nothing' WHERE id = 2")

        with pytest.raises(RefusedError) as refused:
            copy(source, target, WANTED)
        assert str(refused.value) == (
            f"the history in {source.place} is not as it was written: record 2 was changed after it was written, or"
            " record 1 was and got a hash that fits; in a copy nobody could see that any more"
        )
        assert "--unsound copies it, and the copy says so" in refused.value.remedy

        copied = copy(source, target, replace(WANTED, unsound=True))
        note = target.store.history(limit=1)[0].record

        assert copied.origins[0].findings == 1
        assert note.reason.endswith("; 1 thing in it not as written")
        assert note.evidence["findings"] == [
            "record 2 was changed after it was written, or record 1 was and got a hash that fits"
        ]

    def test_orders_that_wait_where_they_could_not_be_kept(self, source: SqliteTransfer) -> None:
        with pytest.raises(RefusedError, match=r"orders wait for an answer: \[2\]"):
            copy(source, Apart(), WANTED)

    def test_numbers_beyond_all_counting(self, target: SqliteTransfer, source: SqliteTransfer) -> None:
        beyond = replace(contents_of(source), epoch=2**63)

        with pytest.raises(RefusedError, match=rf"cannot count on from order 2, epoch {2**63}"):
            target.check(beyond)


def _meddle(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement)


def _other_state(contents: Contents) -> Contents:
    changed = replace(contents.states["shop"], version=9)
    return replace(contents, states={**contents.states, "shop": changed})


STRANGE = KeptOrder(Order(9, NOON, OrderRequest("shop", Verb.PROMOTE, "mallory", "")))
SPOILT: dict[str, tuple[Callable[[Contents], Contents], str]] = {
    "a state": (_other_state, "the state of shop"),
    "a report": (lambda contents: replace(contents, reports={}), "the report of shop"),
    "the fleet": (
        lambda contents: replace(contents, fleet=replace(contents.fleet, version=1)),
        "the state of all shifts together",
    ),
    "an order": (lambda contents: replace(contents, orders=(STRANGE,)), "its orders are others"),
    "the epoch": (lambda contents: replace(contents, epoch=0), r"its epoch is 0, below \d+"),
}


class TestReadBack:
    """A copy is believed only after it was read back."""

    @pytest.mark.parametrize("what", SPOILT)
    def test_what_arrived_otherwise_is_no_copy(self, settled: SqliteTransfer, what: str) -> None:
        apart = Apart()
        apart.meddle, said = SPOILT[what]

        with pytest.raises(InvariantError, match=f"is not what was read: {said}; start no service on it, and remove"):
            copy(settled, apart, WANTED)
        assert len(settled.store.load_fleet().state.freezes) == 1, "the old store goes on"

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda links: links["shop"].pop(), "the history of shop has other records"),
            (lambda links: links["shop"].pop(0), "the history of shop is not sound"),
            (lambda links: links.pop(FLEET), r"the history of \* has other records"),
        ],
    )
    def test_a_history_that_arrived_otherwise_is_no_copy(
        self, settled: SqliteTransfer, spoil: Callable[[dict[str, list[object]]], object], said: str
    ) -> None:
        _meddle_in_records(settled)
        apart = Apart()

        def meddle(contents: Contents) -> Contents:
            spoil(apart.links)  # type: ignore[arg-type] # whatever is in them
            return contents

        apart.meddle = meddle
        with pytest.raises(InvariantError, match=said):
            copy(settled, apart, WANTED)

    def test_an_old_store_that_cannot_be_frozen_is_told_of(self, settled: SqliteTransfer) -> None:
        apart, back = Apart(), Apart("elsewhere")
        copy(settled, apart, WANTED)
        apart.frozen_fails = "somebody else saved it"
        copied = copy(apart, back, WANTED)

        assert copied.unfrozen == "somebody else saved it"
        assert back.above == apart.epoch() > FIRST_EPOCH
        assert apart.guards == ["taken", "let go", "taken", "let go"]


def _meddle_in_records(settled: SqliteTransfer) -> None:
    """Have records of a shift of which nothing is saved any more: they come along like all others."""
    fleet = settled.store.load_fleet()
    settled.store.save_fleet(fleet.state, fleet.version, [_record("gone", 7)])


def test_a_copy_leads_nowhere_else_meanwhile(settled: SqliteTransfer, tmp_path: Path) -> None:
    apart = Apart()

    def meddle(contents: Contents) -> Contents:
        with pytest.raises(RefusedError, match="another shifter runs on this store"):
            SqliteLease(tmp_path / "old.db")
        return contents

    apart.meddle = meddle
    copied: Copied = copy(settled, apart, WANTED)

    assert copied.target == apart.place


def test_what_a_copy_is_made_of_is_one_protocol(source: SqliteTransfer) -> None:
    ends: list[Transferable] = [source, Apart()]

    with pytest.raises(ConflictError):
        source.store.save_fleet(FleetState(), 99)
    assert [end.chain_for("shop", {"shop"}) for end in ends] == [WHOLE, "shop"]
