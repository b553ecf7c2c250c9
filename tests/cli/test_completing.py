"""Completion: what a real bash and kubectl are told, and that a Tab never costs, changes or breaks anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from shifter.adapters.sqlite import SqliteStore
from shifter.adapters.sqlite.names import shift_names
from shifter.cli.completing import TAKES_A_SHIFT, TAKES_SHIFTS, answer_kubectl, answer_shell
from shifter.cli.main import COMMANDS, cli
from shifter.cli.params import SHIFT
from shifter.cli.session import Session

if TYPE_CHECKING:
    from tests.cli.conftest import World

NAMES = ("cart", "pay", "shop")
EMPTY = "''"
"""What bash has for a word that is not begun yet."""

HEAVY = ("pydantic", "rich", "yaml", "shifter.core.state", "shifter.ports", "shifter.service")


@pytest.fixture
def store(world: World, tmp_path: Path) -> Path:
    """The file of a store with three shifts, which nobody holds open."""
    path = tmp_path / "shifter.db"
    kept = SqliteStore(path)
    for name in NAMES:
        kept.save(world.state(name), 0)
    kept.close()
    return path


@pytest.fixture
def program(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which `shifter` is on the PATH, whatever is installed."""
    script = tmp_path / "bin" / "shifter"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom shifter.cli.main import main\nmain()\n")
    script.chmod(0o755)
    yield {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}
    assert sorted(path.name for path in tmp_path.iterdir()) in (["bin"], ["bin", "shifter.db"]), "a Tab left a file"


def _kubectl(*words: str, store: Path | None = None) -> list[str]:
    return answer_kubectl(cli, Session(store_path=store or Path("none.db")), words)


def _in_bash(environment: dict[str, str], *lines: str) -> list[str]:
    """What a bash that sourced the script would offer at the end of each line, a line each."""
    asks = [
        f"COMPREPLY=(); COMP_WORDS=({line}{EMPTY if line.endswith(' ') else ''})\n"
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shifter_completion shifter; echo "${COMPREPLY[*]}"'
        for line in lines
    ]
    script = "\n".join(["source <(shifter completion bash) || exit 9", *asks])
    ran = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script],  # noqa: S607 - the bash of whoever tests
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
        env=environment,
    )
    assert ran.stderr == ""
    return ran.stdout.splitlines()


def test_a_real_bash_completes_commands_shifts_options_and_values(program: dict[str, str], store: Path) -> None:
    offered = _in_bash(
        {**program, "SHIFTER_STORE": str(store)},
        "shifter pa",
        "shifter describe ",
        "shifter pause shop s",
        "shifter promote --ov",
        "shifter get -o y",
    )

    assert offered == ["pause", "cart pay shop", "", "--override", "yaml"]


def test_bash_registers_the_function_for_shifter(program: dict[str, str]) -> None:
    script = "source <(shifter completion bash); complete -p shifter"
    ran = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script],  # noqa: S607 - as above
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
        env=program,
    )

    assert ran.stdout == "complete -o nosort -F _shifter_completion shifter\n"


@pytest.mark.parametrize(
    ("shell", "marks"),
    [
        ("bash", "complete -o nosort -F _shifter_completion shifter"),
        ("zsh", "#compdef shifter"),
        ("fish", "complete --no-files --command shifter"),
    ],
)
def test_every_shell_gets_its_script_that_asks_shifter(shell: str, marks: str) -> None:
    ran = CliRunner().invoke(cli, ["completion", shell])

    assert ran.exit_code == 0
    assert marks in ran.stdout
    assert f"_SHIFTER_COMPLETE={shell}_complete" in ran.stdout


def test_another_shell_is_a_usage_error() -> None:
    ran = CliRunner().invoke(cli, ["completion", "powershell"])

    assert (ran.exit_code, "'bash', 'zsh', 'fish'" in ran.stderr) == (2, True)


def test_the_script_and_commands_and_shifts_are_told_without_anything_heavy(store: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from shifter.cli.completing import answer_kubectl
from shifter.cli.main import cli
from shifter.cli.session import Session
session = Session(store_path=Path({str(store)!r}))
print(answer_kubectl(cli, session, ["pau"]), answer_kubectl(cli, session, ["pause", "c"]))
try:
    cli.main(["completion", "bash"])
finally:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    told = ran.stdout.splitlines()

    assert told[0] == "[\"pause\\tStop raising a shift's share; rollback stays possible.\", ':4'] ['cart', ':4']"
    assert told[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ((), [f"{name}\t{lazy.help}" for name, lazy in COMMANDS.items()]),
        (("describe", ""), [*NAMES, ":4"]),
        (("describe", "s"), ["shop", ":4"]),
        (("describe", "shift/s"), ["shift/shop", ":4"]),
        (("describe", "shop", ""), [":4"]),
        (("pause", "shop", ""), ["cart", "pay", ":4"]),
        (("pause", "shift/shop", ""), ["cart", "pay", ":4"]),
        (("pause", "--wait", "shop", ""), ["cart", "pay", ":4"]),
        (("pause", "--reason", "s"), [":4"]),
        (("get", "-o", "j"), ["json", ":4"]),
        (("run", "--mode", ""), ["act", "observe", ":4"]),
        (("policy", ""), None),
        (("run", "--fleet", ""), [":0"]),
        (("run", "--policies", ""), [":16"]),
        (("plan", "-f", ""), [":0"]),
        (("no-such-command", ""), None),
        (("describe", "--no-such-option", ""), None),
        (("describe", "'"), [":4"]),
    ],
)
def test_kubectl_gets_candidates_a_line_each_and_a_directive(
    store: Path, words: tuple[str, ...], lines: list[str] | None
) -> None:
    told = _kubectl(*words, store=store)

    assert told[-1] in {":0", ":4", ":16"}
    if lines is not None:
        assert told[: len(lines)] == lines


