"""`shifter doctor` looks at the newest records: are they as they were written?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shifter.adapters.memory_store import MemoryStore
from shifter.core.chain import FIRST_ID, Link, Stretch
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import ShiftState
from shifter.errors import RefusedError
from shifter.ports import WHOLE, LeaseFacts, Store, StoreFacts
from shifter.service.checkup.doors import Context
from shifter.service.checkup.findings import Finding, Level
from shifter.service.checkup.store import FileDoor, findings, look
from tests.documents import a_policy

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Unchained(MemoryStore):
    """A store that an earlier version wrote."""

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        del of
        raise RefusedError(f"records are not chained: {first}, {limit}")


def filled(store: MemoryStore, count: int) -> MemoryStore:
    state = ShiftState(name="shop", policy=a_policy(), since=NOON)
    store.save(state, 0, [NewRecord(NOON, "shop", What.HOLDS, SERVICE, f"number {number}") for number in range(count)])
    return store


def of_history(store: Store) -> Finding:
    """Return what a check-up says of a store's history."""
    door = FileDoor(
        Path("shifter.db"),
        lambda _: "",
        lambda _: StoreFacts(3, 3, "", ""),
        lambda _: LeaseFacts(held=False),
        lambda _: store,
    )
    (found,) = (each for each in findings(look(door), Context(None, None, NOON)) if each.subject == "history")
    return found


def rewritten(store: MemoryStore, links: Sequence[Link]) -> MemoryStore:
    store.rewrite(links)
    return store


@pytest.mark.parametrize(("count", "shown"), [(0, "0"), (7, "7"), (1500, "1,001")])
def test_records_as_they_were_written_are_well(count: int, shown: str) -> None:
    found = of_history(filled(MemoryStore(), count))

    assert found.level is Level.OK
    assert found.text == f"the newest {shown} records are as they were written"


def test_a_changed_record_among_the_newest_is_a_problem_with_a_fix() -> None:
    store = filled(MemoryStore(), 1500)
    links = list(store.chain(FIRST_ID, 2000).links)
    links[1400] = replace(links[1400], by="eve")

    found = of_history(rewritten(store, links[:1499]))

    assert found.level is Level.PROBLEM
    assert (
        found.text
        == "record 1401 was changed after it was written, or record 1400 was and got a hash that fits; and 1 more"
    )
    assert found.fix == "keep a copy of the file; shifter history --verify --store shifter.db"


def test_one_thing_that_is_wrong_is_not_counted() -> None:
    store = filled(MemoryStore(), 5)

    found = of_history(rewritten(store, store.chain(FIRST_ID, 4).links))

    assert found.text == "history ends with record 4, but 5 were appended: the newest were cut off"


def test_an_older_record_is_left_to_the_command_that_checks_them_all() -> None:
    store = filled(MemoryStore(), 1500)
    links = list(store.chain(FIRST_ID, 2000).links)
    links[10] = replace(links[10], by="eve")

    assert of_history(rewritten(store, links)).level is Level.OK


def test_a_store_whose_records_are_not_chained_is_no_reason_for_a_bad_ending() -> None:
    found = of_history(filled(Unchained(), 3))

    assert found.untried
    assert found.text == "not checked: records are not chained: -9223372036854775808, 0"
