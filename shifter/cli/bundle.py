"""`shifter bundle`: everything that helps somebody else to see what happened here, and no secret.

Whatever cannot be read is left out and said so in the manifest: a support dump is asked for when things are broken.
Nothing is sent anywhere, and nothing but the one file is written.
"""

from __future__ import annotations

from pathlib import Path

import click

from shifter.cli.bundle_contents import Sources, collect
from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.running import Listen
from shifter.cli.session import Session, pass_session, store_option
from shifter.errors import RefusedError
from shifter.files.archive import archive, write_whole

_PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.tar.gz", help="Where to."
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

    Files of keys are never opened. What a sentence gives away nobody can see from outside: look before you send it.
    """
    now = session.now()
    path = output or Path(f"shifter-bundle-{now:%Y%m%d-%H%M%S}.tar.gz")
    sources = Sources(session.store_path, fleet, policies, logs, listen, anonymise=anonymise)
    entries = collect(sources, now)
    try:
        write_whole(path, archive("shifter-bundle", entries, now), replace=force)
    except RefusedError as error:
        raise CommandError(Exit.REFUSED, str(error), "choose another with -o, or --force replaces it") from error
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "choose another with -o"
        raise CommandError(Exit.USAGE, f"the bundle {path} cannot be written: {said}", hint) from error
    click.echo(str(path))
    say(f"{len(entries)} files, secrets blacked out; look through them before you send it: tar -xzf {path}")
