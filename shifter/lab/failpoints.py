"""Failpoints: named moments right before and right after a call of the real service to the outside, at which it dies.

A process that is killed at a random instant nearly always dies while it sleeps. So the service dies by its own hand,
and exactly where it hurts: between what it remembers and what it does, and between what was done and what it knows.
Nothing of this is in production code. The lab starts the service through `shifter.lab.failing_service`, which puts
`fused` around the parts that the wiring built; whoever runs `shifter run` has no failpoint, not even a sleeping one.

A failpoint is named by call and edge, `provider.submit.climb:after`, and armed by a file that the service looks for
in every call. Firing takes the file away, so that the next life of the service does not die of the same.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import OrderAnswer
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, ShiftState
from shifter.lab.json_files import write_json
from shifter.lab.topology import SOURCE_MESH, TARGET_MESH
from shifter.ports import Change, MeshMetrics, Store, TrafficProvider
from shifter.service.tick import Parts

MESH_OF: Final[Mapping[Side, str]] = {Side.SOURCE: SOURCE_MESH, Side.TARGET: TARGET_MESH}

CALLS: Final = (
    "store.load",
    "store.load_fleet",
    "store.prune",
    "store.open_orders",
    "store.report",
    "store.save.order",
    "store.save.phase",
    "store.save.keep",
    "store.save.climb",
    "store.save.retreat",
    "store.save.operation",
    "store.save.done.climb",
    "store.save.done.retreat",
    "store.save.failed",
    "store.save.repair",
    "store.save_fleet",
    "provider.observe",
    "provider.submit.keep",
    "provider.submit.climb",
    "provider.submit.retreat",
    "provider.check",
    *(f"metrics.read.{mesh}" for mesh in MESH_OF.values()),
    "metrics.past",
)
"""What the service does outside of itself, split by what it carries where that decides what a crash leaves behind."""


class Edge(StrEnum):
    """On which side of a call: it has had no effect yet, or it has and nobody was told."""

    BEFORE = "before"
    AFTER = "after"


class Act(StrEnum):
    """What becomes of the process."""

    KILL = "kill -9"
    STOP = "SIGSTOP"


FAILPOINTS: Final = tuple(f"{call}:{edge}" for call in CALLS for edge in Edge)


@dataclass(frozen=True, slots=True)
class Fired:
    """A failpoint that was reached, at Unix seconds."""

    failpoint: str
    at: float


def arm(path: Path, failpoint: str, act: Act) -> None:
    """Let the service that looks at `path` end at a failpoint, once.

    Raises:
        ValueError: there is no such failpoint.
        OSError: the file cannot be written.
    """
    if failpoint not in FAILPOINTS:
        raise ValueError(f"there is no failpoint {failpoint!r}")
    _fired_path(path).unlink(missing_ok=True)
    write_json(path, {"failpoint": failpoint, "act": act})


def disarm(path: Path) -> None:
    """Take back what was armed; harmless if it has fired."""
    path.unlink(missing_ok=True)


def fired(path: Path) -> Fired | None:
    """Return what fired since `arm`; None as long as nothing did."""
    try:
        told = json.loads(_fired_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Fired(told["failpoint"], told["at"])


def _fired_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.fired")


def end_here(act: Act) -> None:
    """End, or stop until somebody continues it, the process that calls; this thread does not come one line further."""
    if act is Act.KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        # To this thread: sent to the process, it may stop another one first and let this one pass.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class Fuse:
    """Ends the process at the failpoint that is armed.

    Args:
        path: what `arm` writes.
        end: what to do then.
        clock: Unix seconds.
    """

    def __init__(
        self, path: Path, end: Callable[[Act], None] = end_here, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._end = end
        self._clock = clock

    def reach(self, calls: Iterable[str], edge: Edge) -> None:
        """Pass one side of a call that goes by these names; does not return from one that is armed."""
        try:
            armed = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        if armed["failpoint"] not in {f"{call}:{edge}" for call in calls}:
            return
        try:
            # Threads may come here at the same time; one of them takes it.
            self._path.rename(self._path.with_name(f"{self._path.name}.{threading.get_ident()}"))
        except FileNotFoundError:
            return
        write_json(_fired_path(self._path), {"failpoint": armed["failpoint"], "at": self._clock()})
        self._end(Act(armed["act"]))


Names: TypeAlias = Callable[..., Sequence[str]]
"""Takes a call's arguments and returns the names by which it goes."""


