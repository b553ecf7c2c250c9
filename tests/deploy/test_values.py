from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml


def _objects(schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if schema.get("type") == "object":
        yield place, schema
    for key, below in schema.get("properties", {}).items():
        yield from _objects(below, f"{place}.{key}")
    if "items" in schema:
        yield from _objects(schema["items"], f"{place}[]")


def test_every_value_has_a_default_and_every_default_is_in_the_schema(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))

    def compare(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        assert given.keys() == known["properties"].keys() - {"global"}
        for key, value in given.items():
            if isinstance(value, dict) and "properties" in known["properties"][key]:
                compare(value, known["properties"][key])

    compare(values, schema)


def test_no_object_of_the_schema_takes_a_key_it_does_not_know(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    # Kubernetes' own objects, which the API server checks, and Helm's.
    foreign = {".global", ".networkPolicy.ingressFrom[]", ".networkPolicy.egress[]"}

    loose = {place for place, found in _objects(schema) if found.get("additionalProperties", True) is True}

    assert loose == foreign
