"""The root of the command line: light to start, clear in its help, and every ending has its code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from shifter import __version__
from shifter.cli.addresses import file_path
from shifter.cli.exits import CommandError, Exit, ended
from shifter.cli.main import COMMANDS, cli
from shifter.cli.session import Session, claimed_user
from shifter.errors import (
    ConfigError,
    InvariantError,
    NotFoundError,
    Problem,
    RefusedError,
    ShifterError,
    StoreUnavailableError,
)

HEAVY = (
    "aiohttp",
    "apscheduler",
    "prometheus_api_client",
    "prometheus_client",
    "pydantic",
    "rich",
    "shifter.adapters",
    "shifter.core",
    "shifter.service",
    "shifter.wiring",
    "sqlite3",
    "starlette",
    "structlog",
    "tencentcloud",
    "uvicorn",
    "yaml",
)


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("line", [["--help"], ["--version"], ["version"], ["version", "-o", "json"], ["psuse"], []])
def test_help_and_version_import_nothing_heavy(line: list[str]) -> None:
    code = f"""
import sys
from shifter.cli.main import cli
try:
    cli.main({line!r})
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    ran = _python(code)

    assert ran.stderr.splitlines()[-1] == "[]"


def test_get_imports_neither_the_service_nor_the_cloud(tmp_path: Path) -> None:
    code = f"""
import sys
from shifter.cli.main import cli
try:
    cli.main(["get", "--store", {str(tmp_path / "none.db")!r}])
finally:
    heavy = "tencentcloud", "prometheus_api_client", "apscheduler", "structlog", "uvicorn", "shifter.service.tick"
    print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    ran = _python(code)

    assert ran.returncode == Exit.UNREACHABLE
    assert ran.stderr.splitlines()[-1] == "[]"


def test_help_lists_every_command_by_section() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout

    assert [shown.index(f"\n{section}:\n") for section in ("Look", "Order", "Files", "Run", "Other")]
    assert all(f"  {name} " in shown for name in [*COMMANDS, "version"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists_and_explains_itself(name: str) -> None:
    ran = CliRunner().invoke(cli, [name, "--help"])

    assert ran.exit_code == 0
    assert ran.stdout.startswith(f"Usage: cli {name}")


def test_no_command_shows_the_help_and_is_a_usage_error() -> None:
    ran = CliRunner().invoke(cli, [])

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Carry production traffic" in ran.stderr


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (["psuse"], "No such command 'psuse'. Did you mean 'pause'?"),
        (["xyz"], "No such command 'xyz'."),
        (["get", "--stroe", "x"], "No such option '--stroe'. (Did you mean one of: '--cluster', '--store', '--user'?)"),
        (["describe"], "Missing argument 'SHIFT'."),
        (["watch", "--for", "3"], "Invalid value for '--for': '3': not a duration"),
    ],
)
def test_a_typing_mistake_is_one_line_with_a_hint_and_exit_code_2(line: list[str], error: str) -> None:
    ran = CliRunner().invoke(cli, line)

    assert (ran.exit_code, ran.stdout) == (2, "")
    first, second = ran.stderr.splitlines()
    assert first.startswith(f"error: {error}")
    assert second.startswith("hint: see `cli")


def test_version_says_its_version() -> None:
    for line in (["version"], ["--version"]):
        assert CliRunner().invoke(cli, line).stdout == f"shifter {__version__}\n"
    found = json.loads(CliRunner().invoke(cli, ["version", "-o", "json"]).stdout)
    assert (found["version"], found["kind"], found["schemaVersion"]) == (__version__, "Version", 1)


def _raise(error: BaseException) -> Any:  # noqa: ANN401 - never returns
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError(Exit.TIMED_OUT, "late", "wait"), 124, "error: late\nhint: wait\n"),
        (CommandError(Exit.INTERRUPTED, "stopped"), 130, "stopped\n"),
        (ConfigError("bad"), 2, "error: bad\n"),
        (
            ConfigError("x", (Problem("a", 1, 2, "p", "m"), Problem("b", 0, 0, "", "n"))),
            2,
            "error: a:1:2 p m\nerror: b n\n",
        ),
        (NotFoundError("none"), 3, "error: none\n"),
        (RefusedError("no"), 4, "error: no\n"),
        (StoreUnavailableError("down"), 5, "error: down\n"),
        (ShifterError("odd"), 1, "error: odd\nhint: -v shows where\n"),
        (InvariantError("bug"), 1, "error: bug\nhint: -v shows where\n"),
        (KeyError("x"), 1, "error: KeyError: 'x'\nhint: -v shows where\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (click.ClickException("odd"), 1, "error: odd\n"),
        (click.UsageError("odd"), 2, "error: odd\nhint: see `shifter --help`\n"),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    assert ended(lambda: _raise(error), lambda: False) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (3, 3), ("x", 0)])
def test_a_command_that_returns_ends_well_or_with_the_number_it_returns(returned: object, code: int) -> None:
    assert ended(lambda: returned, lambda: False) == code


def test_a_traceback_is_shown_on_request_only(capsys: pytest.CaptureFixture[str]) -> None:
    ended(lambda: _raise(InvariantError("bug")), lambda: True)

    assert "Traceback" in capsys.readouterr().err


def test_verbose_is_taken_from_the_command_line(tmp_path: Path) -> None:
    line = ["get", "--store", str(tmp_path / "none")]

    assert "Traceback" in CliRunner().invoke(cli, ["-v", *line]).stderr
    assert "Traceback" not in CliRunner().invoke(cli, line).stderr


@pytest.mark.parametrize("line", [["get"], ["describe", "x"], ["pause", "x"], ["rollback", "x", "--yes"], ["watch"]])
def test_a_store_that_does_not_exist_is_unreachable_and_not_created(tmp_path: Path, line: list[str]) -> None:
    path = tmp_path / "shifter.db"
    ran = CliRunner().invoke(cli, [*line, "--store", str(path)])

    assert (ran.exit_code, ran.stdout) == (5, "")
    assert ran.stderr.splitlines() == [
        f"error: there is no store at {path}",
        "hint: is `shifter run` started? pass --store or set SHIFTER_STORE",
    ]
    assert not path.exists()


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"SHIFTER_STORE": "/a.db", "HOME": "/home/ann"}, "/a.db"),
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/ann"}, "/state/shifter/shifter.db"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/ann"}, "/home/ann/.local/state/shifter/shifter.db"),
        ({"HOME": "/home/ann"}, "/home/ann/.local/state/shifter/shifter.db"),
        ({}, "/.local/state/shifter/shifter.db"),
    ],
)
def test_the_store_is_where_the_environment_says(environment: dict[str, str], path: str) -> None:
    assert file_path(environment) == Path(path)


@pytest.mark.parametrize("line", [["--store", "/a/x.db", "get"], ["get", "--store", "/a/x.db"]])
def test_store_is_taken_before_and_after_the_command(line: list[str]) -> None:
    session = Session(store_path=Path("/default"))
    CliRunner().invoke(cli, line, obj=session)

    assert session.address == Path("/a/x.db")


def test_who_asks_is_user_at_host() -> None:
    ran = _python("from shifter.cli.session import claimed_user; print(claimed_user())", LOGNAME="ann")

    assert ran.stdout.startswith("ann@")


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)  # the system's answer, not our code

    assert claimed_user().startswith(f"uid-{os.getuid()}@")


def test_outside_a_terminal_nothing_is_drawn_and_nobody_is_asked() -> None:
    ran = _python(
        "from shifter.cli.session import Session; s = Session(); print(s.is_terminal(), s.can_ask(), s.now().tzinfo)"
    )

    assert ran.stdout == "False False UTC\n"


def test_the_entry_point_ends_the_process_with_the_code() -> None:
    ran = _python("import sys; sys.argv = ['shifter', 'nope']; from shifter.cli.main import main; main()")

    assert (ran.returncode, ran.stderr.splitlines()[0]) == (2, "error: No such command 'nope'.")
