"""How a store is copied into another, of the same kind or not: read, checked, written, read back, compared.

Two stores of one migration are two writers in waiting, so no leader may be alive on either side, nor begin meanwhile;
and when the copy is whole, the store it was made of is frozen: whoever starts a service on it by habit raises nothing.

A chain of hashes cannot be carried over where the other side numbers its records differently, and a hash that was
written anew proves nothing of what was before. So the old chain is checked first, the records' texts are kept to the
byte and chained anew, and a note at the end of every new chain says where they come from: how many, and the hash with
which the old one ended. Whoever noted that hash can still hold the old store against it (docs/adr/0023).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from shifter.core.chain import FIRST_ID, GENESIS, Examined, Link, Walk, digest
from shifter.core.deciding.orders import FLEET
from shifter.core.records import NewRecord, What
from shifter.core.state import Freeze, Report
from shifter.core.text import so_many, some
from shifter.errors import InvariantError, RefusedError, ShifterError
from shifter.ports import WHOLE, Store
from shifter.ports.transfers import Contents, KeptOrder, Transferable

_PAGE: Final = 500
_LEAST_PAGE: Final = 10
_PAGED: Final = 5_000
"""So many records of all chains together are in memory at once."""

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for: who and when, and how much of it.

    `dry_run` only looks; `unsound` copies a history, too, that is not as it was written, and has the copy say so.
    """

    by: str
    at: datetime
    dry_run: bool = False
    unsound: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """One chain of the store that was copied: what a note says of it. `findings` is what was wrong with it."""

    chain: str
    examined: Examined

    @property
    def findings(self) -> int:
        """How many things were wrong with it."""
        return len(self.examined.findings) + self.examined.more


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied, or would be.

    `left_out` orders were answered and are in the history only. `unfrozen` is why the old store could not be frozen;
    empty if it was.
    """

    source: str
    target: str
    contents: Contents
    origins: Sequence[Origin]
    left_out: int = 0
    unfrozen: str = ""

    @property
    def records(self) -> int:
        """How many records there are, without the notes."""
        return sum(origin.examined.count for origin in self.origins)

    @property
    def waiting(self) -> int:
        """How many orders nobody has answered yet."""
        return sum(kept.order.answer is None for kept in self.contents.orders)


def copy(source: Transferable, target: Transferable, wanted: Wanted) -> Copied:
    """Copy a whole store into an empty one, and freeze the old one; or only look whether that can be done.

    Raises:
        RefusedError: a leader is alive, there is nothing to copy, the target is not empty, or something in the source
            cannot be read.
        StoreUnavailableError: one of the two cannot answer.
        InvariantError: the copy is not what was read.
    """
    if source.place == target.place:
        raise RefusedError(f"both are the same store: {source.place}")
    if wanted.dry_run:
        for end in (source, target):
            if leader := end.leader():
                raise RefusedError(f"a leader is alive on {end.place}: {leader}")
        return _examined(source, target, wanted)
    with source.guarded():
        _refuse_occupied(target)  # before its lease is touched: what is there may be somebody's
        with target.guarded(source.epoch()):
            found = _examined(source, target, wanted)
            tally = _Tally(target, found.contents.states)
            notes = _notes(found, target, wanted)
            target.take(found.contents, tally.counted(records_of(source.store)), notes)
            left_out = _compare(found, target, tally, notes)
        return replace(found, left_out=left_out, unfrozen=_frozen(source, found, wanted))


def _refuse_occupied(target: Transferable) -> None:
    if there := target.occupied():
        raise RefusedError(f"{target.place} is not empty: {there}; a copy is only made into a store with nothing in it")


def _examined(source: Transferable, target: Transferable, wanted: Wanted) -> Copied:
    """Return what there is to copy, after everything was looked at that can stand in the way."""
    if not source.occupied():
        raise RefusedError(f"there is nothing in {source.place} to copy")
    _refuse_occupied(target)
    contents = contents_of(source)
    target.check(contents)
    origins = tuple(Origin(chain, _walked(source.store, chain)) for chain in source.store.chains())
    broken = [origin for origin in origins if origin.findings]
    if broken and not wanted.unsound:
        said = some([origin.examined.findings[0].text for origin in broken], _SHOWN)
        raise RefusedError(
            f"the history in {source.place} is not as it was written: {said}; in a copy nobody could see that any more",
            remedy="look at it with `shifter history --verify`; --unsound copies it, and the copy says so",
        )
    return Copied(source.place, target.place, contents, origins)


def contents_of(end: Transferable) -> Contents:
    """Return everything in a store but its history. A report that cannot be read is left out: the next replaces it.

    Raises:
        RefusedError: a state or an order cannot be read.
    """
    shelf = end.store.load()
    if shelf.unreadable:
        raise RefusedError(some(sorted(shelf.unreadable.values()), _SHOWN))
    reports = end.store.reports().readable
    return Contents(dict(shelf.readable), end.store.load_fleet(), dict(reports), tuple(end.orders()), end.epoch())


def records_of(store: Store) -> Iterator[Link]:
    """Yield all records of all chains, oldest first; those of one chain in its order, whatever their clocks said."""
    chains = store.chains()
    page = min(_PAGE, max(_LEAST_PAGE, _PAGED // max(1, len(chains))))
    return heapq.merge(*(_links(store, chain, page) for chain in chains), key=lambda link: link.at)


def _links(store: Store, chain: str, page: int) -> Iterator[Link]:
    first = FIRST_ID
    while links := store.chain(first, page, chain).links:
        yield from links
        first = links[-1].id + 1


def _walked(store: Store, chain: str) -> Examined:
    walk = Walk()
    while walk.take(store.chain(walk.next_id, _PAGE, chain)):
        pass
    return walk.result()


def _notes(found: Copied, target: Transferable, wanted: Wanted) -> list[NewRecord]:
    """Return what the new chains end with: for each of them, from which old ones its records come."""
    states = found.contents.states
    # One old chain for all is told of in each of the new ones; old ones apart each where their records are.
    chains = {target.chain_for(shift, states) for shift in (FLEET, *states)}
    shifts = sorted(FLEET if chain == WHOLE else chain for chain in chains)
    notes = [_note(found, each, shift, wanted) for each in found.origins if each.chain == WHOLE for shift in shifts]
    return notes + [_note(found, each, each.chain, wanted) for each in found.origins if each.chain != WHOLE]


def _note(found: Copied, origin: Origin, shift: str, wanted: Wanted) -> NewRecord:
    old = origin.examined
    reason = f"copied from {found.source}: {so_many(old.count, 'record')}"
    reason += f", the last of them {old.head.id} with the hash {old.head.hash}" if old.head.id else ""
    reason += f"; older ones, up to {old.anchor.id}, were pruned there" if old.anchor.id else ""
    reason += f"; {so_many(origin.findings, 'thing')} in it not as written" if origin.findings else ""
    evidence = {
        "from": found.source,
        "to": found.target,
        "records": old.count,
        "head": {"id": old.head.id, "hash": old.head.hash},
        "pruned": old.anchor.id,
        "findings": [finding.text for finding in old.findings],
    }
    return NewRecord(wanted.at, shift, What.COPIED, wanted.by, reason, evidence=evidence)


@dataclass(slots=True)
class _Tally:
    """What went into each chain of the target: how many records, and a hash over all their texts."""

    target: Transferable
    kept: Container[str]
    counts: Counter[str] = field(default_factory=Counter)
    hashes: dict[str, str] = field(default_factory=dict)

    def counted(self, links: Iterable[Link]) -> Iterator[Link]:
        """Yield what comes, and count it."""
        for link in links:
            chain = self.target.chain_for(link.shift, self.kept)
            self.counts[chain] += 1
            self.hashes[chain] = _over(self.hashes.get(chain, GENESIS), link)
            yield link


def _over(before: str, link: Link) -> str:
    return digest(before, link, 0)  # of its texts alone: its number is another there


def _compare(found: Copied, target: Transferable, tally: _Tally, notes: Sequence[NewRecord]) -> int:
    """Hold the copy against what was read; return how many answered orders it left out.

    Raises:
        InvariantError: they differ.
    """
    there = contents_of(target)
    wrong = [
        *_differences(found.contents, there),
        *_torn(target, tally, Counter(target.chain_for(note.shift, found.contents.states) for note in notes)),
    ]
    before, after = (Counter(map(_asked, each.orders)) for each in (found.contents, there))
    missing = before - after
    left_out = sum(count for (*_, answer, _text, _at), count in missing.items() if answer is not None)
    if missing.total() > left_out or after - before:
        wrong.append("its orders are others")
    if there.epoch < found.contents.epoch:
        wrong.append(f"its epoch is {there.epoch}, below {found.contents.epoch}")
    if wrong:
        raise InvariantError(
            f"the copy in {target.place} is not what was read: {some(wrong, _SHOWN)}; start no service on it, and"
            f" remove it. {found.source} is as it was"
        )
    return left_out


def _asked(kept: KeptOrder) -> tuple[object, ...]:
    """Return all there is to an order but its number, which may be another store's to give."""
    order = kept.order
    return (order.at, order.request, order.answer, order.answer_text, kept.answered_at)


