"""Finding the program that is meant: by a path that somebody gave, in the cache of verified ones, or on PATH.

The wrong release installs the wrong mesh without a word, so a program is taken only if it says that it is the release
that the file names, and, where its digest is pinned, only if its bytes are the pinned ones. Nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shifter.adapters.istioctl.running import run
from shifter.core.text import plain
from shifter.errors import ConfigError, NotFoundError
from shifter.ports.istioctl import IstioctlError

NAME: Final = "istioctl"
VERSION_TIMEOUT_SECONDS: Final = 20.0

_NO_SETTINGS: Final = str(Path(__file__).with_name("no_settings.yaml"))
"""A settings file must be there if one is named."""

_PASSED_ON: Final = frozenset({
    "HOME", "PATH", "TMPDIR", "LANG", "LC_ALL",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN",
})  # fmt: skip
"""What log-in plugins of kubeconfigs and proxies need. Nothing that istioctl itself would take for a setting."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which program is meant.

    `release` is Istio's version; `path` is what somebody gave, empty for a search; `sha256` is the pinned digest in
    hexadecimal, empty for none; `cache` is where verified ones lie, as `<release>/istioctl`.
    """

    release: str
    path: str = ""
    sha256: str = ""
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found, and what it says it is."""

    path: Path
    release: str


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that the tool is given: no `ISTIO...` of a person's shell changes a mesh."""
    # The settings file in a home directory could name another namespace for Istio.
    return {name: value for name, value in environ.items() if name in _PASSED_ON} | {"ISTIOCONFIG": _NO_SETTINGS}


def find(wanted: Wanted, environ: Mapping[str, str]) -> Program:
    """Return the program that is meant, after asking it what it is.

    Raises:
        NotFoundError: there is none, or none of this release; the text names all that were looked at.
        ConfigError: the one that was named is not the pinned one, or is no istioctl of the release.
    """
    if wanted.path:
        return _checked(Path(wanted.path), wanted, environ)
    refused: list[str] = []
    for path in _candidates(wanted, environ):
        try:
            return _checked(path, wanted, environ)
        except ConfigError as error:
            refused.append(str(error))
    said = "".join(f"; {each}" for each in refused)
    raise NotFoundError(
        f"no istioctl {wanted.release} on PATH or in the cache{said}",
        remedy=f"install istioctl {wanted.release}, or name it: --istioctl PATH",
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise ConfigError(f"{path} cannot be read: {why}") from error


def _candidates(wanted: Wanted, environ: Mapping[str, str]) -> Iterator[Path]:
    if wanted.cache is not None and (cached := wanted.cache / wanted.release / NAME).exists():
        yield cached
    if found := shutil.which(NAME, path=environ.get("PATH", os.defpath)):
        yield Path(found)


def _checked(path: Path, wanted: Wanted, environ: Mapping[str, str]) -> Program:
    if wanted.sha256 and (found := digest(path)) != wanted.sha256.lower():
        raise ConfigError(f"{path} is not the pinned program: its SHA-256 is {found}, not {wanted.sha256.lower()}")
    release = _release(path, environ)
    if release != wanted.release:
        raise ConfigError(f"{path} is istioctl {release}, and {wanted.release} is wanted")
    return Program(path, release)


def _release(path: Path, environ: Mapping[str, str]) -> str:
    argv = [str(path.absolute()), "version", "--remote=false", "--output=json"]
    try:
        said = run(argv, environ=clean(environ), timeout_seconds=VERSION_TIMEOUT_SECONDS)
    except IstioctlError as error:
        raise ConfigError(str(error)) from error
    try:
        answer: Any = json.loads(said.out) if said.exit_code == 0 else None
    except ValueError:
        answer = None
    match answer:
        case {"clientVersion": {"version": str(version)}} if version:
            return plain(version)
        case _:
            raise ConfigError(f"{path} does not say which istioctl it is (exit code {said.exit_code})")
