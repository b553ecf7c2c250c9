"""What a cluster remembers and refuses: objects, one count of all writes, what changed lately, and namespaces.

As a real API server keeps it, checked against one by `tests/cluster/test_kube_api_real.py`. How a client's calls fail
on the way stands beside this, in `tests/kube.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from shifter.adapters.kube.kinds import OUR_GROUP, OUR_VERSION
from shifter.ports.kube import Body, Change, Failing, Kind, KubeError, Listing
from shifter.ports.mesh import NAMESPACES
from tests.kube_bodies import (
    HAVE_STATUS,
    MADE_BY_REPLACING,
    SERVED,
    Kept,
    born,
    clean,
    conflict,
    exists,
    invalid,
    legible,
    missing,
    owned_by_server,
    replaced,
    resource,
    stamp,
    unknown_kind,
)
from tests.kube_schemas import Schema, pruned, read_schemas, refusal

FIRST_VERSION = 100
"""No object has a resource version as small as a count: who takes one for the other is found out."""
LARGEST_BYTES = 1_572_000
"""What etcd takes of one object."""

Rule = Callable[[str, Body | None, Body], str]
"""Asked with who writes, what was there and what shall be: why not, or nothing."""


def now_of_tests() -> datetime:
    """Return the moment at which everything is created, unless a test has a clock of its own."""
    return datetime(2026, 1, 1, tzinfo=UTC)


def ordered_by_themselves(user: str, before: Body | None, after: Body) -> str:
    """Refuse an order in another's name, as the admission policy of the chart does."""
    by = after.get("spec", {}).get("by")
    return "" if before is not None or by == user else f"spec.by must be {user}, not {by}"


@dataclass(frozen=True, slots=True)
class _Event:
    version: int
    kind: Kind
    namespace: str
    before: Kept | None
    after: Kept | None
    shown: Kept

    def seen_with(self, labels: Mapping[str, str]) -> Change | None:
        was = self.before is not None and self.before.has(labels)
        stays = self.after is not None and self.after.has(labels)
        if not was and not stays:
            return None
        word = "MODIFIED" if was and stays else "ADDED" if stays else "DELETED"
        return Change(word, self.shown.body())


def names(kind: Kind) -> Body:
    """Return a kind as schemas name it."""
    return {"group": kind.group, "version": kind.version, "kind": kind.name}


