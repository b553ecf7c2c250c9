"""Shifts whose saved state cannot be read: held and told of, until somebody has mended them; all others go on.

Such a shift is nobody's to move: what it was doing, whether it failed and who paused it is in the state. So it is never
taken for a new one, and nothing is written over it. It is read again at each look: once it can be, it goes on from
there, and obeys the orders that waited.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from shifter.core.analysis.verdicts import Verdict
from shifter.core.deciding.decision import Kind
from shifter.core.deciding.holds import HoldKind
from shifter.core.documents.fleet import Timing
from shifter.core.phases import Phase
from shifter.core.state import HoldReport, Report
from shifter.errors import ShifterError
from shifter.ports import Saved, Store
from shifter.service.reporting import SILENT_REPORTS
from shifter.service.telemetry import Telemetry


class Unread:
    """What this process could not read of the shifts that the store has. `mode` is `act` or `observe`."""

    def __init__(self, store: Store, telemetry: Telemetry, timing: Timing, mode: str) -> None:
        self._store = store
        self._telemetry = telemetry
        self._timing = timing
        self._mode = mode
        self._reasons: dict[str, str] = {}
        self._told: dict[str, Report] = {}

    @property
    def names(self) -> Collection[str]:
        """The shifts that cannot be read."""
        return self._reasons.keys()

    def load(self) -> Mapping[str, Saved]:
        """Return what can be read of all shifts, by name, and remember the rest.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        found = self._store.load()
        self._reasons = dict(found.unreadable)
        return found.readable

    def mended(self) -> Mapping[str, Saved]:
        """Return what could not be read and can be now. Whose row is gone stays: the next start looks into that.

        Raises:
            ShifterError: the store does not answer.
        """
        if not self._reasons:
            return {}
        found = self._store.load()
        readable = {name: found.readable[name] for name in self._reasons if name in found.readable}
        self._reasons = {
            name: found.unreadable.get(name, why) for name, why in self._reasons.items() if name not in readable
        }
        return readable

    def tell(self, now: datetime) -> None:
        """Report each of them, as often as others: it holds, and somebody should look."""
        self._told = {name: report for name, report in self._told.items() if name in self._reasons}
        due = [name for name in self._reasons if not self._is_told(name, now)]
        known = self._reports() if due else {}
        for name in due:
            report = self._report(name, known.get(name), now)
            self._telemetry.turn(report, changed=name not in self._told)
            try:
                self._store.report(report)
            except ShifterError as error:
                self._telemetry.error(name, error, bug=False)
            else:
                self._told[name] = report

    def _is_told(self, name: str, now: datetime) -> bool:
        told = self._told.get(name)
        return told is not None and told.at <= now < told.at + self._timing.report_every

    def _reports(self) -> Mapping[str, Report]:
        try:
            return self._store.reports().readable
        except ShifterError as error:
            self._telemetry.error("", error, bug=False)
            return {}

    def _report(self, name: str, before: Report | None, now: datetime) -> Report:
        """Return what is known: what was last told, or else only that it may be under way. Nobody looks at it."""
        why = self._reasons[name]
        seen = None if before is None else before.written
        last = "" if seen is None else "; the share is the one that was last seen"
        return Report(
            name=name,
            at=now,
            mode=self._mode,
            namespaces=() if before is None else before.namespaces,
            phase=Phase.SHIFTING if before is None else before.phase,
            since=now if before is None else before.since,
            step=0 if before is None else before.step,
            steps=() if before is None else before.steps,
            wanted=0.0 if before is None else before.wanted,
            written=seen,
            observed=None,
            attempt=1 if before is None else before.attempt,
            decision=Kind.HOLD,
            reason=f"nothing is moved, not even back: {why}{last}",
            verdict=Verdict.NO_SIGNAL,
            holds=(HoldReport(kind=HoldKind.UNREADABLE, reason=why),),
            page=True,
            silent_after_seconds=(SILENT_REPORTS * self._timing.report_every).total_seconds(),
        )
