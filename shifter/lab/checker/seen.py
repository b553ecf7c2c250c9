"""What was seen of a run, as plain values: all that the rules may look at.

Nothing here comes through shifter's own words: rows of the store as they are on the disk, weights as the cloud's log
has them, seconds as users had them, and what the soak or the simulation itself did and when. A rule that shared code
with the decision would share its mistakes. All times are Unix seconds by the clock of who looks on, never by one of
shifter's; shares are percent. What only a simulation can see is left out of a real run: its fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """One row of the history. `at` is when it was decided, `saved_at` when the store took it, if that is known.

    `call` is the number of the port call that saved it, where all calls of a run are numbered. `chain` is the chain of
    records that it is in, whose ids are its own; empty where there is but one.
    """

    id: int
    at: float
    shift: str
    what: str
    by: str
    reason: str
    sequence: int = 0
    epoch: int = 0
    evidence: Mapping[str, object] = field(default_factory=dict)
    saved_at: float | None = None
    call: int = 0
    chain: str = ""

    @property
    def kept_at(self) -> float:
        """When it was safe in the store, as far as that is known."""
        return self.at if self.saved_at is None else self.saved_at

    def precedes(self, other: Entry) -> bool:
        """Whether it was appended before another: by number in one chain, by when they were saved in two."""
        if self.chain == other.chain:
            return self.id < other.id
        return (self.kept_at, self.call) < (other.kept_at, other.call)

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
    `route` tells several rules of one namespace apart. `caller` is the process that asked for it, and `submitted_at`
    when it did, where that is known, by port call number `call`; `at` is when it came into force.
    """

    at: float
    namespace: str
    balancer: str
    action: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    request_id: str
    outcome: str
    route: str = ""
    caller: str = ""
    submitted_at: float | None = None
    call: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the cloud's log has it; `at` is when it reached the cloud.

    Args:
        at: when it came.
        caller: the process that made it.
        domain: the lock domain.
        what: `observe`, `submit` or `check`.
        answer: what the caller was told: `ok`, `busy`, `refused`, or `unknown` if it was told nothing.
        raises: whether a submit asked for more than was in force.
        answered_at: when the caller was told.
        as_of: what time an observe showed; None for its own.
        request_id: of a submit.
        routes: which routes it is about; several shifts may share a lock domain.
        asked: the weights that a submit asks for, by route.
    """

    at: float
    caller: str
    domain: str
    what: str
    answer: str
    raises: bool = False
    answered_at: float | None = None
    as_of: float | None = None
    request_id: str = ""
    routes: tuple[str, ...] = ()
    asked: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


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
        whom: the process that it struck, where there are several.
    """

    number: int
    kind: str
    began_at: float
    ended_at: float
    namespaces: frozenset[str]
    meshes: frozenset[str]
    hurts: frozenset[str] = frozenset()
    told: str = ""
    whom: str = ""

    def covers(self, start: float, end: float, tail_seconds: float = 0.0) -> bool:
        """Whether it was in force, or had been less than `tail_seconds` ago, at any time of a span."""
        return self.began_at <= end and start <= self.ended_at + tail_seconds


