"""The kinds of problems that files have, each with a name that stays.

Sentences are for people and may be improved; a program that counts or mutes findings (`policy lint -o sarif`) needs a
name that a better sentence does not change. A name is never given to another kind, and never leaves without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Rule(StrEnum):
    """The name of a kind of problem, as SARIF and JSON carry it."""

    UNREADABLE = "unreadable-file"
    TOO_LARGE = "too-large"
    NOT_UTF8 = "not-utf-8"
    EMPTY = "empty-file"
    SYNTAX = "not-yaml"
    TAB = "tab"
    CHARACTER = "strange-character"
    SECOND_DOCUMENT = "second-document"
    TOO_DEEP = "too-deep"
    TOO_MANY = "too-many"
    DUPLICATE_KEY = "duplicate-key"
    BAD_KEY = "bad-key"
    DECORATION = "alias-anchor-tag"
    NO_VALUE = "no-value"
    UNKNOWN_KEY = "unknown-key"
    MISSING_KEY = "missing-key"
    UNSUPPORTED = "unsupported"
    RETIRED = "retired"
    WRONG_TYPE = "wrong-type"
    BAD_VALUE = "bad-value"
    BAD_NAME = "bad-name"
    BAD_DURATION = "bad-duration"
    BETWEEN_KEYS = "keys-disagree"
    KIND = "wrong-kind"
    STEPS = "steps"
    SIDES = "sides"
    CONFLICT = "claimed-twice"
    MISFIT = "beyond-the-fleet"
    SURPRISE = "yaml-1.1-surprise"
    SUSPICION = "suspicious-route"
    ADVICE = "probably-not-meant"


RULES: Final[Mapping[Rule, str]] = {
    Rule.UNREADABLE: "The file or folder cannot be read.",
    Rule.TOO_LARGE: "The file is larger than a policy can be.",
    Rule.NOT_UTF8: "The file is not UTF-8 text.",
    Rule.EMPTY: "The file says nothing.",
    Rule.SYNTAX: "The file is not YAML.",
    Rule.TAB: "A tab stands where YAML wants spaces.",
    Rule.CHARACTER: "A control character, or one that nobody can see.",
    Rule.SECOND_DOCUMENT: "One file holds one document.",
    Rule.TOO_DEEP: "Values are nested deeper than any policy is.",
    Rule.TOO_MANY: "More values or more problems than are looked at.",
    Rule.DUPLICATE_KEY: "One mapping has the same key twice.",
    Rule.BAD_KEY: "A key that is no plain word, or a merge key.",
    Rule.DECORATION: "Aliases, anchors and tags are refused.",
    Rule.NO_VALUE: "A key without a value.",
    Rule.UNKNOWN_KEY: "A key that the format does not have.",
    Rule.MISSING_KEY: "A key that the format requires is not there.",
    Rule.UNSUPPORTED: "A key or value that this version does not enforce.",
    Rule.RETIRED: "A key of an earlier version, which nothing reads any more.",
    Rule.WRONG_TYPE: "A value of another type than the key's.",
    Rule.BAD_VALUE: "A value out of range or of another form.",
    Rule.BAD_NAME: "Not an RFC 1123 label.",
    Rule.BAD_DURATION: "Not a duration with a unit.",
    Rule.BETWEEN_KEYS: "Two keys contradict each other.",
    Rule.KIND: "The file's kind is unknown or another one than wanted.",
    Rule.STEPS: "Steps climb and end at 100.",
    Rule.SIDES: "Source and target must select different members.",
    Rule.CONFLICT: "Two policies claim one name, namespace or route.",
    Rule.MISFIT: "The policy asks what the fleet cannot give.",
    Rule.SURPRISE: "A word that is a text here and something else to YAML 1.1.",
    Rule.SUSPICION: "A route that may carry what another policy names.",
    Rule.ADVICE: "A value that is allowed, and has an effect that is easily overlooked.",
}
"""What each kind means, in a sentence."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, in words, and of which kind it is."""

    rule: Rule
    message: str
    hint: str = ""