class MemoryCluster:
    """Everything behind the API server, for any number of `MemoryApi` doors; safe for threads.

    Attributes:
        schemas: what the CRDs of the chart drop and refuse, by group and plural; to be changed for another version.
        other_versions: in which else our kinds are defined.
        publishes: whether the server says how they are, which it does last of all after it has started.
        rules: what admission refuses on top, by kind; `ordered_by_themselves` is there to be added.
        changed: held for every look and write, notified of each write and of each change of a door's faults.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = now_of_tests,
        remembers: int = 1000,
        namespaces: Sequence[str] = ("shifter-system",),
    ) -> None:
        """Make an empty cluster.

        Args:
            clock: of `creationTimestamp`.
            remembers: so many of the last changes of each kind a watch may begin before.
            namespaces: those that there are.
        """
        self.schemas: dict[tuple[str, str], Schema] = dict(read_schemas())
        self.other_versions: set[str] = set()
        self.publishes = True
        self.rules: dict[Kind, list[Rule]] = {}
        self.changed = threading.Condition(threading.RLock())
        self._clock = clock
        self._version = FIRST_VERSION
        self._born = 0
        self._namespaces = dict.fromkeys(namespaces, "Active")
        self._withdrawn: set[Kind] = set()
        self._kept: dict[Kind, dict[tuple[str, str], Kept]] = {}
        self._events: dict[Kind, deque[_Event]] = {}
        self._remembers = remembers
        self._forgotten: dict[Kind, int] = {}

    @property
    def version(self) -> int:
        """The resource version of the last write of all."""
        return self._version

    def stamp(self) -> str:
        """Return what time it is, as metadata has it."""
        return stamp(self._clock())

    def document(self, path: str) -> Body:
        """Return what the server says of our kinds: which versions there are, or the schemas of one of them."""
        with self.changed:
            served = {kind for kind in SERVED if kind.group == OUR_GROUP and kind not in self._withdrawn}
            versions = sorted({kind.version for kind in served} | self.other_versions)
            schemas = {
                kind.name: {**self.schemas[kind.group, kind.plural], "x-kubernetes-group-version-kind": [names(kind)]}
                for kind in served
            }
        if path == f"/apis/{OUR_GROUP}" and versions:
            return {"kind": "APIGroup", "versions": [{"version": version} for version in versions]}
        if path == f"/apis/{OUR_GROUP}/{OUR_VERSION}" and served:
            return {"kind": "APIResourceList", "resources": [{"name": kind.plural} for kind in served]}
        if path == f"/openapi/v3/apis/{OUR_GROUP}/{OUR_VERSION}" and schemas and self.publishes:
            return {"openapi": "3.0.0", "components": {"schemas": schemas}}
        raise unknown_kind()

    def add_namespace(self, name: str) -> None:
        """Make a namespace; one that was terminating is as new."""
        with self.changed:
            self._namespaces[name] = "Active"

    def terminate(self, namespace: str) -> None:
        """Let a namespace be on its way out: nothing can be created there; what is there can be changed and deleted."""
        with self.changed:
            self._namespaces[namespace] = "Terminating"

    def sweep(self, namespace: str) -> None:
        """Delete all that is in a namespace, as its controller does after `terminate`; finalizers hold theirs."""
        with self.changed:
            for kind, kept in list(self._kept.items()):
                for place, name in list(kept):
                    if place == namespace:
                        self.delete(kind, namespace, name, None)

    def withdraw(self, kind: Kind) -> None:
        """Take the definition of a kind away, and with it all its objects."""
        with self.changed:
            self._withdrawn.add(kind)
            self._kept.pop(kind, None)

    def define(self, kind: Kind) -> None:
        """Bring a withdrawn kind back, empty."""
        with self.changed:
            self._withdrawn.discard(kind)

    def forget_changes(self) -> None:
        """Compact: no watch can begin before now."""
        with self.changed:
            self._events.clear()
            self._forgotten = dict.fromkeys(SERVED, self._version)

    @contextmanager
    def serving(self, kind: Kind) -> Iterator[None]:
        """Hold the lock for one call on a kind that is served."""
        with self.changed:
            if kind not in SERVED or kind in self._withdrawn:
                raise unknown_kind()
            yield

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return one object."""
        with self.serving(kind):
            return self._found(kind, namespace, name).body()

    def list(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> Listing:
        """Return those of a kind, sorted by namespace and name."""
        with self.serving(kind):
            kept = self._kept.get(kind, {})
            items = [kept[key] for key in sorted(kept) if namespace in ("", key[0])]
            return Listing([each.body() for each in items if each.has(labels)], str(self._version))

    def create(self, kind: Kind, namespace: str, body: Body, user: str) -> Body:
        """Create one object."""
        with self.serving(kind):
            namespace = namespace if kind.namespaced else ""
            self._open_for_new(kind, namespace, body)
            made = born(kind, namespace, self._arrived(kind, body), self._identity(), stamp(self._clock()))
            self._admit(kind, user, None, made)
            name = made["metadata"]["name"]
            if (namespace, name) in self._kept.get(kind, {}):
                raise exists(kind, name)
            return self._write(kind, namespace, None, made).body()

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool, user: str) -> Body:
        """Write one object, or its status alone."""
        with self.serving(kind):
            namespace = namespace if kind.namespaced else ""
            name = str(body.get("metadata", {}).get("name", ""))
            if status and kind not in HAVE_STATUS:
                raise unknown_kind()
            if kind in MADE_BY_REPLACING and (namespace, name) not in self._kept.get(kind, {}):
                return self._create_by_replacing(kind, namespace, body, user)
            before = self._found(kind, namespace, name)
            after = replaced(kind, namespace, before.body(), self._arrived(kind, body), status=status)
            self._admit(kind, user, before.body(), after)
            if owned_by_server(after, before.body()):
                return before.body()
            gone = "deletionTimestamp" in after["metadata"] and not after["metadata"].get("finalizers")
            return self._write(kind, namespace, before, after, gone=gone).body()

    def delete(self, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
        """Delete one object, or begin to where a finalizer holds it."""
        with self.serving(kind):
            namespace = namespace if kind.namespaced else ""
            before = self._found(kind, namespace, name)
            after = before.body()
            told = after["metadata"]
            if uid is not None and uid != told["uid"]:
                raise conflict(
                    kind, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {told['uid']}"
                )
            if not told.get("finalizers"):
                self._write(kind, namespace, before, after, gone=True)
            elif "deletionTimestamp" not in told:
                told |= {"deletionTimestamp": stamp(self._clock()), "deletionGracePeriodSeconds": 0}
                if "generation" in told:
                    told["generation"] += 1
                self._write(kind, namespace, before, after)

    def since(
        self, kind: Kind, namespace: str, version: int, labels: Mapping[str, str]
    ) -> tuple[Sequence[Change], int] | None:
        """Return what changed after a resource version and up to which; nothing if it is too long ago."""
        with self.serving(kind):
            if version < self._forgotten.get(kind, FIRST_VERSION - 1):
                return None
            seen = [
                change
                for event in self._events.get(kind, ())
                if event.version > version and namespace in ("", event.namespace)
                if (change := event.seen_with(labels)) is not None
            ]
            return seen, max(version, self.progress(kind))

    def progress(self, kind: Kind) -> int:
        """Return the resource version of the last change of a kind; a bookmark tells of nothing later."""
        events = self._events.get(kind)
        return events[-1].version if events else 0

    def expired(self, kind: Kind, version: int) -> KubeError:
        """Return what a watch from too long ago is told."""
        said = f"too old resource version: {version} ({self._forgotten.get(kind, FIRST_VERSION)})"
        return KubeError(Failing.EXPIRED, said, status=410, reason="Expired")

    def _identity(self) -> str:
        self._born += 1
        return f"00000000-0000-4000-8000-{self._born:012x}"

    def _found(self, kind: Kind, namespace: str, name: str) -> Kept:
        if kind == NAMESPACES:
            if name not in self._namespaces:
                raise missing(kind.plural, name)
            return Kept.of(kind.body(metadata={"name": name}, status={"phase": self._namespaces[name]}))
        kept = self._kept.get(kind, {}).get((namespace if kind.namespaced else "", name))
        if kept is None:
            raise missing(resource(kind), name)
        return kept

    def _open_for_new(self, kind: Kind, namespace: str, body: Body) -> None:
        if not kind.namespaced:
            return
        state = self._namespaces.get(namespace)
        if state is None:
            raise missing("namespaces", namespace)
        if state == "Terminating":
            name = body.get("metadata", {}).get("name", "")
            said = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise KubeError(
                Failing.DENIED,
                f'{resource(kind)} "{name}" is forbidden: {said}',
                status=403,
                reason="Forbidden",
            )

    def _create_by_replacing(self, kind: Kind, namespace: str, body: Body, user: str) -> Body:
        told = dict(body["metadata"])
        uid = told.pop("uid", None)
        if uid is not None:
            raise conflict(
                kind, str(told["name"]), f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            )
        told.pop("resourceVersion", None)
        return self.create(kind, namespace, body | {"metadata": told}, user)

    def _arrived(self, kind: Kind, body: Body) -> Body:
        sent = clean(body)
        schema = self.schemas.get((kind.group, kind.plural))
        return sent if schema is None else pruned(schema, sent)

    def _admit(self, kind: Kind, user: str, before: Body | None, after: Body) -> None:
        legible(kind, after)
        why = refusal(self.schemas, kind, after, before)
        why = why or next(filter(None, (rule(user, before, after) for rule in self.rules.get(kind, ()))), "")
        if why:
            raise invalid(kind, after["metadata"]["name"], why)

    def _write(self, kind: Kind, namespace: str, before: Kept | None, after: Body, *, gone: bool = False) -> Kept:
        self._version += 1
        after["metadata"]["resourceVersion"] = str(self._version)
        shown = Kept.of(after)
        if len(shown.text) > LARGEST_BYTES:
            raise KubeError(Failing.AMBIGUOUS, "etcdserver: request is too large", status=500)
        place = self._kept.setdefault(kind, {})
        key = (namespace, after["metadata"]["name"])
        if gone:
            place.pop(key)
        else:
            place[key] = shown
        events = self._events.setdefault(kind, deque())
        events.append(_Event(self._version, kind, namespace, before, None if gone else shown, shown))
        while len(events) > self._remembers:
            self._forgotten[kind] = events.popleft().version
        self.changed.notify_all()
        return shown
