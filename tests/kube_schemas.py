"""What the CRDs of `deploy/chart/crds` refuse, and what they drop without a word: as a real server reads them.

The structural part is read from the files. Their CEL rules are spelled here once more in Python, by their text, and
`tests/contract/test_kube_api.py` checks that none is left out.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from shifter.ports.kube import EVENTS, LEASES, Body, Kind

FOLDER = Path(__file__).parents[1] / "deploy" / "chart" / "crds"

Schema = Mapping[str, Any]
Twin = Callable[[Any, Any], bool]
"""Whether a rule holds, of what is there now and of what was there (None unless the rule names `oldSelf`)."""

_TEXT: Schema = {"type": "string"}
_LEASE_SPEC: Mapping[str, Schema] = {
    **dict.fromkeys(("holderIdentity", "acquireTime", "renewTime", "strategy", "preferredHolder"), _TEXT),
    "leaseDurationSeconds": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "leaseTransitions": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
}
LEASE: Schema = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("apiVersion", "kind"), _TEXT),
        "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": _LEASE_SPEC},
    },
}

_SHORT: Schema = {"type": "string", "minLength": 1, "maxBytes": 128}
EVENT: Schema = {
    "type": "object",
    "required": ["eventTime", "reportingController", "reportingInstance", "action", "reason", "type"],
    "properties": {
        **dict.fromkeys(("apiVersion", "kind"), _TEXT),
        **{key: {"type": "object"} for key in ("metadata", "related", "series")},
        "eventTime": _TEXT,
        "type": {"type": "string", "enum": ["Normal", "Warning"]},
        **dict.fromkeys(("reportingInstance", "action", "reason"), _SHORT),
        "reportingController": {"type": "string", "pattern": "^([a-z0-9.-]+/)?[A-Za-z0-9][A-Za-z0-9_.-]*$"},
        "regarding": {
            "type": "object",
            "required": ["namespace"],
            "properties": dict.fromkeys(("apiVersion", "kind", "name", "namespace", "uid", "fieldPath"), _TEXT),
        },
        "note": {"type": "string", "maxBytes": 1024},
    },
}
"""Lengths of events are counted in bytes, unlike those of a CRD."""


def _only(*verbs: str) -> Callable[[str], Twin]:
    return lambda key: lambda new, _: not new.get(key) or new["verb"] in verbs


def _gapless(new: Body, _: object) -> bool:
    ids = [each["id"] for each in new.get("unflushed", ())]
    return ids == list(range(new["head"]["id"] - len(ids) + 1, new["head"]["id"] + 1))


TWINS: Mapping[str, Twin] = {
    "!has(oldSelf.status) || has(self.status)": lambda new, old: "status" not in old or "status" in new,
    "!has(oldSelf.version) || (has(self.version) && self.version >= oldSelf.version)": (
        lambda new, old: "version" not in old or new.get("version", 0) >= old["version"]
    ),
    "!has(self.state) || has(self.version)": lambda new, _: "state" not in new or "version" in new,
    "!has(oldSelf.state) || has(self.state)": lambda new, old: "state" not in old or "state" in new,
    "!has(self.unflushed) || size(self.unflushed) == 0 || ("
    " self.unflushed[0].id == self.head.id - size(self.unflushed) + 1"
    " && self.unflushed[size(self.unflushed) - 1].id == self.head.id"
    " && self.unflushed.map(each, each.id).isSorted()"
    " && self.unflushed.all(each, self.unflushed.exists_one(other, other.id == each.id)))": _gapless,
    "self.anchor.id <= self.head.id": lambda new, _: new["anchor"]["id"] <= new["head"]["id"],
    "self.isSorted() && self.all(each, self.exists_one(other, other == each))": (
        lambda new, _: list(new) == sorted(set(new))
    ),
    "self.metadata.name == 'fleet'": lambda new, _: new["metadata"]["name"] == "fleet",
    "self == oldSelf": lambda new, old: new == old,
    "!has(oldSelf.status) || !has(oldSelf.status.answer) || has(self.status)": (
        lambda new, old: "answer" not in old.get("status", {}) or "status" in new
    ),
    "!has(oldSelf.answer) || self == oldSelf": lambda new, old: "answer" not in old or new == old,
    "(self.shift == '*') == (self.verb in ['freeze', 'unfreeze'])": (
        lambda new, _: (new["shift"] == "*") == (new["verb"] in ("freeze", "unfreeze"))
    ),
    "!has(self.full) || !self.full || self.verb == 'promote'": _only("promote")("full"),
    "!has(self.override) || !self.override || self.verb in ['promote', 'rollback']": (
        _only("promote", "rollback")("override")
    ),
    "!has(self.share) || self.verb in ['promote', 'approve']": _only("promote", "approve")("share"),
    "!has(self.handsOffSeconds) || self.verb == 'pause'": _only("pause")("handsOffSeconds"),
    "!has(self.adopt) || !self.adopt || self.verb == 'reconcile'": _only("reconcile")("adopt"),
}


@functools.cache
def read_schemas(folder: Path = FOLDER) -> Mapping[tuple[str, str], Schema]:
    """Return the schema of each kind that a folder defines, by group and plural; and of leases and events."""
    found: dict[tuple[str, str], Schema] = {(LEASES.group, LEASES.plural): LEASE, (EVENTS.group, EVENTS.plural): EVENT}
    for path in sorted(folder.glob("*.yaml")):
        spec = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)["spec"]
        (served,) = spec["versions"]
        found[spec["group"], spec["names"]["plural"]] = served["schema"]["openAPIV3Schema"]
    return found


def rules_of(schema: Schema) -> Iterator[str]:
    """Yield the CEL rules that are anywhere in a schema, on one line each."""
    yield from (_line(each["rule"]) for each in schema.get("x-kubernetes-validations", ()))
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from rules_of(inner)


def pruned(schema: Schema, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value without the fields that the schema does not know, and without nulls that it does not want."""
    if isinstance(value, list) and "items" in schema:
        return [pruned(schema["items"], each) for each in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    known = {key: (schema["properties"][key], each) for key, each in value.items() if key in schema["properties"]}
    return {
        key: pruned(inner, each) for key, (inner, each) in known.items() if each is not None or inner.get("nullable")
    }


def problems(schema: Schema, value: Any, old: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield what is wrong with a value.

    Args:
        schema: what it should be.
        value: what it is.
        old: what it was; None if it was not.
        path: where it is.
    """
    if value is None and schema.get("nullable"):
        return
    if not _is_a(schema["type"], value):
        yield f"{path}: must be of type {schema['type']}"
        return
    yield from (f"{path}: {why}" for why in _of_scalar(schema, value))
    if isinstance(value, dict):
        yield from (f"{path}.{key}: Required value" for key in schema.get("required", ()) if key not in value)
        before = old if isinstance(old, dict) else {}
        for key, each in value.items():
            if key in schema.get("properties", {}):
                yield from problems(schema["properties"][key], each, before.get(key), f"{path}.{key}")
    if isinstance(value, list):
        yield from _of_list(schema, value, path)


def broken_rules(schema: Schema, value: Any, old: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Yield the messages of the CEL rules that do not hold; asked only where `problems` has none."""
    for each in schema.get("x-kubernetes-validations", ()):
        twin = TWINS.get(_line(each["rule"]))
        asked = old is not None or "oldSelf" not in each["rule"]
        if twin is not None and asked and not twin(value, old):
            yield f"{path}: {each['message']}"
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, each in value.items():
            if key in schema.get("properties", {}):
                yield from broken_rules(schema["properties"][key], each, before.get(key), f"{path}.{key}")


def refusal(schemas: Mapping[tuple[str, str], Schema], kind: Kind, body: Body, old: Body | None) -> str:
    """Return why a kind's definition refuses an object, or nothing."""
    schema = schemas.get((kind.group, kind.plural))
    if schema is None:
        return ""
    found = list(problems(schema, body, old)) or list(broken_rules(schema, body, old))
    return ", ".join(found)


def _line(rule: str) -> str:
    return " ".join(rule.split())


def _is_a(type_: str, value: object) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    known: Mapping[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
    }
    fits = type_ in known and isinstance(value, known[type_])
    return fits and not (type_ == "integer" and isinstance(value, int) and not -(2**63) <= value < 2**63)


def _of_scalar(schema: Schema, value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if "enum" in schema and value not in schema["enum"]:
        yield f"Unsupported value: {value!r}"
    if isinstance(value, str):
        if len(value) > schema.get("maxLength", len(value)):
            yield f"Too long: may not be more than {schema['maxLength']} bytes"
        if len(value.encode()) > schema.get("maxBytes", math.inf):
            yield f"can have at most {schema['maxBytes']} characters"
        if len(value) < schema.get("minLength", 0):
            yield f"should be at least {schema['minLength']} chars long"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"should match {schema['pattern']!r}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value > schema.get("maximum", value):
            yield f"should be less than or equal to {schema['maximum']}"
        low = schema.get("minimum", value)
        if value < low or (value == low and schema.get("exclusiveMinimum")):
            yield f"should be greater than {low}"


def _of_list(schema: Schema, value: list[Any], path: str) -> Iterator[str]:
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{path}: Too many: must have at most {schema['maxItems']} items"
    for number, each in enumerate(value):
        yield from problems(schema["items"], each, None, f"{path}[{number}]")
    keys = schema.get("x-kubernetes-list-map-keys")
    named = [tuple(each.get(key) for key in keys) for each in value] if keys else value
    unique = schema.get("x-kubernetes-list-type") in ("set", "map")
    if unique and any(each in named[:number] for number, each in enumerate(named)):
        yield f"{path}: Duplicate value"
