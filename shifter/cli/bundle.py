"""`shifter bundle`: everything that helps somebody else to see what happened here, and no secret.

Whatever cannot be read is left out and said so in the manifest: a support dump is asked for when things are broken.
Nothing is sent anywhere, and nothing but the one file is written. Whoever asks for a part that is not there is told so
at once: the person who would find out is somebody else, hours later.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from shifter.cli.bundle_contents import Sources, collect
from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.params import Listen
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option
from shifter.cli.streams import write_bytes
from shifter.core.text import why
from shifter.errors import RefusedError
from shifter.files.archive import archive, write_whole

_PATH = click.Path(path_type=Path)
_STDOUT: Final = Path("-")
_OF_THE_MACHINE: Final = frozenset({"platform.json", "doctor.json", "manifest.json"})
"""What is in every bundle; where neither files nor a store are found the check-up tells of the machine alone."""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.tar.gz",
    help="Where to; - is stdout.",
)
@store_option
@click.option("--fleet", type=_PATH, help="The fleet file.")
@click.option("--policies", type=_PATH, help="Directory of policy files.")
@click.option("--logs", type=_PATH, metavar="FILE", help="The service's log; its end is taken.")
@click.option("--listen", type=Listen(), help="The running service's address, for its metrics.")
@click.option("--anonymise", is_flag=True, help="Replace names, hosts, addresses and ids, each always by the same.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@pass_session
def bundle(  # noqa: PLR0913 - click hands every option over by name
    session: Session,
    *,
    output: Path | None,
    fleet: Path | None,
    policies: Path | None,
    logs: Path | None,
    listen: tuple[str, int] | None,
    anonymise: bool,
    force: bool,
) -> None:
    """Write a support dump that can be given away: state, history, files, metrics, log; secrets blacked out.

    What was asked for and cannot be read is said; exit code 1 if nothing but facts of this machine is left.
    Files of keys are never opened. What a sentence gives away nobody can see from outside: look before you send it.
    """
    now = session.now()
    path = output or Path(f"shifter-bundle-{now:%Y%m%d-%H%M%S}.tar.gz")
    if path == _STDOUT and sys.stdout.isatty():
        said = "a tar.gz is nothing for a terminal: name a file with -o, or send it on"
        raise click.UsageError(said, click.get_current_context())
    address = session.address
    store = address if isinstance(address, Path) else None
    sources = Sources(store, session.look, fleet, policies, logs, listen, anonymise=anonymise)
    entries = collect(sources, now)
    packed = archive("shifter-bundle", entries, now)
    if path == _STDOUT:
        write_bytes(packed)
    else:
        _write(path, packed, force=force)
        click.echo(str(path))
    for line in _missing(sources, entries):
        say(line)
    if not entries.keys() - _OF_THE_MACHINE:
        hint = "name --store, --fleet, --policies, --logs or --listen as the service has them"
        raise CommandError(Exit.UNEXPECTED, "nothing is in it but facts of this machine", hint)
    open_it = "save it, and: tar -xzf FILE" if path == _STDOUT else f"tar -xzf {shlex.quote(_as_argument(path))}"
    say(f"{len(entries)} files, secrets blacked out; look through them before you send it: {open_it}")


def _as_argument(path: Path) -> str:
    return f"./{path}" if str(path).startswith("-") else str(path)


def _write(path: Path, packed: bytes, *, force: bool) -> None:
    """Write the file.

    Raises:
        CommandError: it is there already, or cannot be written.
    """
    try:
        write_whole(path, packed, replace=force)
    except RefusedError as error:
        raise CommandError(Exit.REFUSED, str(error), "choose another with -o, or --force replaces it") from error
    except (OSError, ValueError) as error:
        hint = "choose another with -o"
        raise CommandError(Exit.USAGE, f"the bundle {path} cannot be written: {why(error)}", hint) from error


def _missing(sources: Sources, entries: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each part that was asked for and is not there; the store is always asked for."""
    not_asked_for = {
        "keys and tokens": True,
        "fleet file": sources.fleet is None,
        "policy files": sources.policies is None,
        "doctor.json": sources.fleet is None or sources.policies is None,
        "log": sources.logs is None,
        "metrics": sources.listen is None,
    }
    for each in json.loads(entries["manifest.json"])["leftOut"]:
        # What was only cut is there.
        if each["what"] not in entries and not not_asked_for.get(each["what"], False):
            yield f"missing: {each['what']}: {each['why']}"
