"""What a policy may ask of the analysis, and what is refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shifter.core.documents.criteria import Analysis, BlastRadius


def refused(values: Mapping[str, Any]) -> str:
    """Return the sentence with which an analysis is refused."""
    with pytest.raises(ValidationError) as caught:
        Analysis.model_validate(values)
    (error,) = caught.value.errors()
    return error["msg"]


def test_a_policy_need_not_say_anything() -> None:
    analysis = Analysis()

    assert analysis.false_rollback_percent == 1
    assert analysis.hold == timedelta(minutes=4)
    assert analysis.latency.enabled
    assert BlastRadius() == BlastRadius(requests=25, seconds=1)


@pytest.mark.parametrize("metric", ["errors", "answers", "latency"])
@pytest.mark.parametrize(
    "margins",
    [
        {"tolerance": {"ratio": 2.0, "percent": 0.01}},
        {"tolerance": {"ratio": 1.1, "percent": 5.0}},
        {"margin": {"ratio": 1.0, "percent": 5.0}},
        {"margin": {"ratio": 1.5, "percent": 0.01}, "tolerance": {"ratio": 1.1, "percent": 0.01}},
    ],
    ids=["its ratio", "its points", "the margin's ratio", "the same points"],
)
def test_a_tolerance_above_the_margin_is_refused_with_the_reason(metric: str, margins: Mapping[str, object]) -> None:
    said = refused({metric: margins})

    assert "the tolerance (" in said
    assert "is not below the margin (" in said
    assert "what is not blamed could never be proven safe" in said
    assert "the shift would go on by waiting alone, when its hold is over" in said
    assert "make the margin larger or the tolerance smaller" in said


def test_a_tolerance_above_the_margin_of_latency_that_is_not_judged_is_nobodys_business() -> None:
    analysis = Analysis.model_validate({"latency": {"enabled": False, "tolerance": {"ratio": 9.0, "percent": 9.0}}})

    assert analysis.latency.tolerance.ratio == 9


def test_a_tolerance_of_the_margins_ratio_is_fine_if_its_points_are_below() -> None:
    margins = {"tolerance": {"ratio": 1.5, "percent": 0.01}, "margin": {"ratio": 1.5, "percent": 0.1}}

    assert Analysis.model_validate({"errors": margins}).errors.tolerance.ratio == 1.5


def test_the_second_of_two_custom_pairs_of_one_name_is_pointed_at() -> None:
    with pytest.raises(ValidationError) as caught:
        Analysis.model_validate({"custom": ({"name": "carts"}, {"name": "queue"}, {"name": "carts"})})

    assert caught.value.errors()[0]["ctx"]["at"] == (2, "name")


def test_the_refusal_names_the_tolerance() -> None:
    assert "the tolerance (2 times tcm and 0.01 points)" in refused(
        {"errors": {"tolerance": {"ratio": 2.0, "percent": 0.01}}}
    )


def test_contradicting_margins_of_a_custom_pair_are_refused_too() -> None:
    assert "is not below the margin" in refused(
        {"custom": ({"name": "a", "tolerance": {"ratio": 9.0, "percent": 1.0}},)}
    )


def test_a_tolerance_that_is_wrong_by_itself_is_told_once() -> None:
    assert "greater than or equal to 1" in refused({"errors": {"tolerance": {"ratio": 0.5, "percent": 1.0}}})


def test_a_custom_pair_is_listed_once() -> None:
    assert refused({"custom": ({"name": "a"}, {"name": "b"}, {"name": "a"})}) == "a metric is listed twice"


@pytest.mark.parametrize("name", ["errors", "404"])
def test_a_custom_pair_may_not_have_the_name_of_a_metric_that_there_is_anyway(name: str) -> None:
    assert "a policy has a metric of this name anyway" in refused({"custom": ({"name": name},)})


@pytest.mark.parametrize("code", ["5x", "xxx", "600", "0", "99"])
def test_what_is_no_response_code_and_no_class_of_them_is_refused(code: str) -> None:
    assert refused({"errors": {"codes": (code,)}}).startswith("String should match pattern")


@pytest.mark.parametrize("code", ["100", "1xx", "200", "204", "2xx"])
def test_an_answer_that_went_well_is_no_failure_but_may_be_compared(code: str) -> None:
    assert "went well" in refused({"errors": {"codes": (code,)}})
    assert Analysis.model_validate({"answers": {"codes": (code,)}}).answers.codes == (code,)


@pytest.mark.parametrize("flags", [(), ("DC",), ("DC", "DR")])
def test_rules_by_which_nothing_is_ever_a_failure_are_refused(flags: tuple[str, ...]) -> None:
    said = refused({"errors": {"codes": (), "flags": flags, "grpcStatuses": ()}})

    assert said.startswith("no answer would ever be a failure: an Istio that fails every request would be proven")


@pytest.mark.parametrize("kept", [{"codes": ("503",)}, {"flags": ("UF",)}, {"grpcStatuses": (14,)}])
def test_one_kind_of_failure_is_enough(kept: Mapping[str, object]) -> None:
    assert Analysis.model_validate({"errors": {"codes": (), "grpcStatuses": (), **kept}})


def test_rules_of_which_one_is_wrong_by_itself_are_told_once() -> None:
    assert refused({"errors": {"codes": ("9xx",), "grpcStatuses": ()}}).startswith("String should match")


@pytest.mark.parametrize("percent", [0, -1, 21])
def test_an_error_probability_of_none_or_above_20_percent_is_refused(percent: float) -> None:
    assert "than or equal to 20" in (said := refused({"falseRollbackPercent": percent})) or "or equal to 0.001" in said


@pytest.mark.parametrize("key", ["window", "minRequests"])
def test_a_key_of_the_fixed_limits_is_refused(key: str) -> None:
    assert refused({key: 1})


@pytest.mark.parametrize("statuses", [(0,), (17,)])
def test_what_is_no_failing_grpc_status_is_refused(statuses: tuple[int, ...]) -> None:
    assert refused({"errors": {"grpcStatuses": statuses}})


def test_only_patience_may_change_without_voiding_the_evidence() -> None:
    before = Analysis()

    assert before.judges_like(before.model_copy(update={"hold": timedelta(hours=1)}))
    assert not before.judges_like(before.model_copy(update={"false_rollback_percent": 2.0}))


def test_rules_that_call_other_answers_failures_are_told_apart() -> None:
    before = Analysis().errors

    assert before.fails_like(before.model_copy(update={"max_percent": 1.0}))
    assert not before.fails_like(before.model_copy(update={"codes": ("5xx", "429")}))
