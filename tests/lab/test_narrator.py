"""The lab's story as people read it: lines in a log, a live table in a terminal, tables at the end."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.load_report import Latency, LoadReport, NamespaceLoad
from shifter.lab.narrator import Narrator, closing
from tests.reports import a_report, held

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
USERS = LoadReport(
    0,
    0,
    finished=False,
    namespaces={
        "shop": NamespaceLoad(1234, 1230, {"503": 4}, 0, {"tcm": 1234}, Latency(0, 0, 0, 0, 0), None, None, ()),
    },
)


def console(*, terminal: bool, width: int = 120, height: int = 40) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, height=height, color_system=None, legacy_windows=False
    )


def printed(told: Console) -> str:
    """What was printed, without the codes that move a terminal's cursor."""
    assert isinstance(told.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told.file.getvalue())


def report(written: float | None, reason: str, *holds: str) -> Report:
    return a_report(NOON, written=written, reason=reason, holds=held(*holds))


def outcome(**changes: object) -> dict[str, Any]:
    step = {"wanted": 25.0, "written": 25.0, "observed": 24.6, "errorPercentagePoints": -0.4, "requests": 500}
    shop = {
        "phase": "Completed",
        "finalShare": 100.0,
        "rollbacks": [],
        "steps": [step],
        "users": {"requests": 4000, "failed": 0},
    }
    return {
        "scenario": "clean",
        "verdict": "ok",
        "seconds": 44.1,
        "seed": 7,
        "shifts": {"shop": shop | changes},
        "checks": [{"name": "shop ends Completed", "ok": True, "told": "it is Completed"}],
    }


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
def test_every_event_is_one_line_with_its_time(*, terminal: bool) -> None:
    told = console(terminal=terminal)

    with Narrator(told, started_at=100.0) as narrator:
        narrator.tell(112.34, "story", "pay breaks behind istio: " + "a long sentence " * 10 + "with an end")

    [line] = [line for line in printed(told).splitlines() if "pay breaks" in line]
    assert "+12.3s  story" in line
    assert line.endswith("with an end")


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
def test_what_people_and_clouds_say_is_never_markup(*, terminal: bool) -> None:
    told = console(terminal=terminal)

    with Narrator(told, started_at=0.0) as narrator:
        narrator.tell(1, "story", "[bold]ann[/bold] said [/] and [nothing")

    assert "[bold]ann[/bold] said [/] and [nothing" in printed(told)


def test_only_what_changed_is_told_again() -> None:
    told = console(terminal=False)

    with Narrator(told, started_at=0.0) as narrator:
        narrator.look(1, {"shop": report(25, "soaking, 3 s left")}, USERS)
        narrator.look(2, {"shop": report(25, "soaking, 2 s left")}, USERS)
        narrator.look(3, {"shop": report(25, "paused by ann", "paused")}, USERS)
        narrator.look(4, {"shop": report(50, "to 50 %")}, USERS)

    assert [line.split("s  ", 1)[1] for line in printed(told).splitlines()] == [
        "shop     Shifting  tcm 75 · istio 25  soaking, 3 s left",
        "shop     Shifting  tcm 75 · istio 25  paused by ann",
        "shop     Shifting  tcm 50 · istio 50  to 50 %",
    ]


def test_a_terminal_sees_the_split_the_users_and_the_holds() -> None:
    told = console(terminal=True)

    with Narrator(told, started_at=0.0) as narrator:
        narrator.look(1, {"shop": report(25, "because", "paused", "drift")}, USERS)

    [row] = {line for line in printed(told).splitlines() if "█" in line and "istio ███" not in line}
    assert "██████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒" in row
    for cell in ("shop", "Shifting", "tcm 75 · istio 25", "pass; held: paused, drift", "1234", " 4 "):
        assert cell in row


