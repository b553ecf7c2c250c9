"""What is remembered of a shift between ticks and across restarts, and what is told about it.

`ShiftState` is the place that must never be lost: it is saved by compare-and-swap and read back after a
crash. `Report` is the explanation people read; losing one costs nothing but a moment's blindness. Single ticks
(`evidence.Ledger`) are in neither; what they amounted to is saved from time to time (`standing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shifter.core.analysis.standing import Standing
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase

SCHEMA_VERSION: Final = 5
"""Grows when the saved form changes; a newer one than this is read but never written over."""

_CLOCK_SKEW: Final = timedelta(minutes=5)
"""So far two clocks may differ without anything being wrong with them."""

Weights = Mapping[str, Mapping[str, int]]
"""Weights (0..100) by route id and member key."""


class _Saved(BaseModel):
    """Base of the persisted values: frozen, and a key of a later version survives nowhere unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Direction(StrEnum):
    """What a write does to the share. `keep`: same share, new weights, because members came or went."""

    CLIMB = "climb"
    RETREAT = "retreat"
    KEEP = "keep"


class Pause(_Saved):
    """Somebody asked to stop climbing; before `hands_off_until`, to write nothing at all, not even to go back."""

    by: str
    reason: str
    at: datetime
    hands_off_until: datetime | None = None

    @property
    def why(self) -> str:
        """Who asked and why, as `ann: lunch`."""
        return self.by + (f": {self.reason}" if self.reason else "")

    def hands_off(self, now: datetime) -> bool:
        """Return whether nothing at all may be written at `now`; a clock that was set back does not prolong it."""
        return self.hands_off_until is not None and self.at - _CLOCK_SKEW <= now < self.hands_off_until


class Approval(_Saved):
    """Somebody let the share pass one gate of the policy: the one before `before` percent."""

    before: float
    by: str
    reason: str
    at: datetime


class Freeze(_Saved):
    """Somebody asked that no share of any shift is raised."""

    by: str
    reason: str
    at: datetime

    @property
    def why(self) -> str:
        """Who asked and why, as `ann: Singles' Day`."""
        return self.by + (f": {self.reason}" if self.reason else "")


class FleetState(_Saved):
    """What is remembered of all shifts together. `last_order` is the newest order to all of them that was answered.

    `freezes`: one per person who asked, the first first; all are lifted together.
    """

    schema_version: Literal[1] = 1
    freezes: tuple[Freeze, ...] = ()
    last_order: int = 0


class Failure(_Saved):
    """Why the shift went back: the sentence, the share at which it failed, and when. `ordered`: a person asked.

    `at_once`: all the way in one write, whatever the source can carry; the target is dead, or a person wants it so.
    """

    reason: str
    share: float
    at: datetime
    ordered: bool = False
    at_once: bool = False


class Ceiling(_Saved):
    """The share (percent) at which this shift failed and stepped back from, why, and when: it is not reached again.

    `probe`: it did not fail by itself; it is to be seen whether an incident of both meshes ends with the step back.
    """

    share: float
    reason: str
    at: datetime
    probe: bool = False


class Pin(_Saved):
    """An autoscaler's floor that was raised so that the way back stays: from `before` to `floor`, in replicas.

    `released`: it is no longer needed, and what was there before is to be put back.
    """

    before: int
    floor: int
    at: datetime
    released: bool = False


class WayBack(_Saved):
    """What the source had before the first step, when it carried everything, and what of it is left.

    Numbers by what was counted (`deciding/capacity.py` says what). `at` is when it was recorded.
    """

    at: datetime
    had: Mapping[str, int]
    left: Mapping[str, int]


class Setback(_Saved):
    """A raising write that failed: why, when, and how many in a row. The next try waits longer each time."""

    reason: str
    at: datetime
    count: int


class Intent(_Saved):
    """One write that was decided and saved before the provider was called.

    `from_share` and `to_share` are percent. `before` and `weights` are what was in force and what is to be.
    `promoted`: a person asked for it; `override`: and takes the judgement over once it is done. `operations` maps
    a lock domain to the provider's operation id once it accepted the write. `sends` is how often it was sent at least:
    each time is saved before the call, so that a process that leads no more finds out in time.
    """

    sequence: int
    epoch: int
    direction: Direction
    from_share: float
    to_share: float
    reason: str
    by: str
    promoted: bool = False
    override: bool = False
    created_at: datetime
    deadline: datetime
    before: Weights
    weights: Weights
    operations: Mapping[str, str] = Field(default_factory=dict)
    sends: int = 1


