"""What stdout and stderr can carry, and what becomes of a command when they cannot: closed, full, gone, not UTF-8.

The rules: a reader that went away (`| head`) ends a command quietly, a full disk is an error, a stream that was
closed before the start is nobody to talk to, and a terminal that knows no `·` gets `/`. None of them is a
traceback, and none keeps an order from being recorded.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from typing import Final, TextIO

_IN_ASCII: Final = {"·": "/", "→": "->", "…": "...", "\u00d7": "x"}
_HANDLER: Final = "shifter.ascii"
_CODEC: Final = "shifter_ascii"


def prepare() -> None:
    """Make the three standard streams usable, whatever this was started with. For an entry point."""
    codecs.register_error(_HANDLER, in_ascii)
    codecs.register(_codec)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free descriptor is the one that was closed; left free, it would become a database's, and
            # what a child prints would be written into it.
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))
    sys.stdout = _remembering(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not (name := codecs.lookup(stream.encoding).name).startswith("utf"):
            # click takes a stream that says `ascii` for misconfigured, and would write UTF-8 to it.
            stream.reconfigure(encoding=_CODEC if name == "ascii" else None, errors=_HANDLER)


def in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that a stream cannot carry, and where to go on: a codec error handler."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lost), error.end


def carries(text: str) -> bool:
    """Return whether stdout can carry a text as it is."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def output_error() -> OSError | None:
    """Return why what was written to stdout cannot be delivered; None if it was. Whatever is left is discarded."""
    return _undelivered(sys.stdout)


def write_bytes(content: bytes) -> None:
    """Write what is no text to stdout, at once.

    Raises:
        OSError: it cannot be delivered.
    """
    stream = sys.stdout
    stream.flush()
    try:
        stream.buffer.write(content)
        stream.buffer.flush()
    except OSError as error:
        if isinstance(stream, _Remembering):
            stream.lost = error
        raise


def quietly(write: Callable[[], object]) -> None:
    """Write to stderr; if nobody can be told there, go on all the same."""
    try:
        write()
    except OSError:
        _undelivered(sys.stderr)


def _codec(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under a name of ours: a codec search function."""
    ascii_ = codecs.lookup("ascii")
    return (
        codecs.CodecInfo(*ascii_[:4], ascii_.incrementalencoder, ascii_.incrementaldecoder, name)
        if name == _CODEC
        else None
    )


class _Remembering(io.TextIOWrapper):
    """A stream that still knows, at the end of a command, that something was not delivered.

    A text that is longer than the buffer fails while it is written, is forgotten, and the flush at the end succeeds.
    """

    lost: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.lost = error
            raise


def _remembering(stream: TextIO) -> TextIO:
    """Return a stream that remembers what it could not deliver. Lines leave at once where they did before."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding, errors, lines = stream.encoding, stream.errors, stream.line_buffering
    buffer = stream.detach()
    if isinstance(buffer, io.RawIOBase):  # PYTHONUNBUFFERED
        buffer, lines = io.BufferedWriter(buffer), True
    return _Remembering(buffer, encoding, errors, line_buffering=lines)


def _undelivered(stream: TextIO) -> OSError | None:
    lost = stream.lost if isinstance(stream, _Remembering) else None
    try:
        stream.flush()
    except OSError as error:
        lost = lost or error
    if lost is not None:
        # The interpreter flushes once more at its end, and would complain about what is still in the buffer.
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)
    return lost
