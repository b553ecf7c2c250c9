"""When is a share observed, and how long has it been good?"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.counts.evidence import MAX_TICKS, Counts, Ledger, Tick
from shifter.core.deciding.settling import (
    ALLOWANCE_PERCENT,
    ObservedShare,
    agrees,
    contradicts,
    is_lost,
    is_settled,
    observed_share,
    soaked_seconds,
)
from shifter.core.state import Direction, Intent, ShiftState
from tests.core.shifts import NOON, a_policy

POLICY = a_policy("lbl-1", steps=(50, 100))


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def tick(source: float, target: float, at: datetime = NOON, span_seconds: float = 5) -> Tick:
    return Tick(at, span_seconds, Counts(source), Counts(target))


def a_view(share: int | None, settle_seconds: float = 0, *, split_by_request: bool = True) -> RouteView:
    weights = (0, 0) if share is None else (100 - share, share)
    members = (
        Member("old", Side.SOURCE, weights[0], Health.ALIVE),
        Member("new", Side.TARGET, weights[1], Health.ALIVE),
    )
    return RouteView(POLICY.routes[0], members, settle_seconds, split_by_request=split_by_request)


def at_share(share: float, **changes: object) -> ShiftState:
    fields: dict[str, object] = {"name": "shop", "policy": POLICY, "since": NOON, "share": share, "verified_at": NOON}
    return ShiftState.model_validate(fields | changes)


def test_nothing_is_observed_without_ticks_or_requests() -> None:
    assert observed_share([]) is None
    assert observed_share([tick(0, 0)]) is None


def test_the_newest_ticks_are_pooled_until_they_hold_enough_requests() -> None:
    observed = observed_share([tick(0, 500), tick(45, 15), tick(30, 10)])

    assert observed == ObservedShare(25, 100)


def test_a_sample_that_is_too_small_is_still_shown_with_its_size() -> None:
    assert observed_share([tick(3, 1)]) == ObservedShare(25, 4)


@pytest.mark.parametrize(
    ("observed", "requests", "written", "agreed"),
    [
        (50, 100, 50, True),
        (67, 100, 50, True),  # 3 deviations are 15 points, the allowance 2
        (67.1, 100, 50, False),
        (33, 100, 50, True),
        (32.9, 100, 50, False),
        (56, 10_000, 50, False),  # the more requests, the less chance explains
        (2, 100, 0, True),
        (2.1, 100, 0, False),
        (98, 100, 100, True),
        (97.9, 100, 100, False),
    ],
)
def test_a_share_is_seen_when_only_chance_and_the_allowance_separate_it(
    observed: float, requests: float, written: float, *, agreed: bool
) -> None:
    assert agrees(ObservedShare(observed, requests), written) is agreed


@given(st.floats(0, 100), st.floats(0, 100), st.floats(1, 1e9))
def test_agreement_is_symmetric_between_the_sides(observed: float, written: float, requests: float) -> None:
    near_the_edge = (
        abs(abs(observed - written) - 300 * math.sqrt(written / 100 * (1 - written / 100) / requests) - 2) < 1e-6
    )

    mirrored = agrees(ObservedShare(100 - observed, requests), 100 - written)
    assert near_the_edge or mirrored == agrees(ObservedShare(observed, requests), written)


def test_only_evidence_read_after_the_share_was_seen_counts_as_soak() -> None:
    ticks = [tick(1, 1, NOON), tick(1, 1, NOON + seconds(5)), tick(1, 1, NOON + seconds(12), 7)]

    assert soaked_seconds(Ledger(tuple(ticks)), NOON) == 12


def test_of_a_tick_that_straddles_the_instant_only_the_rest_counts_as_soak() -> None:
    assert soaked_seconds(Ledger((tick(1, 1, NOON + seconds(2), 5),)), NOON) == 2


def test_what_two_ticks_reach_over_counts_as_soak_once() -> None:
    ticks = [tick(1, 1, NOON + seconds(5), 5), tick(1, 1, NOON + seconds(10), 10), tick(1, 1, NOON + seconds(15), 5)]

    assert soaked_seconds(Ledger(tuple(ticks)), NOON) == 15


def test_a_soak_by_a_clock_that_was_set_back_is_counted_by_the_new_one() -> None:
    ticks = [tick(1, 1, NOON + seconds(3600)), tick(1, 1, NOON + seconds(5)), tick(1, 1, NOON + seconds(10))]

    assert soaked_seconds(Ledger(tuple(ticks[1:])), NOON) == 10
    assert soaked_seconds(Ledger(tuple(ticks)), NOON) == 15


def test_a_soak_may_be_longer_than_a_ledger_keeps_ticks_apart() -> None:
    ledger = Ledger()
    for count in range(1, MAX_TICKS + 50):
        ledger = ledger.add(tick(1, 1, NOON + seconds(5 * count)))

    assert soaked_seconds(ledger, NOON + seconds(5)) == 5 * (MAX_TICKS + 48)


def test_what_two_ticks_reach_over_counts_once_also_where_they_are_kept_as_one() -> None:
    ledger = Ledger().add(tick(1, 1, NOON + seconds(5)))
    after_an_outage = [tick(1, 1, NOON + seconds(3600 + 5 * count), 8) for count in range(MAX_TICKS + 10)]
    for each in after_an_outage:
        ledger = ledger.add(each)

    assert soaked_seconds(ledger, NOON) == 5 + 8 + 5 * (MAX_TICKS + 9)


def test_a_gap_in_the_evidence_does_not_count_as_soak() -> None:
    ticks = [tick(1, 1, NOON + seconds(5)), tick(1, 1, NOON + seconds(3600))]

    assert soaked_seconds(Ledger(tuple(ticks)), NOON) == 10


A_CLIMB = Intent(
    sequence=1,
    epoch=1,
    direction=Direction.CLIMB,
    from_share=50,
    to_share=100,
    reason="",
    by="shifter",
    created_at=NOON,
    deadline=NOON,
    before={},
    weights={},
)
HALF = Ledger((tick(60, 60, NOON + seconds(5)),))


def test_a_share_is_settled_when_balancer_and_metrics_show_it() -> None:
    assert is_settled(at_share(50), HALF, {"r": a_view(50)}, NOON + seconds(5))


def test_a_share_never_verified_is_not_settled() -> None:
    assert not is_settled(at_share(50, verified_at=None), HALF, {"r": a_view(50)}, NOON + seconds(5))


def test_a_share_being_changed_is_not_settled() -> None:
    assert not is_settled(at_share(50, intent=A_CLIMB), HALF, {"r": a_view(50)}, NOON + seconds(5))


@pytest.mark.parametrize("views", [None, {}])
def test_nothing_is_settled_while_the_provider_shows_nothing(views: dict[str, RouteView] | None) -> None:
    assert not is_settled(at_share(50), HALF, views, NOON + seconds(5))


def test_the_slowest_balancer_is_waited_for() -> None:
    views = {"a": a_view(50), "b": a_view(50, settle_seconds=30)}

    assert not is_settled(at_share(50), HALF, views, NOON + seconds(29))
    assert is_settled(at_share(50), HALF, views, NOON + seconds(30))


def test_ticks_that_began_before_the_share_was_verified_show_nothing() -> None:
    straddling = Ledger((tick(60, 60, NOON + seconds(4)),))

    assert not is_settled(at_share(50), straddling, {"r": a_view(50)}, NOON + seconds(5))


def test_one_route_that_the_metrics_do_not_show_keeps_the_share_unsettled() -> None:
    assert not is_settled(at_share(50), HALF, {"a": a_view(50), "b": a_view(5)}, NOON + seconds(5))


def test_after_the_clock_was_set_back_what_is_gathered_since_shows_the_share() -> None:
    verified = at_share(50, verified_at=NOON + timedelta(hours=1))
    views = {"r": a_view(50, settle_seconds=30)}

    assert not is_settled(verified, Ledger(), views, NOON + seconds(5))
    assert not is_settled(verified, HALF, views, NOON + seconds(34))
    assert is_settled(verified, HALF, views, NOON + seconds(35))


def test_weights_that_send_traffic_nowhere_contradict_nothing() -> None:
    assert not is_lost(at_share(50), HALF, {"r": a_view(None)})


def test_where_clients_stick_to_a_side_the_share_need_only_show_roughly() -> None:
    rough = Ledger((tick(1400, 600, NOON + seconds(5)),))
    views = [{"r": a_view(50, split_by_request=by_request)} for by_request in (True, False)]

    assert [is_settled(at_share(50), rough, view, NOON + seconds(5)) for view in views] == [False, True]
    assert [is_lost(at_share(50), rough, view) for view in views] == [True, False]


def test_where_clients_stick_to_a_side_quite_another_share_is_still_another() -> None:
    sticky = {"r": a_view(98, split_by_request=False)}

    assert not is_settled(at_share(98), HALF, sticky, NOON + seconds(5))
    assert is_lost(at_share(98), HALF, sticky)


def test_weights_that_send_traffic_nowhere_are_not_settled() -> None:
    assert not is_settled(at_share(50), HALF, {"r": a_view(None)}, NOON + seconds(5))


@given(st.floats(0, 100), st.floats(0, 100), st.floats(1, 1e6))
def test_what_agrees_does_not_contradict(seen: float, written: float, requests: float) -> None:
    observed = ObservedShare(seen, requests)

    assert not (agrees(observed, written) and contradicts(observed, written))


@pytest.mark.parametrize(
    ("source", "target", "lost"), [(120, 120, False), (100, 140, False), (10, 230, True), (240, 0, True), (0, 0, False)]
)
def test_a_share_is_lost_when_the_metrics_certainly_show_another(source: float, target: float, *, lost: bool) -> None:
    newest = Ledger((tick(60, 60, NOON), tick(source, target, NOON + seconds(5))))

    assert is_lost(at_share(50), newest, {"r": a_view(50)}) is lost


def test_a_share_that_cannot_be_seen_or_is_being_changed_is_not_lost() -> None:
    other = Ledger((tick(240, 0),))

    assert not is_lost(at_share(50), other, None)
    assert not is_lost(at_share(50), Ledger(), {"r": a_view(50)})
    assert not is_lost(at_share(50), other, {"r": a_view(None)})
    assert not is_lost(at_share(50, intent=A_CLIMB), other, {"r": a_view(50)})


def test_a_single_request_is_observed() -> None:
    assert observed_share([tick(1, 0)]) == ObservedShare(0, 1)


def test_what_is_more_than_twice_as_far_off_as_still_agrees_contradicts() -> None:
    assert not contradicts(ObservedShare(2 * ALLOWANCE_PERCENT, 100), 0)
    assert contradicts(ObservedShare(2.1 * ALLOWANCE_PERCENT, 100), 0)


def test_what_was_gathered_before_a_share_was_verified_settles_nothing_at_that_very_moment() -> None:
    before = Ledger((tick(500, 500, NOON - seconds(5)), tick(500, 500, NOON)))

    assert not is_settled(at_share(50), before, {"r": a_view(50)}, NOON)
