"""What must not be shown to strangers, and text without it: one list of what sounds like a secret, for everybody.

By form and not by knowledge: the files of keys are never read, so a key is known only by what it looks like and by
what stands before it. When in doubt it is blacked out, to the end of the line and below it: a support dump with a hole
is better than one with a key. What no form gives away (a password told in a sentence) stays; people are told to look
before they send. Names are no secrets; who wants them replaced as well finds that in `aliases.py`.

Texts come from files that nobody wrote for us. So lines are cut before an expression sees them, and no expression
looks at a character more often than a fixed number of times: what repeats is possessive and begins at a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

HIDDEN: Final = "***"
LONGEST_LINE: Final = 4096
"""Characters; what is behind them is left out."""

CUT: Final = "... (cut)"

_TELLING = re.compile(
    r"secret|token|passw|pass(?![a-z])|passphrase|pwd|api[_-]?key|private[_-]?key|access[_-]?key|auth[_-]?key"
    r"|encryption[_-]?key|credential|authorization|signature|cookie|bearer|session[_-]?(?:id|key)|key\b"
    r"|密码|口令|密钥|令牌|凭证|凭据",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\[xuU][0-9a-fA-F]{2}")  # in a key there is no other reason for it than to be misread
_NAMES_A_FILE = re.compile(r"(?:file|path|dir|directory)$", re.IGNORECASE)
_PATH: Final = r"(?:~|\.{1,2})?/[\w.@+-]++(?:/[\w.@+-]++)*+/?"
_IS_PATH = re.compile(_PATH)
_A_PATH = re.compile(rf"""[\s"'\\]*+(?P<path>{_PATH})[\s"'\\]*+(?=$|[,;}}\])&]|(?<=\s)#)""")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]++-----.*?(?:-----END [A-Z0-9 ]++-----|\Z)", re.DOTALL)

_WORD = re.compile(r"(?<![\w.\\-])[\w.\\-]++")
_TO_VALUE = re.compile(r"""["'\\)\]}]*+\s*+[:=>\uff1a\uff1d]++""")
_TO_NEXT = re.compile(r"""["'\\)\]}]*+\s*+(?:[,\uff0c<]|$|(?<=\s)#)""")
_NOTHING = re.compile(r"""(?:[\s"'\\\[\](){}|<>,+-]|[!&][^\s,]*+)*+(?:#.*)?""")
_ITEM = re.compile(r"[ \t]*+(?:- ++)*+")
_NAME_OF = re.compile(
    r"""(?<![\w-])(?:name|key|var|variable|env|field|id)["'\\]{0,2}\s{0,9}[:=>]+\s{0,9}["'\\]{0,2}$""", re.IGNORECASE
)
_VALUE_OF = re.compile(r"""\bvalue["'\\]{0,2}\s{0,9}[:=>]""", re.IGNORECASE)
_BEFORE_VALUES: Final = ":=>\uff1a\uff1d"  # also as Chinese input methods type them
_LOOKED_BEFORE: Final = 40
_ESCAPE = re.compile(r"\\.")
_CLOSING: Final = {'"': '"', "'": "'", "[": "]", "{": "}"}

_QUERY = re.compile(r"(?P<url>//[^\s\"'<>?#]++)(?P<more>[?#]?)[^\s\"'<>]*+")
_NO_SCHEME = re.compile(r"(?<!\S)(?P<before>[\"'(\[{]*+)[\w.+-]++:(?!//)(?=[^\s\"'])\S*@")
_SCHEME_WORD = re.compile(
    r"\b(?P<scheme>bearer|basic|TC3-HMAC-SHA256|digest(?=\s\w{1,20}=))\s++[^\s\"',;].*", re.IGNORECASE
)
_KEY_ID = re.compile(r"\b(?P<kind>AKID|IKID|AKIA|ASIA|LTAI)[A-Za-z0-9]{6,}+")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+\.[\w-]*+(?:\.[\w-]*+)?")
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{20,}+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_LONGEST_PLAIN_WORD: Final = 19
_LONGEST_LETTERS: Final = 31


def is_telling(key: str) -> bool:
    """Return whether a key sounds as if its value were a secret: `password`, `X-TC-Token`, `tls.key`."""
    return _TELLING.search(key) is not None


def gives_away(key: str, value: str) -> bool:
    """Return whether a value is a secret, going by its key.

    `secretKeyFile: /etc/key` helps and gives nothing away; a key that somebody wrote there instead of a path does.
    """
    return is_telling(key) and not _only_names_a_file(key, value)


def redacted(text: str) -> str:
    """Return text without secrets, line for line: values of telling keys, key ids, credentials, long random words.

    Of a line longer than `LONGEST_LINE` the beginning.
    """
    return "\n".join(_without_forms(line) for line in without_values(_without_pem(text).split("\n")))


def without_values(lines: Iterable[str]) -> list[str]:
    """Return lines, as many as came: without credentials, and what telling keys hold, on their lines and below."""
    hiding = _Hiding()
    for line in lines:
        hiding.add(line)
    return hiding.lines


def redacted_log(text: str) -> str:
    """Return log lines without secrets. A line that is a JSON value is taken apart, so that nothing hides in it."""
    hiding = _Hiding()
    for line in _without_pem(text).split("\n"):
        taken_apart = "" if hiding.is_open else _json_line(line)
        if taken_apart:
            hiding.lines.append(taken_apart)
        else:
            hiding.add(line)
            hiding.lines[-1] = _without_forms(hiding.lines[-1])
    return "\n".join(hiding.lines)


def redacted_value(value: object) -> object:
    """Return a JSON value without secrets: what telling keys hold, whatever it is, and what texts give away."""
    match value:
        case dict():
            named = any(str(key).lower() in {"name", "key"} and is_telling(str(each)) for key, each in value.items())
            return {
                redacted(str(key)): HIDDEN if named and str(key).lower() == "value" else _held(str(key), inner)
                for key, inner in value.items()
            }
        case list() | tuple():
            return list(_entries(value))
        case str():
            return redacted(value)
        case _:
            return value


class _Hiding:
    """Takes lines one after the other and remembers whether the next still belongs to a telling key above it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._last = ""
        self._key_at = -1  # where the key's line begins; its value is below as long as lines begin further right
        self._least: int | None = None  # the next line is hidden if it begins there or further right
        self._closing = ""  # what ends a quotation or list that is still open

    @property
    def is_open(self) -> bool:
        """Whether the next line may belong to a key above it, wherever it begins."""
        return self._least is not None or bool(self._closing)

    def add(self, line: str) -> None:
        """Take a line; what is left of it is then the last of `lines`."""
        indent = len(line) - len(line.lstrip(" \t"))
        if not line.strip():
            self.lines.append("")
        elif self._goes_on(line, indent):
            self.lines.append(f"{' ' * indent}{HIDDEN}")
        else:
            # What goes on below is seen in the line as it came: a credential may reach over a key.
            self._note(line[:LONGEST_LINE])
            self.lines.append(_shown(line))
        self._last = line

    def _goes_on(self, line: str, indent: int) -> bool:
        if self._closing:
            self._closing = "" if self._closing in _ESCAPE.sub("", line) else self._closing
            return True
        if self._least is not None and indent >= self._least:
            self._least = None if not line.lstrip().startswith("#") else self._least
            return True
        self._least = None
        if 0 <= self._key_at < indent or (indent == self._key_at and line.lstrip().startswith("- ")):
            return True
        self._key_at = -1
        return False

    def _note(self, line: str) -> None:
        at, named = _value_at(line)
        if at is None:
            return
        begin = _begin(line)
        if not line.lstrip().startswith("#"):
            self._key_at = begin
        if named:  # `name: DB_PASSWORD`; its value is beside it
            self._least = begin
            if self.lines and _VALUE_OF.search(self._last[:LONGEST_LINE]) and _begin(self._last) == begin:
                self.lines[-1] = HIDDEN
        elif _NOTHING.fullmatch(line, at):
            self._least = 0
        opened = _ESCAPE.sub("", line[at:]).lstrip()
        closing = _CLOSING.get(opened[:1], "")
        self._closing = closing if closing not in opened[1:] else ""


def _value_at(line: str) -> tuple[int | None, bool]:
    """Return where the first secret of a line begins, and whether its key is told as a name: `name: DB_PASSWORD`."""
    at: int | None = None
    named = False
    for word in _WORD.finditer(line):
        if not is_telling(word[0]) and not _ESCAPED.search(word[0]):
            continue
        start, end = word.span()
        is_name = bool(_NAME_OF.search(line[max(0, start - _LOOKED_BEFORE) : start]) and _TO_NEXT.match(line, end))
        at = _after(line, word, is_name=is_name) if at is None else at
        named = named or is_name
    value = _VALUE_OF.search(line) if named else None
    return (at if value is None or at is None else min(at, value.end())), named


def _after(line: str, word: re.Match[str], *, is_name: bool) -> int | None:
    """Return where the value of a telling word begins; None if it has none or names a file."""
    before = line[: word.start()].rstrip(" \t\"'\\")
    if before.endswith("</"):
        return None
    to_next = _TO_NEXT.match(line, word.end())
    if to_value := _TO_VALUE.match(line, word.end()):
        at = to_value.end()
    elif word[0].startswith("-") or before.endswith("<"):  # --password X, <password of="ann">X
        at = word.end()
    elif to_next and (is_name or not before or before[-1] in ",[{(?-" or (before[-1] in ":=>" and to_next[0].strip())):
        at = to_next.end()
    else:
        return None
    path = _A_PATH.match(line, at)
    return None if path and _only_names_a_file(word[0], path["path"]) else at


def _begin(line: str) -> int:
    found = _ITEM.match(line)
    return found.end() if found else 0


def _shown(line: str) -> str:
    """Return a line without credentials and without what its telling keys hold."""
    first, last = line.find("//"), line.rfind("@")
    if 0 <= first < last:  # a password may hold whatever it likes, an @, a / and a space
        line = f"{line[: first + 2]}{HIDDEN}{line[last:]}"
    line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}{CUT}"
    line = _NO_SCHEME.sub(rf"\g<before>{HIDDEN}@", line)
    at, _ = _value_at(line)
    if at is None or (at == len(line) and line[-1] not in _BEFORE_VALUES):
        return line
    return f"{line[:at]}{'' if line[at - 1] in _BEFORE_VALUES[1:] else ' '}{HIDDEN}"


def _without_forms(line: str) -> str:
    """Return a line without what looks like a secret by itself."""
    line = _QUERY.sub(lambda found: f"{found['url']}?{HIDDEN}" if found["more"] else found[0], line)
    line = _SCHEME_WORD.sub(rf"\g<scheme> {HIDDEN}", line)
    line = _JWT.sub(HIDDEN, line)
    line = _KEY_ID.sub(rf"\g<kind>{HIDDEN}", line)
    return _RUN.sub(lambda found: HIDDEN if _looks_random(found[0]) else found[0], line)


def _without_pem(text: str) -> str:
    return _PEM.sub(lambda found: "\n".join([HIDDEN] * (found[0].count("\n") + 1)), text)


def _held(key: str, value: object) -> object:
    if not is_telling(key):
        return redacted_value(value)
    if value is None or isinstance(value, bool):
        return value
    return value if isinstance(value, str) and not gives_away(key, value) else HIDDEN


def _entries(values: Iterable[object]) -> Iterator[object]:
    """Yield the entries of a list without secrets: also of `["--password", "X"]`."""
    awaited = False
    for value in values:
        yield HIDDEN if awaited else redacted_value(value)
        awaited = isinstance(value, str) and value.startswith("-") and is_telling(value)


def _json_line(line: str) -> str:
    """Return a line of JSON without secrets; empty if it is none, or so long that it is not looked at."""
    if line[:1] not in {"{", "["} or len(line) > LONGEST_LINE:
        return ""
    try:
        return json.dumps(redacted_value(json.loads(line)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _only_names_a_file(key: str, value: str) -> bool:
    if not _NAMES_A_FILE.search(key) or not _IS_PATH.fullmatch(value.strip()):
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
    if "/" in word and _IS_PATH.fullmatch(word):
        return any(_of_all_kinds(part) and len(part) > _LONGEST_PLAIN_WORD for part in word.split("/"))
    return _of_all_kinds(word) and not _camel(word)


def _mixed(word: str) -> bool:
    return any(char.isdigit() for char in word) and any(char.isalpha() for char in word)


def _of_all_kinds(word: str) -> bool:
    return _mixed(word) and any(char.islower() for char in word) and any(char.isupper() for char in word)


def _camel(word: str) -> bool:
    """Return whether a word is made of words: few changes between kinds of characters for its length."""
    kinds = ["u" if char.isupper() else "l" if char.islower() else "d" for char in word if char.isalnum()]
    changes = sum(before != after for before, after in pairwise(kinds))
    return changes * 4 < len(kinds)
