"""`shifter policy lint`: everything that is wrong with files, before a service reads them.

Same reader, same models, same rules between policies as the service has: what lint accepts, the service enforces.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, shown_width, write_document
from shifter.core.fleet import Fleet, misfits
from shifter.core.policy import ShiftPolicy, conflicts
from shifter.errors import ConfigError, Problem
from shifter.files.documents import KINDS, read_document, value_of
from shifter.files.located_yaml import Document
from shifter.files.problems import did_you_mean
from shifter.service.policy_files import FLEET, yaml_files_in


@dataclass(slots=True)
class Lint:
    """What was looked at and what was found."""

    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@click.group()
def policy() -> None:
    """Check policy and fleet files."""


@policy.command("lint")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--fleet", type=click.Path(path_type=Path), help="A fleet file to check as well.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def lint(context: click.Context, paths: Sequence[Path], fleet: Path | None, output: str) -> None:
    """Check files, and directories of them; all problems at once. Exit code 2 if there is any.

    A file's `kind` says what it is checked as: ShiftPolicy or Fleet.
    """
    found = lint_files(paths, fleet)
    if output == "json":
        body = {"files": found.files, "problems": [_document(problem) for problem in found.problems]}
        write_document("LintReport", body, Format.JSON)
    else:
        for problem in found.problems:
            for line in problem_lines(problem):
                click.echo(line)
    files, problems = len(found.files), len(found.problems)
    say(f"{files} file{'s' * (files != 1)}, {problems or 'no'} problem{'s' * (problems != 1)}")
    if found.problems:
        context.exit(Exit.USAGE)


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
    found.problems += [documents[each.file].problem(each.path, each.reason) for each in conflicts(policies)]
    only = next(iter(fleets.values())) if len(fleets) == 1 else None
    if only is not None or len(fleets) != 1:  # of a broken fleet it is not known what it gives
        for file, each in policies.items():
            found.problems += [documents[file].problem(misfit.path, misfit.reason) for misfit in misfits(each, only)]
    found.files, found.problems = sorted(documents), sorted(set(found.problems))
    return found


def problem_lines(problem: Problem) -> Iterator[str]:
    """Yield a problem as people read it: place, path and message, then the line with a caret under the place."""
    yield clean(str(problem))
    if not problem.line or not problem.source_line:
        return
    number = f"{problem.line:>6} | "
    shown = "".join(char if unicodedata.category(char)[0] != "C" else " " for char in problem.source_line)
    yield f"{number}{shown}"
    if problem.column <= len(shown) + 1:
        yield f"{'| ':>{len(number)}}{' ' * shown_width(shown[: problem.column - 1])}^"


def _expanded(paths: Sequence[Path], found: Lint) -> Iterator[Path]:
    """Yield every file once, those of directories included."""
    seen: set[Path] = set()
    for path in paths:
        files: tuple[Path, ...] = (path,)
        if path.is_dir():
            try:
                files = yaml_files_in(path)
            except OSError as error:
                found.problems.append(Problem(str(path), 0, 0, "", f"cannot be listed: {error.strerror}"))
                continue
            if not files:
                found.problems.append(Problem(str(path), 0, 0, "", "has no *.yaml or *.yml file"))
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
        problems.append(document.problem(("kind",), f"unknown kind {json.dumps(kind, ensure_ascii=False)}", hint))
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
    }
