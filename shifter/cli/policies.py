"""`shifter policy`: what is wrong with files before a service reads them, what they will do, and what they may say.

What is found is `files/lint.py`'s; here is how people and programs see it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, shown_width, write_document
from shifter.cli.sarif import sarif_log
from shifter.errors import ConfigError, Problem
from shifter.files.documents import KINDS, load_fleet, load_policy
from shifter.files.explanation import explanation_of, shown_value
from shifter.files.json_schema import schema_of
from shifter.files.lint import lint_files

_SHOWN_BEFORE: Final = 80
_SHOWN_WIDTH: Final = 100
"""So much of a line fits a terminal, with so many columns before the caret."""


@click.group()
def policy() -> None:
    """Check policy, fleet and mesh files, and explain policies."""


@policy.command("lint")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--fleet", type=click.Path(path_type=Path), help="A fleet file to check as well.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
@click.pass_context
def lint(context: click.Context, paths: Sequence[Path], fleet: Path | None, output: str) -> None:
    """Check files, and directories of them; all problems at once. Exit code 2 if there is any.

    A file's `kind` says what it is checked as: ShiftPolicy, Fleet or Mesh. Warnings do not change the exit code.
    """
    found = lint_files(paths, fleet)
    if output == "json":
        told = {"problems": found.problems, "warnings": found.warnings}
        body = {"files": found.files, **{kind: [_document(each) for each in those] for kind, those in told.items()}}
        write_document("LintReport", body, Format.JSON)
    elif output == "sarif":
        click.echo(json.dumps(sarif_log(found.problems, found.warnings, Path.cwd()), indent=2))
    else:
        marked = [replace(each, message=f"warning: {each.message}") for each in found.warnings]
        for problem in sorted([*found.problems, *marked]):
            for line in problem_lines(problem):
                click.echo(line)
    files, problems, warnings = len(found.files), len(found.problems), len(found.warnings)
    besides = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
    say(f"{files} file{'s' * (files != 1)}, {problems or 'no'} problem{'s' * (problems != 1)}{besides}")
    if found.unchecked:
        say(clean(f"not checked, for want of a valid fleet file: custom metrics {', '.join(found.unchecked)}"))
    if found.problems:
        context.exit(Exit.USAGE)


@policy.command("schema")
@click.argument("kind", required=False, type=click.Choice(list(KINDS)))
def schema(kind: str | None) -> None:
    """Print the JSON Schema of a kind, or of all, for editors.

    A file's first line may point at a copy: `# yaml-language-server: $schema=schema.json`.
    """
    click.echo(json.dumps(schema_of(kind), indent=2))


@policy.command("explain")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--fleet", type=click.Path(path_type=Path), help="The fleet it will run in, for what depends on it.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def explain(context: click.Context, file: Path, fleet: Path | None, output: str) -> None:
    """Say what a policy will do: every key with its value or default, line by line, in words."""
    try:
        given = load_policy(file)
        lines = explanation_of(given, None if fleet is None else load_fleet(fleet))
    except ConfigError as error:
        for problem in error.problems:
            for line in problem_lines(problem):
                say(line)
        context.exit(Exit.USAGE)
    if output == "json":
        rows = [
            {"path": each.path, "value": each.value, "default": each.is_default, "words": each.words} for each in lines
        ]
        write_document("PolicyExplanation", {"name": given.name, "file": str(file), "lines": rows}, Format.JSON)
        return
    for told in lines:
        click.echo(clean(f"{told.path}: {shown_value(told.value)}{' (default)' if told.is_default else ''}"))
        click.echo(f"    {clean(told.words)}")


def problem_lines(problem: Problem) -> Iterator[str]:
    """Yield a problem as people read it: place, path and message, then the line with a caret under the place."""
    yield clean(str(problem))
    if not problem.line or not problem.source_line:
        return
    number = f"{problem.line:>6} | "
    begin = max(0, problem.column - _SHOWN_BEFORE)
    shown = "".join(map(_visible, problem.source_line[begin : begin + _SHOWN_WIDTH]))
    before = "…" * (begin > 0)
    yield f"{number}{before}{shown}{'…' * (len(problem.source_line) > begin + _SHOWN_WIDTH)}"
    if problem.column - begin <= len(shown) + 1:
        indent = shown_width(f"{before}{shown[: problem.column - 1 - begin]}")
        yield f"{'| ':>{len(number)}}{' ' * indent}^"


def _visible(char: str) -> str:
    if char == "\t":
        return "→"
    return "�" if unicodedata.category(char)[0] in {"C", "Z"} and char != " " else char


def _document(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
        "sourceLine": problem.source_line,
        "rule": problem.rule,
    }