class _Around:
    """Stands before an adapter and passes everything on; the calls that are named meet the fuse on both sides.

    By attribute and not method by method: the ports grow, and what has no failpoint must not need a line here.
    """

    def __init__(self, inner: object, fuse: Fuse, names_of: Mapping[str, Names]) -> None:
        self._inner = inner
        self._fuse = fuse
        self._names_of = names_of

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - whatever the adapter has by that name
        inner = getattr(self._inner, method)
        names_of = self._names_of.get(method)
        if names_of is None:
            return inner

        def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the port says
            names = names_of(*given, **named)
            self._fuse.reach(names, Edge.BEFORE)
            answer = inner(*given, **named)
            if isinstance(answer, Iterator):
                return self._to_the_end(names, answer)
            self._fuse.reach(names, Edge.AFTER)
            return answer

        return call

    def _to_the_end(self, names: Sequence[str], answers: Iterator[Any]) -> Iterator[Any]:
        """Pass on what is asked for only while it is gone through."""
        yield from answers
        self._fuse.reach(names, Edge.AFTER)


class _Journal:
    """What is known of the intents of a store: in which direction a route was meant to go the last time."""

    def __init__(self, states: Iterable[ShiftState]) -> None:
        self._directions: dict[str, Direction] = {}
        for state in states:
            self._note(state)

    def saved(
        self,
        state: ShiftState,
        expected_version: int,  # noqa: ARG002 - the port's
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> Sequence[str]:
        """Return the names of a save, by what it carries."""
        self._note(state)
        found = {name for record in records if (name := _name_of(record))}
        if answers:
            found.add("order")
        if {"failed", "retreat"} <= found and not answers and _takes_back(state):
            # One save ends a write of which a part is in force, and begins the one that takes it back.
            found.add("repair")
        if not records and not answers and state.intent is not None and state.intent.operations:
            found.add("operation")
        return [f"store.save.{name}" for name in sorted(found)]

    def submitted(self, changes: Sequence[Change]) -> Sequence[str]:
        """Return the name of a write, by what the intent that was saved for it means to do."""
        meant = {self._directions.get(change.route.id) for change in changes}
        return [f"provider.submit.{direction}" for direction in sorted(each for each in meant if each is not None)]

    def _note(self, state: ShiftState) -> None:
        if state.intent is not None:
            self._directions |= dict.fromkeys(state.intent.weights, state.intent.direction)


def _takes_back(state: ShiftState) -> bool:
    """Whether the write that is begun is the one that was given up, backwards.

    Any other retreat that ends a write (a rollback, a step back) begins at the weights that it found.
    """
    intent, given_up = state.intent, state.abandoned
    if intent is None or given_up is None:
        return False
    return intent.before == given_up.weights and intent.weights == given_up.before


def _name_of(record: NewRecord) -> str:
    direction = record.evidence.get("direction")
    if record.what is What.INTENT:
        return str(direction)
    if record.what is What.DONE:
        return f"done.{direction}"
    return str(record.what) if record.what in {What.FAILED, What.PHASE} else ""


def fused(parts: Parts, fuse: Fuse) -> Parts:
    """Return the service's parts with a failpoint on both sides of their calls.

    Raises:
        StoreUnavailableError: the store does not answer.
        RefusedError: what is saved is not understood.
    """
    journal = _Journal(saved.state for saved in parts.store.load().values())
    plain = ("load", "load_fleet", "prune", "open_orders", "report", "save_fleet")
    store = _Around(parts.store, fuse, {**{name: _always(f"store.{name}") for name in plain}, "save": journal.saved})
    provider = _Around(
        parts.provider,
        fuse,
        {
            "observe": _always("provider.observe"),
            "check": _always("provider.check"),
            "submit": journal.submitted,
        },
    )
    metrics = {
        side: _Around(each, fuse, {"read": _always(f"metrics.read.{MESH_OF[side]}"), "past": _always("metrics.past")})
        for side, each in parts.metrics.items()
    }
    return replace(
        parts,
        store=cast("Store", store),
        provider=cast("TrafficProvider", provider),
        metrics=cast("Mapping[Side, MeshMetrics]", metrics),
    )


def _always(name: str) -> Names:
    def named(*_: object, **__: object) -> Sequence[str]:
        return (name,)

    return named
