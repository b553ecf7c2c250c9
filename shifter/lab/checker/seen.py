"""What a soak has seen, as plain values: all that its rules may look at.

Nothing here comes through shifter's own words: rows of the store as they are on the disk, weights as the cloud's log
has them, seconds as users had them, and what the soak itself did and when. A rule that shared code with the decision
would share its mistakes. All times are Unix seconds, shares are percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SOURCE: Final = "tcm"
TARGET: Final = "istio"
NOBODY: Final = "none"
"""Under which the load counts answers that came from no mesh's gateway."""

EVERYBODY: Final = "*"
"""Whom an order to all shifts is addressed to."""

SERVICE: Final = "shifter"
"""Who did what the service did by itself, in its history."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the history."""

    id: int
    at: float
    shift: str
    what: str
    by: str
    reason: str
    sequence: int = 0
    epoch: int = 0
    evidence: Mapping[str, object] = field(default_factory=dict)

    def share(self, end: str) -> float:
        """The share that an intent goes `from` or `to`; -1 if the row does not say."""
        value = self.evidence.get(end)
        return float(value) if isinstance(value, int | float) else -1.0


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One row of the orders. `answer` is empty as long as nobody answered."""

    id: int
    at: float
    shift: str
    verb: str
    by: str
    answer: str
    answered_at: float | None
    full: bool = False
    override: bool = False
    share: float | None = None
    hands_off_seconds: float = 0.0
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """One call of the command line that orders something. `order_id` is 0 if it said that nothing was recorded."""

    at: float
    ended_at: float
    shift: str
    verb: str
    by: str
    order_id: int
    exit_code: int
    said: str


@dataclass(frozen=True, slots=True)
class Change:
    """Weights of one namespace's rule before and after, by target (`address:port`), as the cloud really changed them.

    `request_id` is empty if it came through no API; `action` then says what it was. `outcome` is the emulator's.
    """

    at: float
    namespace: str
    balancer: str
    action: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    request_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class HealthNote:
    """The health check came to another opinion of one target of a namespace's rule."""

    at: float
    namespace: str
    target: str
    alive: bool


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that went wrong on purpose, with the time it was really in force.

    Args:
        number: in the plan.
        kind: of the plan.
        began_at: the instant before it was done.
        ended_at: the instant after it was undone.
        namespaces: whom it concerns.
        meshes: which meshes.
        hurts: meshes whose answers may fail because of it (`NOBODY`: the front itself answers).
        told: a sentence.
    """

    number: int
    kind: str
    began_at: float
    ended_at: float
    namespaces: frozenset[str]
    meshes: frozenset[str]
    hurts: frozenset[str] = frozenset()
    told: str = ""

    def covers(self, start: float, end: float, tail_seconds: float = 0.0) -> bool:
        """Whether it was in force, or had been less than `tail_seconds` ago, at any time of a span."""
        return self.began_at <= end and start <= self.ended_at + tail_seconds


@dataclass(frozen=True, slots=True)
class Life:
    """One process of the service. `ended_at` is when it was killed or had stopped; None for the last one."""

    started_at: float
    ended_at: float | None = None
    killed: bool = False


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a shift's policy file said from a time on; no steps: it was broken or gone.

    `gates` need an approval. `steps_back`: what fails goes one step down, and not all the way.
    """

    at: float
    shift: str
    steps: tuple[float, ...]
    soak_seconds: float
    gates: tuple[float, ...] = ()
    steps_back: bool = False


