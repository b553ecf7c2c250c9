"""A folder of texts as one compressed file: the same bytes for the same content, written whole or not at all.

Readable for its owner alone, and never over a file that is there, unless that is asked for.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from shifter.errors import RefusedError

_MODE: Final = 0o600
_UNLINKABLE: Final = (PermissionError, NotImplementedError)


def archive(folder: str, entries: Mapping[str, str], at: datetime) -> bytes:
    """Return a tar.gz with one folder; entries are by name, in UTF-8, sorted, and all of the time `at`."""
    packed = io.BytesIO()
    seconds = int(at.timestamp())
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=seconds) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(entries):
            content = entries[name].encode("utf-8", "replace")
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(content), seconds, _MODE
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def write_whole(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file that is there as a whole or not at all, with mode 0600.

    Args:
        path: the file; its directory must be there.
        content: all of it.
        replace: whether one that is there may be replaced.

    Raises:
        RefusedError: there is one already, and it may not be replaced.
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(name).replace(path)
        else:
            _place(Path(name), path)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _place(whole: Path, path: Path) -> None:
    try:
        # A link fails if the name is taken, in one step; a rename would replace whatever came in between.
        os.link(whole, path)
    except FileExistsError as error:
        raise RefusedError(f"{path} is there already") from error
    except _UNLINKABLE:  # a filesystem without links
        if path.exists():
            raise RefusedError(f"{path} is there already") from None
        whole.rename(path)
