"""`policy explain`: every key has words, defaults are marked, and the numbers are right."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from shifter.core.documents.policy import ShiftPolicy
from shifter.files.documents import load_fleet, value_of
from shifter.files.explanation import SAYS, Line, explanation_of, shown_value
from shifter.files.located_yaml import document_of
from shifter.files.words import key_of

POLICIES = Path(__file__).parents[2] / "policies"
SHOP = (POLICIES / "shop.yaml").read_text(encoding="utf-8")
FLEET = load_fleet(POLICIES / "fleet.yaml")


def _policy(*changes: str) -> ShiftPolicy:
    """The example with its texts replaced, each by the one after it."""
    text = SHOP
    for before, after in zip(changes[::2], changes[1::2], strict=True):
        assert not before or before in text
        text = text.replace(before, after) if before else text
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
    assert (lines["spec.soak"].value, lines["spec.soak"].is_default) == ("1m", False)
    assert (lines["spec.analysis.hold"].value, lines["spec.analysis.hold"].is_default) == ("4m", False)
    assert (lines["spec.steps"].value, lines["spec.steps"].is_default) == ("auto", False)


def test_a_policy_without_analysis_shows_every_default_of_it() -> None:
    begin, end = SHOP.index("  analysis:"), SHOP.index("  onFailure:")
    lines = _lines(_policy(SHOP[begin:end], ""))
    judged = {path: line for path, line in lines.items() if path.startswith(("spec.analysis.", "spec.blastRadius."))}

    assert {path for path, line in judged.items() if not line.is_default} <= {
        f"spec.analysis.{metric}.{edge}.{half}"  # both halves of an edge go together, and so do their defaults
        for metric in ("errors", "answers", "latency")
        for edge in ("tolerance", "margin")
        for half in ("ratio", "percent")
    }
    assert judged["spec.analysis.errors.codes"].value == ["5xx"]
    assert judged["spec.analysis.latency.enabled"].value is True
    assert judged["spec.blastRadius.requests"].value == 25


def test_steps_and_soak_are_added_up() -> None:
    words = _words("spec.steps", "steps: auto", "steps: [1, 5, 25, 50, 75, 95, 100]")

    assert words.startswith("1 → 5 → 25 → 50 → 75 → 95 → 100: 7 steps, each kept for 1m at least;")
    assert "100 % is reached 6m after the first step at the soonest, and completed after 7m" in words


def test_auto_names_the_ladder_and_what_limits_a_step() -> None:
    words = _words("spec.steps")

    assert words.startswith("each step goes as far up as blastRadius allows, to one of 1, 2, 3, ")
    assert words.endswith(
        "at most to 25 % first and to 3 times the share after that, and above 50 % from one to the next"
    )


def test_a_single_step_is_no_climb() -> None:
    assert "1 step, " in _words("spec.steps", "steps: auto", "steps: [100]")
    assert "100 % is the first step" in _words("spec.steps", "steps: auto", "steps: [100]")


def test_with_a_fleet_a_soak_is_a_whole_number_of_its_ticks_and_the_fleets_part_is_told() -> None:
    listed = _policy("steps: auto\n\n", "steps: [1, 5, 25, 50, 75, 95, 100]\n\n  #", "soak: 1m", "soak: 20s")
    told = {line.path: line for line in explanation_of(listed, FLEET)}

    assert "reached 3m after" in told["spec.steps"].words  # six times two ticks of 15 s
    assert told["fleet:spec.mode"].words == "the service writes nothing, only explains"
    assert 'reporter="source"' in told["fleet:spec.datasources.target.matchers"].words
    assert told["fleet:spec.timing.operationTimeout"].value == "2m"


@pytest.mark.parametrize(
    ("path", "before", "after", "words"),
    [
        ("spec.analysis.falseRollbackPercent", "", "", "Istio goes back at odds of 100:1 against it"),
        ("spec.analysis.falseRollbackPercent", "", "", "which takes 200:1, 400:1 and so on"),
        ("spec.analysis.falseRollbackPercent", "", "", "at most 1 goes back by chance, 2 with all retries"),
        ("spec.analysis.falseRollbackPercent", "Percent: 1 ", "Percent: 2 ", "at most 2 go back by chance, 4 with all"),
        ("spec.analysis.hold", "", "", "up to 50 % a share is kept for 4m at most if nothing is wrong"),
        ("spec.analysis.hold", "", "", "at 50 % until Istio is proven no worse. Then it goes on, and says `bounded,"),
        ("spec.analysis.hold", "", "", "With odds of 1.02:1 against Istio it is 12m, from 10:1 on no step comes"),
        ("spec.analysis.errors.codes", "", "", "answers with 5xx are failures; a client that left before the answer"),
        ("spec.analysis.errors.codes", "[5xx]", "[]", "no response code is a failure"),
        ("spec.analysis.errors.flags", "", "", "no response flag makes a failure"),
        ("spec.analysis.errors.flags", "codes: [5xx]", "flags: [UH, UF]", "one of the flags UH, UF is a failure"),
        ("spec.analysis.errors.grpcStatuses", "", "", "ends with status 2, 4, 12, 13, 14, 15 is a failure although"),
        ("spec.analysis.errors.grpcStatuses", "codes: [5xx]", "grpcStatuses: []", "which is 200 also where they fail"),
        ("spec.analysis.errors.maxPercent", "", "", "more than 1 % is held against Istio as long as TCM itself keeps"),
        ("spec.analysis.errors.maxPercent", "", "", "in place of more than twice what TCM had before the first"),
        ("spec.analysis.errors.maxPercent", "", "", "2 points: stricter or looser, but never less than the tolerance"),
        ("spec.analysis.errors.maxPercent", "      maxPercent: 1 ", "      # ", "more than twice what TCM had before"),
        ("spec.analysis.errors.tolerance.ratio", "", "", "up to 1.1 times TCM's share and 0.01 points Istio is not"),
        ("spec.analysis.errors.tolerance.ratio", "", "", "where TCM has 1 %, Istio may have 1.11 %"),
        ("spec.analysis.errors.margin.ratio", "", "", "within 1.5 times TCM's share and 0.1 points Istio is no worse"),
        ("spec.analysis.errors.margin.ratio", "", "", "where TCM has 1 %, Istio may have 1.6 %"),
        ("spec.analysis.errors.margin.percent", "", "", "the points of the line above"),
        ("spec.analysis.answers.codes", "", "", "the share of answers with 3xx, 401, 403, 404, each by itself"),
        ("spec.analysis.answers.codes", "    latency: ", "    answers: {codes: []}\n    latency: ", "no other answers"),
        ("spec.analysis.answers.codes", "codes: [5xx]", 'codes: ["404"]', "answers with 3xx, 401, 403, each by itself"),
        ("spec.analysis.answers.margin.ratio", "", "", "where TCM has 1 %, Istio may have 2.5 %"),
        ("spec.analysis.latency.enabled", "", "", "compared is the share of requests above two of the histogram's"),
        ("spec.analysis.latency.enabled", "      quantile", "      enabled: false\n      quantile", "neither read nor"),
        ("spec.analysis.latency.maxMs", "", "", "more than 1 % of requests slower than 500 ms are held against Istio"),
        ("spec.analysis.latency.maxMs", "", "", "500 ms is an edge of the histogram"),
        ("spec.analysis.latency.maxMs", "", "", "in place of more than twice what TCM had before the first"),
        ("spec.analysis.latency.maxMs", "      maxMs: 500", "      # ", "and at each edge against twice what TCM had"),
        ("spec.analysis.latency.maxMs", "      quantile", "      enabled: false\n      quantile", "neither read nor"),
        ("spec.analysis.latency.quantile", "      quantile", "      enabled: false\n      quantile", "neither read"),
        ("spec.analysis.latency.maxMs", "maxMs: 500", "maxMs: 300", "slower than 500 ms are held against Istio"),
        ("spec.analysis.latency.maxMs", "maxMs: 500", "maxMs: 300", "first edge of the histogram at or above 300 ms"),
        ("spec.analysis.latency.maxMs", "maxMs: 500", "maxMs: 700000", "beyond the last edge of the histogram"),
        ("spec.analysis.latency.maxMs", "      maxMs: 500", "      # ", "no limit of your own: Istio is held against"),
        ("spec.analysis.latency.quantile", "", "", "99 % of Istio's requests must be faster than maxMs"),
        ("spec.analysis.latency.quantile", "      maxMs: 500", "      # ", "without maxMs it says nothing"),
        ("spec.analysis.custom", "", "", "no counters of your own are compared"),
        ("spec.analysis.custom", "    hold: 4m", "    custom: [{name: a}]", "each compared with TCM's as failures are"),
        ("spec.analysis.custom.0.name", "    hold: 4m", "    custom: [{name: a}]", "the pair a of the fleet's"),
        ("spec.analysis.custom.0.maxPercent", "    hold: 4m", "    custom: [{name: a}]", "no limit of your own"),
        ("spec.analysis.custom.0.margin.ratio", "    hold: 4m", "    custom: [{name: a}]", "Istio may have 2 %"),
        ("spec.blastRadius.requests", "", "", "a step may cost 25 failed requests before it is found out"),
        ("spec.blastRadius.seconds", "", "", "with 1000 requests a second that are 1000 failed requests"),
        ("spec.blastRadius.seconds", "seconds: 1}", "seconds: 0.01}", "that are 25 failed requests"),
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
        ("spec.onFailure", "", "", "when Istio is worse or dead, or requests are lost on the way to it, everything"),
        ("spec.onFailure", "onFailure: rollback", "onFailure: stepBack", "one step down and never again as high"),
        ("spec.onFailure", "onFailure: rollback", "onFailure: hold", "nothing goes back by itself: the share stays"),
    ],
)  # fmt: skip
def test_the_words_say_what_the_value_does(path: str, before: str, after: str, words: str) -> None:
    assert words in _words(path, before, after)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        ([], "none"),
        (True, "true"),
        ([1, 2.5], "[1, 2.5]"),
        (1e6, "1000000"),
        ("x", "x"),
        ([{"a": 1}], "[{a: 1}]"),
    ],
)
def test_values_are_shown_as_a_file_would_say_them(value: object, text: str) -> None:
    assert shown_value(value) == text