@dataclass(frozen=True, slots=True)
class UserSecond:
    """What users of one namespace saw in one second, with the answers of each mesh."""

    at: int
    namespace: str
    requests: int
    failed: int
    by_mesh: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LastWord:
    """What the service last told of one shift."""

    shift: str
    at: float
    phase: str
    written: float | None
    holds: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings that the rules measure by, seconds unless they say otherwise.

    `late_seconds`: how long after the end of its intent a call may still land; `flight_seconds`: how long the cloud
    takes for a call that it has; `noticed_seconds`: until the metrics show what users see, or no longer do. Istio is
    plainly broken if users saw more than `plainly_percent` of its answers fail in the last `plainly_seconds`;
    `back_seconds`: until a shift has left it then.
    """

    tick_seconds: float
    operation_seconds: float
    late_seconds: float
    flight_seconds: float
    noticed_seconds: float
    plainly_percent: float
    plainly_seconds: float
    back_seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything. `source_ports` are those by which a rule's targets belong to the source mesh."""

    began_at: float
    calm_at: float
    ended_at: float
    bounds: Bounds
    namespaces: tuple[str, ...]
    source_ports: frozenset[int]
    entries: Sequence[Entry] = ()
    orders: Sequence[OrderRow] = ()
    given: Sequence[Given] = ()
    changes: Sequence[Change] = ()
    health: Sequence[HealthNote] = ()
    incidents: Sequence[Incident] = ()
    lives: Sequence[Life] = ()
    policies: Sequence[PolicyFile] = ()
    seconds: Sequence[UserSecond] = ()
    last_words: Sequence[LastWord] = ()
    not_sent: int = 0
    tracebacks: Sequence[str] = ()
    troubles: Sequence[str] = ()

    def of(self, shift: str, *what: str) -> list[Entry]:
        """A shift's history in order, of some kinds only if any are named."""
        return [entry for entry in self.entries if entry.shift == shift and (not what or entry.what in what)]

    def changes_of(self, namespace: str) -> list[Change]:
        """The changes of a namespace's weights, oldest first."""
        return [change for change in self.changes if change.namespace == namespace]

    def dead(self, namespace: str, at: float) -> frozenset[str]:
        """The targets of a namespace that the health check called dead at a time."""
        dead: set[str] = set()
        for note in self.health:
            if note.namespace == namespace and note.at <= at:
                (dead.discard if note.alive else dead.add)(note.target)
        return frozenset(dead)

    def share(self, weights: Mapping[str, int], dead: frozenset[str] = frozenset()) -> float | None:
        """The share that weights amount to, dead targets left out unless all are; None if nobody gets traffic."""
        alive = {target: weight for target, weight in weights.items() if target not in dead} or weights
        total = sum(alive.values())
        if not total:
            return None
        return 100 * sum(weight for target, weight in alive.items() if not self.is_source(target)) / total

    def is_source(self, target: str) -> bool:
        """Whether a target belongs to the source mesh."""
        return int(target.rpartition(":")[2]) in self.source_ports

    def shares(self, namespace: str) -> list[tuple[float, float | None]]:
        """From when on which share was live, by weights and health, oldest first; before the first change 0."""
        changes = self.changes_of(namespace)
        times = sorted(
            {change.at for change in changes} | {note.at for note in self.health if note.namespace == namespace}
        )
        weights: Mapping[str, int] = changes[0].before if changes else {}
        found: list[tuple[float, float | None]] = []
        waiting = iter(changes)
        following = next(waiting, None)
        for at in times:
            while following is not None and following.at <= at:
                weights, following = following.after, next(waiting, None)
            found.append((at, self.share(weights, self.dead(namespace, at)) if weights else 0.0))
        return found

    def share_at(self, namespace: str, at: float) -> float:
        """The live share at a time, 0 before the first change and where nobody gets traffic."""
        earlier = [share for since, share in self.shares(namespace) if since <= at]
        return (earlier[-1] or 0.0) if earlier else 0.0


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that was broken: when, by whom, and the evidence."""

    rule: str
    at: float
    shift: str
    told: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found: how many things it looked at, and what was wrong. None looked at proves nothing."""

    rule: str
    looked_at: int
    violations: tuple[Violation, ...] = ()


def overlap_seconds(start: float, end: float, spans: Iterable[tuple[float, float]]) -> list[float]:
    """How much of each span lies within two times."""
    return [max(0.0, min(end, until) - max(start, since)) for since, until in spans]
