"""What one shift has seen, kept between its turns: the ticks of its share, where its attempt stands, and how it came.

The ticks live in memory; the standing is saved with the state from time to time, so that weeks of evidence survive a
restart; what was counted since is in the trail, which goes into every record of a decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from shifter.core.analysis.measures import rules_of
from shifter.core.analysis.replay import Trail, is_due, with_row
from shifter.core.analysis.standing import Standing
from shifter.core.balancing.apportion import MAX_ERROR_PERCENT
from shifter.core.balancing.splits import RouteView
from shifter.core.counts.answers import counts_of
from shifter.core.counts.evidence import MAX_TICKS, Counts, Ledger, Tick
from shifter.core.deciding import journal
from shifter.core.deciding.gathering import Gathered, Terms, belonging, gather, metrics_for
from shifter.core.deciding.settling import is_lost, is_settled
from shifter.core.documents.fleet import Fleet, common_edges_ms
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.state import ShiftState
from shifter.service.observe import Counted

MOST_REQUESTS: Final = 1e12
"""More requests in one tick are nobody's."""

UNCOUNTABLE: Final = "more requests in one tick than any gateway has: no evidence"


@dataclass(slots=True)
class Gathering:
    """One shift's evidence. `settled_at` is since when the evidence shows the share in force, None if it does not.

    `doubted_at`: until then the metrics showed another share. `drifted`: what is in force was not what is verified when
    it was last seen; `astray`: or the share was not, since members died or came; `mixed`: so it was at some time since
    the newest tick. `dropped`: of which pods nothing was counted in the newest tick, and why.
    `by_request`: each request was split by itself when the routes were last seen; unknown is no.
    `caught_up`: the past was asked for, if there was need; `gap` says what of it is missing. `reached` is the standing
    that the trail leads to; another share or attempt begins with one that no row leads to. `settling_since`: so long
    this process has waited for the metrics to show the share, None while it does not.
    """

    ledger: Ledger = field(default_factory=Ledger)
    standing: Standing | None = None
    trail: Trail | None = None
    settled_at: datetime | None = None
    doubted_at: datetime | None = None
    drifted: bool = False
    astray: bool = False
    mixed: bool = False
    dropped: Mapping[str, str] = field(default_factory=dict)
    by_request: bool = False
    caught_up: bool = False
    gap: str = ""
    reached: Standing | None = None
    settling_since: datetime | None = None

    def add(
        self,
        state: ShiftState,
        counted: Counted | None,
        views: Mapping[str, RouteView] | None,
        terms: Terms,
        now: datetime,
    ) -> None:
        """Add what a tick counted, and notice when the metrics first show the share in force."""
        if views is not None and state.intent is None and state.weights:
            drifted = not journal.matches(state.weights, views)
            if drifted is not self.drifted:
                # What is counted at other weights is judged, but is no soak of the verified ones, before or after.
                self.drifted = drifted
                self.forget_ticks()
            self.astray = drifted or _is_off(state, views)
            self.mixed = self.mixed or self.astray
        if counted is not None:
            self.dropped = {f"{mesh} {pod}": why for mesh, pods in counted.dropped.items() for pod, why in pods.items()}
            if (tick := tick_of(state.policy, counted)) is None:
                self.dropped |= {"all pods": UNCOUNTABLE} if counted.span_seconds > 0 else {}
            else:
                # What was verified later than now was verified before the clock was set back, and before all readings.
                at_once = state.verified_at is not None and state.verified_at > now
                since = self._is_since(state, tick, at_once=at_once)
                self._count(state, tick, terms, since=since, whole=since and not self._is_mixed(state))
                self.mixed = self.astray
        if self.settled_at is not None and is_lost(state, self.ledger, views):
            self.settled_at, self.doubted_at = None, now
        if self.settled_at is None and not self.drifted and is_settled(state, self.ledger, views, now):
            # What showed the share was gathered at it, and counts; what came before a doubt does not.
            lag = timedelta(seconds=max(view.settle_seconds for view in (views or {}).values()))
            shown = [at for at in (state.verified_at and state.verified_at + lag, self.doubted_at) if at is not None]
            # What was verified later than now was so before the clock was set back: the soak begins now.
            self.settled_at = min(max(shown, default=now), now)
        waits = self.settled_at is None and state.share > 0 and state.intent is None
        self.settling_since = (self.settling_since or now) if waits else None

    @property
    def replayable(self) -> Trail | None:
        """What leads to the standing as it is now; None if there is none."""
        if self.standing is None or self.standing is self.reached:
            return self.trail
        return Trail(self.standing)

    def look_at(self, views: Mapping[str, RouteView] | None) -> None:
        """Remember how the routes split, for ticks in which nobody says."""
        if views is not None:
            self.by_request = all(view.split_by_request for view in views.values())

    def takes_past(self, state: ShiftState) -> bool:
        """Return whether older ticks can be added: at 0 % they are only learnt from, above it before any live one."""
        return state.share == 0 or not self.ledger.ticks

    def catch_up(self, state: ShiftState, past: Iterable[Tick], fleet: Fleet, *, whole: bool) -> None:
        """Add ticks that nobody was there to count when they came, oldest first; `whole`: wholly at the share."""
        if state.share == 0:
            # Only what all of them show together is learnt: by the tick that comes next.
            first = self.ledger.ticks[0].at if self.ledger.ticks else None
            found = [tick for tick in past if first is None or tick.at <= first]
            self.ledger = replace(self.ledger, ticks=(*found, *self.ledger.ticks)[-MAX_TICKS:])
            return
        for tick in past:
            since = self._is_since(state, tick)
            at_share = whole and since and not self.drifted
            self._count(state, tick, terms_of(fleet, by_request=self.by_request), since=since, whole=at_share)

    def _count(self, state: ShiftState, tick: Tick, terms: Terms, *, since: bool, whole: bool) -> None:
        if self.ledger.ticks and tick.at < self.ledger.ticks[-1].at:
            # The clock was set back: what was gathered before would count as newer than what is seen now.
            self.forget_ticks()
        self.ledger = self.ledger.add(tick)
        gathered = gather(self.standing, state, self.ledger, whole=whole, terms=terms, since=since)
        if gathered is not None:
            self._take(gathered)

    def _is_mixed(self, state: ShiftState) -> bool:
        """Return whether the newest tick may have seen other shares than the verified one."""
        return self.mixed or self.drifted or state.intent is not None

    def _is_since(self, state: ShiftState, tick: Tick, *, at_once: bool = False) -> bool:
        """Return whether a tick began after the share was verified; `at_once`: whenever that was."""
        if state.share == 0 or at_once:
            return True
        if state.verified_at is None:
            return False
        since = state.verified_at
        if state.ceiling is not None and (self.standing is None or self.standing.exposed_ticks == 0):
            # A sample may be a tick old: the first tick after a step back still shows what it stepped back from.
            since += timedelta(seconds=tick.span_seconds)
        return bool(Ledger((tick,)).since(since))

    def _take(self, gathered: Gathered) -> None:
        unbroken = gathered.before is self.reached
        self.trail = with_row(self.trail, gathered.before, gathered.row, unbroken=unbroken)
        self.standing = self.reached = gathered.standing

    def forget_ticks(self) -> None:
        """What was counted says nothing about what is in force from now on."""
        self.ledger, self.settled_at, self.doubted_at = self.ledger.new_share(), None, None
        self.gap = ""

    def saved_with(self, state: ShiftState) -> ShiftState:
        """Return the state with the standing as it is now, if that must be saved."""
        self.standing = belonging(self.standing, state)
        if self.standing is None:
            return state
        if not is_due(state.standing, self.standing, metrics_for(state, self.standing.history)):
            return state
        return state.model_copy(update={"standing": self.standing})


