"""What must not be shown to strangers, and text without it: one list of what sounds like a secret, for everybody.

By form and not by knowledge: the files of keys are never read, so a key is known only by what it looks like and by
what stands before it. When in doubt it is blacked out: a support dump with a hole is better than one with a key.
What no form gives away (a password told in a sentence) stays; people are told to look before they send. Names are
no secrets; who wants them replaced as well finds that in `aliases.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

HIDDEN: Final = "***"

_TELLING: Final = (
    r"secret|token|passw|passphrase|pwd|api[_-]?key|private[_-]?key|access[_-]?key|auth[_-]?key"
    r"|encryption[_-]?key|credential|authorization|signature|cookie|bearer|session[_-]?(?:id|key)|key\b"
)
_SECRET_KEY = re.compile(_TELLING, re.IGNORECASE)
_NAMES_A_FILE = re.compile(r"(?:file|path|dir|directory)$", re.IGNORECASE)
_PATH = re.compile(r"(?:~|\.{1,2})?/[\w.@+-]+(?:/[\w.@+-]+)*/?")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
# Repetitions have an end: a log may hold a line of a million letters.
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}://)[^/\s\"'<>]{0,500}@")
_URL_REST = re.compile(r"(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s\"'<>?#]{1,2000})[?#][^\s\"'<>]*")
_SCHEME_WORD = re.compile(r"\b(?P<scheme>bearer|basic|TC3-HMAC-SHA256)\s+(?P<value>[^\s\"',;]+[^\"\n]*)", re.IGNORECASE)
_HEADER = re.compile(r"(?P<name>cookie|authorization)(?P<to>\s{0,9}[:=]\s{0,9})(?=[^\s\"'])[^\n\"]*", re.IGNORECASE)
_KEY_ID = re.compile(r"\b(?P<kind>AKID|IKID|AKIA|ASIA|LTAI)[A-Za-z0-9]{6,}")
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]*(?:\.[\w-]*)?")
_VALUE: Final = (
    r"""(?P<value>\\?"(?:[^"\\]|\\.)*(?:"|$)"""  # in quotes, perhaps escaped; or with the second one lost
    r"""|'[^']*(?:'|$)"""
    r"""|[^"'\s,;}\]&][^,;}\]&\n"]*)"""  # bare: up to what ends a value somewhere
)
_PAIR = re.compile(
    rf"""(?P<before>(?P<key>(?:{_TELLING})[\w.-]{{0,60}})\\?["']?\s{{0,9}}[:=]\s{{0,9}}){_VALUE}""", re.IGNORECASE
)
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_LONGEST_PLAIN_WORD: Final = 19
_LONGEST_LETTERS: Final = 31
_YAML_KEY = re.compile(r"""^(?P<indent>[ \t]*(?:- +)*)(?P<quote>["']?)(?P<key>[\w.-]+)(?P=quote)\s*:(?P<rest>.*)$""")


def is_telling(key: str) -> bool:
    """Return whether a key sounds as if its value were a secret: `password`, `X-TC-Token`, `tls.key`."""
    return _SECRET_KEY.search(key) is not None


def gives_away(key: str, value: str) -> bool:
    """Return whether a value is a secret, going by its key.

    `secretKeyFile: /etc/key` helps and gives nothing away; a key that somebody wrote there instead of a path does.
    """
    return is_telling(key) and not _only_names_a_file(key, value)


