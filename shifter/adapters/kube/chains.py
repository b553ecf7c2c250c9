"""Reads the history of a cluster: what is filed as objects, and what still waits in a status, as one chain each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.adapters.kube.archive import Archive
from shifter.adapters.kube.ledger import Ledger
from shifter.adapters.kube.objects import status_of
from shifter.core.chain import Link, Stretch
from shifter.errors import NotFoundError
from shifter.ports.kube import Body

_LOOKS: Final = 3
"""So often is a chain looked at that grows or is pruned while it is read."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A whole chain as it was at one moment, and up to which record it has been gone along."""

    of: str
    ledger: Ledger
    links: Sequence[Link]
    next_id: int


class Chains:
    """All chains of an installation, to be read.

    Args:
        archive: the records that are objects.
        bodies: returns the objects that have a chain, by its name, as they are now.
    """

    def __init__(self, archive: Archive, bodies: Callable[[], Mapping[str, Body]]) -> None:
        self._archive = archive
        self._bodies = bodies
        self._lock = threading.Lock()
        self._last: _Look | None = None

    def newest(self, shift: str | None, limit: int) -> Sequence[Link]:
        """Return the newest `limit` records about a shift, or of all, in the order in which they were appended."""
        waiting = [(of, link) for of, body in self._bodies().items() for link in Ledger.of(status_of(body)).unfiled]
        waiting.sort(key=lambda each: (each[1].at, each[1].id))
        filed = self._archive.about(shift)
        known = {(of, link.id) for of, link in filed}
        wanted = [link for of, link in waiting if (of, link.id) not in known and shift in {None, link.shift}]
        return [*(link for _, link in filed), *wanted][-limit:]

    def stretch(self, of: str, first: int, limit: int) -> Stretch:
        """Return a part of one chain; see `Store.chain`.

        All pages of one walk are of one look: an API server cannot list from a number on, and a look lists everything.
        """
        with self._lock:
            last = self._last
            if last is None or last.of != of or first < last.next_id:
                last = self._look(of)
            found = [link for link in last.links if link.id >= first][: max(limit, 0)]
            next_id = found[-1].id + 1 if found else first
            self._last = _Look(of, last.ledger, last.links, next_id) if found else None
        return Stretch(last.ledger.anchor, last.ledger.head, None, tuple(found))

    def _look(self, of: str) -> _Look:
        before = self._ledger(of)
        for _ in range(_LOOKS):
            filed = self._archive.of_chain(of)
            after = self._ledger(of)
            if before == after:
                return _Look(of, after, _joined(filed, after), 0)
            before = after
        # It grows all the time: what was appended after the last look at its end is not of this moment.
        links = [link for link in _joined(filed, before) if link.id <= before.head.id]
        return _Look(of, before, links, 0)

    def _ledger(self, of: str) -> Ledger:
        body = self._bodies().get(of)
        if body is None:
            raise NotFoundError(f"there is no chain {of!r} in this store: it keeps one for each shift")
        return Ledger.of(status_of(body))


def _joined(filed: Sequence[Link], ledger: Ledger) -> Sequence[Link]:
    known = {link.id for link in filed}
    return sorted([*filed, *(link for link in ledger.unfiled if link.id not in known)], key=lambda link: link.id)
