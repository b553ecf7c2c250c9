"""The format as JSON Schema, for editors: what may stand where, and on hovering what it is.

Made from the models, so that it cannot fall behind them. It knows less than they do, never more: rules between keys
(steps climb, the two sides differ) are left to `policy lint`, while nothing that lint accepts may be marked as wrong.
Everything is written out in place instead of behind references: a key's words depend on where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from shifter.core.documents.schema import API_VERSION, show_duration
from shifter.files.documents import KINDS
from shifter.files.words import LISTED_ONCE, WORDS, key_of

Json = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DURATION: Final[Json] = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"}
_NAME: Final[Json] = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
_KEPT: Final = (
    "const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength",
    "maxLength", "minProperties", "pattern", "propertyNames",
)  # fmt: skip
"""What of a leaf's schema an editor needs; titles are the keys said again."""

_OF_CLUSTERS: Final = ("cluster", "inject[]", "gateways[].name", "gateways[].namespace", "gateways[].ports[].name")
_NAMED: Final = frozenset({
    "metadata.name", "spec.namespace", "spec.namespaces[]", "spec.customMetrics[].name", "spec.meshID", "spec.network",
    "spec.revision", "spec.tcm.revision", "spec.tcm.meshID", "spec.images.pullSecrets[]",
    *(f"{cluster}.{key}" for cluster in ("spec.primary", "spec.members[]") for key in _OF_CLUSTERS),
})  # fmt: skip
_BETWEEN: Final[Mapping[str, Json]] = {
    "ShiftPolicy:spec": {"oneOf": [{"required": ["namespace"]}, {"required": ["namespaces"]}]},
    "ShiftPolicy:spec.traffic.clb.source/target": {
        "anyOf": [{"required": [key]} for key in ("port", "ids", "ips", "tag")]
    },
    **{f"ShiftPolicy:{key}": {"uniqueItems": True} for key in LISTED_ONCE},
}
"""Rules between keys, as far as a schema can say them."""


_AUTO: Final = frozenset({"ShiftPolicy:spec.steps"})
"""Ladders: lists that climb to 100, instead of which a file may say `auto`."""


def schema_of(kind: str | None = None) -> Json:
    """Return the JSON Schema (2020-12) of a kind of file, or of a file of any kind."""
    name = "shifter" if kind is None else kind.lower()
    head = {"$schema": DIALECT, "$id": f"https://{API_VERSION}/{name}.schema.json"}
    if kind is not None:
        return {**head, "title": kind, **_kind(kind)}
    return {**head, "title": "A file of shifter", "oneOf": [{"title": each, **_kind(each)} for each in KINDS]}


def _kind(kind: str) -> Json:
    schema = KINDS[kind].model_json_schema(by_alias=True)
    found = _Writing(kind, schema["$defs"]).node(schema, ())
    return {"description": (KINDS[kind].__doc__ or "").strip(), **found}


class _Writing:
    """Writes one kind's schema out, with the words of every place."""

    def __init__(self, kind: str, definitions: Json) -> None:
        self._kind = kind
        self._definitions = definitions

    def node(self, field: Json, path: tuple[str | int, ...]) -> Json:
        key = key_of(path)
        inner = self._inner(field)
        words = WORDS[self._kind].get(key)
        found: Json = {} if words is None else {"description": words.about}
        if "properties" in inner:
            found |= self._mapping(inner, path)
        else:
            found |= self._leaf(inner, path)
        found |= _BETWEEN.get(f"{self._kind}:{key}", {})
        if f"{self._kind}:{key}" in _AUTO:
            found = _or_auto(found)
        if "default" in field and field["default"] not in (None, []) and "properties" not in inner:
            found["default"] = _default(field["default"], inner)
        if words is not None and words.examples:
            found["examples"] = list(words.examples)
        return found

    def _inner(self, field: Json) -> Json:
        """Return what a field holds: behind its reference, and of an optional one what it is if it is there."""
        found: Json = field["anyOf"][0] if "anyOf" in field else field
        if "$ref" in found:
            found = self._definitions[found["$ref"].rpartition("/")[2]]
        return found

    def _mapping(self, inner: Json, path: tuple[str | int, ...]) -> Json:
        enforced = {name: field for name, field in inner["properties"].items() if field.get("type") != "null"}
        found: Json = {
            "type": "object",
            "properties": {name: self.node(field, (*path, name)) for name, field in enforced.items()},
            "additionalProperties": False,
        }
        if required := inner.get("required"):
            found["required"] = required
        return found

    def _leaf(self, inner: Json, path: tuple[str | int, ...]) -> Json:
        if inner.get("format") == "duration":
            return dict(_DURATION)
        if key_of(path) in _NAMED:
            return dict(_NAME)
        found: Json = {"type": inner["type"], **{word: inner[word] for word in _KEPT if word in inner}}
        if "items" in inner:
            found["items"] = self.node(inner["items"], (*path, 0))
        if isinstance(values := inner.get("additionalProperties"), dict):
            found["additionalProperties"] = {"type": values["type"]}
        if patterns := inner.get("patternProperties"):
            found |= {"patternProperties": patterns, "additionalProperties": False}
        return found


def _or_auto(found: Json) -> Json:
    about = {"description": found.pop("description")} if "description" in found else {}
    ladder = {**found, "contains": {"const": 100}, "uniqueItems": True}
    return {**about, "oneOf": [{"const": "auto"}, ladder]}


def _default(value: object, inner: Json) -> object:
    if inner.get("format") == "duration":
        return show_duration(TypeAdapter(timedelta).validate_python(value))
    return value
