"""Keys in files: mounted secrets, read again whenever a file changes, never shown.

A mounted Kubernetes Secret is replaced as a whole (a symlink moves), so the files are read together and read
again if one of them changed meanwhile: an old id with a new key would look like a stolen pair.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TypeAlias

from shifter.errors import ProviderRefusedError

HIDDEN = "***"
_REMEDY = "write one word into the file, readable for this user: id and key belong together"
_READS_AT_MOST = 3
_MAX_BYTES = 16 * 1024
_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class FileCredentials:
    """A key pair in two files, optionally with a session token in a third. Safe to use from several threads.

    Nothing is read before the first `refresh`. The SDK asks for the pair through `get_credential_info`.
    """

    def __init__(self, secret_id_file: str, secret_key_file: str, token_file: str | None = None) -> None:
        self._paths = [Path(name) for name in (secret_id_file, secret_key_file, token_file) if name is not None]
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._values: tuple[str, ...] = ()

    def refresh(self) -> None:
        """Read the files if one of them changed since the last time.

        Raises:
            ProviderRefusedError: a file cannot be read, is empty or not one word of text; names the file only.
        """
        with self._lock:
            for _ in range(_READS_AT_MOST):
                stamp = tuple(_stat(path) for path in self._paths)
                if stamp == self._stamp:
                    return
                self._values = tuple(_read(path) for path in self._paths)
                self._stamp = stamp
                if stamp == tuple(_stat(path) for path in self._paths):
                    return
            self._stamp = None
            raise ProviderRefusedError(
                f"{self._paths[0]} keeps changing while it is read", remedy="look again: something rewrites it"
            )

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """Return (id, key, token) as last read; the name and the order are the SDK's."""
        secret_id, secret_key, *token = self._values
        return secret_id, secret_key, token[0] if token else None

    def hide(self, text: str) -> str:
        """Return the text with every secret in it blacked out."""
        for secret in self._values:
            text = text.replace(secret, HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(str(path) for path in self._paths)})"


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("ascii").strip()
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError:
        # Its message quotes the bytes, so it must not be the cause.
        raise ProviderRefusedError(f"credential file {path} is not plain text", remedy=_REMEDY) from None
    if not text or len(text.split()) != 1:
        raise ProviderRefusedError(f"credential file {path} must hold exactly one word", remedy=_REMEDY)
    return text


def _unreadable(path: Path, error: OSError) -> ProviderRefusedError:
    reason = os.strerror(error.errno) if error.errno is not None else type(error).__name__
    return ProviderRefusedError(f"credential file {path} cannot be read: {reason}", remedy=_REMEDY)
