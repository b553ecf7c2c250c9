"""The verdict: four-way, made of what was counted, and said so that somebody understands it at night."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.analysis.assess import SUSPECTED, alpha_of, most_blamed
from shifter.core.analysis.guards import VANISHED_TICKS
from shifter.core.analysis.standing import evidence_of_harm
from shifter.core.analysis.verdicts import NOT_YET, Assessment, Verdict
from shifter.core.counts.evidence import INFINITY_MS, Counts
from shifter.core.documents.policy import ShiftPolicy
from tests.core.evidences import (
    EDGES_MS,
    ERRORS_ALONE,
    NOTHING,
    Story,
    a_policy,
    a_story,
    learnt,
    timed,
)

GOOD = Counts(1425, 14), Counts(75, 1)
BROKEN = Counts(1425, 14), Counts(75, 10)


def at(share: float, policy: ShiftPolicy | None = None, **terms: Any) -> Story:  # noqa: ANN401 - any field of terms
    return learnt(policy, **terms).at(share)


# No signal


def test_without_a_tick_there_is_no_signal() -> None:
    found = a_story().judged()

    assert (found.verdict, found.reason) == (Verdict.NO_SIGNAL, NOT_YET)


@pytest.mark.parametrize(("age", "silent"), [(45, False), (46, True), (-45, False), (-46, True)])
def test_evidence_that_is_too_old_or_from_the_future_is_no_signal(age: float, *, silent: bool) -> None:
    story = at(5).tick(*GOOD)

    assert (story.judged(now=story.now + timedelta(seconds=age)).verdict is Verdict.NO_SIGNAL) is silent


def test_what_kept_from_counting_is_said() -> None:
    found = at(5).tick(*GOOD).judged(problem="tcm: Prometheus says no")

    assert (found.verdict, found.reason) == (Verdict.NO_SIGNAL, "tcm: Prometheus says no")


def test_how_old_evidence_is_is_said() -> None:
    story = at(5).tick(*GOOD)

    assert story.judged(now=story.now + timedelta(seconds=60)).reason == "the newest evidence is 60 s old"
    assert story.judged(now=story.now - timedelta(seconds=60)).reason == (
        "the newest evidence is 60 s ahead: the clock was set back"
    )


@pytest.mark.parametrize(
    ("source", "target", "lacks"),
    [
        (timed(1425, 14), Counts(75, 1), "istio"),
        (Counts(1425, 14), timed(75, 1), "tcm"),
        (Counts(1425, 14), Counts(75, 1), "tcm and istio"),
    ],
)
def test_a_metric_that_a_side_does_not_show_is_no_signal(source: Counts, target: Counts, lacks: str) -> None:
    story = at(5, a_policy({"answers": {"codes": ()}})).tick(source, target)
    at_first, found = story.judged(), story.tick(source, target).judged()

    assert at_first.verdict is Verdict.TOO_LITTLE  # requests may show a moment before their histogram
    assert found.verdict is Verdict.NO_SIGNAL
    assert f"{lacks} did not show 'over 100 ms'" in found.reason
    assert found.reason.endswith("it cannot be compared; mend the metric or leave it out")


def test_a_histogram_without_the_fixed_edge_is_no_signal() -> None:
    story = at(5, a_policy({"answers": {"codes": ()}}))
    other = Counts(75, 1, ((200.0, 70.0), (INFINITY_MS, 75.0)))

    assert story.tick(timed(1425, 14), other, count=2).judged().verdict is Verdict.NO_SIGNAL


def test_a_target_that_nothing_has_reached_yet_shows_every_metric() -> None:
    story = at(5, a_policy({})).tick(timed(14, slow={100: 1.0}), NOTHING)

    assert story.judged().verdict is not Verdict.NO_SIGNAL


# Too little


def test_before_the_source_is_known_what_is_lacking_is_said() -> None:
    story = a_story().tick(Counts(100), count=3)

    assert story.judged(lacking="learning") == Assessment(Verdict.TOO_LITTLE, "learning")
    assert story.judged().reason == NOT_YET


def test_a_target_without_a_request_is_too_little_to_leave_the_plateau() -> None:
    found = (
        at(50, a_policy(steps=(50, 75, 100)), split_by_request=False).tick(Counts(20)).judged(split_by_request=False)
    )

    assert found.verdict is Verdict.TOO_LITTLE
    assert found.findings[0].text == "istio fails ? % against tcm 0 % (0 of 0, 0 of 20): excess unknown"


def test_suspicion_neither_goes_on_nor_back() -> None:
    story = at(5)
    while evidence_of_harm(story.tick(Counts(1425, 14), Counts(75, 4)).known, story.tick(*GOOD).metrics) < SUSPECTED:
        story = story.tick(Counts(1425, 14), Counts(75, 4))
    found = story.tick(Counts(1425, 14), Counts(75, 4)).judged()

    assert found.verdict is Verdict.TOO_LITTLE
    assert found.harm is not None
    assert SUSPECTED <= found.harm < 100
    assert found.reason.endswith(":1, limit 100:1: not enough to go back, too much to go on")
    assert found.reason.startswith("istio fails 5.3 % against tcm 0.98 %: evidence ")


# Fail


def test_enough_odds_against_the_target_fail_and_are_said() -> None:
    found = at(5).tick(*BROKEN, count=3).judged()

    assert found.verdict is Verdict.FAIL
    assert found.reason == f"istio fails 13 % against tcm 0.98 %: evidence {found.harm:,.0f}:1, limit 100:1"
    assert (found.findings[0].metric, found.findings[0].verdict) == ("errors", Verdict.FAIL)
    assert found.limit == 100


def test_the_metric_that_is_to_blame_comes_first() -> None:
    story = at(50, a_policy({}))
    usual = {100.0: 75.0, 250.0: 30.0, 500.0: 7.0, 1000.0: 1.0}
    slow = timed(750, 7, {100: 400, 250: 300, 500: 200, 1000: 100})

    found = story.tick(timed(750, 7, usual), slow, count=4).judged()

    assert found.verdict is Verdict.FAIL
    assert found.findings[0].metric.startswith("over ")
    assert "istio takes over" in found.reason
    assert len({finding.metric for finding in found.findings}) == len(story.metrics)


@pytest.mark.parametrize("place", range(14))
def test_the_largest_product_of_any_kind_tells_who_is_to_blame(place: int) -> None:
    story = at(50, a_policy({}))
    grown = tuple(9.0 if index == place else 0.0 for index in range(14))
    wealths = list(story.known.wealth.metrics)
    wealths[0] = replace(wealths[0], start=(1.0,) * 7)
    wealths[1] = replace(wealths[1], start=grown[:7], latest=grown[7:])
    standing = replace(story.known, wealth=replace(story.known.wealth, metrics=tuple(wealths)))

    assert most_blamed(standing, story.metrics) == 1


@pytest.mark.parametrize("place", range(14))
def test_products_without_stakes_are_not_to_blame(place: int) -> None:
    story = at(50)
    errors = story.known.wealth.metrics[0]
    grown = tuple(9.0 if index == place else 0.0 for index in range(14))
    wealths = (replace(errors, start=grown[:7], latest=grown[7:]), replace(errors, start=(0.5,) * 7))
    standing = replace(story.known, wealth=replace(story.known.wealth, metrics=wealths))
    is_pair = place % 7 < 4
    staked = story.metrics[0]
    unstaked = replace(staked, pair_weight=0.0) if is_pair else replace(staked, history_weight=0.0)

    assert most_blamed(standing, (staked, staked)) == 0
    assert most_blamed(standing, (unstaked, staked)) == 1


def test_answers_that_only_the_target_gives_fail_it() -> None:
    missing = Counts(750, 7, kinds=(("404", 150.0),))
    policy = a_policy({"latency": {"enabled": False}})

    found = at(50, policy).tick(Counts(750, 7), missing, count=4).judged()

    assert found.verdict is Verdict.FAIL
    assert found.reason.startswith("istio answers 404 to 20 % against tcm 0 %: evidence ")


def test_a_custom_pair_can_fail_it() -> None:
    policy = a_policy({**ERRORS_ALONE, "custom": ({"name": "carts"},)})
    good, bad = Counts(750, 7, pairs=(("carts", 3.0, 300.0),)), Counts(750, 7, pairs=(("carts", 90.0, 300.0),))
    story = a_story(policy).tick(good, count=8).at(50)

    assert "istio has 30 % of carts against tcm 1 %" in story.tick(good, bad, count=4).judged().reason


def test_without_a_source_the_target_is_held_against_what_that_was_like() -> None:
    found = at(100).tick(NOTHING, Counts(1500, 150), count=4).judged()

    assert found.verdict is Verdict.FAIL
    assert "istio fails 10 %; tcm had 1 % before the first step: evidence" in found.reason


def test_a_dead_target_fails_in_one_tick() -> None:
    found = at(5).tick(Counts(1425, 14), Counts(75, 75)).judged()

    assert found.verdict is Verdict.FAIL
    assert found.findings[0].metric == "dead target"
    assert "dead" in found.reason


def test_one_tick_is_enough_for_a_death_if_both_sides_were_looked_at_within_six_seconds() -> None:
    near, far = (at(5).tick(Counts(1425, 14), Counts(75, 75), apart_seconds=apart) for apart in (6.0, 6.1))

    assert near.judged().findings[0].metric == "dead target"
    assert far.judged().findings[0].metric != "dead target"


def test_a_target_that_dies_while_the_first_write_lands_fails_at_a_share_of_0() -> None:
    story = learnt().tick(Counts(1425, 14), Counts(75, 75), whole=False)

    assert story.judged().verdict is Verdict.FAIL


def test_at_a_share_of_0_nothing_else_fails() -> None:
    assert learnt().tick(Counts(1500, 900), Counts(75, 20)).judged().verdict is not Verdict.FAIL


def test_back_at_a_share_of_0_the_odds_that_led_there_fail_nothing_any_more() -> None:
    story = at(5).tick(*BROKEN, count=3)
    assert story.judged().verdict is Verdict.FAIL

    assert story.at(0).tick(Counts(1500, 15)).judged().verdict is not Verdict.FAIL


def test_a_target_fails_at_1_percent_as_at_any_other_share() -> None:
    assert at(1).tick(Counts(14_850, 148), Counts(150, 20), count=4).judged().verdict is Verdict.FAIL


def test_no_source_is_asked_for_while_a_write_may_have_brought_everything_to_the_target() -> None:
    story = learnt().tick(NOTHING, Counts(75, 75), whole=False)

    assert story.judged(written=100.0).verdict is Verdict.FAIL
    assert story.judged().verdict is not Verdict.FAIL


def test_lost_traffic_fails_where_requests_are_split_one_by_one() -> None:
    story = at(25).tick(Counts(1500, 15), Counts(5), count=4)

    assert story.judged().findings[0].metric == "lost traffic"
    assert story.judged().verdict is Verdict.FAIL


def test_elsewhere_a_small_share_of_requests_is_no_failure() -> None:
    story = at(25, split_by_request=False).tick(Counts(1500, 15), Counts(5), count=4)

    assert story.judged(split_by_request=False).verdict is not Verdict.FAIL


def test_requests_that_lost_their_name_fail_it() -> None:
    nameless = Counts(500, 0, kinds=(("404", 500.0),))
    story = at(25, split_by_request=False).tick(Counts(1125, 11), NOTHING, target_unknown=nameless)

    found = story.judged(split_by_request=False)

    assert (found.verdict, found.findings[0].metric, found.findings[0].guard) == (Verdict.FAIL, "lost names", True)
    assert "name no namespace (404 500 times)" in found.reason


@pytest.mark.parametrize("verified_seconds", [None, 14.9], ids=["never", "in the middle of the tick"])
def test_names_are_missed_only_in_ticks_after_the_share_was_verified(verified_seconds: float | None) -> None:
    nameless = Counts(500, 500)
    story = at(25, split_by_request=False).tick(Counts(1125, 11), NOTHING, target_unknown=nameless)
    verified = None if verified_seconds is None else story.now - timedelta(seconds=verified_seconds)

    assert story.judged(split_by_request=False, verified_at=verified).verdict is not Verdict.FAIL


def test_names_are_missed_in_the_newest_ticks_alone() -> None:
    """Hours of good traffic do not outweigh a namespace that is gone now."""
    story = at(25, split_by_request=False).tick(Counts(1125, 11), Counts(375, 3), count=200)
    gone = story.tick(Counts(1125, 11), NOTHING, count=VANISHED_TICKS, target_unknown=Counts(375, 375))

    assert gone.judged(split_by_request=False).verdict is Verdict.FAIL


def test_the_same_guard_is_said_once_and_every_guard_is_kept() -> None:
    story = at(25).tick(Counts(1500, 15), NOTHING, count=4, target_unknown=Counts(500, 500))
    found = story.judged()

    failed = [finding.metric for finding in found.findings if finding.verdict is Verdict.FAIL]
    assert failed == ["lost names", "lost traffic"]
    assert found.reason.count("failing, not quiet") == 1
    assert "requests are lost on the way" in found.reason


# Pass


def test_proof_on_every_metric_passes() -> None:
    found = at(50, a_policy(steps=(50, 75, 100))).tick(Counts(15_000, 150), Counts(15_000, 150), count=12).judged()

    assert found.verdict is Verdict.PASS
    assert found.proven
    assert (found.step, found.reason) == (75, "no worse than tcm within the margins, proven on every metric")
    assert found.findings[0].bound is not None
    assert found.findings[0].bound <= 0.1
    assert found.findings[0].text.endswith(": excess < 0.025 % (95 %)")


def test_what_is_bounded_but_not_proven_passes_as_such() -> None:
    found = at(5, source=Counts(15)).tick(Counts(14), Counts(1), count=20).judged()

    assert found.verdict is Verdict.PASS
    assert not found.proven
    assert found.reason.startswith("bounded, not proven: ")


def test_before_the_first_step_the_source_alone_is_enough() -> None:
    found = learnt(a_policy(steps="auto")).judged()

    assert found.verdict is Verdict.PASS
    assert found.step is not None
    assert found.step > 0


# Incidents


def test_an_incident_of_the_source_alone_is_told_and_is_no_step_back() -> None:
    found = at(5).tick(*GOOD).tick(Counts(1425, 300), Counts(75, 1)).judged()

    assert found.verdict is not Verdict.FAIL
    assert found.incident == "tcm failed 329 of its last 4350 requests, usually 1 %: tcm itself is in trouble"
    assert found.incident_after_ticks is None


def test_an_incident_of_both_says_how_long_the_share_had_lasted() -> None:
    found = at(25).tick(Counts(1125, 11), Counts(375, 4), count=2).tick(Counts(1125, 500), Counts(375, 170)).judged()

    assert found.verdict is not Verdict.FAIL
    assert found.incident.startswith("both meshes fail: tcm failed 537 of its last 4875 requests")
    assert found.incident.endswith("istio 178 of 1125")
    assert found.incident_after_ticks == 2


def test_at_a_share_of_0_an_incident_is_the_sources() -> None:
    assert "tcm itself is in trouble" in learnt().tick(Counts(1500, 700), count=2).judged().incident


def test_at_a_share_of_1_percent_an_incident_can_be_that_of_both() -> None:
    assert "both meshes fail" in at(1).tick(Counts(14_850, 7000), Counts(150, 75), count=2).judged().incident


@pytest.mark.parametrize("per_second", [5, 100, 2000])
def test_an_outage_of_both_never_fails_the_target(per_second: float) -> None:
    n = per_second * 15
    story = learnt(source=Counts(n, n / 100)).at(25)

    for _ in range(40):
        story = story.tick(Counts(0.75 * n, 0.6 * n), Counts(0.25 * n, 0.2 * n))
        assert story.judged().verdict is not Verdict.FAIL


# Numbers


@pytest.mark.parametrize(("attempt", "alpha"), [(1, 0.01), (2, 0.005), (4, 0.00125)])
def test_each_attempt_has_half_of_the_error_probability_of_the_one_before(attempt: int, alpha: float) -> None:
    assert alpha_of(a_policy().spec.analysis, attempt) == pytest.approx(alpha)


def test_all_attempts_together_have_twice_the_first_ones() -> None:
    assert sum(alpha_of(a_policy().spec.analysis, attempt) for attempt in range(1, 60)) == pytest.approx(0.02)


def test_a_later_attempt_needs_higher_odds() -> None:
    first, third = (learnt().at(5, attempt=attempt).tick(*GOOD) for attempt in (1, 3))

    assert (first.judged().limit, third.judged().limit) == (100, 400)


def test_odds_are_held_against_the_limit_of_the_attempt_that_they_were_gathered_in() -> None:
    gathered = at(5).tick(*GOOD)
    retried = replace(gathered, state=gathered.state.model_copy(update={"attempt": 2}))

    assert retried.judged().limit == 100


def test_a_finding_shows_both_sides_and_what_the_policy_allows() -> None:
    policy = a_policy({**ERRORS_ALONE, "errors": {"maxPercent": 5}})
    finding = at(25, policy).tick(Counts(1125, 11.25), Counts(375, 7.5)).judged().findings[0]

    assert (finding.source, finding.target, finding.limit, finding.unit) == (1, 2, 5, "%")
    assert (finding.source_counts, finding.target_counts) == ((1125, 11.25), (375, 7.5))
    assert finding.dispersion == 1


def test_a_finding_passes_where_no_excess_beyond_the_margin_is_left() -> None:
    proven = at(50).tick(Counts(15_000, 150), Counts(15_000, 150), count=12).judged().findings[0]
    unproven = at(50).tick(Counts(150, 1), Counts(150, 1)).judged().findings[0]

    assert (proven.verdict, unproven.verdict) == (Verdict.PASS, Verdict.TOO_LITTLE)


def test_a_finding_passes_with_proof_of_the_margin_itself() -> None:
    story = at(50).tick(Counts(150, 1), Counts(150, 1))
    (errors,) = story.known.wealth.metrics
    proven = replace(errors, safety=(*(0.0 for _ in errors.safety[:-2]), 5.0, 5.0))
    standing = replace(story.known, wealth=replace(story.known.wealth, metrics=(proven,)))

    found = replace(story, standing=standing).judged()

    assert (found.findings[0].verdict, found.proven) == (Verdict.PASS, True)


def test_one_request_of_a_side_is_shown_as_well() -> None:
    finding = at(50).tick(Counts(1, 1), Counts(1, 0)).judged().findings[0]

    assert (finding.source, finding.target) == (100, 0)
    assert finding.text.startswith("istio fails 0 % against tcm 100 % (0 of 1, 1 of 1)")


def test_a_policys_own_limit_is_held_against_the_target_whatever_the_source_has() -> None:
    policy = a_policy({**ERRORS_ALONE, "errors": {"maxPercent": 2}})

    assert at(100, policy).tick(NOTHING, Counts(1500, 60), count=6).judged().verdict is Verdict.FAIL
    assert at(100).tick(NOTHING, Counts(1500, 60), count=6).judged().verdict is Verdict.PASS


POLICIES = {
    "errors": a_policy(),
    "all": a_policy({"custom": ({"name": "carts"},)}, steps="auto"),
    "limits": a_policy({"errors": {"maxPercent": 1}, "latency": {"maxMs": 300}}),
}
numbers = st.one_of(st.just(0.0), st.floats(0, 1e6))


@st.composite
def counted(draw: st.DrawFn) -> Counts:
    requests = draw(numbers)
    below = sorted(draw(st.floats(0, requests)) for _ in EDGES_MS)
    buckets = (*zip(EDGES_MS, below, strict=True), (INFINITY_MS, requests)) if draw(st.booleans()) else ()
    kinds = (("404", draw(st.floats(0, requests))),)
    return Counts(requests, draw(st.floats(0, requests)), buckets, kinds, (("carts", 0.0, requests),))


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    share=st.sampled_from([0.0, 5.0, 50.0, 75.0, 100.0]),
    ticks=st.lists(st.tuples(counted(), counted(), counted(), st.booleans()), min_size=1, max_size=6),
)
def test_whatever_is_counted_every_sentence_and_number_is_one(
    policy: str, share: float, ticks: list[tuple[Counts, Counts, Counts, bool]]
) -> None:
    story = learnt(POLICIES[policy]).at(share) if share else learnt(POLICIES[policy])
    for source, target, unknown, whole in ticks:
        story = story.tick(source, target, whole=whole, target_unknown=unknown)
    found = story.judged()

    values = [value for each in found.findings for value in (each.source, each.target, each.limit, each.bound)]
    assert all(value is None or math.isfinite(value) for value in values)
    assert found.reason
    assert "nan" not in found.reason + found.incident + "".join(each.text for each in found.findings)
    assert found.verdict is not Verdict.FAIL or any(each.verdict is Verdict.FAIL for each in found.findings)
    assert found.step is None or found.verdict is Verdict.PASS


@given(st.integers(0, 75), st.integers(1, 40), st.sampled_from([5.0, 50.0, 95.0]))
def test_more_failures_of_the_target_never_turn_a_failure_into_a_pass(bad: int, more: int, share: float) -> None:
    order = [Verdict.PASS, Verdict.TOO_LITTLE, Verdict.FAIL]
    before = at(share).tick(Counts(75, 1), Counts(75, 5), count=2)
    few, many = (before.tick(Counts(75, 1), Counts(75, min(75, each))).judged().verdict for each in (bad, bad + more))

    assert order.index(few) <= order.index(many)