def test_a_small_terminal_sees_every_cell_and_the_newest_event() -> None:
    told = console(terminal=True, width=80, height=24)
    stopped = report(0.1, "because", "no signal", "half-applied").model_copy(
        update={"phase": Phase.ROLLING_BACK, "verdict": "too little traffic"}
    )
    names = ("search", "shop", "pay")
    users = replace(USERS, namespaces=dict.fromkeys(names, USERS.namespaces["shop"]))

    with Narrator(told, started_at=0.0) as narrator:
        for second in range(30):
            narrator.tell(second, "story", f"event {second} of 30")
        narrator.look(30, dict.fromkeys(names, stopped), users)

    # Before the whole story is printed at the end, from its first event, there is the last screen.
    screen = printed(told).split("   +0.0s")[0].rsplit("tcm ▒▒▒", 1)[1].rstrip().splitlines()
    assert len(screen) <= 24
    assert all(len(line) <= 80 for line in screen)
    rows = [line for line in screen if "▒▒▒▒▒▒" in line]
    assert [re.split(" +", line)[0] for line in rows] == sorted(names)
    for row in rows:
        assert re.search(r"RollingBack ▒▒▒▒▒▒ tcm 99\.9 · istio 0\.1 +1234 +4 too little", row)
    last_column = rows[0].index("too little")
    wrapped = " ".join(line[last_column:].strip() for line in screen)
    assert wrapped.count("too little traffic; held: no signal, half-applied") == len(names)
    assert screen[-1].startswith("  +30.0s  shop     RollingBack")


def test_a_split_that_nobody_knows_is_shown_as_such() -> None:
    told = console(terminal=False)

    with Narrator(told, started_at=0.0) as narrator:
        narrator.look(1, {"shop": report(None, "the cloud does not answer")}, USERS)

    assert "tcm ? · istio ?  the cloud does not answer" in printed(told)


def test_a_terminal_keeps_the_whole_story_also_when_it_breaks_off() -> None:
    told = console(terminal=True)

    with pytest.raises(KeyboardInterrupt), Narrator(told, started_at=0.0) as narrator:  # noqa: PT012 - the with is it
        for second in range(30):
            narrator.tell(second, "story", f"event {second} of 30")
        raise KeyboardInterrupt

    assert [line for line in printed(told).splitlines() if "event" in line] == [
        f"{second:+7.1f}s  story    event {second} of 30" for second in range(30)
    ]


def test_the_end_has_every_step_as_wanted_written_and_got() -> None:
    told = console(terminal=False)

    closing(told, outcome())

    [row] = [line for line in printed(told).splitlines() if "24.6" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["shop", "25", "25", "24.6", "-0.4", "500"]
    assert "✔ verdict: ok - 1 of 1 checks hold, scenario clean, 44.1 s, seed 7" in printed(told)


def test_the_end_names_every_check_that_does_not_hold() -> None:
    told = console(terminal=False)
    lie = {"name": "shop ends Completed", "ok": False, "told": "it is [Shifting]"}

    closing(told, outcome() | {"verdict": "failed", "checks": [lie, lie | {"ok": True}]})

    assert "✖ shop ends Completed: it is [Shifting]" in printed(told)
    assert "✖ verdict: failed - 1 of 2 checks hold" in printed(told)


def test_what_was_not_measured_is_a_dash() -> None:
    told = console(terminal=False)
    unseen = {"wanted": 50.0, "written": 50.0, "observed": None, "errorPercentagePoints": None, "requests": 0}
    rollbacks = [{"secondsFromFaultToLastBadRequest": None}, {"secondsFromFaultToLastBadRequest": 3.5}]

    closing(told, outcome(steps=[unseen], rollbacks=rollbacks, phase=None, finalShare=None))

    [step] = [line for line in printed(told).splitlines() if "│ 50 " in line]
    assert [cell.strip() for cell in step.strip("│").split("│")] == ["shop", "50", "50", "-", "-", "0"]
    [shift] = [line for line in printed(told).splitlines() if "-, 3.5 s" in line]
    assert [cell.strip() for cell in shift.strip("│").split("│")] == ["shop", "-", "-", "4000", "0", "2", "-, 3.5 s"]
