"""Shell completion: the scripts, and the answers to a shell that asks, its own or kubectl's.

A person who presses Tab asked for nothing: whatever goes wrong, the answer is no candidate and no word on stderr.
So a store in a file is read without pydantic, one in a cluster with little patience, and command names come from the
table in `main.py` without importing the commands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from shifter.cli.session import COMPLETE_VARIABLE, PROGRAM, Session

TAKES_SHIFTS: Final = frozenset({"get", "watch", "pause", "resume", "rollback", "retry"})
TAKES_A_SHIFT: Final = frozenset({"approve", "describe", "explain", "history", "plan", "promote", "reconcile"})

_PREFIX: Final = "shift/"
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_DIRECTIVES: Final = {"file": 0, "dir": 16}
"""What Cobra's ShellCompDirective says: 0 the shell completes files, 16 only directories, 4 no files."""

_NO_FILES: Final = 4


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell: commands, options, files, and shifts by name.

    Bash: `source <(shifter completion bash)` in ~/.bashrc. Zsh: the same with zsh in ~/.zshrc, after compinit.
    Fish: `shifter completion fish > ~/.config/fish/completions/shifter.fish`. `kubectl shifter` needs none of them:
    kubectl 1.26 and later asks by itself.
    """
    asked = get_completion_class(shell)
    assert asked is not None  # noqa: S101 - click knows the three
    # Not the class's own `source`: bash's starts a bash to look at its version.
    click.echo(ShellComplete.source(asked(context.find_root().command, {}, PROGRAM, COMPLETE_VARIABLE)), nl=False)


def answer_shell(root: click.Command, session: Session, asked: str) -> int:
    """Answer the shell's question in `asked`, as the scripts put it in the environment: `bash_complete`."""
    kind = get_completion_class(asked.partition("_")[0])
    if kind is None:
        return 1
    try:
        shell = kind(root, {}, PROGRAM, COMPLETE_VARIABLE)
        words, incomplete = shell.get_completion_args()
        lines = [shell.format_completion(item) for item in _candidates(root, session, words, incomplete)]
    except Exception:  # noqa: BLE001 - see the module's docstring
        return 0
    click.echo("\n".join(lines))
    return 0


def answer_kubectl(root: click.Command, session: Session, words: Sequence[str]) -> list[str]:
    """Return the lines that kubectl expects from a plugin's completion: candidates, then `:` and a directive.

    Args:
        root: the commands.
        session: which store is meant unless the words say.
        words: what was typed after the plugin's name; the last is what is being completed, perhaps empty.
    """
    *before, incomplete = words or [""]
    try:
        found = _candidates(root, session, before, incomplete)
    except Exception:  # noqa: BLE001 - see the module's docstring
        found = []
    lines = [f"{item.value}\t{item.help}" if item.help else item.value for item in found if item.type == "plain"]
    directive = next((_DIRECTIVES[item.type] for item in found if item.type in _DIRECTIVES), _NO_FILES)
    return [*lines, f":{directive}"]


def _candidates(
    root: click.Command, session: Session, words: Sequence[str], incomplete: str
) -> list[CompletionItem[str]]:
    if words and not any(word.startswith("-") for word in (*words, incomplete)):
        # What people complete most, without the half second that importing the command would take.
        command, *given = words
        if command in TAKES_SHIFTS:
            return shift_names(session, incomplete, given)
        if command in TAKES_A_SHIFT:
            return [] if given else shift_names(session, incomplete, ())
    return ShellComplete(root, {"obj": session}, session.program, "").get_completions(list(words), incomplete)


def shift_names(session: Session, incomplete: str, given: Sequence[str]) -> list[CompletionItem[str]]:
    """Return the shifts in the store that begin like `incomplete`, those already `given` left out."""
    prefix = _PREFIX if incomplete.startswith(_PREFIX) else ""
    begun = incomplete.removeprefix(_PREFIX)
    there = {name.removeprefix(_PREFIX) for name in given}
    return [
        CompletionItem(f"{prefix}{name}")
        for name in session.names()
        if name.startswith(begun) and name not in there and _PLAIN_NAME.fullmatch(name)
    ]
