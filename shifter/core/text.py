"""Text made fit to be kept and shown: no control characters, no lone surrogates, no novels.

And the sentences' small parts that every place needs: the word that somebody probably meant, a few of many names, and
why a file cannot be used.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

LONGEST = 500
"""More characters of somebody else's message help nobody."""

LONGEST_WORD = 60
"""Of a longer word only so much is compared: comparing it all would take long."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line, printable, valid Unicode and at most `longest` characters."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in valid).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def shortened(text: str, longest: int) -> str:
    """Return `text`; of a longer one its beginning and how long it was, in `longest` characters (40 or more)."""
    if len(text) <= longest:
        return text
    mark = f"… ({len(text)} characters)"
    return text[: longest - len(mark)] + mark


def closest(word: str, known: Sequence[str]) -> str:
    """Return the known word that was probably meant, empty if none: case, `_` and `-` do not count, a letter may."""
    by_letters = {each.lower(): each for each in known}  # loadbalancer, load_balancer
    same = by_letters.get(re.sub(r"[_-]", "", word[:LONGEST_WORD]).lower())
    return same or next(iter(difflib.get_close_matches(word[:LONGEST_WORD], known, n=1)), "")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a suggestion of the known word that comes closest; empty if none does."""
    close = closest(word, known)
    return f'did you mean "{close}"?' if close else ""


def some(names: Iterable[str], most: int) -> str:
    """Return the first `most` names, in the order given, and how many more there are; empty if there is none."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def so_many(number: float, noun: str) -> str:
    """Return a number, rounded, with its noun: `1 request`, `12 requests`."""
    return f"{number:.0f} {noun}" + ("" if round(number) == 1 else "s")


def why(error: Exception) -> str:
    """Return what the system says is wrong, without the file that the sentence around it names; else all it says."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
