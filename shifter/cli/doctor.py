"""`shifter doctor`: what is wrong with this installation, and the fix of each thing. Looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, stamp, write_document
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option
from shifter.service.checkup.examination import Surroundings, examine
from shifter.service.checkup.findings import Finding, Group, Level
from shifter.wiring import surroundings

_LEVEL_WIDTH: Final = max(len(level) for level in Level)
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--fleet", required=True, type=_PATH, help="The fleet file.")
@click.option("--policies", required=True, type=_PATH, help="Directory of policy files.")
@store_option
@click.option("--offline", is_flag=True, help="Ask nobody outside this machine.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_session
def doctor(session: Session, *, fleet: Path, policies: Path, offline: bool, output: str) -> int:
    """Check files, clocks, permissions, datasources, provider and versions; each finding with its fix.

    Only looks: safe beside a running service, over within half a minute. Run it as the service's user. Exit code 0
    if all is well (warnings allowed), 2 if a file is wrong, 5 if somebody cannot be reached, 6 for anything else.
    """
    found = check(surroundings(fleet, policies, session.file("doctor")), offline=offline)
    if output == "json":
        write_document("DoctorReport", {"at": stamp(session.now()), **report(found, offline=offline)}, Format.JSON)
    else:
        for line in lines(found):
            click.echo(line)
    counts = _counts(found)
    say(", ".join(f"{counts[level]} {level}" for level in Level))
    return verdict(found)


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
