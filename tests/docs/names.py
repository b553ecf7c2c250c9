"""What documents name and is not there: make targets with their variables, files, tests, and names within a file.

Each function looks at one text, so that it can itself be shown a wrong one: a check that overlooks is worse than none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.sim.__main__ import MODES

ROOT: Final = Path(__file__).parents[2]
BASES: Final = (ROOT, ROOT / "shifter", ROOT / "shifter/core")
"""What a path may be told from: prose that is about the service says `service/act.py`."""

_FOLDERS: Final = {"shifter", "tests", "policies", "docs", "requirements", "deploy"} | {
    folder.name for base in BASES[1:] for folder in base.iterdir() if (folder / "__init__.py").exists()
}
_MAKE: Final = re.compile(r"`make ((?:[a-z][a-z-]*|[A-Z_]+=\S+?)(?: (?:[a-z][a-z-]*|[A-Z_]+=\S+?))*)`")
_MODE: Final = re.compile(r"\bMODE=([\w-]+)")
_PATH: Final = re.compile(r"`(\w[\w-]*/[\w./-]*|\.ci/run)`")
_TEST: Final = re.compile(r"`(test_\w+)`")
_TEST_FILE: Final = re.compile(r"`(test_\w+\.py)`")
_WITHIN: Final = re.compile(r"((?:`[A-Za-z_][\w.]*`(?:, | and ))*`[A-Za-z_][\w.]*`) in `([\w./-]+\.py)`")


def strange_make(text: str, commands: Iterator[list[str]] | None = None) -> list[str]:
    """Return targets, variables and modes of `make` that there are not; `commands` are lines of shell besides."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE))
    lines = [found.split() for found in _MAKE.findall(text)]
    words = [word for line in (*lines, *(line[1:] for line in commands or ())) for word in line]
    strange = [word for word in words if "=" not in word and word not in targets]
    strange += [word for word in words if "=" in word and word.partition("=")[0] not in variables]
    modes = [*_MODE.findall(text), *(word.partition("=")[2] for word in words if word.startswith("MODE="))]
    return sorted({*strange, *(f"MODE={mode}" for mode in modes if mode not in MODES)})


def strange_files(text: str) -> list[str]:
    """Return paths of files and folders that there are not. A path that begins with no folder of ours is no path."""
    paths = [path for path in _PATH.findall(text) if path == ".ci/run" or path.partition("/")[0] in _FOLDERS]
    return sorted({path for path in paths if _place(path) is None})


def strange_tests(text: str) -> list[str]:
    """Return names of tests, and of files of tests told without their folder, that there are not."""
    return sorted({*_TEST.findall(text), *_TEST_FILE.findall(text)} - _tests())


def strange_names(text: str) -> list[str]:
    """Return what is said to be in a file and is not defined there: "`QUEUE_LIMIT` in `service/lanes.py`"."""
    strange = []
    for names, path in _WITHIN.findall(text):
        place = _place(path)
        there = _defined(place) if place is not None else set()
        strange += [f"{name} in {path}" for name in re.findall(r"`([\w.]+)`", names) if name not in there]
    return strange


@cache
def _tests() -> frozenset[str]:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return frozenset({*re.findall(r"def (test_\w+)", source), *(path.name for path in files)})


def _place(path: str) -> Path | None:
    found = [base / path for base in BASES] if "/" in path else sorted((ROOT / "shifter").rglob(path))
    return next((place for place in found if place.exists()), None)


def _defined(place: Path) -> set[str]:
    """The names that a module binds at its top level, and those of its classes' members behind the class."""
    return set(_bound(ast.parse(place.read_text(encoding="utf-8")).body))


def _bound(body: list[ast.stmt], before: str = "") -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=inner):
                yield f"{before}{name}"
                yield from _bound(inner, f"{before}{name}.")
            case ast.FunctionDef(name=name):
                yield f"{before}{name}"
            case ast.Assign(targets=targets):
                yield from (f"{before}{target.id}" for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield f"{before}{name}"
