"""A scenario as plots: beats that wait for something to be seen and then do something to the lab.

Plots run side by side, each through its beats in order. A beat looks at a `Scene`, one reading of the store, and acts
on the `Stage`. Nothing is timed by sleeping: a beat that needs time says for how long something must have been so.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.stage import Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """One look at the lab's shifts. `since_beat` is seconds since the plot's last beat was done."""

    since_beat: float
    reports: Mapping[str, Report]

    def phase(self, shift: str) -> Phase | None:
        """Return a shift's phase, None before it is known."""
        report = self.reports.get(shift)
        return None if report is None else report.phase

    def written(self, shift: str) -> float:
        """Return the share in force, percent, 0 before it is known."""
        report = self.reports.get(shift)
        return 0.0 if report is None or report.written is None else report.written

    def held(self, shift: str, kind: str) -> bool:
        """Return whether a shift is held for that reason."""
        report = self.reports.get(shift)
        return report is not None and any(hold.kind == kind for hold in report.holds)

    def paged(self, shift: str) -> bool:
        """Return whether somebody should look at a shift."""
        report = self.reports.get(shift)
        return report is not None and report.page


@dataclass(frozen=True, slots=True)
class Beat:
    """One turn of the story: its name (for people and for the report), when it comes, and what it does."""

    name: str
    when: Callable[[Scene], bool]
    do: Callable[[Stage], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class Plot:
    """One thread of the story."""

    name: str
    beats: tuple[Beat, ...]


@dataclass(slots=True)
class Progress:
    """How far one plot has come."""

    plot: Plot
    last_at: float
    done: int = 0

    @property
    def next(self) -> Beat | None:
        """The beat that is waited for; None at the end."""
        beats: Sequence[Beat] = self.plot.beats
        return beats[self.done] if self.done < len(beats) else None


def order(*words: str) -> Callable[[Stage], str]:
    """Return an act that gives an order through the real CLI and fails loudly if it is not accepted."""

    def give(stage: Stage) -> str:
        try:
            finished = stage.command(*words)
        except subprocess.TimeoutExpired as error:
            late = f"`shifter {' '.join(words)}` did not end within {error.timeout:g} s"
            raise OrderFailedError(late) from error
        said = (finished.stdout + finished.stderr).strip().splitlines()
        last = said[-1] if said else ""
        if finished.returncode:
            raise OrderFailedError(f"`shifter {' '.join(words)}` ended with {finished.returncode}: {last}")
        return f"$ shifter {' '.join(words)}  → {last}"

    return give


class OrderFailedError(RuntimeError):
    """An order of the story was not accepted."""
