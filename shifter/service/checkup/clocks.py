"""This machine's clock against everybody whose answers depend on it.

How far off is too far, and why:

* The provider refuses every call whose time is too far away, and says how far that is. A clock that is half of that
  off is not being set by anybody and will be all of it off: a problem. Ten seconds are a warning.
* Prometheus is asked as of *our* now. Ahead of it by `sampleMaxAge`, no sample is ever fresh. Off by a tick, requests
  from before a change of the share are counted for after it. Both are problems; a quarter of a tick is a warning.
* Both Prometheus are asked as of the same moment, so the same holds between the two.

Every measurement is only as good as the round trip was quick; what could be either counts as the better, unless
nothing can be told at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.core.documents.fleet import Timing
from shifter.ports import RemoteClock
from shifter.service.checkup.findings import UNREACHED, Finding, Group, Level, Notes
from shifter.service.checkup.gathering import Unanswered

_NOTICED_SECONDS: Final = 10.0
_RESOLUTION_SECONDS: Final = 0.5
_LEAST_SECONDS: Final = 1.0
_SET_IT: Final = "set this machine's clock by NTP: timedatectl set-ntp true; chronyc tracking"


@dataclass(frozen=True, slots=True)
class Offset:
    """How far somebody's clock is ahead of ours, and how exactly that is known; seconds."""

    seconds: float
    give_or_take_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """From where an offset is a warning, and from where a problem; seconds. `why` completes "beyond ... s"."""

    warning_seconds: float
    problem_seconds: float
    why: str


def measure(clock: RemoteClock, now: Callable[[], float]) -> Offset:
    """Ask somebody's clock once.

    Args:
        clock: whose.
        now: ours, in seconds since the epoch.

    Raises:
        TransientError: as `RemoteClock.server_time`.
    """
    before = now()
    theirs = clock.server_time()
    after = now()
    return Offset(theirs - (before + after) / 2, abs(after - before) / 2 + _RESOLUTION_SECONDS)


def provider_limits(tolerance_seconds: float) -> Limits:
    """Return how far the provider's clock and ours may be apart, going by what it tolerates."""
    return Limits(_NOTICED_SECONDS, tolerance_seconds / 2, f"of {tolerance_seconds:g} s it refuses every call")


def metrics_limits(timing: Timing) -> Limits:
    """Return how far a Prometheus' clock may be from ours, or from the other one's."""
    tick, max_age = timing.tick.total_seconds(), timing.sample_max_age.total_seconds()
    problem = max(2 * _LEAST_SECONDS, min(tick, max_age))
    why = f"of a tick ({tick:g} s) requests are counted for the wrong share, of {max_age:g} s no sample is fresh"
    return Limits(max(_LEAST_SECONDS, tick / 4), problem, why)


_CLUSTER_LIMITS: Final = Limits(
    _NOTICED_SECONDS, 60.0, "which `shifter status` and `doctor` tell wrongly who leads, and log-ins may be refused"
)


def findings(
    meshes: Mapping[str, Offset | Unanswered], provider: Offset | Unanswered, tolerance_seconds: float, timing: Timing
) -> Sequence[Finding]:
    """Return whose clocks are apart.

    Args:
        meshes: those of the datasources, by name.
        provider: the provider's.
        tolerance_seconds: how far off ours may be before the provider refuses every call.
        timing: the clockwork.
    """
    notes = Notes(Group.CLOCKS)
    for name, offset in meshes.items():
        if isinstance(offset, Offset):
            _judge(notes, f"{name} Prometheus", offset, metrics_limits(timing), _SET_IT)
        else:
            notes.unknown(f"{name} Prometheus", offset.why, "see datasources", unreachable=True)
    if isinstance(provider, Offset):
        _judge(notes, "provider", provider, provider_limits(tolerance_seconds), _SET_IT)
    else:
        notes.unknown("provider", provider.why, provider.remedy or UNREACHED, unreachable=True)
    known = [offset for offset in meshes.values() if isinstance(offset, Offset)]
    if len(known) == 2:  # noqa: PLR2004 - one per mesh
        first, second = known
        apart = Offset(second.seconds - first.seconds, first.give_or_take_seconds + second.give_or_take_seconds)
        fix = "set the clocks of both Prometheus machines by NTP"
        _judge(notes, f"{' and '.join(meshes)} Prometheus", apart, metrics_limits(timing), fix)
    return notes.found


def of_cluster(offset: Offset | Unanswered) -> Sequence[Finding]:
    """Return whether our clock and the API server's are apart. No lease rests on it; what people are shown does."""
    notes = Notes(Group.CLOCKS)
    if isinstance(offset, Offset):
        _judge(notes, "API server", offset, _CLUSTER_LIMITS, _SET_IT)
    else:
        notes.unknown("API server", offset.why, offset.remedy or "see store", unreachable=True)
    return notes.found


def _judge(notes: Notes, subject: str, offset: Offset, limits: Limits, fix: str) -> None:
    far, unsure = abs(offset.seconds), offset.give_or_take_seconds
    said = f"{far:.1f} s {'ahead' if offset.seconds > 0 else 'behind'}, give or take {unsure:.1f} s"
    if unsure > limits.problem_seconds:
        text = f"the answer took too long to tell ({said})"
        notes.unknown(subject, text, "look again when the network is quicker")
        return
    surely = far - unsure
    level = Level.OK
    if surely > limits.warning_seconds:
        level = Level.PROBLEM if surely > limits.problem_seconds else Level.WARNING
    notes.judged(level, subject, said if level is Level.OK else f"{said}; beyond {limits.why}", fix)
