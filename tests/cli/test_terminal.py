"""Every command at 80x24, without colour, in a pipe, with a pipe that is gone, and on streams that carry no `·`."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shifter.adapters.sqlite import SqliteStore
from shifter.cli.exits import Exit, ended, worst
from shifter.cli.output import narrowest, rich_table
from shifter.cli.streams import in_ascii
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import HoldReport
from shifter.errors import RefusedError

if TYPE_CHECKING:
    from tests.cli.conftest import World

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ESCAPE = "\x1b"
LONG = "a-very-long-name-of-a-shift-in-production-and-then-some"
LOOKS = (["get"], ["get", "-o", "wide"], ["describe", "shop"], ["history"], ["status"], ["plan", "shop"])
LIGHT = (["--help"], ["version"], ["completion", "bash"])
ASCII_ONLY = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


@pytest.fixture
def store(world: World, tmp_path: Path) -> Path:
    """A store with two shifts and some history, which no service holds."""
    path = tmp_path / "shifter.db"
    kept = SqliteStore(path)
    for name in ("cart", "shop"):
        kept.save(world.state(name), 0)
        kept.report(world.report(name))
    kept.close()
    return path


@pytest.fixture
def shifter(store: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start `shifter` by a shell line in which `$shifter` is the program."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        program = f"{sys.executable} -m shifter --store {store}"
        return subprocess.run(
            ["bash", "-c", line.replace("$shifter", program)],  # noqa: S607 - the bash of whoever tests
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def _crowd(world: World) -> None:
    """Shifts whose every column is as wide as it gets."""
    holds = tuple(HoldReport(kind=kind, reason="x") for kind in ("half-applied", "cold source", "no signal"))
    world.shift()
    world.shift(LONG, phase="RollingBack", written=0.5, wanted=0.5, verdict="too little traffic", holds=holds, step=12)


def _on_a_pty(*line: str, **environment: str) -> tuple[str, int]:
    """Return what a command writes to a terminal of 80x24, and its exit code."""
    main, other = pty.openpty()
    try:
        ran = subprocess.Popen(
            [sys.executable, "-m", "shifter", *line],
            stdin=other,
            stdout=other,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(other)
        shown = b""
        while chunk := _read(main):
            shown += chunk
        return shown.decode(), ran.wait(timeout=30)
    finally:
        os.close(main)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal whose other end is closed ends so
        return b""


# ---- 80x24 and less ----------------------------------------------------------------------------------------------


def test_at_80_columns_shift_phase_and_split_are_whole(world: World) -> None:
    _crowd(world)
    world.terminal = True
    lines = world.run("get").stdout.splitlines()

    assert max(len(line.rstrip()) for line in lines) <= 80
    assert lines[0].split() == ["SHIFT", "PHASE", "SPLIT", "STEP", "VERDICT", "HOLDS", "AGE"]
    assert any("RollingBack  tcm 99.5 · istio 0.5" in line for line in lines)
    assert any("Shifting     tcm 75 · istio 25" in line for line in lines)
    assert LONG in "".join(line.split("  ")[0] for line in lines[1:]), "folded, not cut off"
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("columns", ["70", "40", "10", "1"])
@pytest.mark.parametrize("line", [["get"], ["get", "-o", "wide"], ["history"], ["plan", "shop"]])
def test_a_terminal_too_narrow_for_a_table_gets_plain_lines_and_all_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch, columns: str, line: list[str]
) -> None:
    _crowd(world)
    monkeypatch.setenv("COLUMNS", columns)
    plain = world.run(*line)
    world.terminal = True
    drawn = world.run(*line)

    assert drawn.exit_code == plain.exit_code == 0
    assert _words(drawn.stdout) == _words(plain.stdout)


def _words(text: str) -> list[str]:
    return text.split()


def test_no_drawn_table_has_style_so_that_there_is_no_colour_to_forbid(world: World, monkeypatch: Any) -> None:  # noqa: ANN401 - pytest's
    monkeypatch.setenv("FORCE_COLOR", "1")
    _crowd(world)
    world.terminal = True
    for line in LOOKS:
        assert ESCAPE not in world.run(*line).stdout


def test_watch_of_more_shifts_than_lines_shows_who_pages_and_how_many_more_there_are(world: World) -> None:
    for index in range(500):
        at_rest = {"phase": Phase.COMPLETED, "page": index == 321}
        world.store.report(world.report(f"shift-{index:03}").model_copy(update=at_rest))
    world.shift("moving")
    world.terminal = True
    shown = world.run("watch", "--for", "1s").stdout

    assert "shift-321" in shown
    assert "moving" in shown
    assert "and 483 more" in shown
    assert len(shown.splitlines()) <= 2 * 24


def test_500_shifts_are_500_lines(world: World) -> None:
    for index in range(500):
        world.store.report(world.report(f"shift-{index:03}"))
    world.terminal = True

    assert len(world.run("get").stdout.splitlines()) == 501


def test_what_a_table_needs_is_what_it_then_takes() -> None:
    from rich.console import Console  # noqa: PLC0415 - beside its one use

    headers, rows = ["SHIFT", "PHASE", "REASON"], [[LONG, "RollingBack", "why " * 40]]
    width = narrowest(headers, rows)
    out = io.StringIO()
    Console(file=out, width=width).print(rich_table(headers, rows))

    assert width == 10 + 11 + 30 + 2 * 2
    assert "…" not in out.getvalue()
    assert "RollingBack" in out.getvalue()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_a_real_terminal_without_colour_gets_no_escape_codes(store: Path, environment: dict[str, str]) -> None:
    shown, code = _on_a_pty("--store", str(store), "get", **environment)

    assert code == 0
    assert ESCAPE not in shown
    assert re.search(r"shop +Shifting +tcm 75 · istio 25", shown)


# ---- pipes -------------------------------------------------------------------------------------------------------


def test_nothing_in_a_pipe_is_an_escape_code(world: World) -> None:
    _crowd(world)

    assert ESCAPE not in "".join(world.run(*line).stdout for line in LOOKS)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_went_away_ends_a_command_quietly(
    shifter: Callable[..., subprocess.CompletedProcess[str]], unbuffered: str
) -> None:
    lines = ["get", "--help"]
    asks = "\n".join(f"exec 3> >(exit); wait $!; $shifter {line} >&3; echo {line}: $? >&2; exec 3>&-" for line in lines)
    ran = shifter(asks, PYTHONUNBUFFERED=unbuffered)

    told = [line for line in ran.stderr.splitlines() if not line.startswith("note: no service runs")]
    assert told == [f"{line}: 141" for line in lines]


def test_what_was_ordered_of_all_is_recorded_for_all_though_nobody_reads_the_answers(
    shifter: Callable[..., subprocess.CompletedProcess[str]], store: Path
) -> None:
    ran = shifter("exec 3> >(exit); wait $!; $shifter rollback --all --yes >&3")
    kept = SqliteStore(store)

    assert ran.returncode == Exit.READER_GONE
    assert [order.request.shift for order in kept.open_orders()] == ["cart", "shop"]
    kept.close()


LONGER_THAN_A_BUFFER = ("policy schema", "history --limit 5000 -o json", "history --limit 5000 -o yaml", "history")


@pytest.fixture
def eventful(store: Path) -> None:
    """A history that no buffer and no pipe holds."""
    kept = SqliteStore(store)
    saved = kept.load()["shop"]
    new = [NewRecord(NOON, "shop", What.HOLDS, "shifter", f"number {index} " + "x" * 2000) for index in range(100)]
    kept.save(saved.state, saved.version, new)
    kept.close()


@pytest.mark.usefixtures("eventful")
@pytest.mark.parametrize("line", ["get", *LONGER_THAN_A_BUFFER])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_error_and_exit_code_1(
    shifter: Callable[..., subprocess.CompletedProcess[str]], line: str, unbuffered: str
) -> None:
    ran = shifter(f"$shifter {line} > /dev/full", PYTHONUNBUFFERED=unbuffered)

    assert ran.returncode == Exit.UNEXPECTED
    assert ran.stderr.splitlines()[-1] == "error: stdout: No space left on device"
    assert "Traceback" not in ran.stderr


@pytest.mark.usefixtures("eventful")
@pytest.mark.parametrize("line", LONGER_THAN_A_BUFFER)
def test_a_reader_that_went_away_from_a_long_text_ends_it_as_quietly(
    shifter: Callable[..., subprocess.CompletedProcess[str]], line: str
) -> None:
    ran = shifter(f"exec 3> >(exit); wait $!; $shifter {line} >&3")

    assert (ran.returncode, ran.stderr) == (Exit.READER_GONE, "")


def test_streams_that_are_closed_or_full_are_nobody_to_talk_to(
    shifter: Callable[..., subprocess.CompletedProcess[str]], store: Path
) -> None:
    ran = shifter(
        "$shifter get >&-; echo $?; $shifter get 2>/dev/full | tail -1; echo ${PIPESTATUS[0]};"
        "$shifter pause shop <&- >&- 2>&-; echo $?; $shifter nope 2>&-; echo $?"
    )
    kept = SqliteStore(store)

    assert [line[:4] for line in ran.stdout.splitlines()] == ["0", "shop", "0", "0", "2"]
    assert [order.request.shift for order in kept.open_orders()] == ["shop"]
    kept.close()


class Gone(io.TextIOBase):
    """A stream that keeps what was written to it, as a buffer does, and cannot deliver it."""

    def __init__(self, error: OSError) -> None:
        self._error = error
        self._descriptor = os.open(os.devnull, os.O_WRONLY)

    def write(self, _: str) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error

    def fileno(self) -> int:
        return self._descriptor


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: stdout: No space left on device\n"),
    ],
)
def test_how_stdout_failed_decides_the_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: OSError, code: int, said: str
) -> None:
    def nothing() -> None: ...

    def fail() -> None:
        raise error

    def refuse() -> None:
        raise RefusedError("no")

    monkeypatch.setattr("sys.stdout", Gone(error))

    assert (ended(fail, lambda: True), ended(nothing, lambda: True)) == (code, code)
    assert capsys.readouterr().err == 2 * said
    assert ended(refuse, lambda: False) == 4


def test_a_pipe_that_broke_elsewhere_is_no_reader_that_went_away(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert ended(fail, lambda: False) == 1
    assert capsys.readouterr().err.startswith("error: BrokenPipeError")


def test_steps_go_on_when_the_output_is_lost_and_then_it_is_told() -> None:
    done: list[int] = []

    def step(number: int) -> Callable[[], None]:
        def carry_out() -> None:
            done.append(number)
            raise BrokenPipeError

        return carry_out

    with pytest.raises(BrokenPipeError):
        worst([step(1), step(2), step(3)])

    assert done == [1, 2, 3]


# ---- streams that are not UTF-8 ----------------------------------------------------------------------------------


def test_ascii_streams_get_ascii_that_reads_the_same(
    shifter: Callable[..., subprocess.CompletedProcess[str]], store: Path
) -> None:
    kept = SqliteStore(store)
    kept.report(kept.reports()["shop"].model_copy(update={"reason": "Waiting → Shifting: 中 é"}))
    kept.close()
    ran = shifter(
        "$shifter get -o wide shop; $shifter get -o json shop; echo ---; $shifter get -o yaml shop", **ASCII_ONLY
    )
    table, documents = ran.stdout.split("\n{", 1)
    found, _, text = documents.partition("---\n")

    assert ran.stdout.isascii()
    assert "tcm 75 / istio 25" in table
    assert "Waiting -> Shifting: \\u4e2d \\xe9" in table
    assert json.loads("{" + found)["items"][0]["reason"] == "Waiting → Shifting: 中 é"
    assert yaml.safe_load(text) == json.loads("{" + found)


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "cp437"])
def test_what_an_encoding_has_not_is_replaced_and_never_an_error(
    shifter: Callable[..., subprocess.CompletedProcess[str]], encoding: str
) -> None:
    ran = shifter("$shifter get shop | od -c >/dev/null; echo ${PIPESTATUS[0]}", PYTHONIOENCODING=encoding)

    assert ran.stdout == "0\n"


def test_only_encoding_is_helped_out() -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", errors="strict")
    with pytest.raises(UnicodeDecodeError):
        in_ascii(UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"))


# ---- what is imported --------------------------------------------------------------------------------------------


@pytest.fixture
def modules(store: Path) -> Callable[[list[str]], set[str]]:
    """Return which modules a command has imported when it ends."""

    def imported(line: list[str]) -> set[str]:
        code = (
            "import sys\nfrom shifter.cli.main import cli\ntry:\n"
            f"    cli.main({[*line]!r})\nfinally:\n    print('\\n'.join(sys.modules), file=sys.stderr)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, "SHIFTER_STORE": str(store)},
        )
        return set(ran.stderr.splitlines())

    return imported


@pytest.mark.parametrize("line", LIGHT)
def test_what_needs_no_store_imports_no_pydantic(modules: Callable[[list[str]], set[str]], line: list[str]) -> None:
    assert modules(line).isdisjoint({"pydantic", "rich", "sqlite3", "yaml"})


@pytest.mark.parametrize("line", [["get"], ["status", "--short"], ["plan", "shop"]])
def test_who_only_looks_imports_neither_the_service_nor_the_cloud_nor_rich(
    modules: Callable[[list[str]], set[str]], line: list[str]
) -> None:
    loaded = modules(line)

    assert "shifter.adapters.sqlite" in loaded
    assert loaded.isdisjoint(
        {"apscheduler", "prometheus_api_client", "requests", "rich", "shifter.service.tick", "structlog"}
        | {"tencentcloud", "uvicorn", "starlette"}
    )
