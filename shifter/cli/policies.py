"""`shifter policy`: what is wrong with files before a service reads them, what they will do, and what they may say.

Same reader, same models, same rules between policies as the service has: what lint accepts, the service enforces.
Warnings are told and fail nothing: the file is valid, but probably not what was meant.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, shown_width, write_document
from shifter.cli.sarif import sarif_log
from shifter.core.fleet import Fleet, misfits
from shifter.core.overlaps import Claimed, suspicions
from shifter.core.policy import ShiftPolicy, conflicts
from shifter.core.text import did_you_mean
from shifter.errors import ConfigError, Problem
from shifter.files.documents import KINDS, load_fleet, load_policy, read_document, value_of
from shifter.files.explanation import explanation_of, shown_value
from shifter.files.json_schema import schema_of
from shifter.files.located_yaml import Document
from shifter.files.rules import Rule
from shifter.service.policy_files import FLEET, yaml_files_in

_SHOWN_BEFORE: Final = 80
_SHOWN_WIDTH: Final = 100
"""So much of a line fits a terminal, with so many columns before the caret."""


@dataclass(slots=True)
class Lint:
    """What was looked at and what was found: `problems` fail, `warnings` do not."""

    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


@click.group()
def policy() -> None:
    """Check policy and fleet files, and explain them."""


@policy.command("lint")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--fleet", type=click.Path(path_type=Path), help="A fleet file to check as well.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
@click.pass_context
def lint(context: click.Context, paths: Sequence[Path], fleet: Path | None, output: str) -> None:
    """Check files, and directories of them; all problems at once. Exit code 2 if there is any.

    A file's `kind` says what it is checked as: ShiftPolicy or Fleet. Warnings do not change the exit code.
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
    if found.problems:
        context.exit(Exit.USAGE)


@policy.command("schema")
@click.argument("kind", required=False, type=click.Choice(list(KINDS)))
def schema(kind: str | None) -> None:
    """Print the JSON Schema of a kind, or of both, for editors.

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


def lint_files(paths: Sequence[Path], fleet: Path | None = None) -> Lint:
    """Return everything that is wrong with the files at `paths`: each alone, among each other, and with the fleet.

    The fleet is the one given, else the only one among `paths`, else one with nothing but defaults.
    """
    found = Lint()
    policies: dict[str, ShiftPolicy] = {}
    fleets: dict[str, Fleet | None] = {}
    documents: dict[str, Document] = {}
    for path in _expanded(paths, found):
        document = read_document(path)
        documents[document.file] = document
        value = _checked(document, found.problems)
        if isinstance(value, ShiftPolicy):
            policies[document.file] = value
        elif document.kind == FLEET:
            fleets[document.file] = value
    if fleet is not None:
        document = documents.setdefault(str(fleet), read_document(fleet))
        fleets = {document.file: _fleet_of(document, found.problems)}
    found.problems += [
        documents[each.file].problem(each.path, each.reason, rule=Rule.CONFLICT) for each in conflicts(policies)
    ]
    only = next(iter(fleets.values())) if len(fleets) == 1 else None
    if only is not None or len(fleets) != 1:  # of a broken fleet it is not known what it gives
        for file, each in policies.items():
            found.problems += [
                documents[file].problem(misfit.path, misfit.reason, rule=Rule.MISFIT) for misfit in misfits(each, only)
            ]
    found.files, found.problems = sorted(documents), sorted(set(found.problems))
    broken = {(each.file, each.line, each.column) for each in found.problems}
    warned = {*_suspicions(policies, documents), *(each for one in documents.values() for each in one.surprises)}
    found.warnings = sorted(each for each in warned if (each.file, each.line, each.column) not in broken)
    return found


def _suspicions(policies: Mapping[str, ShiftPolicy], documents: Mapping[str, Document]) -> Iterator[Problem]:
    claimed = [Claimed(file, each.namespaces, each.routes) for file, each in sorted(policies.items())]
    for each in suspicions(claimed):
        path = ("spec", "traffic", "clb", "routes", each.index)
        yield documents[each.file].problem(path, each.reason, rule=Rule.SUSPICION)


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


def _expanded(paths: Sequence[Path], found: Lint) -> Iterator[Path]:
    """Yield every file once, those of directories included."""
    seen: set[Path] = set()
    for path in paths:
        files: tuple[Path, ...] = (path,)
        if path.is_dir():
            try:
                files = yaml_files_in(path)
            except OSError as error:
                found.problems.append(
                    Problem(str(path), 0, 0, "", f"cannot be listed: {error.strerror}", rule=Rule.UNREADABLE)
                )
                continue
            if not files:
                found.problems.append(Problem(str(path), 0, 0, "", "has no *.yaml or *.yml file", rule=Rule.UNREADABLE))
        for file in files:
            if (resolved := _resolved(file)) not in seen:
                seen.add(resolved)
                yield file


def _resolved(file: Path) -> Path:
    try:
        return file.resolve()
    except (OSError, RuntimeError):  # links in a circle: what cannot be read is said when it is read
        return file.absolute()


def _checked(document: Document, problems: list[Problem]) -> ShiftPolicy | Fleet | None:
    """Return the document's value by its kind, None if it has problems; they are added."""
    kind = document.kind
    if kind is not None and kind not in KINDS:
        problems += document.problems
        hint = did_you_mean(kind, list(KINDS)) or f"known: {', '.join(KINDS)}"
        message = f"unknown kind {json.dumps(kind[:_SHOWN_WIDTH], ensure_ascii=False)}"
        problems.append(document.problem(("kind",), message, hint, rule=Rule.KIND))
        return None
    try:
        # What names no kind is taken for a policy: the missing key is then one of its problems.
        return value_of(document, KINDS[kind or "ShiftPolicy"])
    except ConfigError as error:
        problems += error.problems
        return None


def _fleet_of(document: Document, problems: list[Problem]) -> Fleet | None:
    try:
        return value_of(document, Fleet)
    except ConfigError as error:
        problems += error.problems
        return None


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
