"""The JSON Schema: current, as strict as a schema can be, and never stricter than lint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import ConfigError
from shifter.files.documents import KINDS, value_of
from shifter.files.json_schema import DIALECT, schema_of
from shifter.files.located_yaml import document_of
from shifter.files.words import FLEET_WORDS, POLICY_WORDS, WORDS, example_of, key_of

Json = dict[str, Any]

POLICIES = Path(__file__).parents[2] / "policies"
EXAMPLES = sorted(POLICIES.glob("*.yaml"))
SHOP = (POLICIES / "shop.yaml").read_text(encoding="utf-8")
_TYPES: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def _accepts(schema: Json, value: Any) -> bool:  # noqa: ANN401 - JSON
    """Validate as JSON Schema 2020-12 says, for the words that ours uses; an unknown word fails the test."""
    known = {"$schema", "$id", "title", "description", "default", "examples"}
    return all(_holds(word, schema, value) for word in schema.keys() - known)


def _holds(word: str, schema: Json, value: Any) -> bool:  # noqa: ANN401 - JSON
    wanted = schema[word]
    rules: dict[str, Callable[[], bool]] = {
        "type": lambda: _TYPES[wanted](value),
        "const": lambda: bool(value == wanted),
        "enum": lambda: value in wanted,
        "oneOf": lambda: sum(_accepts(each, value) for each in wanted) == 1,
        "anyOf": lambda: any(_accepts(each, value) for each in wanted),
        "required": lambda: isinstance(value, dict) and set(wanted) <= set(value),
        "properties": lambda: all(_accepts(wanted[key], each) for key, each in _items(value) if key in wanted),
        "patternProperties": lambda: all(
            _accepts(inner, each) for pattern, inner in wanted.items() for key, each in _items(value)
            if re.search(pattern, key)
        ),
        "additionalProperties": lambda: wanted is not False or all(_known(key, schema) for key, _ in _items(value)),
        "items": lambda: all(_accepts(wanted, each) for each in _entries(value)),
        "contains": lambda: any(_accepts(wanted, each) for each in _entries(value)),
        "uniqueItems": lambda: all(each not in _entries(value)[:at] for at, each in enumerate(_entries(value))),
        "pattern": lambda: not isinstance(value, str) or re.search(wanted, value) is not None,
        "minimum": lambda: not _TYPES["number"](value) or value >= wanted,
        "maximum": lambda: not _TYPES["number"](value) or value <= wanted,
        "exclusiveMinimum": lambda: not _TYPES["number"](value) or value > wanted,
        "exclusiveMaximum": lambda: not _TYPES["number"](value) or value < wanted,
        "minItems": lambda: len(_entries(value)) >= wanted,
        "maxItems": lambda: len(_entries(value)) <= wanted,
        "minLength": lambda: not isinstance(value, str) or len(value) >= wanted,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= wanted,
        "minProperties": lambda: len(_items(value)) >= wanted,
    }  # fmt: skip
    return rules[word]()


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _entries(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _known(key: str, schema: Json) -> bool:
    return key in schema.get("properties", ()) or any(
        re.search(each, key) for each in schema.get("patternProperties", ())
    )


def _plain(text: str) -> Any:  # noqa: ANN401 - JSON
    document = document_of("p.yaml", text.encode())
    assert document.problems == ()
    return document.value


def _lint_accepts(text: str) -> bool:
    try:
        value_of(document_of("p.yaml", text.encode()), ShiftPolicy)
    except ConfigError:
        return False
    return True


def test_the_file_for_editors_is_current() -> None:
    text = (POLICIES / "schema.json").read_text(encoding="utf-8")

    assert json.loads(text) == schema_of(), "stale; run: .venv/bin/shifter policy schema > policies/schema.json"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_names_the_schema_in_its_first_line_and_is_valid_by_it(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    kind = document_of(example.name, text.encode()).kind

    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert _accepts(schema_of(), _plain(text))
    assert _accepts(schema_of(kind), _plain(text))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("namespace: shop ", "namespaces: [shop, cart] #"),
        ("steps: auto", "steps: [0.5, 100.0]"),
        ("steps: auto", 'steps: "auto"'),
        ("soak: 1m", "soak: 1h30m"),
        ("soak: 1m", "soak: 1.5s"),
        ("codes: [5xx]", 'codes: [5xx, "404"]\n      grpcStatuses: [14]\n      flags: [UH]'),
        ("    hold: 4m", "    custom: [{name: throttled, maxPercent: 3}]\n    hold: 4m"),
        ("onFailure: rollback", "onFailure: stepBack"),
        ("onFailure: rollback", "onFailure: hold"),
        ("blastRadius: {requests: 25, seconds: 1}", "blastRadius: {seconds: 0.5}"),
        ("{port: 31080}", "{ids: [ins-1], tag: x}"),
        ("apiVersion: shifter.io/v1alpha1\n", ""),
        ("maxPercent: 1 ", "maxPercent: 0.001 "),
        ("onFailure: rollback", "approvals: [{before: 50}]"),
    ],
)
def test_what_lint_accepts_the_schema_accepts(before: str, after: str) -> None:
    text = SHOP.replace(before, after)

    assert text != SHOP
    assert (_lint_accepts(text), _accepts(schema_of(), _plain(text))) == (True, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("kind: ShiftPolicy", "kind: Policy"),
        ("v1alpha1", "v1"),
        ("  soak: 1m\n", ""),
        ("  soak: 1m\n", "  soak: 5\n"),
        ("  soak: 1m\n", "  soak: 1:30\n"),
        ("  soak: 1m\n", "  soak: 1m\n  stesp: [1]\n"),
        ("  soak: 1m\n", "  soak: 1m\n  windows: []\n"),
        ("namespace: shop ", "namespace: Shop_1 "),
        ("namespace: shop ", "namespace: shop\n  namespaces: [a] "),
        ("namespace: shop ", "namespaces: [a, a] "),
        ("steps: auto", "steps: [1, 150]"),
        ("steps: auto", "steps: [1, 50]"),
        ("steps: auto", "steps: [true, 100]"),
        ("steps: auto", "steps: [.nan, 100]"),
        ("steps: auto", "steps: []"),
        ("steps: auto", "steps: automatic"),
        ("steps: auto", "steps: 100"),
        ("port: 31080", "port: 70000"),
        ("{port: 31080}", "{}"),
        ("region: ap-guangzhou", "region: Guangzhou"),
        ("quantile: 0.99", "quantile: 1"),
        ("onFailure: rollback", "onFailure: stepback"),
        ("    hold: 4m", "    window: 5m\n    hold: 4m"),
        ("    hold: 4m", "    minRequests: 100\n    hold: 4m"),
        ("codes: [5xx]", "codes: [600]"),
        ("codes: [5xx]", "codes: [5xx, 5xx]"),
        ("codes: [5xx]", "grpcStatuses: [0]"),
        ("tolerance: {ratio: 1.1, percent: 0.01}", "tolerance: {ratio: 1.1}"),
        ("tolerance: {ratio: 1.1, percent: 0.01}", "tolerance: {ratio: 0.9, percent: 0.01}"),
        ("      quantile: 0.99", "      enabled: yes\n      quantile: 0.99"),
        ("blastRadius: {requests: 25, seconds: 1}", "blastRadius: {requests: 0}"),
        ("          url: /\n", ""),
    ],
)
def test_what_a_schema_can_know_is_refused_by_both(before: str, after: str) -> None:
    text = SHOP.replace(before, after)

    assert text != SHOP
    assert (_lint_accepts(text), _accepts(schema_of(), _plain(text))) == (False, False)


def _nodes(schema: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _nodes(inner, (*path, name))
    if schema.get("items", {}).get("properties"):
        yield from _nodes(schema["items"], (*path, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_tells_an_editor_what_it_is(kind: str) -> None:
    schema = schema_of(kind)
    described = {key_of(path) for path, node in _nodes(schema) if node.get("description")}
    entries = {key_of(path) for path, _ in _nodes(schema) if path and isinstance(path[-1], int)}

    assert schema["$schema"] == DIALECT
    assert {key_of(path) for path, _ in _nodes(schema)} - entries == described
    assert set(WORDS[kind]) - described == set()  # no words about keys that are gone


def test_the_defaults_that_an_editor_shows_are_the_ones_in_force() -> None:
    spec = schema_of("ShiftPolicy")["properties"]["spec"]["properties"]

    analysis = spec["analysis"]["properties"]
    assert analysis["hold"]["default"] == "4m"
    assert analysis["errors"]["properties"]["codes"]["default"] == ["5xx"]
    assert analysis["latency"]["properties"]["enabled"]["default"] is True
    assert spec["soak"]["examples"] == ["1m"]
    assert not {"windows", "window", "minRequests"} & (spec.keys() | analysis.keys())


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_value_is_valid_where_it_stands(kind: str) -> None:
    shown = [(path, node) for path, node in _nodes(schema_of(kind)) if "examples" in node]

    assert shown
    assert [path for path, node in shown for each in node["examples"] if not _accepts(node, each)] == []


def test_words_are_found_by_place() -> None:
    assert key_of(("spec", "traffic", "clb", "routes", 3, "url")) == "spec.traffic.clb.routes[].url"
    assert key_of(("spec", "traffic", "clb", "target", "port")) == "spec.traffic.clb.source/target.port"
    assert example_of("ShiftPolicy", ("spec", "soak")) == POLICY_WORDS["spec.soak"].examples[0]
    assert example_of("Fleet", ("spec", "nothing")) is None
    assert FLEET_WORDS["spec.mode"].about
