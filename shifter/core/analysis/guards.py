"""What is seen without weighing: a target that is dead, traffic that never arrives, requests that lost their name.

These cases are so plain that waiting for odds would only cost users: each looks at one or two ticks. Their error
probability is their own and not part of the policy's `falseRollbackPercent`, so each asks for more than bad luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from shifter.core.analysis.standing import Failing, Standing
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.evidence import Ledger, Tick


class Guard(StrEnum):
    """The guards, as people read them."""

    DEAD = "dead target"
    LOST = "lost traffic"
    NAMELESS = "lost names"


DEAD_BAD: Final = 10.0
"""So many failures in one tick, times the dispersion, and most of its requests: the target is dead."""

DEAD_BAD_TWICE: Final = 6.0
"""So many, times the dispersion, in two ticks or more in a row, each of which failed by half or more."""

LEAST_SPARED: Final = 8.0
"""So many requests of the source must have gone well meanwhile: else nobody knows that it is not dead, too."""

APART_TICKS: Final = 0.4
"""Samples of the two sides further apart than this may show one side of an incident of both."""

VANISHED_TICKS: Final = 20
"""In so many newest ticks requests are looked for that lost their name."""

_VANISHED: Final = 0.2
"""Below this part of the expected requests, the target's traffic counts as vanished."""

_BLAMED: Final = 0.5
"""The part of the vanished requests that must reappear as answers to nobody to be blamed on the target."""

_LEAST_NAMELESS: Final = 3.0
_LEAST_MISSING: Final = 20.0


def dead(standing: Standing, tick_seconds: float, written: float = 0.0) -> str:
    """Return why the target counts as dead; empty if it does not.

    One tick is enough if it holds enough failures, the source answers well in it, and both were sampled at nearly the
    same time: else what hits both a moment later would look like the target's death. Two ticks in a row always are.

    Args:
        standing: where the attempt stands.
        tick_seconds: how long a tick is.
        written: the share (percent) that a write under way may have brought; at 100 no source is left to compare with.
    """
    failing, exposed = standing.failing, max(standing.share, written)
    if failing.ticks == 0:
        return ""
    if exposed < FULL_PERCENT and failing.source_requests < LEAST_SPARED:
        return ""
    at_once = failing.bad >= DEAD_BAD * standing.history.metrics[0].dispersion and _is_held_against(
        failing, exposed, tick_seconds
    )
    lasting = failing.ticks > 1 and failing.bad >= DEAD_BAD_TWICE * standing.history.metrics[0].dispersion
    if not (at_once or lasting):
        return ""
    meanwhile = "" if exposed >= FULL_PERCENT else " while tcm is well"
    during = "one tick" if failing.ticks == 1 else f"{failing.ticks} ticks in a row"
    return f"istio failed {failing.bad:.0f} of {failing.requests:.0f} requests in {during}{meanwhile}: dead"


def _is_held_against(failing: Failing, exposed: float, tick_seconds: float) -> bool:
    if exposed >= FULL_PERCENT:
        return True
    return abs(failing.apart_seconds) <= APART_TICKS * tick_seconds


def lost_traffic(standing: Standing, alpha: float) -> str:
    """Return why requests meant for the target do not arrive there; empty if they do, or nothing says otherwise."""
    if standing.lost < math.log(1 / alpha):
        return ""
    seen, others = standing.totals[0][0], standing.totals[0][2]
    achieved = FULL_PERCENT * seen / (seen + others) if seen + others > 0 else 0.0
    return (
        f"of {seen + others:.0f} requests istio counted {seen:.0f} ({achieved:.3g} %) at a share of "
        f"{standing.share:g} %: requests are lost on the way to it"
    )


def vanished(ledger: Ledger, ticks: Sequence[Tick], share: float) -> str:
    """Return why quiet is no quiet; empty if it is, or nothing says otherwise.

    When a namespace dies behind a gateway, or has no route there, Istio drops its name from what it counts: the shift
    looks quiet. So the requests that should have come are compared with the answers that nobody's name is on.

    Args:
        ledger: for the usual rate of requests.
        ticks: those wholly at the share.
        share: percent.
    """
    seen = sum(tick.target.requests for tick in ticks)
    nameless = sum(_nameless(tick) for tick in ticks)
    if share < FULL_PERCENT:
        expected = sum(tick.source.requests for tick in ticks) * share / (FULL_PERCENT - share)
    else:
        expected = (ledger.usual_per_second or 0.0) * sum(tick.span_seconds for tick in ticks)
    # At 100 % after a restart nothing says how much to expect: total silence beside such answers then is enough.
    blind = share >= FULL_PERCENT and ledger.usual_per_second is None
    missing = nameless if blind and seen == 0 else expected - seen
    is_quiet = seen < _VANISHED * expected or (blind and seen == 0)
    if not is_quiet or nameless < max(_LEAST_NAMELESS, _BLAMED * missing) or max(missing, nameless) < _LEAST_MISSING:
        return ""
    codes = ", ".join(f"{code} {number:.0f} times" for code, number in _codes(ticks))
    return (
        f"istio answered {seen:.0f} of about {seen + missing:.0f} expected requests, and its gateway gave "
        f"{nameless:.0f} bad answers that name no namespace ({codes}): failing, not quiet; is there a route, and a "
        "healthy upstream?"
    )


def _nameless(tick: Tick) -> float:
    return tick.target_unknown.bad + sum(number for _, number in tick.target_unknown.kinds)


def _codes(ticks: Sequence[Tick]) -> list[tuple[str, float]]:
    found: dict[str, float] = {}
    for tick in ticks:
        for code, number in (("5xx", tick.target_unknown.bad), *tick.target_unknown.kinds):
            found[code] = found.get(code, 0.0) + number
    return sorted(((code, number) for code, number in found.items() if number > 0), key=lambda each: -each[1])
