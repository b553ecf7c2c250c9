"""An API server in memory, for tests of everything that speaks Kubernetes.

`MemoryCluster` is what the server remembers; each client has a `MemoryApi` of its own, a door to it, and everything
that goes wrong on the way goes wrong at one door. `tests/contract/test_kube_api.py` holds it to what a real one does.
Things that a real server refuses and that are easily forgotten: a replace of a lease or of one of our objects must name
its resource version, a replace of a *missing lease* creates it, 5.0 comes back as 5, a status is never created.

Time: a watch that has told everything waits. In a test with threads it waits for the next write, and ends after
`seconds` of the door's `monotonic`. In a simulation with one thread, give the door a `waiting`: it is called with the
seconds that are left, without any lock, may let others run or move the clock, and returns whether the watch goes on;
`ends_at_once` makes each watch tell what there is, then a bookmark, and end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shifter.ports.kube import ACCESS_REVIEWS, SELF_REVIEWS, Body, Change, Failing, Kind, KubeError, Listing
from tests.kube_bodies import DOCUMENTS
from tests.kube_cluster import MemoryCluster, ordered_by_themselves
from tests.kube_faults import CARRIED_OUT, RBAC_VERBS, READS, WRITES, Call, Fails, Fault, Happens, error_of

T = TypeVar("T")

_LOOK_SECONDS = 0.05
"""So often a watch that waits looks at the clock, which need not be the real one."""


@dataclass(slots=True)
class _Stream:
    """How far one watch has come: what it has seen, and what it has told of."""

    cluster: MemoryCluster
    kind: Kind
    namespace: str
    labels: Mapping[str, str]
    seen: int = 0
    marked: int = 0

    @property
    def lags(self) -> bool:
        return self.cluster.progress(self.kind) > self.seen

    def first(self, resource_version: str) -> Sequence[Change]:
        if resource_version in ("", "0"):
            listing = self.cluster.list(self.kind, self.namespace, self.labels)
            self.seen = self.marked = int(listing.resource_version)
            return [Change("ADDED", body) for body in listing.items]
        if not resource_version.isdecimal():
            said = f'resourceVersion: Invalid value: "{resource_version}"'
            raise KubeError(Failing.UNAVAILABLE, said, status=500)
        self.seen = self.marked = int(resource_version)
        told = self.more()
        if told is None:
            raise self.cluster.expired(self.kind, self.seen)
        return told

    def more(self) -> Sequence[Change] | None:
        """Return the next changes; None if the server no longer knows them."""
        told = self.cluster.since(self.kind, self.namespace, self.seen, self.labels)
        if told is None:
            return None
        changes, self.seen = told
        if changes:
            self.marked = int(changes[-1].body["metadata"]["resourceVersion"])
        return changes

    def bookmark(self) -> Iterator[Change]:
        """Yield how far this came, if that is further than what was told."""
        if self.seen > self.marked:
            self.marked = self.seen
            metadata = {"resourceVersion": str(self.seen)}
            yield Change("BOOKMARK", self.kind.body(metadata=metadata))


def ends_at_once(seconds: float) -> bool:
    """Do not wait `seconds` for changes: for `MemoryApi(waiting=...)`, where nothing else runs meanwhile."""
    del seconds
    return False


class MemoryApi:
    """One client's door to a `MemoryCluster`; a `KubeApi`.

    Attributes:
        cluster: what is behind the door.
        user: as whom the server knows this client.
        calls: every call that was made, oldest first, those that failed too.
        down: while true nobody answers here, and watches break.
        silent: while true watches are cut as by a dead network: they tell nothing more, and fail when their time is up.
        closing: while true the server closes every watch at once, in good order.
        lose: so many of the next changes no watch tells of.
        bookmark_seconds: between two bookmarks, which are only sent if something of that kind was written since, in
            any namespace; at the end of a watch, too. A real server promises none.
    """

    def __init__(
        self,
        cluster: MemoryCluster,
        user: str = "shifter",
        *,
        monotonic: Callable[[], float] = time.monotonic,
        waiting: Callable[[float], bool] | None = None,
    ) -> None:
        self.cluster = cluster
        self.user = user
        self.calls: list[Call] = []
        self.down = False
        self.silent = False
        self.closing = False
        self.lose = 0
        self.bookmark_seconds = 60.0
        self._monotonic = monotonic
        self._waiting = waiting
        self._closed = False
        self._fails: list[Fails] = []
        self._happens: list[Happens] = []

    def fail(
        self,
        fault: Fault,
        *verbs: str,
        kind: Kind | None = None,
        name: str | None = None,
        times: int | None = 1,
        saying: str = "",
    ) -> None:
        """Let calls fail.

        Args:
            fault: in which way.
            verbs: which; all if none is named. `READS` and `WRITES` are lists of them.
            kind: only of this kind.
            name: only of an object by this name.
            times: how often; None until `heal`.
            saying: the server's sentence, where another than the usual one is wanted.
        """
        with self.cluster.changed:
            self._fails.append(Fails(verbs, kind, name, times, fault, saying))

    def meanwhile(
        self,
        action: Callable[[Call], None],
        *verbs: str,
        kind: Kind | None = None,
        times: int | None = 1,
        after: bool = False,
    ) -> None:
        """Do something while a call is on its way: just before it is carried out, or just after.

        Args:
            action: what; called without a lock, may call this or another door, and may raise as the process dies.
            verbs: during which calls; all if none is named.
            kind: only of this kind.
            times: how often; None for ever.
            after: when the call has been carried out.
        """
        with self.cluster.changed:
            self._happens.append(Happens(verbs, kind, None, times, action, after))

    def heal(self) -> None:
        """End every fault of this door. A watch that was cut stays cut."""
        with self.cluster.changed:
            self._fails.clear()
            self.down = self.silent = self.closing = False
            self.lose = 0
            self.cluster.changed.notify_all()

    def set(self, *, down: bool | None = None, silent: bool | None = None, closing: bool | None = None) -> None:
        """Change the attributes of these names, so that a watch that waits sees it now."""
        with self.cluster.changed:
            self.down = self.down if down is None else down
            self.silent = self.silent if silent is None else silent
            self.closing = self.closing if closing is None else closing
            self.cluster.changed.notify_all()

    def count(self, *verbs: str, kind: Kind | None = None) -> int:
        """Return how many calls there were."""
        return sum((not verbs or call.verb in verbs) and kind in (None, call.kind) for call in list(self.calls))

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        return self._carry(Call("get", kind, name), lambda: self.cluster.get(kind, namespace, name))

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        return self._carry(Call("list", kind), lambda: self.cluster.list(kind, namespace, labels or {}))

    def document(self, path: str) -> Body:
        return self._carry(Call("get", DOCUMENTS, path), lambda: self.cluster.document(path))

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        name = str(body.get("metadata", {}).get("name", ""))

        def act() -> Body:
            if kind == SELF_REVIEWS:
                metadata = {"creationTimestamp": self.cluster.stamp()}
                return body | {"metadata": metadata, "status": {"userInfo": {"username": self.user}}}
            if kind == ACCESS_REVIEWS:
                return body | {"status": {"allowed": self._allows(body)}}
            return self.cluster.create(kind, namespace, body, self.user)

        return self._carry(Call("create", kind, name), act)

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        name = str(body.get("metadata", {}).get("name", ""))
        return self._carry(
            Call("replace_status" if status else "replace", kind, name),
            lambda: self.cluster.replace(kind, namespace, body, status=status, user=self.user),
        )

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        self._carry(Call("delete", kind, name), lambda: self.cluster.delete(kind, namespace, name, uid))

    def watch(
        self,
        kind: Kind,
        namespace: str,
        resource_version: str,
        *,
        seconds: float,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Change]:
        ends_at = self._monotonic() + seconds
        self._carry(Call("watch", kind), lambda: None)
        stream = _Stream(self.cluster, kind, namespace, labels or {})
        told = self._without_lost(stream.first(resource_version))
        bookmark_at = self._monotonic() + self.bookmark_seconds
        cut = False
        while told is not None:
            cut = cut or self.silent
            if not cut:
                yield from told
            now = self._monotonic()
            over = now >= ends_at or self.closing or self._closed
            over = over or not self._wait(stream, min(ends_at, bookmark_at) - now)
            if self.down or (cut and over):
                raise error_of(Fault.DOWN if self.down else Fault.TIMEOUT, Call("watch", kind), self.user)
            if over:
                yield from stream.bookmark()
                return
            told = self._without_lost(stream.more())
            if self._monotonic() >= bookmark_at:
                bookmark_at += self.bookmark_seconds
                if not told and not cut:
                    yield from stream.bookmark()

    def close(self) -> None:
        """End the watches of this door; every later call fails."""
        with self.cluster.changed:
            self._closed = True
            self.cluster.changed.notify_all()

    def _carry(self, call: Call, act: Callable[[], T]) -> T:
        with self.cluster.changed:
            self.calls.append(call)
            fault = next((each for each in self._fails if each.takes(call)), None)
            around = [each for each in self._happens if each.takes(call)]
        if self.down or self._closed:
            raise error_of(Fault.DOWN, call, self.user)
        if fault is not None and fault.fault not in CARRIED_OUT:
            raise error_of(fault.fault, call, self.user, fault.saying)
        for each in around:
            if not each.after:
                each.action(call)
        done = act()
        for each in around:
            if each.after:
                each.action(call)
        if fault is not None:
            raise error_of(fault.fault, call, self.user, fault.saying)
        return done

    def _without_lost(self, changes: Sequence[Change] | None) -> Sequence[Change] | None:
        if changes is None:
            return None
        with self.cluster.changed:
            lost = min(self.lose, len(changes))
            self.lose -= lost
        return changes[lost:]

    def _wait(self, stream: _Stream, seconds: float) -> bool:
        if self._waiting is not None:
            return self._waiting(max(0.0, seconds))
        with self.cluster.changed:
            if not (stream.lags or self.down or self.closing or self._closed):
                self.cluster.changed.wait(max(0.0, min(seconds, _LOOK_SECONDS)))
        return True

    def _allows(self, review: Body) -> bool:
        asked = review["spec"]["resourceAttributes"]
        return not any(
            each.fault is Fault.DENIED
            and (not each.verbs or asked["verb"] in {RBAC_VERBS.get(verb, verb) for verb in each.verbs})
            and (each.kind is None or (each.kind.group, each.kind.plural) == (asked["group"], asked["resource"]))
            for each in self._fails
        )


__all__ = [
    "READS",
    "WRITES",
    "Call",
    "Fault",
    "MemoryApi",
    "MemoryCluster",
    "ends_at_once",
    "ordered_by_themselves",
]