def _differences(before: Contents, after: Contents) -> Iterator[str]:
    kinds: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("state", before.states, after.states),
        ("report", _undated(before.reports), _undated(after.reports)),
    )
    for kind, old, new in kinds:
        yield from (f"the {kind} of {name}" for name in sorted({*old, *new}) if old.get(name) != new.get(name))
    # A store may have had to save it once more to say that a copy was under way; versions only ever grow.
    if before.fleet.state != after.fleet.state or before.fleet.version > after.fleet.version:
        yield "the state of all shifts together"


def _undated(reports: Mapping[str, Report]) -> Mapping[str, Report]:
    """Return reports without their age: a store may say of one that it still holds, for as long as somebody leads."""
    return {name: report.model_copy(update={"at": report.since}) for name, report in reports.items()}


def _torn(target: Transferable, tally: _Tally, noted: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with the history of the copy: in each chain what was sent there, and then the notes."""
    chains = target.store.chains()
    for chain in sorted({*chains, *tally.counts, *noted}):
        name = "its history" if chain == WHOLE else f"the history of {chain}"
        if chain not in chains:
            yield f"{name} is not there"
            continue
        if not _walked(target.store, chain).sound:
            yield f"{name} is not sound"
        count, running = 0, GENESIS
        for link in _links(target.store, chain, _PAGE):
            count += 1
            running = _over(running, link) if count <= tally.counts[chain] else running
        if count != tally.counts[chain] + noted.get(chain, 0) or running != tally.hashes.get(chain, GENESIS):
            yield f"{name} has other records"


def _frozen(source: Transferable, found: Copied, wanted: Wanted) -> str:
    """Freeze the old store, so that a service that somebody starts on it by habit raises nothing; or say why not."""
    reason = f"this store was copied to {found.target}: go on there; unfreeze only to go on here instead"
    saved = found.contents.fleet
    freeze = Freeze(by=wanted.by, reason=reason, at=wanted.at)
    frozen = saved.state.model_copy(update={"freezes": (*saved.state.freezes, freeze)})
    record = NewRecord(wanted.at, FLEET, What.COPIED, wanted.by, f"copied to {found.target}; frozen here")
    try:
        source.store.save_fleet(frozen, saved.version, [record])
    except ShifterError as error:
        return str(error)
    return ""
