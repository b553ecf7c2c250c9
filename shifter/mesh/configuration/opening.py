"""Reading an export back: what is as it was written, what a person changed, what is missing and what came besides.

A change by hand is what the files are for; it is told, not refused. What cannot be read, says it is nothing, or is an
object that another file is as well, is a problem with its place, and whoever applies the export stops at it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from shifter.core.text import why
from shifter.errors import ConfigError, Problem
from shifter.files.rules import Rule
from shifter.mesh.configuration import manifest as manifests
from shifter.mesh.configuration import settings
from shifter.mesh.configuration.layout import Identity, identity_of
from shifter.mesh.configuration.manifest import Entry, Manifest
from shifter.mesh.configuration.reading import MAX_BYTES, Read, read_yaml

_SUFFIXES: Final = (".yaml", ".yml")
_MAX_MANIFEST_BYTES: Final = 200 << 20
"""A hundred thousand entries of two kilobytes, more than any has."""


class State(StrEnum):
    """What became of a file since the export: as it was written, changed by hand, or put there by hand."""

    UNTOUCHED = "untouched"
    EDITED = "edited"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of an export with what it says. `entry` is what the manifest has of it: nothing for an extra file.

    `identity` is None if there are problems; then nothing of the file is to be applied.
    """

    path: str
    state: State
    read: Read
    identity: Identity | None
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """An export in a folder: which files there are, which the manifest has (`entries`, by path), which are missing."""

    folder: Path
    manifest: Manifest
    entries: Mapping[str, Entry]
    paths: tuple[str, ...]
    missing: tuple[str, ...]

    def objects(self) -> Iterator[Stored]:
        """Yield every file in the order of the paths, one at a time: nothing is kept but which objects there were."""
        seen: dict[Identity, str] = {}
        for path in self.paths:
            stored = self.object(path)
            if stored.identity is not None:
                first = seen.setdefault(stored.identity, path)
                stored = stored if first == path else _twice(stored, first)
            yield stored

    def object(self, path: str) -> Stored:
        """Return one file by its path; what others say is not looked at."""
        entry = self.entries.get(path)
        raw, said = _bytes_of(self.folder / path)
        if said:
            problem = Problem(path, 0, 0, "", said, rule=Rule.UNREADABLE)
            return Stored(
                path, State.EXTRA if entry is None else State.EDITED, Read(path, problems=(problem,)), None, entry
            )
        state = State.EXTRA if entry is None else _state(raw, entry)
        read = read_yaml(path, raw)
        identity = identity_of(read.value)
        if identity is None and not read.problems:
            problem = Problem(
                path, 1, 1, "", "does not say which object it is", _WHO_IT_IS, read.line(1), Rule.MISSING_KEY
            )
            read = replace(read, problems=(problem,))
        return Stored(path, state, read, identity, entry)


_WHO_IT_IS: Final = "an object has apiVersion, kind and metadata.name"


def open_export(folder: Path) -> Export:
    """Return the export in a folder; its files are looked at later, one by one.

    Raises:
        ConfigError: it is none: there is no manifest, or one that cannot be read.
    """
    file = folder / manifests.NAME
    try:
        if not is_export(folder):
            unfinished = ".unfinished-" in folder.absolute().name
            said = "is an export that was never finished" if unfinished else f"is no export: it has no {manifests.NAME}"
            raise ConfigError(f"{folder} {said}; run the export again")
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ConfigError(f"{file} is too large for a manifest")
        manifest = manifests.manifest_of(str(file), file.read_bytes())
        paths = tuple(sorted(_paths_in(folder)))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {why(error)}") from error
    entries = {entry.path: entry for entry in manifest.files}
    return Export(folder, manifest, entries, paths, tuple(sorted(entries.keys() - set(paths))))


def is_export(folder: Path) -> bool:
    """Return whether a folder has what an export has last."""
    return (folder / manifests.NAME).is_file()


def changes_of(folder: Path) -> tuple[str, ...]:
    """Return the paths that are not as the export wrote them: edited, extra or missing ones, in order.

    Raises:
        ConfigError: there is no export in the folder.
    """
    export = open_export(folder)
    changed = set(export.missing)
    for path in export.paths:
        entry = export.entries.get(path)
        raw, said = _bytes_of(folder / path)
        if entry is None or said or _state(raw, entry) is State.EDITED:
            changed.add(path)
    if _settings_changed(export):
        changed.add(settings.NAME)
    return tuple(sorted(changed))


def _paths_in(folder: Path) -> Iterator[str]:
    """Yield the YAML files below a folder; hidden files and folders (`.git`) are nobody's objects."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [each for each in folders if not each.startswith(".")]
        below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        objects = (str(below / each) for each in files if each.endswith(_SUFFIXES) and not each.startswith("."))
        yield from (path for path in objects if path != settings.NAME)


def _bytes_of(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes, at most one more than are taken, and what is wrong with it."""
    try:
        if path.is_symlink() or not path.is_file():  # opening a pipe would wait for ever, and a link may lead anywhere
            return b"", "is no file of its own"
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1), ""
    except OSError as error:
        return b"", f"cannot be read: {why(error)}"


def _settings_changed(export: Export) -> bool:
    file = export.folder / settings.NAME
    if not file.exists():
        return bool(export.manifest.settings_sha256)
    raw, said = _bytes_of(file)
    return bool(said) or hashlib.sha256(raw).hexdigest() != export.manifest.settings_sha256


def _state(raw: bytes, entry: Entry) -> State:
    return State.UNTOUCHED if hashlib.sha256(raw).hexdigest() == entry.sha256 else State.EDITED


def _twice(stored: Stored, first: str) -> Stored:
    line, column = stored.read.place(("metadata", "name"))
    said = f"is the same object as {first}"
    problem = Problem(
        stored.path, line, column, "metadata.name", said, "remove one", stored.read.line(line), Rule.BETWEEN_KEYS
    )
    return replace(stored, read=replace(stored.read, problems=(problem,)), identity=None)
