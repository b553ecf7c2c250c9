"""What a command stands in: the store it talks to, the clock, the terminal, and who is asking.

Made once per call, before the command is known, so it must import nothing heavy. Tests hand in their own.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shifter.cli.exits import CommandError, Exit
from shifter.errors import StoreUnavailableError

if TYPE_CHECKING:
    from shifter.ports import Store


PROGRAM: Final = "shifter"
KUBECTL_PROGRAM: Final = f"kubectl {PROGRAM}"

COMPLETE_VARIABLE: Final = f"_{PROGRAM.upper()}_COMPLETE"
"""What a shell's completion script sets to ask; click's name for a program called `shifter`."""


def typed(command: str) -> str:
    """Return how people type a command here: `shifter run`, or `kubectl shifter run` where that is what they do."""
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context is not None else None
    return f"{session.program if session is not None else PROGRAM} {command}"


def default_store_path(environment: Mapping[str, str]) -> Path:
    """Return where the store is without `--store`: where SHIFTER_STORE says, else the user's state directory (XDG)."""
    if environment.get("SHIFTER_STORE"):
        return Path(environment["SHIFTER_STORE"])
    state = environment.get("XDG_STATE_HOME", "")
    # The XDG specification says to ignore a relative path.
    base = Path(state) if state.startswith("/") else Path(environment.get("HOME", "/")) / ".local" / "state"
    return base / "shifter" / "shifter.db"


def _hint() -> str:
    return f"is `{typed('run')}` started? pass --store or set SHIFTER_STORE"


def open_existing(path: Path) -> Store:
    """Open the store that a service made.

    Raises:
        CommandError: there is none, or what cannot be one. Making a store of it here would hide a wrong path.
        StoreUnavailableError: it cannot be opened.
    """
    from shifter import wiring  # noqa: PLC0415 - pydantic and SQLite: not for `--help`

    try:
        absent = wiring.store_absence(path)
    except StoreUnavailableError as error:
        raise CommandError(Exit.UNREACHABLE, str(error), _hint()) from error
    if absent:
        raise CommandError(Exit.UNREACHABLE, absent, _hint())
    return wiring.open_store(path)


def is_served(path: Path) -> bool:
    """Return whether a service runs on the store at `path`; True also where that cannot be told."""
    from shifter import wiring  # noqa: PLC0415 - pydantic and SQLite: not for `--help`

    return wiring.is_served(path)


def claimed_user() -> str:
    """Return `user@host` of the person at the keyboard, as the operating system tells it: claimed, not verified."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@dataclass(slots=True)
class Session:
    """One call of the command line. `now` is aware time; `sleep` takes seconds; `program` is what people typed."""

    opener: Callable[[Path], Store] = open_existing
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    is_served: Callable[[Path], bool] = is_served
    user: Callable[[], str] = claimed_user
    is_terminal: Callable[[], bool] = lambda: sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    can_ask: Callable[[], bool] = lambda: sys.stdin.isatty() and sys.stderr.isatty()
    store_path: Path = field(default_factory=lambda: default_store_path(os.environ))
    verbose: bool = False
    program: str = PROGRAM

    def store(self) -> Store:
        """Open the store; it is closed when the command ends."""
        store = self.opener(self.store_path)
        click.get_current_context().call_on_close(store.close)
        return store

    def served(self) -> bool:
        """Return whether a service runs on the store, as far as can be told from here."""
        return self.is_served(self.store_path)


pass_session = click.make_pass_decorator(Session)


def _use_store(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None:
        context.ensure_object(Session).store_path = path


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--store`; before or after the command's name, as people type it."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_use_store,
        help="State file of the service. Default: $SHIFTER_STORE, else $XDG_STATE_HOME/shifter/shifter.db.",
    )(command)
