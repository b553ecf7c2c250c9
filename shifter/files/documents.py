"""Files become documents, documents become models; every problem of a file is told at once, each at its place."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from shifter.core.documents.fleet import Fleet, misfits
from shifter.core.documents.mesh import Mesh
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.text import why
from shifter.errors import ConfigError, Problem
from shifter.files.located_yaml import MAX_BYTES, MAX_PROBLEMS, At, Document, document_of
from shifter.files.problems import explain
from shifter.files.rules import Rule

POLICY: Final = "ShiftPolicy"
FLEET: Final = "Fleet"
MESH: Final = "Mesh"
KINDS: Final[Mapping[str, type[ShiftPolicy | Fleet | Mesh]]] = {POLICY: ShiftPolicy, FLEET: Fleet, MESH: Mesh}
"""What a file may be, by what it says of itself."""

SUFFIXES: Final = frozenset({".yaml", ".yml"})

_Model = TypeVar("_Model", bound=BaseModel)


def yaml_files_in(directory: Path) -> tuple[Path, ...]:
    """Return the YAML files directly in a directory, by name; dotfiles and editors' temporary files left out.

    Raises:
        OSError: the directory cannot be listed.
    """
    found = (path for path in directory.iterdir() if path.suffix in SUFFIXES)
    return tuple(sorted(path for path in found if not path.name.startswith((".", "#", "~"))))


def raw_bytes(path: Path) -> bytes:
    """Return a file's bytes, at most one more than `MAX_BYTES`.

    Raises:
        ConfigError: there is no such file, it cannot be read, or it is no regular file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise _cannot_read(path, "is not a regular file")
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # the latter: a NUL in the path
        raise _cannot_read(path, f"cannot be read: {why(error)}") from error


def read_document(path: Path) -> Document:
    """Return what a file says. A file that cannot be opened is a document with that problem."""
    try:
        return document_of(str(path), raw_bytes(path))
    except ConfigError as error:
        return Document(str(path), problems=error.problems, whole=False)


def value_of(document: Document, model: type[_Model]) -> _Model:
    """Return the document as a value of `model`.

    Raises:
        ConfigError: with every problem of the file, those of its form and those the model found, by place; of a
            file of another kind only that.
    """
    if document.kind is not None and KINDS.get(document.kind, model) is not model:
        # A good file in the wrong place: that its keys are not those of the other kind is no news.
        wanted = next((kind for kind, each in KINDS.items() if each is model), model.__name__)
        message = f"should be '{wanted}', found \"{document.kind}\""
        problem = document.problem(("kind",), message, rule=Rule.KIND)
        raise ConfigError(str(problem), (problem,))
    problems = set(document.problems)
    if document.whole:
        try:
            # Through JSON: files know no tuples, and pydantic is strict about Python's types but fair about JSON's.
            value = model.model_validate_json(json.dumps(document.value))
        except ValidationError as error:
            told = error.errors(include_url=False)
            found = explain(told[:MAX_PROBLEMS], model, document.value)
            problems |= {
                document.problem(one.path, one.said.message, one.said.hint, at_key=one.at_key, rule=one.said.rule)
                for one in found
                if not any(_within(one.path, path) or _within(path, one.path) for path in document.opaque)
            }
            if len(told) > MAX_PROBLEMS:
                message = f"{len(told)} problems; only the first {MAX_PROBLEMS} are told"
                problems.add(Problem(document.file, 0, 0, "", message, rule=Rule.TOO_MANY))
        else:
            if not problems:
                return value
    first, *rest = sorted(problems)
    raise ConfigError(f"{first}{f', and {len(rest)} more' if rest else ''}", (first, *rest))


def misfit_problems(document: Document, policy: ShiftPolicy, fleet: Fleet | None) -> tuple[Problem, ...]:
    """Return what a policy asks that the fleet cannot give, each at its place in the document it was read from.

    Without a fleet: what no fleet of defaults could give.
    """
    return tuple(
        document.problem(each.path, each.reason, at_key=_is_block(document.value, each.path), rule=Rule.MISFIT)
        for each in misfits(policy, fleet)
    )


def load_policy(path: Path) -> ShiftPolicy:
    """Return the policy in a file.

    Raises:
        ConfigError: the file cannot be read or is not a valid policy; all problems at once.
    """
    return value_of(read_document(path), ShiftPolicy)


def load_fleet(path: Path) -> Fleet:
    """Return the fleet in a file.

    Raises:
        ConfigError: the file cannot be read or is not a valid fleet; all problems at once.
    """
    return value_of(read_document(path), Fleet)


def load_mesh(path: Path) -> Mesh:
    """Return the mesh in a file.

    Raises:
        ConfigError: the file cannot be read or is not a valid mesh; all problems at once.
    """
    return value_of(read_document(path), Mesh)


def _is_block(value: object, path: At) -> bool:
    """Return whether a mapping or a list stands at a path, so that its key is what is to be shown."""
    for step in path:
        if isinstance(value, dict) or (isinstance(value, list) and isinstance(step, int)):
            parts: Mapping[str | int, object] = value if isinstance(value, dict) else dict(enumerate(value))
            value = parts.get(step)
    return isinstance(value, dict | list)


def _within(inner: At, outer: At) -> bool:
    return inner[: len(outer)] == outer


def _cannot_read(path: Path, message: str) -> ConfigError:
    return ConfigError(f"{path}: {message}", (Problem(str(path), 0, 0, "", message, rule=Rule.UNREADABLE),))
