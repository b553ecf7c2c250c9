"""What is said about one key: a sentence, and values that it may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """What a key is, and values that it may have, the plainest first."""

    about: str
    examples: tuple[object, ...] = ()
