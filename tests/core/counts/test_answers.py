"""What a policy's rules make of raw answers: failures, clients that left, answers that are only compared."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.counts.answers import BadAnswers, counts_of, has_code
from shifter.core.counts.evidence import INFINITY_MS, Answer, Answers, Counts

BUCKETS = ((5.0, 3.0), (INFINITY_MS, 4.0))

DEFAULT = BadAnswers()
CODES = st.sampled_from(["0", "200", "302", "404", "500", "503"])
ANY_ANSWER = st.builds(Answer, CODES, st.sampled_from(["", "UF", "DC", "UF,DC"]), st.sampled_from(["", "0", "14"]))


def judged(rules: BadAnswers = DEFAULT, /, **numbers: float) -> Counts:
    """Judge answers by code, written `_200`, as keywords must."""
    return counts_of(Answers({Answer(code.removeprefix("_")): number for code, number in numbers.items()}), rules)


def one(answer: Answer, rules: BadAnswers = DEFAULT) -> Counts:
    return counts_of(Answers({answer: 1}), rules)


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        *((code, 1) for code in ("500", "503", "599")),
        *((code, 0) for code in ("200", "404", "", "5", "5xx0", "5000")),
    ],
)
def test_server_error_is_bad_unless_a_policy_says_otherwise(code: str, bad: float) -> None:
    assert one(Answer(code)).bad == bad


def test_codes_of_a_policy_replace_the_default() -> None:
    rules = BadAnswers(codes=("503", "4xx"), compared=())

    assert judged(rules, _200=10, _501=3, _503=2, _429=5) == Counts(20, 7)


@pytest.mark.parametrize(("flags", "bad"), [("UF", 1), ("UF,URX", 1), ("URX,UF", 1), ("URX", 0), ("", 0), ("UFX", 0)])
def test_flag_of_a_policy_makes_an_answer_bad_whatever_its_code(flags: str, bad: float) -> None:
    assert one(Answer("200", flags), BadAnswers(flags=("UF", "UO"))).bad == bad


@pytest.mark.parametrize("status", ["2", "4", "12", "13", "14", "15"])
def test_grpc_status_that_is_the_servers_failure_is_bad_though_the_code_is_200(status: str) -> None:
    assert one(Answer("200", grpc=status)) == Counts(1, 1)


@pytest.mark.parametrize("status", ["", "0", "1", "3", "5", "7", "16"])
def test_grpc_status_that_is_an_answer_or_the_clients_mistake_is_not_bad(status: str) -> None:
    assert one(Answer("200", grpc=status)) == Counts(1, 0)


def test_answer_that_is_bad_for_several_reasons_is_bad_once() -> None:
    assert one(Answer("503", "UF", "14"), BadAnswers(flags=("UF",))) == Counts(1, 1)


@pytest.mark.parametrize("answer", [Answer("0"), Answer("0", "DC"), Answer("200", "DC"), Answer("503", "UF,DR")])
def test_client_that_left_is_no_request_and_never_bad(answer: Answer) -> None:
    assert one(answer, BadAnswers(codes=("0", "5xx"), flags=("DC", "UF"), compared=("2xx", "0"))) == Counts(left=1)


def test_compared_answers_are_counted_by_what_the_policy_calls_them_and_stay_requests() -> None:
    assert judged(_200=5, _301=1, _302=2, _401=3, _404=4, _410=1) == Counts(
        16, 0, kinds=(("3xx", 3), ("401", 3), ("404", 4))
    )


def test_answer_may_be_compared_by_its_class_and_by_itself() -> None:
    rules = BadAnswers(compared=("4xx", "404"))

    assert judged(rules, _404=2, _403=1).kinds == (("404", 2), ("4xx", 3))


def test_compared_answer_that_nobody_got_is_left_out() -> None:
    assert judged(_200=5, _404=0) == Counts(5, 0)


def test_missing_route_is_a_compared_404() -> None:
    assert one(Answer("404", "NR")) == Counts(1, 0, kinds=(("404", 1),))


def test_buckets_are_handed_on_and_pairs_are_sorted() -> None:
    answers = Answers({}, BUCKETS, {"logins": (1, 10), "cards": (0, 0)})

    assert counts_of(answers, BadAnswers()) == Counts(buckets=BUCKETS, pairs=(("cards", 0, 0), ("logins", 1, 10)))


def test_bad_part_of_a_pair_is_at_most_its_total() -> None:
    assert counts_of(Answers(pairs={"logins": (7, 5)}), BadAnswers()).pairs == (("logins", 5, 5),)


@pytest.mark.parametrize(
    ("code", "kind", "matches"),
    [("503", "503", True), ("503", "5xx", True), ("503", "502", False), ("5", "5xx", False), ("", "5xx", False)],
)
def test_code_is_of_its_class_only_with_three_digits(code: str, kind: str, *, matches: bool) -> None:
    assert has_code(Answer(code), kind) is matches


@given(st.dictionaries(ANY_ANSWER, st.integers(0, 1000).map(float)))
def test_every_answer_is_a_request_or_a_client_that_left(by_answer: Mapping[Answer, float]) -> None:
    counts = counts_of(Answers(by_answer), BadAnswers())

    assert counts.requests + counts.left == sum(by_answer.values())
    assert 0 <= counts.bad <= counts.requests


@given(*[st.dictionaries(ANY_ANSWER, st.integers(0, 1000).map(float))] * 2)
def test_judging_a_sum_is_the_sum_of_what_is_judged(
    first: Mapping[Answer, float], second: Mapping[Answer, float]
) -> None:
    rules = BadAnswers(flags=("UF",))
    apart = counts_of(Answers(first), rules) + counts_of(Answers(second), rules)

    assert counts_of(Answers(first) + Answers(second), rules) == apart
