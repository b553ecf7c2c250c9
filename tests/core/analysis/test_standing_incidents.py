"""The source's incidents as an attempt sees them: when they begin and end, and that they prove and aim nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.analysis import standing as standings
from shifter.core.analysis.measures import Metric
from shifter.core.analysis.sequential import bound
from shifter.core.analysis.sickness import Sickness
from shifter.core.analysis.standing import Standing, advance, at_share, evidence_of_harm
from tests.core.evidences import TICK_SECONDS, a_history, a_policy, a_standing
from tests.core.standings import a_row, a_start, added, said_of

# An outage of both


def outage_of_both() -> tuple[Standing, Standing, Standing, tuple[Metric, ...]]:
    """Return the standing before an outage, at its end, and once the source has been well for long enough."""
    standing, metrics = a_start()
    before = added(standing, metrics, *[a_row(750, 7, 750, 7)] * 30)
    during = added(before, metrics, *[a_row(750, 375, 750, 375)] * 20)
    after = during
    for _ in range(standings.RECENT_TICKS + 5):
        if after.sickness is not None:
            after = advance(after, metrics, a_row(750, 7, 750, 7))
    return before, during, after, metrics


def test_an_outage_of_both_proves_nothing() -> None:
    before, during, after, metrics = outage_of_both()

    assert said_of(during) == Sickness(20, 0, 30)
    assert bound(during.wealth.metrics[0]) == bound(before.wealth.metrics[0]) < 1
    assert during.wealth.metrics[0].safety == after.wealth.metrics[0].safety == before.wealth.metrics[0].safety
    assert evidence_of_harm(during, metrics) < 10


def test_an_outage_of_both_aims_no_bet_once_it_is_over() -> None:
    before, during, after, metrics = outage_of_both()
    rates = [(each.source_rate, each.source_weight) for each in before.wealth.metrics]
    next_tick = advance(after, metrics, a_row(750, 7, 750, 7))

    assert during.wealth.metrics[0].source_rate > 0.1
    assert after.sickness is None
    assert [(each.source_rate, each.source_weight) for each in after.wealth.metrics] == rates
    assert next_tick.wealth.metrics[0].source_rate == pytest.approx(rates[0][0], rel=0.05)


def test_an_incident_that_was_saved_without_the_rates_before_it_ends_without_them() -> None:
    _, during, after, metrics = outage_of_both()
    last = Sickness(24, 4, 30)
    without = advance(replace(during, sickness=last, recent=()), metrics, a_row(750, 7, 750, 7))

    assert without.sickness is None
    assert without.wealth.metrics[0].source_rate > after.wealth.metrics[0].source_rate


def test_the_hold_does_not_run_during_an_incident() -> None:
    before, during, after, metrics = outage_of_both()
    on = advance(after, metrics, a_row(750, 7, 750, 7))

    assert during.ticks == before.ticks + 20
    assert (during.seconds, during.exposed_seconds) == (before.seconds, before.exposed_seconds)
    assert (on.seconds, on.exposed_seconds) == (after.seconds + TICK_SECONDS, after.exposed_seconds + TICK_SECONDS)


def test_a_source_that_fails_more_than_it_used_to_lets_nothing_be_proven() -> None:
    """Not an incident yet; but what both suffer together would hide what the target does by itself."""
    standing, metrics = a_start(rate=0.01)
    worse = added(standing, metrics, *[a_row(1000, 35, 1000, 35)] * 8)
    usual = added(standing, metrics, *[a_row(1000, 15, 1000, 15)] * 8)

    assert worse.sickness is usual.sickness is None
    assert worse.wealth.metrics[0].safety == standing.wealth.metrics[0].safety
    assert usual.wealth.metrics[0].safety != standing.wealth.metrics[0].safety


# The source's health


def test_the_source_is_well_again_after_five_well_ticks() -> None:
    standing, metrics = a_start()
    story = [advance(standing, metrics, a_row(100, 0, 100, 50))]
    for _ in range(14):
        story.append(advance(story[-1], metrics, a_row(100, 0, 10_000, 3)))

    assert [each.sickness and each.sickness.well_ticks for each in story[:6]] == [0, 1, 2, 3, 4, None]
    assert all(each.sickness is None for each in story[5:])


def test_an_incident_that_flares_up_again_is_the_same_one() -> None:
    standing, metrics = a_start()
    sick = advance(standing, metrics, a_row(100, 0, 100, 50))
    well = added(sick, metrics, *[a_row(100, 0, 10_000, 3)] * 3)

    assert said_of(advance(well, metrics, a_row(100, 0, 100, 50))) == Sickness(5, 0, 0)


def test_fewer_than_three_failures_make_no_incident() -> None:
    standing, metrics = a_start()

    assert added(standing, metrics, *[a_row(1, 0, 1, 1)] * 2).sickness is None
    assert said_of(added(standing, metrics, *[a_row(1, 0, 1, 1)] * 3)) == Sickness(1, 0, 2)


@pytest.mark.parametrize(("whole", "ticks"), [(True, 6), (False, 0)], ids=["at the share", "while the share changes"])
def test_an_incident_remembers_how_long_the_share_had_lasted(*, whole: bool, ticks: int) -> None:
    standing, metrics = a_start()
    good = added(standing, metrics, *[a_row(100, 1, 100, 1)] * 6)

    assert said_of(advance(good, metrics, a_row(100, 50, 100, 50, whole=whole))) == Sickness(1, 0, ticks)


def test_a_source_unlike_its_history_vouches_for_no_limit() -> None:
    standing, metrics = a_start(rate=0.001)
    after = advance(standing, metrics, a_row(100, 20, 100, 2))

    assert after.sickness is None
    assert after.wealth.metrics[0].latest[4:] == (0, 0, 0)


def test_a_source_above_the_policys_limit_vouches_for_none() -> None:
    analysis = {"latency": {"enabled": False}, "answers": {"codes": ()}, "errors": {"maxPercent": 0.5}}
    standing, metrics = a_standing(replace(a_history(0.001), per_tick=1e9), a_policy(analysis))
    there = at_share(standing, metrics, 50)

    assert advance(there, metrics, a_row(1000, 20, 1000, 6)).wealth.metrics[0].latest[4:] == (0, 0, 0)
    assert all(log > 0 for log in advance(there, metrics, a_row(1000, 200, 1000, 5)).wealth.metrics[0].latest[4:])


def test_what_history_never_counted_is_no_limit() -> None:
    standing, metrics = a_start(rate=0.0, requests=0.0)

    assert advance(standing, metrics, a_row(100, 100, 100, 0)).wealth.metrics[0].latest[4:] == (0, 0, 0)


def test_a_source_with_too_few_requests_vouches_for_nothing_below_100_percent() -> None:
    fewer, enough, top = (
        advance(start, metrics, a_row(100, 90, source, 0)).wealth.metrics[0].latest[4]
        for (start, metrics), source in ((a_start(95), 9), (a_start(95), 10), (a_start(100), 0))
    )

    assert (fewer, enough > 0, top > 0) == (0, True, True)
