"""What a command stands in: the store it talks to, the clock, the terminal, and who is asking.

Made once per call, before the command is known, so it must import nothing heavy. Tests hand in their own.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shifter.cli.addresses import ClusterFlags, chosen
from shifter.cli.clusters import ClusterDoor, Clusters, forbidden
from shifter.cli.exits import CommandError, Exit
from shifter.errors import RefusedError, ShifterError, StoreUnavailableError, TransientError

if TYPE_CHECKING:
    from shifter.cli.addresses import StoreAddress
    from shifter.ports import Store
    from shifter.ports.transfers import Transferable
    from shifter.wiring import ClusterAddress


PROGRAM: Final = "shifter"
KUBECTL_PROGRAM: Final = f"kubectl {PROGRAM}"

COMPLETE_VARIABLE: Final = f"_{PROGRAM.upper()}_COMPLETE"
"""What a shell's completion script sets to ask; click's name for a program called `shifter`."""

COMPLETION_TIMEOUT_SECONDS: Final = 1.0
"""How long whoever pressed Tab waits for an API server."""


def typed(command: str) -> str:
    """Return how people type a command here: `shifter run`, or `kubectl shifter run` where that is what they do."""
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context is not None else None
    return f"{session.program if session is not None else PROGRAM} {command}"


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


def file_transfer(path: Path) -> Transferable:
    """Return a store in a file as one end of a copy."""
    from shifter import wiring  # noqa: PLC0415 - pydantic and SQLite: not for `--help`

    return wiring.file_transfer(path)


@dataclass(slots=True)
class Session:
    """One call of the command line. `now` is aware time; `sleep` takes seconds; `program` is what people typed.

    `store_path` is the file that is meant unless flags say otherwise; None leaves it to the environment. `named` and
    `flags` are what was typed about the store.
    """

    opener: Callable[[Path], Store] = open_existing
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    is_served: Callable[[Path], bool] = is_served
    user: Callable[[], str] = claimed_user
    is_terminal: Callable[[], bool] = lambda: sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    can_ask: Callable[[], bool] = lambda: sys.stdin.isatty() and sys.stderr.isatty()
    store_path: Path | None = None
    verbose: bool = False
    program: str = PROGRAM
    cluster: ClusterDoor = field(default_factory=Clusters)
    file_transfer: Callable[[Path], Transferable] = file_transfer
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    named: str | None = None
    flags: ClusterFlags = field(default_factory=ClusterFlags)

    @property
    def address(self) -> StoreAddress:
        """Which store is meant.

        Raises:
            click.UsageError: a file and a cluster are both named.
        """
        if self.store_path is not None and self.named is None and not self.flags.typed():
            return self.store_path
        return chosen(self.named, self.flags, self.environment, in_cluster=self.program == KUBECTL_PROGRAM)

    def store(self) -> Store:
        """Open the store; it is closed when the command ends."""
        address = self.address
        store = self.opener(address) if isinstance(address, Path) else self.cluster.open(address)
        click.get_current_context().call_on_close(store.close)
        return store

    def look(self) -> Store:
        """Open the store to look only: nothing is changed or created.

        Raises:
            StoreUnavailableError: there is none, or it cannot be opened.
        """
        address = self.address
        return _look(address) if isinstance(address, Path) else self.cluster.open(address)

    def glance(self) -> Store:
        """Open the store to look only, for a shell that is waiting and has little patience."""
        address = self.address
        return _look(address) if isinstance(address, Path) else self.cluster.open(_impatient(address))

    def names(self) -> Sequence[str]:
        """Return the names of the shifts in the store, for a shell that is waiting."""
        address = self.address
        if isinstance(address, Path):
            from shifter import wiring  # noqa: PLC0415 - as light as this module, but its functions are not

            return wiring.shift_names(address)
        with closing(self.cluster.open(_impatient(address))) as store:
            return tuple(store.load())

    def transfer(self, address: StoreAddress) -> Transferable:
        """Return a store as one end of a copy."""
        return self.file_transfer(address) if isinstance(address, Path) else self.cluster.transfer(address)

    def served(self) -> bool:
        """Return whether a service runs on the store, as far as can be told from here."""
        address = self.address
        if isinstance(address, Path):
            return self.is_served(address)
        try:
            return self.cluster.served(address)
        except ShifterError:  # no permission to look at the lease, for one: what cannot be told is not said
            return True

    def closed(self) -> str:
        """Return why nobody can give an order in the cluster; empty if nothing is known of that, or for a file.

        Raises:
            NotFoundError: there is no such namespace.
        """
        address = self.address
        if isinstance(address, Path):
            return ""
        try:
            return self.cluster.closed(address)
        except (TransientError, RefusedError):  # what cannot be told is not said
            return ""

    def asker(self) -> str:
        """Return who asks: as the cluster verified it, or the user at this machine.

        Raises:
            ShifterError: the cluster does not say.
        """
        address = self.address
        return self.user() if isinstance(address, Path) else self.cluster.identity(address)

    def refusal(self, by: str, verb: str, shift: str) -> CommandError | None:
        """Return why who asks may not order this; None if they may, or if only the store can tell."""
        address = self.address
        if isinstance(address, Path):
            return None
        try:
            allowed = self.cluster.may(address, verb, shift)
        except (TransientError, RefusedError):  # whether one may ask is not whether one may order: that is to be seen
            return None
        return None if allowed else forbidden(by, verb, shift, address.namespace)

    def where(self) -> str:
        """Return in which namespace the store is, for a sentence that finds nothing in it; empty for a file."""
        address = self.address
        return "" if isinstance(address, Path) else f" in namespace {address.namespace}"


def _look(path: Path) -> Store:
    from shifter import wiring  # noqa: PLC0415 - pydantic and SQLite: not for `--help`

    if absent := wiring.store_absence(path):
        raise StoreUnavailableError(absent)
    return wiring.look_into_store(path)


def _impatient(address: ClusterAddress) -> ClusterAddress:
    shorter = min(address.request_timeout_seconds, COMPLETION_TIMEOUT_SECONDS)
    return replace(address, request_timeout_seconds=shorter)


pass_session = click.make_pass_decorator(Session)