@dataclass(frozen=True, slots=True)
class Life:
    """One process that may raise shares. `ended_at` is when it was killed or had stopped; None for the last one.

    Where several share a lease it is one term: from when `replica` got it until it was not theirs any more, with its
    `epoch`. Where a file is locked, the n-th process has epoch n. `loaded_at`: when it had read all that is saved, None
    if nobody knows.
    """

    started_at: float
    ended_at: float | None = None
    killed: bool = False
    replica: str = ""
    epoch: int = 0
    loaded_at: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a shift's policy file said from a time on; no steps: it was broken or gone.

    `gates` need an approval. `steps_back`: what fails goes one step down, and not all the way; `stays`: nowhere.
    """

    at: float
    shift: str
    steps: tuple[float, ...]
    soak_seconds: float
    gates: tuple[float, ...] = ()
    steps_back: bool = False
    stays: bool = False


@dataclass(frozen=True, slots=True)
class UserSecond:
    """What users of one namespace saw in one second, with the answers of each mesh.

    `slow` are those answers that took plainly too long, where the policy compares latency.
    """

    at: int
    namespace: str
    requests: int
    failed: int
    by_mesh: Mapping[str, int]
    slow: int = 0


@dataclass(frozen=True, slots=True)
class LastWord:
    """What the service last told of one shift; `page`: that somebody should look at it."""

    shift: str
    at: float
    phase: str
    written: float | None
    holds: tuple[str, ...]
    reason: str
    page: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """One record of the history as it is kept: the very texts, and the hash that was written with them.

    `texts` are at, shift, what, by, reason, sequence, epoch and evidence. `chain`: as of an entry.
    """

    id: int
    texts: tuple[str, str, str, str, str, str, str, str]
    kept: str
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings that the rules measure by, seconds unless they say otherwise.

    `late_seconds`: how long after the end of its intent a call may still land; `flight_seconds`: how long the cloud
    takes for a call that it has; `noticed_seconds`: until the metrics show what users see, or no longer do. Istio is
    plainly broken if users saw more than `plainly_percent` of its answers fail in the last `plainly_seconds`;
    `back_seconds`: until a shift has left it then. `read_seconds`: how old weights may be when they are acted upon, 0
    if nobody knows.
    """

    tick_seconds: float
    operation_seconds: float
    late_seconds: float
    flight_seconds: float
    noticed_seconds: float
    plainly_percent: float
    plainly_seconds: float
    back_seconds: float
    read_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything. `source_ports` are those by which a rule's targets belong to the source mesh.

    From `calm_at` on nothing goes wrong any more; None if faults went on to the end, which then is no place to rest.
    """

    began_at: float
    calm_at: float | None
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
    calls: Sequence[Call] = ()
    chain: Sequence[Link] = ()

    @property
    def rests(self) -> bool:
        """Whether faults ended before the run did, so that its end is a place to judge."""
        return self.calm_at is not None and self.calm_at <= self.ended_at

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

    def weights(self, namespace: str) -> list[tuple[float, Mapping[str, Mapping[str, int]]]]:
        """From when on which weights of which routes were live, oldest first; a route that never changed is missing."""
        changes = self.changes_of(namespace)
        live: dict[str, Mapping[str, int]] = {}
        for change in changes:
            live.setdefault(change.route, change.before)
        found: list[tuple[float, Mapping[str, Mapping[str, int]]]] = []
        for change in changes:
            live = {**live, change.route: change.after}
            found.append((change.at, live))
        return found

    def weights_at(self, namespace: str, at: float) -> Mapping[str, Mapping[str, int]]:
        """The live weights of each route at a time; none before the first change."""
        earlier = [live for since, live in self.weights(namespace) if since <= at]
        return earlier[-1] if earlier else {}

    def split(self, namespace: str, at: float) -> dict[str, float | None]:
        """The live share of each route at a time; none before the first change."""
        dead = self.dead(namespace, at)
        return {route: self.share(weights, dead) for route, weights in self.weights_at(namespace, at).items()}

    def shares(self, namespace: str) -> list[tuple[float, float | None]]:
        """From when on which share was live, by weights and health, oldest first; before the first change 0.

        Of several routes that differ it is the highest: to that, users are exposed.
        """
        steps = self.weights(namespace)
        times = {at for at, _ in steps} | {note.at for note in self.health if note.namespace == namespace}
        found: list[tuple[float, float | None]] = []
        waiting = iter(steps)
        following = next(waiting, None)
        live: Mapping[str, Mapping[str, int]] = {}
        for at in sorted(times):
            while following is not None and following[0] <= at:
                live, following = following[1], next(waiting, None)
            dead = self.dead(namespace, at)
            shares = [share for weights in live.values() if (share := self.share(weights, dead)) is not None]
            found.append((at, max(shares, default=None if live else 0.0)))
        return found

    def share_at(self, namespace: str, at: float) -> float:
        """The live share at a time, 0 before the first change and where nobody gets traffic."""
        earlier = [share for since, share in self.shares(namespace) if since <= at]
        return (earlier[-1] or 0.0) if earlier else 0.0