def test_the_store_that_is_named_on_the_line_is_the_one_that_is_read(store: Path) -> None:
    assert _kubectl("--store", str(store), "get", "") == [*NAMES, ":4"]
    assert _kubectl("get", "--store", str(store), "") == [*NAMES, ":4"]


def test_what_is_told_at_once_is_what_the_commands_themselves_would_tell(store: Path) -> None:
    for name in sorted(TAKES_SHIFTS | TAKES_A_SHIFT):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        (argument,) = [each for each in command.params if isinstance(each, click.Argument)]

        assert argument.type is SHIFT
        assert (argument.nargs == -1) is (name in TAKES_SHIFTS)
        # Behind an option the words are taken apart by click.
        assert _kubectl("--verbose", name, "", store=store) == _kubectl(name, "", store=store)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": lambda _: None,
    "empty": Path.touch,
    "a directory": Path.mkdir,
    "a pipe": _pipe,
    "no database": lambda path: path.write_bytes(b"x" * 5000),
    "another program's": lambda path: subprocess.run(
        [sys.executable, "-c", f"import sqlite3; sqlite3.connect({str(path)!r}).execute('CREATE TABLE t (a)')"],
        check=True,
    ),
    "unreadable": lambda path: os.close(os.open(path, os.O_CREAT, mode=0)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_store_that_cannot_be_read_offers_nothing_and_stays_as_it_is(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "shifter.db"
    BROKEN[broken](path)
    before = sorted(each.name for each in tmp_path.iterdir())

    assert shift_names(path) == ()
    assert sorted(each.name for each in tmp_path.iterdir()) == before


@pytest.mark.parametrize("odd", ["\0", "a" * 5000])
def test_a_path_that_cannot_be_offers_nothing(odd: str) -> None:
    assert shift_names(Path(odd)) == ()


def test_names_are_read_while_a_service_holds_the_store_open(world: World, store: Path) -> None:
    service = SqliteStore(store)
    try:
        service.save(world.state("late"), 0)

        assert shift_names(store) == ("cart", "late", "pay", "shop")
    finally:
        service.close()


def test_reading_names_makes_no_side_files(store: Path) -> None:
    shift_names(store)

    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_a_name_that_a_shell_would_take_apart_is_not_offered(world: World, store: Path) -> None:
    kept = SqliteStore(store)
    kept.report(world.report("$(reboot) x"))
    kept.close()

    assert "$(reboot) x" in shift_names(store)
    assert _kubectl("get", "", store=store) == [*NAMES, ":4"]


def test_a_question_that_makes_no_sense_is_answered_with_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", "shifter get")
    monkeypatch.setenv("COMP_CWORD", "many")

    assert answer_shell(cli, Session(), "bash_complete") == 0
    assert answer_shell(cli, Session(), "tcsh_complete") == 1
    assert capsys.readouterr() == ("", "")


def test_the_names_that_kubectl_looks_for_are_installed_and_lead_somewhere() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    scripts = project["project"]["scripts"]

    assert set(scripts) == {"shifter", "kubectl-shifter", "kubectl_complete-shifter"}
    for entry in scripts.values():
        module, _, name = entry.partition(":")
        assert callable(getattr(import_module(module), name))


def test_as_a_plugin_it_speaks_of_kubectl_shifter(tmp_path: Path) -> None:
    for line, said in (
        (["get", "--help"], "Usage: kubectl shifter get"),
        (["gte"], "hint: see `kubectl shifter --help`"),
        (["get"], "hint: is `kubectl shifter run` started?"),
    ):
        code = f"import sys; sys.argv[1:] = {line!r}; from shifter.cli.main import kubectl_main; kubectl_main()"
        ran = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, "SHIFTER_STORE": str(tmp_path / "none.db")},
        )
        assert said in ran.stdout + ran.stderr


def test_kubectls_program_prints_the_lines(store: Path) -> None:
    code = "import sys; sys.argv[1:] = ['get', '']; from shifter.cli.main import kubectl_complete as it; it()"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "SHIFTER_STORE": str(store)},
    )

    assert (ran.stdout, ran.stderr) == ("cart\npay\nshop\n:4\n", "")
