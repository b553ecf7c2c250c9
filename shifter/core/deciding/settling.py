"""When a share counts as *observed*: the balancer has been read back and the metrics show it.

The soak clock starts then, not when the share was wanted. What the metrics show is a sample, so the wanted
and the measured share agree when they differ by no more than chance (three standard deviations of a binomial
split) plus a stated allowance for scrapes that straddle the change. Chance is that of the requests where each goes by
weight, and that of a few busy clients where clients stay on the side that they are on: a new share then shows only
roughly, and slowly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shifter.core.balancing.splits import FULL_PERCENT, RouteView
from shifter.core.counts.evidence import Ledger, Tick
from shifter.core.state import ShiftState

ALLOWANCE_PERCENT = 2.0
"""Added to chance, in percentage points."""

SAMPLE_REQUESTS = 100
"""The newest ticks are pooled until they hold this many requests: enough to see a share, soon to see a change."""

CLIENTS = 40
"""Where clients stick to a side, their requests are taken to tell as much of the share as so many alike ones would: ten
that make half of the traffic, and many small ones."""

_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class ObservedShare:
    """The share that the metrics show, percent, and the number of requests it rests on."""

    share: float
    requests: float


def observed_share(ticks: Iterable[Tick]) -> ObservedShare | None:
    """Return the share that the newest ticks show; None if they hold no request at all."""
    source = target = 0.0
    for tick in reversed(tuple(ticks)):
        source += tick.source.requests
        target += tick.target.requests
        if source + target >= SAMPLE_REQUESTS:
            break
    total = source + target
    return ObservedShare(FULL_PERCENT * target / total, total) if total > 0 else None


def agrees(observed: ObservedShare, written: float) -> bool:
    """Return whether the metrics show the written share (percent), give or take chance and the allowance."""
    return abs(observed.share - written) <= _tolerated_percent(observed, written)


def contradicts(observed: ObservedShare, written: float) -> bool:
    """Return whether the metrics show certainly another share than the written one: twice of what still agrees.

    Twice, so that a share that was observed once is not lost again to the chance of one tick in a long soak.
    """
    return abs(observed.share - written) > 2 * _tolerated_percent(observed, written)


def _tolerated_percent(observed: ObservedShare, written: float) -> float:
    ratio = written / FULL_PERCENT
    chance = FULL_PERCENT * _DEVIATIONS * math.sqrt(ratio * (1 - ratio) / observed.requests)
    return chance + ALLOWANCE_PERCENT


def soaked_seconds(ledger: Ledger, settled_at: datetime) -> float:
    """Return how many seconds of evidence there are since the share was observed, each of them once.

    Of a tick that began before, the rest counts: a long soak's oldest ticks are kept as one. A pod that could not be
    counted in one tick is counted back to its last sample in the next, so that a tick may reach into the one before.
    """
    seconds, before = 0.0, settled_at
    for tick in ledger.ticks:
        # A clock that was set back since says nothing of what was counted before.
        since = max(before, settled_at) if before <= tick.at else settled_at
        seconds += max(0.0, min(tick.span_seconds, (tick.at - since).total_seconds()))
        before = tick.at
    return seconds


def is_settled(state: ShiftState, ledger: Ledger, views: Mapping[str, RouteView] | None, now: datetime) -> bool:
    """Return whether the verified share is observed: the balancer's own lag is over and the metrics agree."""
    if state.verified_at is None or state.intent is not None or not views:
        return False
    lag = timedelta(seconds=max(view.settle_seconds for view in views.values()))
    if state.verified_at > now:
        # The clock was set back since: all that is gathered by the new one came after it was verified.
        gathered = ledger.ticks if ledger.ticks and now >= ledger.ticks[0].at + lag else ()
    elif now < state.verified_at + lag:
        return False
    else:
        gathered = tuple(ledger.since(state.verified_at))
    observed = observed_share(gathered)
    return observed is not None and all(
        view.share is not None and agrees(_telling(observed, view), view.share) for view in views.values()
    )


def is_lost(state: ShiftState, ledger: Ledger, views: Mapping[str, RouteView] | None) -> bool:
    """Return whether a share that was observed is not what the newest metrics show any more.

    Part of a gateway may have stopped counting, or traffic takes another way: what is gathered then is no soak.
    """
    if state.intent is not None or not views:
        return False
    observed = observed_share(ledger.ticks)
    return observed is not None and any(_is_lost_on(view, observed) for view in views.values())


def _is_lost_on(view: RouteView, observed: ObservedShare) -> bool:
    if view.share is None:
        return False
    if view.split_by_request:
        return contradicts(observed, view.share)
    # Clients that stay where they are do not come and go by chance from tick to tick.
    return not agrees(_telling(observed, view), view.share)


def _telling(observed: ObservedShare, view: RouteView) -> ObservedShare:
    """Return what was observed with no more requests than tell anything of how a route splits."""
    return observed if view.split_by_request else replace(observed, requests=min(observed.requests, CLIENTS))
