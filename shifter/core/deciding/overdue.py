"""What should have come by now and has not: a share that never settles, evidence that never decides.

Neither is a hold, since nothing forbids the next step; but nothing takes it either, and a shift that waits in silence
is found by nobody. So both have a stated bound, after which the sentence says so and somebody is paged:

* settling: the balancer's own lag, the policy's `hold` and `GRACE_TICKS`, from when this process began to wait. The
  metrics show another share than the written one: another way into the mesh, sticky sessions, a wrong matcher.
* deciding: the soak, the longest hold and `GRACE_TICKS` at one share. The odds are too high to go on and too low to go
  back: a difference as large as what the policy tolerates, and no more traffic will make it larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from shifter.core.analysis.climbing import PATIENCE_IF_DOUBTED
from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.holds import Hold
from shifter.core.deciding.settling import observed_share
from shifter.core.documents.schema import show_duration
from shifter.core.phases import Phase
from shifter.core.state import ShiftState

GRACE_TICKS: Final = 10
"""So many ticks may be lost to scrapes, restarts and chance before anybody is called."""


def overdue(state: ShiftState, evidence: Evidence, holds: Sequence[Hold], assessment: Assessment, now: datetime) -> str:
    """Return what a shift has waited for longer than it should, and where to look; empty if it has not.

    A shift that is held has its reason, and one whose write is under way has a deadline: of those nothing is said.
    """
    if state.phase is not Phase.SHIFTING or state.share <= 0 or state.intent is not None or holds:
        return ""
    if evidence.settling_since is not None:
        return _settling(state, evidence, now - evidence.settling_since)
    if assessment.verdict is not Verdict.TOO_LITTLE or evidence.standing is None:
        return ""
    spec = state.policy.spec
    most = spec.soak + PATIENCE_IF_DOUBTED * spec.analysis.hold + GRACE_TICKS * evidence.tick
    if evidence.standing.seconds <= most.total_seconds():
        return ""
    return (
        f"so it has stood for more than {_said(most)}: more traffic will hardly decide; "
        f"roll back, or widen the tolerance if the difference is none"
    )


def _settling(state: ShiftState, evidence: Evidence, waited: timedelta) -> str:
    lag = timedelta(seconds=max((view.settle_seconds for view in (evidence.views or {}).values()), default=0))
    most = lag + state.policy.spec.analysis.hold + GRACE_TICKS * evidence.tick
    if waited <= most:
        return ""
    so_long = f"so it has been for more than {_said(most)}"
    if observed_share(evidence.ledger.ticks) is None:
        return f"{so_long}: nobody uses it, and `shifter promote {state.name}` goes on without traffic"
    return (
        f"{so_long}: does traffic reach a mesh by another way, do sessions stick, do the fleet's matchers find all "
        "gateway pods?"
    )


def _said(span: timedelta) -> str:
    return show_duration(timedelta(seconds=round(span.total_seconds())))
