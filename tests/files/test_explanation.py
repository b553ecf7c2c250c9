"""`policy explain`: every key has words, defaults are marked, and the numbers are right."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from shifter.core.policy import ShiftPolicy
from shifter.files.documents import load_fleet, value_of
from shifter.files.explanation import SAYS, Line, explanation_of, shown_value
from shifter.files.located_yaml import document_of
from shifter.files.words import key_of

POLICIES = Path(__file__).parents[2] / "policies"
SHOP = (POLICIES / "shop.yaml").read_text(encoding="utf-8")
FLEET = load_fleet(POLICIES / "fleet.yaml")


def _policy(before: str = "", after: str = "") -> ShiftPolicy:
    text = SHOP.replace(before, after) if before else SHOP
    assert not before or text != SHOP
    return value_of(document_of("p.yaml", text.encode()), ShiftPolicy)


def _lines(policy: ShiftPolicy) -> dict[str, Line]:
    return {line.path: line for line in explanation_of(policy)}


def _words(path: str, before: str = "", after: str = "") -> str:
    return _lines(_policy(before, after))[path].words


def _keys(model: type[BaseModel], path: tuple[str | int, ...] = ()) -> Iterator[str]:
    """Every key of a model that this version enforces, whether or not any file has it."""
    for name, field in model.model_fields.items():
        if field.annotation is types.NoneType:
            continue
        place = (*path, field.alias or name)
        inner = [each for each in _within(field.annotation) if issubclass(each, BaseModel)]
        listed = "tuple" in str(field.annotation)
        if not inner or listed or "None" in str(field.annotation):
            yield key_of(place)
        for each in inner:
            yield from _keys(each, (*place, 0) if listed else place)


def _within(annotation: object) -> list[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [found for each in get_args(annotation) for found in _within(each)]


def test_every_key_of_the_model_has_words_and_no_words_are_left_over() -> None:
    keys = set(_keys(ShiftPolicy))

    assert len(keys) > 20
    assert set(SAYS) == keys


def test_every_line_of_a_policy_says_something_and_defaults_are_marked() -> None:
    lines = _lines(_policy("  onFailure: rollback\n", ""))

    assert all(line.words for line in lines.values())
    assert (lines["spec.onFailure"].value, lines["spec.onFailure"].is_default) == ("rollback", True)
    assert (lines["spec.soak"].value, lines["spec.soak"].is_default) == ("5m", False)
    assert (lines["spec.analysis.window"].value, lines["spec.analysis.window"].is_default) == ("5m", False)


def test_a_policy_without_analysis_shows_every_default_of_it() -> None:
    begin, end = SHOP.index("  analysis:"), SHOP.index("  onFailure:")
    lines = _lines(_policy(SHOP[begin:end], ""))
    analysis = {path: line for path, line in lines.items() if path.startswith("spec.analysis.")}

    assert all(line.is_default for line in analysis.values())
    assert analysis["spec.analysis.minRequests"].value == 100
    assert analysis["spec.analysis.latency"].words == "no latency guard: latency is neither read nor judged"


def test_steps_and_soak_are_added_up() -> None:
    words = _words("spec.steps")

    assert words.startswith("1 → 5 → 25 → 50 → 75 → 95 → 100: 7 steps, each with 5m of good evidence;")
    assert "100 % is reached 30m after the first step at the soonest, and completed after 35m" in words


def test_a_single_step_is_no_climb() -> None:
    assert "1 step, " in _words("spec.steps", "[1, 5, 25, 50, 75, 95, 100]", "[100]")
    assert "100 % is the first step" in _words("spec.steps", "[1, 5, 25, 50, 75, 95, 100]", "[100]")


def test_with_a_fleet_a_soak_is_a_whole_number_of_its_ticks_and_the_fleets_part_is_told() -> None:
    told = {line.path: line for line in explanation_of(_policy("soak: 5m", "soak: 20s"), FLEET)}

    assert "reached 3m after" in told["spec.steps"].words  # six times two ticks of 15 s
    assert told["fleet:spec.mode"].words == "the service writes nothing, only explains"
    assert 'reporter="source"' in told["fleet:spec.datasources.target.matchers"].words
    assert told["fleet:spec.timing.operationTimeout"].value == "2m"


@pytest.mark.parametrize(
    ("path", "before", "after", "words"),
    [
        ("spec.analysis.minRequests", "", "", "at 1 % that takes 33.3 requests a second in all"),
        ("spec.analysis.latency.maxMs", "", "", "500 ms is an edge of the histogram"),
        ("spec.analysis.latency.maxMs", "maxMs: 500", "maxMs: 300", "between the histogram's edges 250 and 500 ms"),
        ("spec.analysis.latency.maxMs", "maxMs: 500", "maxMs: 0.2", "between the histogram's edges 0 and 0.5 ms"),
        ("spec.analysis.latency.maxMs", "maxMs: 500", "maxMs: 700000", "beyond the last edge of the histogram"),
        ("spec.analysis.latency.quantile", "", "", "the time that 99 % of the requests do not exceed"),
        ("spec.traffic.clb.source.port", "", "", "members on port 30080 are TCM's gateway"),
        ("spec.traffic.clb.target.port", "", "", "members on port 31080 are Istio's gateway"),
        ("spec.traffic.clb.target.tag", "", "", "not looked at"),
        ("spec.traffic.clb.target.ids", "{port: 31080}", "{port: 31080, ids: [a, b]}", ("a, b are Istio's gateway if"
        " everyth")),
        ("spec.traffic.clb.routes", "", "", "1 rule of this CLB"),
        ("spec.traffic.clb.routes.0.domain", "", "", "requests for host shop.example.com"),
        ("spec.traffic.clb.routes.0.domain", "domain: shop", "domain: '*'\n          #", "every host that * matches"),
        ("spec.namespace", "", "", "requests for services in shop are counted"),
        ("spec.namespaces", "", "", "not given"),
        ("spec.namespaces", "namespace: shop ", "namespaces: [a, b] #", ("services in a, b are counted and judged,"
        " together")),
        ("spec.approvals", "", "", "nobody is asked"),
        ("spec.approvals", "onFailure: rollback", "approvals: [{before: 50}]", ("1 time the climb waits for `shifter"
        " approve")),
        ("spec.approvals.0.before", "onFailure: rollback", "approvals: [{before: 50}]", "does not reach 50 % before"),
        ("spec.onFailure", "", "", "sends everything back to TCM at once"),
    ],
)  # fmt: skip
def test_the_words_say_what_the_value_does(path: str, before: str, after: str, words: str) -> None:
    assert words in _words(path, before, after)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ([], "none"), ([1, 2.5], "[1, 2.5]"), (1e6, "1000000"), ("x", "x"), ([{"a": 1}], "[{a: 1}]")],
)
def test_values_are_shown_as_a_file_would_say_them(value: object, text: str) -> None:
    assert shown_value(value) == text
