"""Is the target good enough? Every rule of the module's docstring, from both sides of its limit."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis import MIN_BAD, Assessment, Situation, Verdict, assess
from shifter.core.evidence import INFINITY_MS, Counts, Ledger, Tick
from shifter.core.policy import Analysis, ErrorGuard, LatencyGuard

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NOTHING = Counts()
ERRORS = Analysis(minRequests=100, errors=ErrorGuard(maxPercent=1.0, overSourcePercent=0.5))
P90 = LatencyGuard(quantile=0.9, maxMs=200.0, overSourceRatio=1.5)
BOTH = Analysis(minRequests=100, latency=P90)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def timed(requests: float, below_ms: float, bad: float = 0) -> Counts:
    """Requests of which all are answered within `below_ms`, spread evenly from 0 (so p90 is 0.9 of it)."""
    return Counts(requests, bad, ((below_ms, requests), (INFINITY_MS, requests)))


def a_ledger(source: Counts, target: Counts, unknown_bad: float = 0, *, usual: float | None = None) -> Ledger:
    """One tick of 10 s that ended at noon."""
    return Ledger((Tick(NOON, 10, source, target, target_unknown=Counts(unknown_bad, unknown_bad)),), usual)


def judged(
    source: Counts,
    target: Counts,
    analysis: Analysis = ERRORS,
    *,
    share: float = 50,
    unknown_bad: float = 0,
    usual: float | None = None,
) -> Assessment:
    situation = Situation(share, NOON - seconds(10), NOON, seconds(15))
    return assess(analysis, a_ledger(source, target, unknown_bad, usual=usual), situation)


def test_no_evidence_is_no_signal() -> None:
    found = assess(ERRORS, Ledger(), Situation(5, NOON, NOON, seconds(15)))

    assert (found.verdict, found.reason) == (Verdict.NO_SIGNAL, "no evidence yet at this share")


@pytest.mark.parametrize(("age", "verdict"), [(15, Verdict.PASS), (15.1, Verdict.NO_SIGNAL)])
def test_evidence_older_than_the_greatest_age_is_no_signal(age: float, verdict: Verdict) -> None:
    ledger = a_ledger(Counts(1000), Counts(1000))

    assert assess(ERRORS, ledger, Situation(5, NOON, NOON + seconds(age), seconds(15))).verdict is verdict


def test_bad_evidence_that_is_too_old_is_no_signal_either() -> None:
    ledger = a_ledger(Counts(1000), Counts(1000, 1000))
    found = assess(ERRORS, ledger, Situation(5, NOON, NOON + seconds(60), seconds(15)))

    assert (found.verdict, found.reason) == (Verdict.NO_SIGNAL, "the newest evidence is 60 s old")


@pytest.mark.parametrize(("ahead", "verdict"), [(15, Verdict.PASS), (15.1, Verdict.NO_SIGNAL)])
def test_evidence_from_a_clock_that_was_set_back_is_no_signal(ahead: float, verdict: Verdict) -> None:
    ledger = a_ledger(Counts(1000), Counts(1000))

    assert assess(ERRORS, ledger, Situation(5, NOON, NOON - seconds(ahead), seconds(15))).verdict is verdict


def test_only_the_window_is_judged() -> None:
    long_ago = Tick(NOON - seconds(60), 10, Counts(1000), Counts(1000, 1000))
    ledger = Ledger((long_ago, *a_ledger(Counts(1000), Counts(1000)).ticks))

    assert assess(ERRORS, ledger, Situation(5, NOON, NOON, seconds(15))).verdict is Verdict.PASS


def test_a_newest_tick_longer_than_the_window_is_still_judged() -> None:
    ledger = Ledger((Tick(NOON, 90, Counts(1000), Counts(1000, 1000)),))

    assert assess(ERRORS, ledger, Situation(5, NOON, NOON, seconds(15))).verdict is Verdict.FAIL


def test_ticks_of_the_window_are_added_up() -> None:
    ticks = tuple(Tick(NOON - seconds(5 * n), 5, Counts(50), Counts(50, 1)) for n in (3, 2, 1, 0))

    assert assess(ERRORS, Ledger(ticks), Situation(5, NOON, NOON, seconds(15))).verdict is Verdict.FAIL


def test_at_0_percent_a_healthy_source_is_enough_to_start() -> None:
    found = judged(Counts(500, 5), Counts(10, 10), share=0)

    assert (found.verdict, found.incident, found.findings) == (Verdict.PASS, "", ())
    assert found.reason == "both datasources answer; tcm has 500 requests"


def test_at_0_percent_a_source_without_traffic_is_no_obstacle() -> None:
    assert judged(NOTHING, NOTHING, share=0) == Assessment(Verdict.PASS, "both datasources answer; tcm has 0 requests")


@pytest.mark.parametrize(("bad", "incident"), [(3, True), (2, False)], ids=["enough", "one unlucky request"])
def test_at_0_percent_a_failing_source_is_an_incident(bad: float, *, incident: bool) -> None:
    found = judged(Counts(100, bad), NOTHING, share=0)

    assert found.verdict is Verdict.PASS
    assert (found.incident == "tcm itself fails 3 % of requests, limit 1 %") is incident


def test_errors_within_both_limits_pass() -> None:
    found = judged(Counts(1000, 5), Counts(1000, 10))

    assert found.verdict is Verdict.PASS
    assert found.reason == "istio failed 10 of 1000 requests, tcm 5 of 1000: 1 % is within 1 %"


def test_errors_over_the_fixed_limit_fail() -> None:
    found = judged(Counts(1000, 8), Counts(1000, 11))

    assert found.verdict is Verdict.FAIL
    assert found.reason == "istio failed 11 of 1000 requests, tcm 8 of 1000: 1.1 % is over the limit of 1 %"


def test_errors_over_the_source_fail_below_the_fixed_limit() -> None:
    found = judged(Counts(1000, 0), Counts(1000, 6))

    assert found.verdict is Verdict.FAIL
    assert found.findings[0].limit == 0.5


def test_a_source_with_too_few_requests_is_no_baseline() -> None:
    found = judged(Counts(99, 0), Counts(1000, 6))

    assert found.verdict is Verdict.PASS
    assert found.findings[0].limit == 1
    assert "no baseline" in found.reason


def test_a_handful_of_requests_is_too_little_traffic() -> None:
    found = judged(Counts(1000), Counts(99))

    assert found.verdict is Verdict.TOO_LITTLE
    assert found.reason == "istio failed 0 of 99 requests, tcm 0 of 1000; 100 are needed to judge"


def test_no_traffic_at_all_is_too_little_traffic_and_not_health() -> None:
    assert judged(NOTHING, NOTHING).verdict is Verdict.TOO_LITTLE


def test_exactly_the_needed_requests_are_judged() -> None:
    assert judged(Counts(1000), Counts(100)).verdict is Verdict.PASS


def test_failures_that_break_the_limit_even_if_the_rest_were_good_fail_early() -> None:
    found = judged(Counts(1000), Counts(4, 3))

    assert found.verdict is Verdict.FAIL


def test_failures_that_good_requests_could_still_make_up_for_do_not_fail_early() -> None:
    lenient = Analysis(minRequests=100, errors=ErrorGuard(maxPercent=3.0, overSourcePercent=3.0))

    assert judged(Counts(1000), Counts(4, 3), lenient).verdict is Verdict.TOO_LITTLE
    assert judged(Counts(1000), Counts(4, 4), lenient).verdict is Verdict.FAIL


def test_fewer_failures_than_the_minimum_never_fail() -> None:
    strict = Analysis(minRequests=1, errors=ErrorGuard(maxPercent=0.1, overSourcePercent=0.0))

    assert judged(Counts(1000), Counts(MIN_BAD - 1, MIN_BAD - 1), strict).verdict is Verdict.PASS
    assert judged(Counts(1000), Counts(MIN_BAD, MIN_BAD), strict).verdict is Verdict.FAIL


def test_latency_within_both_limits_passes() -> None:
    found = judged(timed(1000, 200), timed(1000, 220), BOTH)

    assert found.verdict is Verdict.PASS
    assert found.reason.endswith("p90: istio 198 ms, tcm 180 ms: within the limit of 200 ms")


def test_latency_over_the_fixed_limit_fails() -> None:
    found = judged(timed(1000, 200), timed(1000, 230), BOTH)

    assert found.verdict is Verdict.FAIL
    assert found.reason == "p90: istio 207 ms, tcm 180 ms: over the limit of 200 ms"


def test_latency_far_over_the_source_fails_below_the_fixed_limit() -> None:
    found = judged(timed(1000, 100), timed(1000, 160), BOTH)

    assert found.verdict is Verdict.FAIL
    assert found.findings[1].limit == pytest.approx(135)


def test_latency_without_a_baseline_is_held_to_the_fixed_limit() -> None:
    found = judged(timed(99, 10), timed(1000, 160), BOTH)

    assert found.verdict is Verdict.PASS
    assert "no baseline" in found.reason


def test_latency_beyond_the_last_bucket_fails() -> None:
    slow = Counts(1000, 0, ((100, 500), (INFINITY_MS, 1000)))
    found = judged(timed(1000, 100), slow, BOTH)

    assert found.verdict is Verdict.FAIL
    assert "istio beyond the last bucket" in found.reason


@pytest.mark.parametrize("target", [Counts(1000), timed(99, 10_000)], ids=["no histogram", "too few requests"])
def test_latency_that_was_not_measured_is_too_little_traffic(target: Counts) -> None:
    found = judged(timed(1000, 100), target, BOTH)

    assert found.verdict is Verdict.TOO_LITTLE
    assert found.findings[1].verdict is Verdict.TOO_LITTLE


def test_the_failing_guard_speaks_and_the_findings_have_all() -> None:
    found = judged(timed(1000, 100), timed(1000, 1000), BOTH)

    assert [finding.verdict for finding in found.findings] == [Verdict.PASS, Verdict.FAIL]
    assert found.reason == found.findings[1].text


def test_errors_of_both_meshes_are_an_incident() -> None:
    found = judged(Counts(1000, 100), Counts(1000, 105))

    assert (found.verdict, found.incident) == (Verdict.FAIL, "both meshes fail: tcm 10 %, istio 10.5 %, limit 1 %")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Counts(1000, 100), Counts(1000, 106)),  # the target is worse than the source
        (Counts(1000, 10), Counts(1000, 15)),  # the source is within its limit
        (Counts(99, 99), Counts(1000, 1000)),  # the source has too few requests to say
    ],
)
def test_the_targets_own_errors_are_no_incident(source: Counts, target: Counts) -> None:
    found = judged(source, target)

    assert (found.verdict, found.incident) == (Verdict.FAIL, "")


def test_fewer_source_failures_than_the_minimum_are_no_incident() -> None:
    few = Analysis(minRequests=10)

    assert judged(Counts(10, 2), Counts(10, 0), few).incident == ""


def test_a_failing_source_beside_a_good_target_is_an_incident_too() -> None:
    found = judged(Counts(1000, 100), Counts(1000))

    assert (found.verdict, bool(found.incident)) == (Verdict.PASS, True)


def test_both_meshes_slow_is_an_incident() -> None:
    found = judged(timed(1000, 1000), timed(1000, 1100), BOTH)

    assert found.verdict is Verdict.FAIL
    assert found.incident == "both meshes are slow: tcm 900 ms, istio 990 ms, limit 200 ms"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (timed(1000, 1000), timed(1000, 1600)),  # the target is far slower
        (timed(1000, 200), timed(1000, 250)),  # the source is within the limit
        (Counts(1000), timed(1000, 1000)),  # nobody measured the source
    ],
)
def test_the_targets_own_slowness_is_no_incident(source: Counts, target: Counts) -> None:
    found = judged(source, target, BOTH)

    assert (found.verdict, found.incident) == (Verdict.FAIL, "")


def test_a_slow_source_with_an_unmeasured_target_is_no_incident() -> None:
    assert judged(timed(1000, 1000), Counts(1000), BOTH).incident == ""


def test_errors_of_both_do_not_excuse_a_slow_target() -> None:
    found = judged(timed(1000, 100, 100), timed(1000, 1000, 100), BOTH)

    assert (found.verdict, found.incident) == (Verdict.FAIL, "")


def test_errors_and_slowness_of_both_are_told_together() -> None:
    found = judged(timed(1000, 1000, 100), timed(1000, 1000, 100), BOTH)

    assert found.incident.startswith("both meshes fail: ")
    assert "; both meshes are slow: " in found.incident


def test_errors_of_both_do_not_excuse_lost_traffic() -> None:
    found = judged(Counts(1000, 100), NOTHING, unknown_bad=1000)

    assert (found.verdict, found.incident) == (Verdict.FAIL, "")


def test_vanished_requests_beside_unattributed_errors_fail() -> None:
    found = judged(Counts(1000), Counts(100), unknown_bad=900)

    assert found.verdict is Verdict.FAIL
    assert found.findings[-1].metric == "lost traffic"
    assert found.reason == (
        "istio answered 100 of about 1000 expected requests while its gateway shows "
        "900 errors without a namespace: failing, not quiet"
    )


@pytest.mark.parametrize(
    ("seen", "unknown_bad", "lost"),
    [
        (199, 401, True),
        (200, 401, False),  # a fifth of the expected requests still comes
        (199, 400, False),  # less than half of what is missing reappears as errors
        (0, 0, False),  # merely quiet
    ],
)
def test_lost_traffic_needs_both_missing_requests_and_errors(seen: float, unknown_bad: float, *, lost: bool) -> None:
    found = judged(Counts(1000), Counts(seen), unknown_bad=unknown_bad)

    assert any(finding.metric == "lost traffic" for finding in found.findings) is lost


def test_what_is_expected_follows_the_share() -> None:
    found = judged(Counts(950), NOTHING, share=5, unknown_bad=30)

    assert found.findings[-1].limit == pytest.approx(50)


@pytest.mark.parametrize(("errors", "lost"), [(20, True), (19, False)])
def test_a_few_missing_requests_are_not_lost_traffic(errors: float, *, lost: bool) -> None:
    found = judged(Counts(errors), NOTHING, unknown_bad=errors)

    assert (found.verdict is Verdict.FAIL) is lost


def test_fewer_unattributed_errors_than_the_minimum_are_not_lost_traffic() -> None:
    few = Analysis(minRequests=1)

    assert judged(Counts(2), NOTHING, few, unknown_bad=2).verdict is Verdict.TOO_LITTLE
    assert judged(Counts(3), NOTHING, few, unknown_bad=3).verdict is Verdict.FAIL


@pytest.mark.parametrize("verified_at", [None, NOON - seconds(9.9)], ids=["never", "in the middle of the tick"])
def test_traffic_is_missed_only_in_ticks_that_began_after_the_share_was_verified(verified_at: datetime | None) -> None:
    ledger = a_ledger(Counts(1000), NOTHING, unknown_bad=1000)
    found = assess(ERRORS, ledger, Situation(50, verified_at, NOON, seconds(15)))

    assert found.verdict is Verdict.TOO_LITTLE


def test_at_100_percent_the_usual_rate_says_what_is_expected() -> None:
    found = judged(NOTHING, Counts(10), share=100, unknown_bad=990, usual=100)

    assert found.verdict is Verdict.FAIL
    assert found.findings[-1].limit == pytest.approx(1000)


def test_at_100_percent_the_usual_traffic_is_not_missed() -> None:
    found = judged(NOTHING, Counts(900), share=100, unknown_bad=990, usual=100)

    assert found.verdict is Verdict.PASS


def test_at_100_percent_without_a_usual_rate_total_silence_beside_errors_fails() -> None:
    found = judged(NOTHING, NOTHING, share=100, unknown_bad=20)

    assert found.verdict is Verdict.FAIL
    assert "0 of about 20 expected" in found.reason


def test_at_100_percent_without_a_usual_rate_some_traffic_is_believed() -> None:
    found = judged(NOTHING, Counts(100), share=100, unknown_bad=10_000)

    assert found.verdict is Verdict.PASS


def test_at_100_percent_the_fixed_limits_judge_alone() -> None:
    assert judged(NOTHING, Counts(1000, 10), share=100).verdict is Verdict.PASS
    assert judged(NOTHING, Counts(1000, 11), share=100).verdict is Verdict.FAIL


numbers = st.one_of(st.just(0.0), st.floats(0, 1e6))


@st.composite
def counted(draw: st.DrawFn) -> Counts:
    requests = draw(numbers)
    edges = sorted(draw(st.sets(st.sampled_from([1.0, 50.0, 100.0, 200.0, 500.0]))))
    below = sorted(draw(st.floats(0, requests)) for _ in edges)
    buckets = (*zip(edges, below, strict=True), (INFINITY_MS, requests)) if draw(st.booleans()) else ()
    return Counts(requests, draw(st.floats(0, requests)), buckets)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    ends = sorted(draw(st.lists(st.integers(0, 60), max_size=4)))
    ticks = tuple(
        Tick(
            NOON - seconds(60 - end),
            draw(st.floats(0.1, 20)),
            draw(counted()),
            draw(counted()),
            draw(counted()),
        )
        for end in ends
    )
    return Ledger(ticks, draw(st.one_of(st.none(), numbers)))


analyses = st.builds(
    Analysis,
    minRequests=st.integers(1, 1000),
    latency=st.sampled_from([None, P90]),
    errors=st.builds(ErrorGuard, maxPercent=st.floats(0.01, 100), overSourcePercent=st.floats(0, 100)),
)
shares = st.one_of(st.sampled_from([0.0, 5.0, 50.0, 100.0]), st.floats(0, 100))
verified = st.sampled_from([None, NOON - seconds(60), NOON - seconds(5)])


@given(analyses, ledgers(), shares, verified)
def test_no_number_that_a_person_sees_is_nan(
    analysis: Analysis, ledger: Ledger, share: float, verified_at: datetime | None
) -> None:
    found = assess(analysis, ledger, Situation(share, verified_at, NOON, seconds(15)))

    values = [value for each in found.findings for value in (each.source, each.target, each.limit)]
    assert not any(value is not None and math.isnan(value) for value in values)
    assert found.reason
    assert "nan" not in found.reason + found.incident


@given(analyses, ledgers(), shares, verified)
def test_the_verdict_is_the_worst_of_its_findings(
    analysis: Analysis, ledger: Ledger, share: float, verified_at: datetime | None
) -> None:
    found = assess(analysis, ledger, Situation(share, verified_at, NOON, seconds(15)))

    order = [Verdict.FAIL, Verdict.TOO_LITTLE, Verdict.PASS]
    assert not found.findings or found.verdict is min((each.verdict for each in found.findings), key=order.index)


@given(analyses, counted(), counted(), st.floats(0.1, 100))
def test_nothing_passes_above_0_percent_on_fewer_requests_than_the_minimum(
    analysis: Analysis, source: Counts, target: Counts, share: float
) -> None:
    found = judged(source, target, analysis, share=share)

    assert found.verdict is not Verdict.PASS or target.requests >= analysis.min_requests


@given(counted(), st.floats(0, MIN_BAD, exclude_max=True), st.integers(0, 1000), shares)
def test_errors_below_the_minimum_never_fail_a_shift(source: Counts, bad: float, good: int, share: float) -> None:
    assert judged(source, Counts(bad + good, bad), share=share).verdict is not Verdict.FAIL


@given(analyses, counted(), st.floats(0.1, 99))
def test_more_failures_of_the_target_never_turn_a_failure_into_a_pass(
    analysis: Analysis, source: Counts, share: float
) -> None:
    order = [Verdict.PASS, Verdict.TOO_LITTLE, Verdict.FAIL]
    verdicts = [judged(source, timed(500, 10, bad), analysis, share=share).verdict for bad in range(0, 500, 50)]

    assert verdicts == sorted(verdicts, key=order.index)
