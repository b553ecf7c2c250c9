"""Tells the story while it runs: a live table in a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shifter.core.balancing.splits import shown
from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.load_report import LoadReport
from shifter.lab.topology import SOURCE_MESH, TARGET_MESH

_EVENTS_MOST: Final = 14
_BAR_LEAST: Final = 6
_BAR_MOST: Final = 24
_BESIDE_THE_BAR: Final = 96
"""Columns that the rest of the table may take, so that a bar of full length fits from 120 columns on."""

_ROOMY: Final = 100
"""From so many columns on, two spaces stand between cells."""


class Narrator:
    """Prints what happens. `started_at` is the Unix time that `+0.0s` stands for."""

    def __init__(self, console: Console, started_at: float) -> None:
        self._console = console
        self._started_at = started_at
        self._events: list[str] = []
        self._last: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            for line in self._events:
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def tell(self, now: float, subject: str, said: str) -> None:
        """Tell one event of the story."""
        line = f"{now - self._started_at:+7.1f}s  {subject:<8} {said}"
        self._events.append(line)
        if self._live is None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def look(self, now: float, reports: Mapping[str, Report], users: LoadReport) -> None:
        """Show where every shift is; without a terminal, one line per shift whose gist changed."""
        for name, report in sorted(reports.items()):
            holds = ", ".join(hold.kind for hold in report.holds)
            gist = f"{report.phase} {shown(report.written)} {holds}"
            if self._last.get(name) != gist:
                self._last[name] = gist
                self.tell(now, name, f"{report.phase}  {shown(report.written)}  {report.reason}")
        if self._live is not None:
            self._live.update(self._screen(_table(reports, users, self._console.width)))

    def _screen(self, table: Table) -> Group:
        """The table and as many events as fit: what does not is cut from below, where the newest ones are."""
        left = self._console.height - len(self._console.render_lines(table)) - 1
        newest = self._events[-max(1, min(_EVENTS_MOST, left)) :]
        return Group(table, *(Text(line, overflow="ellipsis", no_wrap=True) for line in newest))


def _table(reports: Mapping[str, Report], users: LoadReport, width: int) -> Table:
    """One row per shift. Only the words of the last column may wrap; the others stay where they are."""
    bar = min(_BAR_MOST, max(_BAR_LEAST, width - _BESIDE_THE_BAR))
    title = f"{SOURCE_MESH} ▒▒▒  {TARGET_MESH} ███"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1 + (width >= _ROOMY), 0, 0))
    table.add_column("shift", no_wrap=True)
    table.add_column("phase", no_wrap=True, min_width=max(len(phase) for phase in Phase))
    table.add_column("split", no_wrap=True, min_width=bar)
    table.add_column("share", no_wrap=True, min_width=len(shown(50)))
    for column in ("users", "failed"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("verdict")
    for name, report in sorted(reports.items()):
        load = users.namespaces[name]
        holds = ", ".join(hold.kind for hold in report.holds)
        filled = round(bar * (report.written or 0) / 100)
        table.add_row(
            name,
            str(report.phase),
            "█" * filled + "▒" * (bar - filled),
            shown(report.written),
            str(load.total),
            str(load.failed),
            f"{report.verdict}; held: {holds}" if holds else report.verdict,
        )
    return table


def closing(console: Console, report: Mapping[str, Any]) -> None:
    """Print the tables at the end: every step as wanted, written and observed, the users, what did not hold."""
    steps = Table("shift", "wanted %", "written %", "users got %", "error pp", "requests", title="steps")
    users = Table(
        "shift", "phase", "share", "requests", "failed", "rollbacks", "fault → last bad request", title="outcome"
    )
    for name, shift in report["shifts"].items():
        for step in shift["steps"]:
            steps.add_row(name, *_cells(step))
        spans = [row["secondsFromFaultToLastBadRequest"] for row in shift["rollbacks"]]
        users.add_row(
            name,
            shift["phase"] or "-",
            "-" if shift["finalShare"] is None else f"{shift['finalShare']:g} %",
            str(shift["users"]["requests"]),
            str(shift["users"]["failed"]),
            str(len(spans)),
            ", ".join("-" if span is None else f"{span} s" for span in spans) or "-",
        )
    console.print(steps)
    console.print(users)
    broken = [check for check in report["checks"] if not check["ok"]]
    for check in broken:
        console.print(f"✖ {check['name']}: {check['told']}", markup=False, highlight=False)
    held = len(report["checks"]) - len(broken)
    console.print(
        f"{'✔' if not broken else '✖'} verdict: {report['verdict']} - {held} of {len(report['checks'])} checks hold, "
        f"scenario {report['scenario']}, {report['seconds']} s, seed {report['seed']}",
        markup=False,
        highlight=False,
    )


def _cells(step: Mapping[str, Any]) -> Sequence[str]:
    keys = ("wanted", "written", "observed", "errorPercentagePoints", "requests")
    return ["-" if step[key] is None else f"{step[key]:g}" for key in keys]
