"""All objects of one kind as they were a moment ago, kept by list and watch, with how long that moment is ago.

A watch alone is not to be believed. It may go silent without ending (a connection that died half-way), lose a change,
or begin where the server no longer remembers; and of a kind that nobody writes even a healthy server says nothing at
all, bookmarks included. So every watch is short, a watch that ends in good order counts as a sign of life, one that
fails leads to a new list, and there is a new list every few minutes however well all seems to go. What depends on
being certain asks `fresh` first, and the API server itself if it is not.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from shifter.ports.kube import Body, Change, Failing, Kind, KubeApi, KubeError

T = TypeVar("T")

LIST_SECONDS: Final = 300.0
"""A change that a watch lost is found by then, at the latest."""

WATCH_SECONDS: Final = 60.0
"""How long one watch lasts: the longest silence of one that is healthy, and so the best that `fresh` can promise."""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0

_TELL_AFTER: Final = 3
_QUICK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a watched kind is asked about.

    Attributes:
        list_seconds: between two full lists, at most.
        watch_seconds: of one watch, at most.
        pause_seconds: the first and the longest pause after something failed; it doubles in between.
    """

    list_seconds: float = LIST_SECONDS
    watch_seconds: float = WATCH_SECONDS
    pause_seconds: tuple[float, float] = (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)


class Watched(Generic[T]):
    """What there is of one kind in one namespace. Safe to use from several threads.

    Nothing happens before `start`; whoever has no threads calls `turn` again and again instead.

    Args:
        api: the API server. Closing it ends a watch that waits; that is left to whoever made it.
        kind: of which kind.
        namespace: where.
        keep: what is kept of an object, which is all that stays in memory. Must not fail.
        monotonic: seconds that only grow.
        dice: from 0 to 1, anew each time: clients that failed together do not come back together.
        tell: called with a sentence when it does not go away that objects cannot be watched, and when it did. On
            change only, from the thread that watches; must neither block nor fail.
        labels: only those that have these labels.
        rhythm: how often.
    """

    def __init__(  # noqa: PLR0913 - what it is, and what it must not take from its surroundings
        self,
        api: KubeApi,
        kind: Kind,
        namespace: str,
        *,
        keep: Callable[[Body], T],
        monotonic: Callable[[], float],
        dice: Callable[[], float],
        tell: Callable[[str], None],
        labels: Mapping[str, str] | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._api = api
        self._kind = kind
        self._namespace = namespace
        self._keep = keep
        self._monotonic = monotonic
        self._dice = dice
        self._labels = labels
        self._rhythm = rhythm or Rhythm()
        self._told = _Told(f"{kind.plural} in {namespace}", tell)
        self._lock = threading.Lock()
        self._items: dict[str, T] = {}
        self._alive_at = -math.inf
        self._since = ""
        self._list_at = -math.inf
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {kind.plural}", daemon=True)

    def items(self) -> Mapping[str, T]:
        """Return what is known, by name; a copy. Empty before the first list."""
        with self._lock:
            return dict(self._items)

    def age_seconds(self) -> float:
        """Return how long ago the server last gave a sign that `items` is complete; infinity before the first list."""
        with self._lock:
            return self._monotonic() - self._alive_at

    def fresh(self, within_seconds: float) -> bool:
        """Whether there was such a sign so lately."""
        return self.age_seconds() <= within_seconds

    def start(self) -> None:
        """Watch from now on, in a thread that does not keep the process alive. Once only."""
        self._thread.start()

    def stop(self, within_seconds: float = STOP_SECONDS) -> bool:
        """Return whether the thread has ended by then; one that waits for its server ends when that watch does."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(within_seconds)
        return not self._thread.is_alive()

    def turn(self) -> float:
        """List if it is time to, watch until that watch ends, and return after how many seconds to come again."""
        try:
            if self._monotonic() >= self._list_at:
                self._list()
            lasted = self._watch()
        except KubeError as error:
            return self._failed(error.failing, str(error))
        except Exception as error:  # noqa: BLE001 - else nobody would watch any more, and nobody would know
            return self._failed(type(error).__name__, f"{type(error).__name__}: {error}")
        if not lasted:
            return self._paused("short", "the API server ends every watch at once")
        self._failures = 0
        self._told.well()
        return 0.0

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.turn())

    def _list(self) -> None:
        asked_at = self._monotonic()
        listing = self._api.list(self._kind, self._namespace, labels=self._labels)
        items = {_name(body): self._keep(body) for body in listing.items}
        with self._lock:
            self._items = items
            self._alive_at = asked_at
        self._since = listing.resource_version
        self._list_at = asked_at + self._rhythm.list_seconds * (1.0 - self._dice() / 4)

    def _watch(self) -> bool:
        """Watch until the server ends it, and return whether that took as long as it should: else it may for ever."""
        began_at = self._monotonic()
        seconds = min(self._rhythm.watch_seconds, self._list_at - began_at)
        if seconds <= 0:
            return True
        for change in self._api.watch(self._kind, self._namespace, self._since, seconds=seconds, labels=self._labels):
            self._learn(change)
            if self._stopping.is_set():
                return True
        self._alive()
        return self._monotonic() - began_at >= min(_QUICK_SECONDS, seconds / 2)

    def _learn(self, change: Change) -> None:
        since = _version(change.body)
        if change.type in {"ADDED", "MODIFIED"}:
            name, kept = _name(change.body), self._keep(change.body)
            with self._lock:
                self._items[name] = kept
        elif change.type == "DELETED":
            with self._lock:
                self._items.pop(_name(change.body), None)
        self._since = since
        self._alive()

    def _alive(self) -> None:
        with self._lock:
            self._alive_at = self._monotonic()

    def _failed(self, sort: str, why: str) -> float:
        self._list_at = -math.inf
        return self._paused(sort, why)

    def _paused(self, sort: str, why: str) -> float:
        self._failures += 1
        if self._failures >= _TELL_AFTER:
            self._told.failing(sort, why)
        first, longest = self._rhythm.pause_seconds
        doublings = min(self._failures - 1, 30)
        return min(longest, first * 2.0**doublings) * (0.5 + self._dice() / 2)


class _Told:
    """Says what changed, and nothing twice: a text may differ each time where the trouble does not."""

    def __init__(self, what: str, tell: Callable[[str], None]) -> None:
        self._what = what
        self._tell = tell
        self._sort = ""

    def failing(self, sort: str, why: str) -> None:
        if sort != self._sort:
            self._sort = sort
            self._tell(f"{self._what} cannot be watched: {why}")

    def well(self) -> None:
        if self._sort:
            self._sort = ""
            self._tell(f"{self._what} are watched again")


def _name(body: Body) -> str:
    return str(_part(body, "name"))


def _version(body: Body) -> str:
    return str(_part(body, "resourceVersion"))


def _part(body: Body, key: str) -> object:
    """Return a part of an object's metadata that it cannot be without."""
    try:
        return body["metadata"][key]
    except (KeyError, TypeError) as error:
        raise KubeError(Failing.UNDECODABLE, f"an object without metadata.{key}") from error
