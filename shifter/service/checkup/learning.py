"""What TCM's Prometheus remembers of each policy: enough to begin, and with how much chance.

Before the first step a shift learns from the last ticks what TCM is like (`analysis/learning.py`). Whether there is
enough of it can be seen before anybody waits for it: the same reading of the past that a service makes when it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shifter.core.counts.counters import Baselines, advance
from shifter.core.counts.evidence import Reading
from shifter.core.documents.fleet import Fleet, Learning
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import show_duration
from shifter.service.checkup.clocks import measure
from shifter.service.checkup.datasources import MeshSource
from shifter.service.checkup.findings import Finding, Group, Notes
from shifter.service.checkup.gathering import Unanswered
from shifter.service.observe import GAP_TICKS


@dataclass(frozen=True, slots=True)
class Remembered:
    """The past of one mesh: how many ticks could be counted, each policy's requests in them, and the most pods."""

    ticks: int
    requests: Mapping[str, float]
    most_pods: int


def look(source: MeshSource, fleet: Fleet, policies: Mapping[str, ShiftPolicy], now: Callable[[], float]) -> Remembered:
    """Return what a datasource remembers of the span that a shift learns from.

    Raises:
        MetricsUnavailableError: it does not answer, or not with what can be believed.
    """
    tick = fleet.spec.timing.tick
    end = datetime.fromtimestamp(now() + measure(source.probe, now).seconds, UTC)
    past = source.metrics.past(end - fleet.spec.learning.history_ticks * tick, end, tick, ())
    baselines, ticks, most_pods = Baselines(), 0, 0
    requests = dict.fromkeys(policies, 0.0)
    for reading in past:
        if not isinstance(reading, Reading):
            continue
        baselines, counted, span_seconds = advance(baselines, reading, GAP_TICKS * tick.total_seconds())
        most_pods = max(most_pods, len(reading.pods))
        if span_seconds <= 0:
            continue
        ticks += 1
        for name, policy in policies.items():
            requests[name] += sum(counted.of(policy.namespaces).by_answer.values())
    return Remembered(ticks, requests, most_pods)


def findings(name: str, found: Remembered | Unanswered, fleet: Fleet) -> Sequence[Finding]:
    """Return whether a shift could begin at once.

    Args:
        name: what people call the mesh.
        found: what its datasource remembers.
        fleet: how much is needed.
    """
    notes, learning = Notes(Group.DATASOURCES), fleet.spec.learning
    span = show_duration(learning.history_ticks * fleet.spec.timing.tick)
    if isinstance(found, Unanswered):
        text = f"its past cannot be read: {found.why}"
        lost = "a first step waits for so much live traffic, and what is missed in a restart is not read again"
        notes.warning(f"{name} history", text, f"let it answer /api/v1/query_range; without it {lost}")
        return notes.found
    for policy, requests in sorted(found.requests.items()):
        _history(notes, f"{name} history of {policy}", (found.ticks, requests), (learning, span))
    if found.most_pods == 1:
        text = (
            f"{name} has one gateway pod: how much its failures cluster cannot be measured, "
            f"{learning.one_pod_dispersion:g} is assumed (spec.learning.onePodDispersion)"
        )
        fix = "run two gateway pods, or raise spec.learning.onePodDispersion if its failures come in larger bursts"
        notes.warning(f"{name} dispersion", text, fix)
    elif found.most_pods:
        notes.ok(f"{name} dispersion", f"can be measured: its {found.most_pods} gateway pods are compared")
    return notes.found


def _history(notes: Notes, subject: str, seen: tuple[int, float], needed: tuple[Learning, str]) -> None:
    (ticks, requests), (learning, span) = seen, needed
    text = f"{ticks} ticks and {requests:.0f} requests in the last {span}"
    enough = ticks >= learning.min_ticks and requests >= learning.min_requests
    if enough or ticks >= learning.history_ticks:
        notes.ok(subject, text)
        return
    least = f"{learning.min_ticks} ticks and {learning.min_requests:g} requests"
    fix = (
        f"wait: the first step comes with {least}, or with {learning.history_ticks} ticks of any traffic; if there was "
        "more, see whether Prometheus keeps it (retention) and whether the namespaces are those it counts"
    )
    notes.warning(subject, f"{text}, {least} are needed", fix)