def redacted(text: str) -> str:
    """Return text without secrets: values of telling keys, headers, key ids, URL credentials, long random words."""
    text = _PEM.sub(HIDDEN, text)
    text = _USER_INFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _URL_REST.sub(rf"\g<url>?{HIDDEN}", text)
    text = _HEADER.sub(rf"\g<name>\g<to>{HIDDEN}", text)
    text = _PAIR.sub(_without_value, text)
    text = _SCHEME_WORD.sub(rf"\g<scheme> {HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    text = _KEY_ID.sub(rf"\g<kind>{HIDDEN}", text)
    return _RUN.sub(lambda found: HIDDEN if _looks_random(found[0]) else found[0], text)


def redacted_yaml(text: str) -> str:
    """Return a YAML text without secrets, line for line: also values that go on below their key."""
    return "\n".join(redacted(line) for line in without_values(_PEM.sub(HIDDEN, text).split("\n")))


def without_values(lines: Iterable[str]) -> Iterator[str]:
    """Yield YAML lines, as many as came: without what telling keys hold, on their lines and on those below."""
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip(" \t"))
        if inside is not None:
            item_of_it = indent == inside and line.lstrip().startswith("- ")
            if not line.strip() or indent > inside or item_of_it:
                yield f"{' ' * indent}{HIDDEN}" if line.strip() else line
                continue
            inside = None
        found = _YAML_KEY.match(line)
        if found is None or not gives_away(found["key"], found["rest"].split(" #")[0].strip("\"' ")):
            yield line
            continue
        inside = len(found["indent"])
        yield f"{line[: found.start('rest')]} {HIDDEN}"


def redacted_log(text: str) -> str:
    """Return log lines without secrets. A line that is a JSON object is taken apart, so that nothing hides in it."""
    return "\n".join(_log_line(line) for line in _PEM.sub(HIDDEN, text).split("\n"))


def redacted_value(value: object) -> object:
    """Return a JSON value without secrets: what telling keys hold, whatever it is, and what texts give away."""
    match value:
        case dict():
            return {redacted(str(key)): _held(str(key), inner) for key, inner in value.items()}
        case list() | tuple():
            return [redacted_value(each) for each in value]
        case str():
            return redacted(value)
        case _:
            return value


def _held(key: str, value: object) -> object:
    if not is_telling(key):
        return redacted_value(value)
    if value is None or isinstance(value, bool):
        return value
    return value if isinstance(value, str) and not gives_away(key, value) else HIDDEN


def _log_line(line: str) -> str:
    if line.lstrip().startswith("{"):
        try:
            return json.dumps(redacted_value(json.loads(line)), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return redacted(line)


def _without_value(found: re.Match[str]) -> str:
    value = found["value"].strip("\"'\\ ")
    return f"{found['before']}{HIDDEN}" if gives_away(found["key"], value) else found[0]


def _only_names_a_file(key: str, value: str) -> bool:
    if not _NAMES_A_FILE.search(key) or not _PATH.fullmatch(value.strip()):
        return False
    return not any(_looks_random(part) for part in _RUN.findall(value))


def _looks_random(word: str) -> bool:
    """Return whether a word of 20 characters or more is rather a key than a name.

    Names are words with `-`, `_` or `/` between them (pods, ids, paths), and random ids of Kubernetes are short and
    of lower case. Request ids are UUIDs and are what Tencent's support asks for.
    """
    if _UUID.fullmatch(word):
        return False
    parts = re.split(r"[-_/=+]", word)
    if any(len(part) > _LONGEST_LETTERS or (len(part) > _LONGEST_PLAIN_WORD and _mixed(part)) for part in parts):
        return True
    if "/" in word and _PATH.fullmatch(word):
        return any(_of_all_kinds(part) and len(part) > _LONGEST_PLAIN_WORD for part in word.split("/"))
    return _of_all_kinds(word) and len(word) > _LONGEST_PLAIN_WORD and not _camel(word)


def _mixed(word: str) -> bool:
    return any(char.isdigit() for char in word) and any(char.isalpha() for char in word)


def _of_all_kinds(word: str) -> bool:
    return _mixed(word) and any(char.islower() for char in word) and any(char.isupper() for char in word)


def _camel(word: str) -> bool:
    """Return whether a word is made of words: few changes between kinds of characters for its length."""
    kinds = ["u" if char.isupper() else "l" if char.islower() else "d" for char in word if char.isalnum()]
    changes = sum(before != after for before, after in pairwise(kinds))
    return changes * 4 < len(kinds)