def _is_off(state: ShiftState, views: Mapping[str, RouteView]) -> bool:
    """Return whether members that died, recovered or came make another share of the verified weights."""
    shares = [view.share for view in views.values()]
    return any(share is None or abs(share - state.share) > MAX_ERROR_PERCENT for share in shares)


def tick_of(policy: ShiftPolicy, counted: Counted) -> Tick | None:
    """Return what was counted of one policy's namespaces, by its rules; None if nothing could be."""
    if counted.source is None or counted.target is None or counted.span_seconds <= 0:
        return None
    namespaces, rules = policy.namespaces, rules_of(policy.spec.analysis)
    half = counted.source.half_of(namespaces)
    tick = Tick(
        at=counted.at,
        span_seconds=counted.span_seconds,
        source=counts_of(counted.source.of(namespaces), rules),
        target=counts_of(counted.target.of(namespaces), rules),
        target_unknown=counts_of(counted.target.unknown, rules),
        source_half=None if half is None else counts_of(half, rules),
        apart_seconds=counted.apart_seconds,
    )
    sides = (tick.source, tick.target, tick.target_unknown)
    return tick if all(_is_countable(side) for side in sides) else None


def _is_countable(counts: Counts) -> bool:
    """Return whether these can be a gateway's: in a standing, numbers without end would outlive their tick."""
    pairs = (number for _, bad, total in counts.pairs for number in (bad, total))
    buckets = (number for _, number in counts.buckets)
    return all(0 <= number <= MOST_REQUESTS for number in (counts.requests, counts.left, *pairs, *buckets))


def terms_of(fleet: Fleet, *, by_request: bool) -> Terms:
    """Return what evidence is gathered under."""
    return Terms(fleet.spec.learning.lessons(), common_edges_ms(fleet), by_request)


def wanted_edges_ms(fleet: Fleet, states: Iterable[tuple[ShiftState, Standing | None]]) -> list[float]:
    """Return the bucket edges that are worth reading: those that history fixed, all of them until it has."""
    common = common_edges_ms(fleet)
    wanted: set[float] = set()
    for state, standing in states:
        if not state.policy.spec.analysis.latency.enabled:
            continue
        is_fixed = standing is not None and (state.share > 0 or state.intent is not None)
        wanted |= set(standing.history.edges_ms if is_fixed and standing is not None else common)
    return sorted(wanted)