class ShiftState(_Saved):
    """One shift's place. `share` is the last verified one, percent; `weights` what was read back with it.

    `policy` is the one in force: the last accepted file, so that a way back exists when the file is gone.

    `sequence` counts intents. `attempt` counts tries (1 is the first): a retry begins one, and so does a step back or
    an edited analysis, whatever makes the evidence so far void. `last_order` is the newest
    order that was answered. `verified_at` is when the current share was read back; `since` when the phase began.
    `approved` are the gates of the policy that somebody let it pass, in this attempt.
    `ceiling`: it stepped back from there. `way_back` is recorded before the first step and kept until a retry, None
    where nobody saw the source then; `pin`: its gateway's autoscaler's floor was raised for that, `pins`: those of the
    policy's Deployments, by `namespace/name`. `standing` is what the evidence amounted to when it was last saved.
    `overridden`: a person took the judgement over with `--override`; no rollback by itself in this attempt.
    `abandoned` is the last intent that failed, was superseded or was sent twice: it may still land.
    `holds` are the kinds in force at the last save, so that a change of them is recorded once.
    """

    schema_version: Literal[5] = SCHEMA_VERSION
    name: str
    policy: ShiftPolicy
    phase: Phase = Phase.WAITING
    since: datetime
    share: float = 0.0
    weights: Weights = Field(default_factory=dict)
    verified_at: datetime | None = None
    sequence: int = 0
    attempt: int = 1
    last_order: int = 0
    intent: Intent | None = None
    paused: Pause | None = None
    approved: tuple[Approval, ...] = ()
    overridden: bool = False
    failure: Failure | None = None
    ceiling: Ceiling | None = None
    way_back: WayBack | None = None
    pin: Pin | None = None
    pins: Mapping[str, Pin] = Field(default_factory=dict)
    standing: Standing | None = None
    setback: Setback | None = None
    abandoned: Intent | None = None
    holds: tuple[str, ...] = ()

    @property
    def wanted(self) -> float:
        """The share that is worked towards, percent: 0 from the moment the shift goes back."""
        if self.phase is Phase.ROLLING_BACK:
            return 0.0
        return self.share if self.intent is None else self.intent.to_share

    @property
    def next_step(self) -> float | None:
        """The share after the verified one in the policy's steps, percent; None at the top."""
        return next((step for step in self.policy.spec.ladder if step > self.share), None)

    def gate(self, share: float) -> float | None:
        """Return the first gate of the policy between the verified share and `share` that nobody approved."""
        approved = {approval.before for approval in self.approved}
        return next((each for each in self.policy.gates if self.share < each <= share and each not in approved), None)

    @property
    def step_below(self) -> float:
        """The share (percent) to step back to: the rung below the verified share or the ceiling, 0 below the first."""
        share = self.share if self.ceiling is None else min(self.share, self.ceiling.share)
        return max((step for step in self.policy.spec.ladder if step < share), default=0.0)

    @property
    def step(self) -> int:
        """How many of the policy's steps the wanted share has reached."""
        return sum(1 for step in self.policy.spec.ladder if step <= self.wanted)


class HoldReport(_Saved):
    """One reason not to climb, for people."""

    kind: str
    reason: str


class FindingReport(_Saved):
    """One metric's or guard's outcome, see `verdicts.Finding`."""

    metric: str
    verdict: str
    source: float | None
    target: float | None
    limit: float | None
    unit: str
    text: str
    bound: float | None = None
    dispersion: float | None = None
    source_counts: tuple[float, float] | None = None
    target_counts: tuple[float, float] | None = None
    guard: bool = False


class Report(_Saved):
    """Why a shift is where it is, as of `at`. Shares are percent and may be unknown.

    `wanted` is what shifter works towards now, `written` what the balancer's weights amount to, `observed`
    what the metrics show. Counts are requests since the share last changed. `page`: somebody should look. A report
    older than `silent_after_seconds` means that no service is running. `requests_per_second` is the rate of both
    sides together. It, the service's timing, and `settle_seconds` (how long the balancer may lag behind new weights)
    are None where nobody knows, as in what an earlier version told. `said` is the verdict's sentence. `harm` are the
    odds against the target, and at `harm_limit` it goes back; `proven`: no worse than the source is proven. `dropped`
    says of which pods nothing was counted in the newest tick, and why.
    """

    name: str
    at: datetime
    mode: str
    namespaces: tuple[str, ...]
    phase: Phase
    since: datetime
    step: int
    steps: tuple[float, ...]
    wanted: float
    written: float | None
    observed: float | None
    attempt: int
    decision: str
    reason: str
    verdict: str
    said: str = ""
    holds: tuple[HoldReport, ...] = ()
    findings: tuple[FindingReport, ...] = ()
    warnings: tuple[str, ...] = ()
    source_requests: float = 0.0
    source_bad: float = 0.0
    target_requests: float = 0.0
    target_bad: float = 0.0
    members: Mapping[str, str] = Field(default_factory=dict)
    soaked_seconds: float = 0.0
    soak_seconds: float = 0.0
    epoch: int = 0
    sequence: int = 0
    failure: str = ""
    harm: float | None = None
    harm_limit: float | None = None
    proven: bool = False
    dropped: Mapping[str, str] = Field(default_factory=dict)
    page: bool = False
    silent_after_seconds: float = 90.0
    requests_per_second: float | None = None
    tick_seconds: float | None = None
    sample_max_age_seconds: float | None = None
    read_deadline_seconds: float | None = None
    operation_timeout_seconds: float | None = None
    settle_seconds: float | None = None
