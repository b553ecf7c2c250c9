"""Text from outside, made fit to be kept and shown: no control characters, no lone surrogates, no novels."""

from __future__ import annotations

LONGEST = 500
"""More characters of somebody else's message help nobody."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line, printable, valid Unicode and at most `longest` characters."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in valid).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
