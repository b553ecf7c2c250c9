"""Kubeconfig files as kubectl reads them: several as one, and what one context in them chooses.

The client library reads them otherwise: of several files the *last* one's current context counts, where kubectl takes
the first one's, and two tools that are pointed at the same files then talk to different clusters. It also knows neither
`--cluster` nor `--user` nor whom a user acts as. So files are read here; nothing is sent, and no log-in done.

Source: "Organizing Cluster Access Using kubeconfig Files" and kubeconfig (v1) in the Kubernetes documentation.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from shifter.core.text import did_you_mean, plain, some
from shifter.errors import ConfigError

VARIABLE: Final = "KUBECONFIG"
_MOST_BYTES: Final = 4 * 1024**2
_MOST_NAMES: Final = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A named cluster or user and the folder from which its relative paths start."""

    what: str
    name: str
    fields: Mapping[str, Any]
    folder: Path

    def __str__(self) -> str:
        """Return what people call it: `user "ann"`."""
        return f'{self.what} "{self.name}"'

    def text(self, key: str) -> str:
        """Return a field; empty if there is none.

        Raises:
            ConfigError: it is no text.
        """
        value = self.fields.get(key)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{key} of {self} in the kubeconfig is no text")
        return value or ""

    def path(self, key: str) -> Path | None:
        """Return a field that names a file, from here; None if there is none."""
        text = self.text(key)
        return self.folder / Path(text).expanduser() if text else None

    def content(self, key: str) -> bytes | None:
        """Return what the field `<key>-data` holds in base64, or the file named by the field `<key>`; None if neither.

        Raises:
            ConfigError: it is not base64, or the file cannot be read.
        """
        if encoded := self.text(f"{key}-data"):
            try:
                return base64.b64decode(encoded, validate=True)
            except ValueError as error:  # base64's errors are
                raise ConfigError(f"{key}-data of {self} in the kubeconfig is not base64") from error
        path = self.path(key)
        if path is None:
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{path}, the {key} of {self} in the kubeconfig, cannot be read: {_why(error)}"
            ) from error


@dataclass(frozen=True, slots=True)
class Choice:
    """What is talked to, and as whom; `context` is empty if both were named otherwise."""

    context: str
    cluster: Entry
    user: Entry


@dataclass(frozen=True, slots=True)
class _Merged:
    """What the files say together: of two entries by one name, and of two current contexts, the first counts."""

    files: str
    current: str
    entries: Mapping[str, Mapping[str, Entry]]

    def find(self, what: str, name: str, by: str) -> Entry:
        """Return an entry; `by` says who wants it, for people."""
        known = self.entries[what]
        if name in known:
            return known[name]
        there = f"there are: {some(sorted(known), _MOST_NAMES)}" if known else "there is none"
        hint = did_you_mean(name, sorted(known))
        sentence = f'{by} the {what} "{plain(name)}", which is not in {self.files}; {there}'
        raise ConfigError(f"{sentence}; {hint}" if hint else sentence)


def files_named(named: str, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files that somebody named: one by flag, else those of KUBECONFIG; empty if nobody named any."""
    if named:
        return (Path(named).expanduser(),)
    return tuple(Path(each).expanduser() for each in environ.get(VARIABLE, "").split(os.pathsep) if each)


def choose(paths: Sequence[Path], *, context: str = "", cluster: str = "", user: str = "") -> Choice:
    """Return what kubectl would talk to.

    Args:
        paths: the files, the first one first; those that do not exist are left out unless it is all of them.
        context: one by name; empty for the current one.
        cluster: instead of the context's.
        user: instead of the context's.

    Raises:
        ConfigError: a file cannot be read or is no kubeconfig, or what is named is not there.
    """
    merged = _merged(paths)
    name = context or merged.current
    if not name and not (cluster and user):
        known = some(sorted(merged.entries["context"]), _MOST_NAMES) or "none"
        raise ConfigError(
            f"no context is current in {merged.files}; name one by --context or kubectl config use-context: {known}"
        )
    found = merged.find("context", name, "--context names" if context else "current-context names") if name else None
    by = f'context "{name}" names'
    cluster_name = cluster or (found.text("cluster") if found else "")
    user_name = user or (found.text("user") if found else "")
    return Choice(
        name,
        merged.find("cluster", cluster_name, "--cluster names" if cluster else by),
        merged.find("user", user_name, "--user names" if user else by) if user_name else Entry("user", "", {}, Path()),
    )


def _merged(paths: Sequence[Path]) -> _Merged:
    there = [path for path in paths if path.exists()]
    files = some((str(path) for path in there or paths), _MOST_NAMES)
    if not there:
        raise ConfigError(
            f"there is no kubeconfig {files}; name one by --kubeconfig or {VARIABLE}, or log in to the cluster"
        )
    documents = [(path, _document(path)) for path in there]
    entries: dict[str, dict[str, Entry]] = {"context": {}, "cluster": {}, "user": {}}
    for path, document in documents:
        for what, known in entries.items():
            for name, fields in _named(path, document, what):
                known.setdefault(name, Entry(what, name, fields, path.absolute().parent))
    currents = (document.get("current-context") for _, document in documents)
    return _Merged(files, next((each for each in currents if isinstance(each, str) and each), ""), entries)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the kubeconfig {path} cannot be read: {_why(error)}") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"the kubeconfig {path} is larger than {_MOST_BYTES // 1024**2} MiB")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        # Not in the words of the error, which quote the line: it may hold a token.
        raise ConfigError(f"the kubeconfig {path}{place} is no YAML") from None
    if document is None:
        return {}  # as `kubectl config unset` leaves it
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no kubeconfig: it must be a mapping with clusters, users and contexts")
    return document


def _named(path: Path, document: Mapping[str, Any], what: str) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    entries = document.get(f"{what}s") or []
    for each in entries if isinstance(entries, list) else [entries]:
        match each:
            case {"name": str(name), **rest} if rest.get(what) is None:
                found.append((name, {}))
            case {"name": str(name), **rest} if isinstance(fields := rest[what], dict):
                found.append((name, fields))
            case _:
                raise ConfigError(f"{path} is no kubeconfig: {what}s must be a list of {{name: ..., {what}: {{...}}}}")
    return found


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
