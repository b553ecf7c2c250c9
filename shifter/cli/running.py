"""The commands that run something here: the service itself, and the lab. Thin: what they start is imported on use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from shifter.cli.exits import CommandError, Exit
from shifter.cli.output import write_table
from shifter.cli.params import Listen
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--fleet", required=True, type=_FILE, help="The fleet file.")
@click.option("--policies", required=True, type=_DIRECTORY, help="Directory of policy files; edits are picked up.")
@store_option
@click.option("--listen", type=Listen(), default="127.0.0.1:8080", show_default=True, help="For health and metrics.")
@click.option("--mode", type=click.Choice(["act", "observe"]), help="Instead of the fleet file's mode.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@pass_session
def run(
    session: Session, fleet: Path, policies: Path, listen: tuple[str, int], mode: str | None, log_level: str
) -> None:
    """Run the service in the foreground until it gets SIGTERM or Ctrl-C.

    State is kept in the store; a restart goes on where it was.
    """
    from shifter.wiring import ServeOptions, serve  # noqa: PLC0415 - half a second, for this one command

    host, port = listen
    serve(ServeOptions(fleet, policies, session.address, host, port, mode, log_level))


def _takes_a_run(seed: str, report: str, directory: str) -> Callable[[Command], Command]:
    """Return what adds the options that every run of the lab takes: what its seed is for, and where it writes."""
    options = (
        click.option("--seed", type=int, default=1, show_default=True, help=seed),
        click.option(
            "--report",
            type=click.Path(path_type=Path, dir_okay=False),
            default=report,
            show_default=True,
            help="JSON to write.",
        ),
        click.option(
            "--directory", type=_DIRECTORY, default=directory, show_default=True, help="Where the run's files go."
        ),
    )

    def add(command: Command) -> Command:
        # As decorators that stand one above the other: the lowest first.
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group()
def lab() -> None:
    """Rehearse a migration on this machine: real Envoys, real Prometheus, an emulated Tencent Cloud."""


@lab.command("run")
@click.option("--scenario", help="What happens; see --list. Default: a whole migration.")
@click.option("--list", "list_", is_flag=True, help="List the scenarios and exit.")
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@_takes_a_run("For everything the lab draws.", "lab-report.json", ".lab")
def lab_run(*, scenario: str | None, list_: bool, keep: bool, seed: int, report: Path, directory: Path) -> int:
    """Run a scenario and judge it; the exit code is 1 if it did not end as it must."""
    with _of_the_lab():
        from shifter.lab.scenarios import DEFAULT, SCENARIOS  # noqa: PLC0415 - not part of every installation

    if list_:
        write_table(
            ["SCENARIO", "WHAT HAPPENS"], [[each.name, each.about] for each in SCENARIOS.values()], terminal=False
        )
        return Exit.OK
    from rich.console import Console  # noqa: PLC0415 - for this one command

    with _of_the_lab():
        from shifter.lab import drill  # noqa: PLC0415 - not part of every installation

    options = drill.DrillOptions(scenario or DEFAULT, directory, report, seed, keep)
    if options.scenario in SCENARIOS:
        _make(directory)
    return drill.run(options, Console())


@lab.command("soak")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True, max=240),
    default=10.0,
    show_default=True,
    help="How long; the last minute is calm.",
)
@_takes_a_run("Which faults come when.", ".lab-reports/soak.json", ".lab-reports/soak")
def lab_soak(*, minutes: float, seed: int, report: Path, directory: Path) -> int:
    """Migrate under many faults at once and check everything that was written; exit code 1 on any violation."""
    from rich.console import Console  # noqa: PLC0415 - for this one command

    with _of_the_lab():
        from shifter.lab.soak.run import SoakOptions, run  # noqa: PLC0415 - not part of every installation

    _make(directory)
    return run(SoakOptions(minutes, seed, report, directory), Console())


@lab.command("kill")
@click.option("--only", multiple=True, metavar="BEGINNING", help="Only what is named like this; may be repeated.")
@_takes_a_run("For everything the lab draws.", ".lab-reports/kill.json", ".lab-reports/kill")
def lab_kill(*, only: tuple[str, ...], seed: int, report: Path, directory: Path) -> int:
    """Kill or freeze shifter right before and after each of its calls; exit code 1 if it does not get over all."""
    from rich.console import Console  # noqa: PLC0415 - for this one command

    with _of_the_lab():
        from shifter.lab.kills.run import KillOptions, run  # noqa: PLC0415 - not part of every installation

    _make(directory)
    return run(KillOptions(seed, report, directory, only), Console())


@contextmanager
def _of_the_lab() -> Iterator[None]:
    """Say what it means where a part of the lab is not there.

    Raises:
        CommandError: it was left out of this installation.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not f"{error.name}.".startswith("shifter.lab."):
            raise
        said = "the lab is no part of this installation: an image of the service leaves it out"
        raise CommandError(Exit.USAGE, said, "run it from a checkout, with `make setup`: docs/lab.md") from error


def _make(directory: Path) -> None:
    """Make a directory that may be there already.

    Raises:
        CommandError: it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"the directory {directory} cannot be made: {error.strerror}"
        raise CommandError(Exit.USAGE, said, "choose another with --directory") from error
