"""`shifter doctor`: what is wrong with this installation, and the fix of each thing. Looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, stamp, write_document
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option
from shifter.service.checkup.doors import StoreDoor
from shifter.service.checkup.examination import Surroundings, examine
from shifter.service.checkup.findings import Finding, Group, Level
from shifter.wiring import cluster_door, file_door, surroundings

_LEVEL_WIDTH: Final = max(len(level) for level in Level)
_PATH = click.Path(path_type=Path)

_ANSWER_SECONDS: Final = 6.0
"""How long the API server may take for one answer: some questions take two, and a person is waiting."""


@click.command()
@click.option("--fleet", type=_PATH, help="The fleet file; may be left out of a store in a cluster.")
@click.option("--policies", type=_PATH, help="Directory of policy files; may be left out as well.")
@store_option
@click.option("--offline", is_flag=True, help="Ask nobody outside this machine.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_session
def doctor(session: Session, *, fleet: Path | None, policies: Path | None, offline: bool, output: str) -> int:
    """Check files, clocks, permissions, store, datasources, provider and versions; each finding with its fix.

    Only looks: safe beside a running service, over within half a minute. Run it as the service's user. Of a store in a
    cluster it tells also without files: who leads, what is missing, and who may what. Exit code 0 if all is well
    (warnings allowed), 2 if a file is wrong, 5 if somebody cannot be reached, 6 for anything else.
    """
    found = check(surroundings(fleet, policies, _door(session, fleet, policies)), offline=offline)
    if output == "json":
        write_document("DoctorReport", {"at": stamp(session.now()), **report(found, offline=offline)}, Format.JSON)
    else:
        for line in lines(found):
            click.echo(line)
    counts = _counts(found)
    say(", ".join(f"{counts[level]} {level}" for level in Level))
    return verdict(found)


def _door(session: Session, fleet: Path | None, policies: Path | None) -> StoreDoor:
    """Return the store that is meant.

    Raises:
        click.UsageError: it is in a file, and files that go with it are not named.
    """
    address = session.address
    if not isinstance(address, Path):
        patience = min(address.request_timeout_seconds, _ANSWER_SECONDS)
        return cluster_door(session.cluster.probe(replace(address, request_timeout_seconds=patience)))
    for option, given in (("--fleet", fleet), ("--policies", policies)):
        if given is None:
            context = click.get_current_context()
            raise click.MissingParameter(ctx=context, param_hint=f"'{option}'", param_type="option")
    return file_door(address)


def check(around: Surroundings, *, offline: bool) -> Sequence[Finding]:
    """Return all findings."""
    return examine(around, offline=offline)


def verdict(found: Sequence[Finding]) -> Exit:
    """Return the exit code: of several reasons the one to be mended first."""
    bad = [each for each in found if each.level in {Level.PROBLEM, Level.UNKNOWN} and not each.untried]
    if any(each.group is Group.CONFIG and each.level is Level.PROBLEM for each in bad):
        return Exit.USAGE
    if any(each.unreachable for each in bad):
        return Exit.UNREACHABLE
    return Exit.UNHEALTHY if bad else Exit.OK


def report(found: Sequence[Finding], *, offline: bool) -> dict[str, object]:
    """Return the findings as the stable API shows them."""
    return {
        "offline": offline,
        "exitCode": int(verdict(found)),
        "counts": _counts(found),
        "findings": [
            {
                "group": str(each.group),
                "subject": each.subject,
                "level": str(each.level),
                "found": each.text,
                "fix": each.fix or None,
                "unreachable": each.unreachable,
                "untried": each.untried,
            }
            for each in found
        ],
    }


def lines(found: Sequence[Finding]) -> Iterator[str]:
    """Yield the findings as people read them, by group, each fix under what it mends."""
    for index, (group, findings) in enumerate(groupby(found, lambda each: each.group)):
        if index:
            yield ""
        yield str(group)
        for each in findings:
            yield f"  {each.level:<{_LEVEL_WIDTH}}  {clean(each.subject)}: {clean(each.text)}"
            if each.fix:
                yield f"  {'':<{_LEVEL_WIDTH}}  fix: {clean(each.fix)}"


def _counts(found: Sequence[Finding]) -> dict[str, int]:
    return {str(level): sum(each.level is level for each in found) for level in Level}
