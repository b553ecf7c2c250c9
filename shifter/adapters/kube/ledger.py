"""What a status remembers of its chain of records: how it began and ended, and what is not an object of its own yet.

Records are appended in the one write that saves the state, and filed as objects afterwards. So a crash in between loses
none and doubles none: whoever comes next files the same again under the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shifter.adapters.kube.objects import link_entry, link_from
from shifter.core.chain import GENESIS, START, Link, Seal, chained
from shifter.ports.kube import Body

MOST_UNFILED: Final = 20
"""So many records, and so many answers, may wait in a status."""

MOST_UNFILED_BYTES: Final = 256 * 1024
"""So much of records may wait in a status, but one of any size: etcd takes 1.5 MiB of one object by default."""


def fitting(links: Sequence[Link], room: int) -> int:
    """Return how many of the first records can be appended at once, at most `room`."""
    size = 0
    for number, link in enumerate(links[:room]):
        size += len(link.evidence.encode()) + len(link.reason.encode())
        if size > MOST_UNFILED_BYTES and number:
            return number
    return min(len(links), room)


@dataclass(frozen=True, slots=True)
class Ledger:
    """One chain as its status tells it. `unfiled` are its newest records, oldest first."""

    head: Seal = START
    anchor: Seal = START
    unfiled: tuple[Link, ...] = ()

    @classmethod
    def of(cls, status: Body) -> Ledger:
        """Return what a status tells; the beginning of a chain if it tells nothing."""
        history = status.get("history") or {}
        unfiled = tuple(link_from(entry) for entry in history.get("unflushed") or ())
        return cls(_seal(history.get("head")), _seal(history.get("anchor")), unfiled)

    @classmethod
    def after(cls, filed: Sequence[Link]) -> Ledger:
        """Return how a chain goes on whose records are there and whose status is not: a person deleted that."""
        if not filed:
            return cls()
        first, last = filed[0], filed[-1]
        anchor = START if first.id == START.id + 1 else Seal(first.id - 1, "")
        return cls(Seal(last.id, last.hash), anchor)

    def appended(self, links: Iterable[Link]) -> Ledger:
        """Return it with more records, each given its number and its hash."""
        head, unfiled = self.head, list(self.unfiled)
        for link in links:
            unfiled.append(chained(head, link))
            head = Seal(unfiled[-1].id, unfiled[-1].hash)
        return replace(self, head=head, unfiled=tuple(unfiled))

    def filed(self, up_to: int) -> Ledger:
        """Return it without the records up to that number, which are objects by now."""
        return replace(self, unfiled=tuple(link for link in self.unfiled if link.id > up_to))

    def caught_up(self, filed: Sequence[Link]) -> Ledger:
        """Return how it goes on where the records that are objects go on beyond it: a status was put back, they stayed.

        Else the next record would want the place of one that is there, and nothing could be saved any more.
        """
        if not filed or filed[-1].id <= self.head.id:
            return self
        there = Ledger.after(filed)
        return replace(there, anchor=self.anchor if filed[0].id == self.anchor.id + 1 else there.anchor)

    def pruned(self, anchor: Seal) -> Ledger:
        """Return it with everything up to `anchor` given up."""
        return replace(self.filed(anchor.id), anchor=anchor)

    def entry(self) -> Body:
        """Return it as a status keeps it."""
        unfiled: Sequence[Body] = [link_entry(link) for link in self.unfiled]
        return {"head": _entry(self.head), "anchor": _entry(self.anchor), "unflushed": unfiled}


def _seal(entry: object) -> Seal:
    if not isinstance(entry, dict):
        return START
    return Seal(int(entry.get("id", 0)), str(entry.get("hash", GENESIS)))


def _entry(seal: Seal) -> Body:
    return {"id": seal.id, "hash": seal.hash}
