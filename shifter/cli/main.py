"""The root of the command line: which commands there are and where each lives.

A command's module is imported when it is called and not before: `shifter --help` and shell completion must not
pay for pydantic, SQLite or the service. So the one-line helps are here, beside the names.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

import click

from shifter import API_VERSION, __version__
from shifter.cli import streams
from shifter.cli.exits import ended
from shifter.cli.session import COMPLETE_VARIABLE, KUBECTL_PROGRAM, Session
from shifter.cli.store_options import root_store_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is imported on use. `section` groups it in the help."""

    module: str
    help: str
    section: str


_LOOK, _ORDER, _FILES, _RUN, _SHELL = "Look", "Order", "Files", "Run", "Shell"
_READING, _ORDERING = "shifter.cli.reading", "shifter.cli.ordering"
COMMANDS: Mapping[str, Lazy] = {
    "get": Lazy(_READING, "List shifts, one line each.", _LOOK),
    "describe": Lazy(_READING, "Explain why a shift is where it is.", _LOOK),
    "status": Lazy("shifter.cli.status", "Tell whether everything is all right.", _LOOK),
    "watch": Lazy("shifter.cli.watching", "Follow shifts as they move.", _LOOK),
    "history": Lazy(_READING, "Show what happened, who did it and why.", _LOOK),
    "explain": Lazy("shifter.cli.explaining", "Compute a decision again, tick by tick.", _LOOK),
    "plan": Lazy("shifter.cli.planning", "Show what the steps lead to: when, and what they may cost.", _LOOK),
    "backtest": Lazy("shifter.cli.backtesting", "Hold a policy against recorded metrics.", _LOOK),
    "simulate": Lazy("shifter.cli.simulating", "Show what a migration would look like.", _LOOK),
    "pause": Lazy(_ORDERING, "Stop raising a shift's share; rollback stays possible.", _ORDER),
    "resume": Lazy(_ORDERING, "End a pause.", _ORDER),
    "approve": Lazy(_ORDERING, "Let a shift's share pass a gate of its policy.", _ORDER),
    "promote": Lazy(_ORDERING, "Take the next step now, without waiting for soak.", _ORDER),
    "rollback": Lazy(_ORDERING, "Send all traffic back to TCM.", _ORDER),
    "retry": Lazy(_ORDERING, "Start a rolled back shift over.", _ORDER),
    "reconcile": Lazy(_ORDERING, "Decide about drift: adopt what is live, or restore.", _ORDER),
    "freeze": Lazy(_ORDERING, "Stop raising the share of any shift.", _ORDER),
    "unfreeze": Lazy(_ORDERING, "End a freeze.", _ORDER),
    "doctor": Lazy("shifter.cli.doctor", "Check this installation; each finding with its fix.", _LOOK),
    "bundle": Lazy("shifter.cli.bundle", "Write a redacted support dump.", _LOOK),
    "policy": Lazy("shifter.cli.policies", "Check policy, fleet and mesh files, and explain policies.", _FILES),
    "mesh": Lazy("shifter.cli.meshes", "Build the new mesh in its clusters.", _RUN),
    "store": Lazy("shifter.cli.moving", "Move the service's memory to another store.", _RUN),
    "run": Lazy("shifter.cli.running", "Run the service.", _RUN),
    "lab": Lazy("shifter.cli.running", "Rehearse a migration on this machine.", _RUN),
    "completion": Lazy("shifter.cli.completing", "Print a shell's completion script.", _SHELL),
}


class Root(click.Group):
    """The `shifter` group: imports lazily, and ends every command the way `exits.py` says."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return [*COMMANDS, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it; None if there is none by that name."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(lazy.module), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command for the arguments; an unknown one gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the commands, from the table, and the options that begin like what was typed."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - for the shell's questions only

        helps = {name: lazy.help for name, lazy in COMMANDS.items()}
        helps |= {name: command.get_short_help_str() for name, command in self.commands.items()}
        found = [CompletionItem(name, help=said) for name, said in helps.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the commands by section, importing none of them."""
        for section in dict.fromkeys(lazy.section for lazy in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items() if lazy.section == section])
        with formatter.section("Other"):
            formatter.write_dl([(name, command.get_short_help_str()) for name, command in self.commands.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002, FBT001, FBT002 - click's signature
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> Never:
        """Carry the command line out and exit with its code; `obj` may be a session to do it in."""
        session = extra.get("obj") or Session()
        given = {**extra, "obj": session}
        line = list(sys.argv[1:] if args is None else args)
        name = prog_name or session.program
        asked = os.environ.get(complete_var or COMPLETE_VARIABLE)
        sys.exit(ended(lambda: self._carry_out(line, name, given, asked), lambda: session.verbose))

    def _carry_out(self, line: list[str], name: str, given: dict[str, Any], asked: str | None) -> object:
        # Not by click's own `main`: it ends a command whose output nobody takes before its exit code can be ours.
        if asked:
            from shifter.cli.completing import answer_shell  # noqa: PLC0415 - for the shell's questions only

            return answer_shell(self, given["obj"], asked)
        with self.make_context(name, line, **given) as context:
            return self.invoke(context)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@root_store_options
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, message="shifter %(version)s", help="Show the version and exit.")
@click.pass_obj
def cli(session: Session, *, verbose: bool) -> None:
    """Carry production traffic from Tencent Cloud Mesh to a self-built Istio.

    Exit codes: 0 ok, 1 unexpected, 2 usage or invalid file, 3 not found, 4 refused by a guard, 5 unreachable,
    6 unhealthy (status, doctor, history --verify), 124 wait timed out, 130 interrupted, 141 nobody reads the
    output any more.
    """
    session.verbose = verbose


@cli.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def version(output: str) -> None:
    """Show the version."""
    if output == "json":
        found = {
            "apiVersion": API_VERSION,
            "kind": "Version",
            "schemaVersion": 1,
            "version": __version__,
            "python": platform.python_version(),
        }
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"shifter {__version__}")


def main() -> None:
    """Entry point of the `shifter` command."""
    streams.prepare()
    cli.main()


def kubectl_main() -> None:
    """Entry point of `kubectl shifter`: the same commands, under the name that people typed."""
    streams.prepare()
    cli.main(obj=Session(program=KUBECTL_PROGRAM))


def kubectl_complete() -> None:
    """Entry point of `kubectl_complete-shifter`, which kubectl calls for completion."""
    from shifter.cli.completing import answer_kubectl  # noqa: PLC0415 - for kubectl's questions only

    streams.prepare()
    for line in answer_kubectl(cli, Session(program=KUBECTL_PROGRAM), sys.argv[1:]):
        click.echo(line)
