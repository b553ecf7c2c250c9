"""`shifter store copy`: a migration's memory moved from a file into a cluster, or back, while no service runs.

What is copied and how it is checked is `service/copying.py`'s matter. Here the two ends are named, and what came of it
is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shifter.cli.addresses import KUBERNETES, cluster_address
from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.output import Format, clean, write_document, write_table
from shifter.cli.session import Session, pass_session, typed
from shifter.cli.store_options import cluster_flags
from shifter.core.text import so_many
from shifter.service.copying import Copied, Wanted
from shifter.service.copying import copy as copy_all

if TYPE_CHECKING:
    from shifter.cli.addresses import StoreAddress

_END: Final = click.Path(dir_okay=False)


@click.group()
def store() -> None:
    """Move the service's memory to another store."""


@store.command()
@cluster_flags
@click.option("--from", "source", required=True, type=_END, metavar="STORE", help=f"A state file, or {KUBERNETES}.")
@click.option("--to", "target", required=True, type=_END, metavar="STORE", help="The same; with nothing in it yet.")
@click.option("--dry-run", is_flag=True, help="Look whether it can be done, and write nothing.")
@click.option("--unsound", is_flag=True, help="Copy a history that `history --verify` finds fault with, and say so.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
@pass_session
def copy(session: Session, *, source: str, target: str, dry_run: bool, unsound: bool, output: str) -> int:
    """Copy everything in a store into an empty one: states, orders, reports and the whole history.

    Stop the service first, on both sides: with a leader alive it is refused. What was written is read back and
    compared, and then the old store is frozen, so that nothing rises on it if a service is started there. Orders that
    were answered may be left out: the history has them. Killed half-way, nothing is there, or what is there says so.
    """
    ends = _ends(session, source, target)
    wanted = Wanted(_asker(session, ends), session.now(), dry_run=dry_run, unsound=unsound)
    if not dry_run and not all(isinstance(end, Path) for end in ends):
        say("note: nobody may lead meanwhile; the lease in the cluster is waited for, about a minute at most")
    with ExitStack() as stack:
        doors = []
        for end in ends:
            doors.append(session.transfer(end))
            stack.callback(doors[-1].close)
        found = copy_all(doors[0], doors[1], wanted)
    if output == "table":
        _show(session, found, dry_run=dry_run)
    else:
        write_document("StoreCopy", _document(found, dry_run=dry_run), Format(output))
    if found.unfrozen:
        said = f"the copy is whole, but {found.source} could not be frozen: {found.unfrozen}"
        raise CommandError(Exit.UNHEALTHY, clean(said), "start no service on it any more, or freeze it by hand")
    return Exit.OK


def _ends(session: Session, source: str, target: str) -> tuple[StoreAddress, StoreAddress]:
    """Return which stores are meant.

    Raises:
        click.UsageError: that cannot be told.
        CommandError: there is no file to copy from.
    """
    context, flags = click.get_current_context(), session.flags.typed()
    if session.named is not None:
        raise click.UsageError("--store names one store, and a copy has two: --from and --to", context)
    clusters = [end for end in (source, target) if end == KUBERNETES]
    if len(clusters) > 1:
        said = "flags name one cluster only: copy into a file first, and from the file into the other cluster"
        raise click.UsageError(said, context)
    if flags and not clusters:
        raise click.UsageError(f"{flags[0]} is for a store in a cluster, and both are files", context)
    cluster = cluster_address(session.flags, session.environment) if clusters else None
    first, second = (cluster if end == KUBERNETES and cluster is not None else Path(end) for end in (source, target))
    if isinstance(first, Path):
        from shifter.wiring import store_absence  # noqa: PLC0415 - for this one command

        if absent := store_absence(first):
            raise CommandError(Exit.UNREACHABLE, absent, "name the service's state file with --from")
    return first, second


def _asker(session: Session, ends: tuple[StoreAddress, StoreAddress]) -> str:
    """Return who copies: as a cluster verified it, if there is one."""
    for end in ends:
        if not isinstance(end, Path):
            return session.cluster.identity(end)
    return clean(session.user())


def _show(session: Session, found: Copied, *, dry_run: bool) -> None:
    write_table(["WHAT", "NUMBER", ""], [list(row) for row in _rows(found)], terminal=session.is_terminal())
    way = clean(f"{found.source} → {found.target}")
    if dry_run:
        click.echo(f"nothing was written: this is what would be copied, {way}")
        return
    click.echo(f"copied, read back and compared: {way}")
    if not found.unfrozen:
        say(
            f"note: {clean(found.source)} is frozen now; start the service on the copy, and look at `{typed('status')}`"
        )


def _rows(found: Copied) -> Iterator[tuple[str, str, str]]:
    contents = found.contents
    yield "shifts", f"{len(contents.states):,}", ""
    yield "reports", f"{len(contents.reports):,}", ""
    said = [f"{found.waiting:,} not answered yet"] if found.waiting else []
    said += [f"{found.left_out:,} answered: in the history only"] if found.left_out else []
    yield "orders", f"{len(contents.orders):,}", "; ".join(said)
    yield "records", f"{found.records:,}", "; ".join(_told(found))


def _told(found: Copied) -> Iterator[str]:
    pruned = sum(origin.examined.anchor.id for origin in found.origins)
    wrong = sum(origin.findings for origin in found.origins)
    if pruned:
        yield f"{pruned:,} older ones were pruned"
    if wrong:
        yield f"{so_many(wrong, 'thing')} in them not as written"


def _document(found: Copied, *, dry_run: bool) -> dict[str, object]:
    contents = found.contents
    return {
        "from": found.source,
        "to": found.target,
        "dryRun": dry_run,
        "shifts": sorted(contents.states),
        "reports": len(contents.reports),
        "orders": len(contents.orders),
        "ordersWaiting": found.waiting,
        "ordersLeftOut": found.left_out,
        "records": found.records,
        "chains": [
            {
                "name": origin.chain or None,
                "records": origin.examined.count,
                "pruned": origin.examined.anchor.id,
                "head": {"id": origin.examined.head.id, "hash": origin.examined.head.hash},
                "findings": origin.findings,
            }
            for origin in found.origins
        ],
        "sourceFrozen": not dry_run and not found.unfrozen,
    }
