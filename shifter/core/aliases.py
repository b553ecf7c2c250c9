"""Names made unreadable and still tellable apart: for a support dump whose reader must not learn who somebody is.

Secrets are `redaction.py`'s and go without a trace. A name is worth something to the reader as long as it is the same
one everywhere: so each has an alias that never changes within one dump.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

_ENDINGS: Final = "com|cn|net|org|io|dev|cloud|local|internal|intranet|corp|lan|home|svc|invalid|test|example"
_IS_ALIAS = re.compile(r"(?:name|host|user|ip|ins|lb|lbl|loc|eni|vpc|subnet|cls|sg|tke|mesh)-\d{1,6}")
_FORMS: Final = (
    ("user", re.compile(r"(?<![\w.+-])(?P<it>[A-Za-z0-9][\w.+-]{0,63})(?=@[A-Za-z0-9])")),
    ("ip", re.compile(r"(?<![\w.])(?P<it>(?:\d{1,3}\.){3}\d{1,3})(?![\w.]*\w)")),
    (
        "ip",
        re.compile(
            r"(?<![\w:.])(?P<it>(?=[0-9A-Fa-f:]*::|(?:[0-9A-Fa-f]+:){7})(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:.])"
        ),
    ),
    ("host", re.compile(r"(?P<before>://)(?P<it>(?!\*\*\*@|host-\d|ip-\d)[A-Za-z0-9][\w.-]*)")),
    (
        "host",
        re.compile(
            rf"(?<![\w.-])(?P<it>(?!shifter\.io\b)(?!clb\.tencentcloudapi\.com\b)(?:[A-Za-z0-9*][\w-]*\.)+(?:{_ENDINGS}))"
            r"(?![\w-])"
        ),
    ),
    ("id", re.compile(r"\b(?P<kind>ins|lb|lbl|loc|eni|vpc|subnet|cls|sg|mesh)-[a-z0-9]{4,}\b")),
)


class Aliases:
    """Replaces names consistently, so that who reads can still tell them apart: `shop` is `name-1` everywhere.

    Replaced are the names given, addresses (IPv4 and IPv6), ids of the cloud's objects, users before an @, and host
    names in URLs or with a usual ending.

    Args:
        names: what to replace besides what is known by its form, by kind (`name`, `host`, `user`), most telling first.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._given: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        for kind, each in names.items():
            for name in sorted({one for one in each if one}):
                self._alias(kind, name)
        words = sorted(self._given, key=lambda word: (-len(word), word))
        known = "|".join(re.escape(word) for word in words)
        # A name within a longer word with - is somebody's pod or host, so it counts; within letters it does not.
        self._known = re.compile(rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])") if words else None

    def apply(self, text: str) -> str:
        """Return the text with everything replaced."""
        for kind, pattern in _FORMS:
            text = pattern.sub(self._replacing(kind), text)
        if self._known is not None:
            text = self._known.sub(lambda found: self._given[found[0]], text)
        return text

    def _replacing(self, kind: str) -> Callable[[re.Match[str]], str]:
        def replaced(found: re.Match[str]) -> str:
            before = found.groupdict().get("before") or ""
            if kind == "id":
                return self._alias(f"{found['kind']}", found[0])
            return before + self._alias(kind, found["it"])

        return replaced

    def _alias(self, kind: str, word: str) -> str:
        if _IS_ALIAS.fullmatch(word):
            return word
        if word not in self._given:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._given[word] = f"{kind}-{self._counts[kind]}"
        return self._given[word]
