"""How well the source is, said of its own requests alone: sick, vouching for its history, steady."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.analysis.sickness import VOUCHING_REQUESTS, Sickness, after_tick, is_sick, is_steady, vouches
from tests.core.evidences import a_history, a_standing

BEGAN = Sickness(1, 0, 7, ((0.01, 500.0),))


def test_a_source_without_a_history_is_never_sick() -> None:
    assert not is_sick(a_history(0.0, 0.0).metrics[0], 100, 100)


def test_a_history_of_one_request_is_one() -> None:
    learnt = a_history(0.0, 1.0).metrics[0]

    assert is_sick(learnt, 100, 100)
    assert not is_steady(learnt, [(100.0, 100.0)])


@pytest.mark.parametrize(
    ("rate", "requests", "bad", "sick"),
    [(0.001, 2, 2, False), (0.001, 3, 3, True), (0.01, 80, 10, False), (0.01, 80, 11, True)],
    ids=["two failures", "three", "three deviations", "beyond them"],
)
def test_a_source_is_sick_from_three_failures_and_beyond_three_deviations(
    rate: float, requests: float, bad: float, *, sick: bool
) -> None:
    assert is_sick(a_history(rate).metrics[0], requests, bad) is sick


@pytest.mark.parametrize(
    ("rate", "dispersion", "bad", "sick"),
    [
        (0.001, 1, 8, False),
        (0.001, 1, 9, True),
        (0.02, 1, 19, False),
        (0.02, 1, 20, True),
        (0.001, 4, 13, False),
        (0.001, 4, 14, True),
    ],
    ids=["three points", "beyond them", "five times", "beyond that", "in clusters", "beyond clusters"],
)
def test_a_source_is_sick_above_five_times_its_history_and_three_points_and_chance(
    rate: float, dispersion: float, bad: float, *, sick: bool
) -> None:
    assert is_sick(a_history(rate, dispersion=dispersion).metrics[0], 100, bad) is sick


@pytest.mark.parametrize(
    ("tick", "count", "begun"),
    [
        ((100.0, 50.0), 1, True),
        ((100.0, 1.0), 1, False),
        ((100.0, 10.0), 1, False),
        ((2.0, 1.0), 2, False),
        ((2.0, 1.0), 4, True),
    ],
    ids=["one bad tick", "one good tick", "one by chance", "two slow ticks", "four of them"],
)
def test_an_incident_begins_once_the_newest_ticks_together_show_it(
    tick: tuple[float, float], count: int, *, begun: bool
) -> None:
    found = after_tick(None, a_history().metrics[0], [(tick,)] * count, BEGAN)

    assert found == (BEGAN if begun else None)


def test_an_incident_keeps_what_it_began_with_until_it_is_over() -> None:
    learnt = a_history().metrics[0]
    sick = after_tick(BEGAN, learnt, [((100.0, 50.0),)], Sickness(1, 0, 0))
    well = after_tick(sick, learnt, [((100.0, 1.0),)], Sickness(1, 0, 0))

    assert sick == replace(BEGAN, ticks=2)
    assert well == replace(BEGAN, ticks=3, well_ticks=1)
    assert after_tick(replace(BEGAN, well_ticks=3), learnt, [((100.0, 1.0),)], BEGAN) == replace(
        BEGAN, ticks=2, well_ticks=4
    )
    assert after_tick(replace(BEGAN, well_ticks=4), learnt, [((100.0, 1.0),)], BEGAN) is None


def test_an_incident_that_shows_again_is_not_over_any_sooner() -> None:
    found = after_tick(replace(BEGAN, well_ticks=4), a_history().metrics[0], [((100.0, 50.0),)], BEGAN)

    assert found == replace(BEGAN, ticks=2, well_ticks=0)


@pytest.mark.parametrize(
    ("rate", "dispersion", "bad", "steady"),
    [
        (0.01, 1, 33, True),
        (0.01, 1, 34, False),
        (0.0, 1, 3, True),
        (0.0, 1, 4, False),
        (0.01, 4, 47, True),
        (0.01, 4, 48, False),
    ],
    ids=["twice, by chance", "beyond it", "a flawless one", "no longer", "in clusters", "beyond clusters"],
)
def test_a_source_is_steady_up_to_twice_its_history_and_chance(
    rate: float, dispersion: float, bad: float, *, steady: bool
) -> None:
    learnt = a_history(rate, dispersion=dispersion).metrics[0]

    assert is_steady(learnt, [(600.0, bad - 1), (400.0, 1.0)]) is steady


def test_a_source_without_a_history_or_a_request_is_taken_for_steady() -> None:
    assert is_steady(a_history(0.0, 0.0).metrics[0], [(100.0, 100.0)])
    assert is_steady(a_history().metrics[0], [])


@pytest.mark.parametrize(
    ("requests", "bad", "least", "vouched"),
    [
        (9, 0, VOUCHING_REQUESTS, False),
        (10, 0, VOUCHING_REQUESTS, True),
        (0, 0, 0, True),
        (100, 3, VOUCHING_REQUESTS, True),
        (100, 4, VOUCHING_REQUESTS, False),
    ],
    ids=["too few requests", "just enough", "none at the top", "twice and a point", "beyond that"],
)
def test_a_source_vouches_for_its_history_if_it_looks_like_it(
    requests: float, bad: float, least: float, *, vouched: bool
) -> None:
    _, (errors,) = a_standing()

    assert vouches(errors, a_history(0.01).metrics[0], [(requests, bad)], least) is vouched


@pytest.mark.parametrize(
    ("rate", "bad", "vouched"),
    [(0.001, 5, True), (0.001, 6, False), (0.01, 11, True), (0.01, 12, False)],
    ids=["within", "beyond", "what is tolerated over history", "beyond that"],
)
def test_a_source_beyond_the_policys_limit_vouches_for_none(rate: float, bad: float, *, vouched: bool) -> None:
    _, (errors,) = a_standing()
    strict = replace(errors, most_rate=0.005)

    assert vouches(strict, a_history(rate).metrics[0], [(1000.0, bad)], VOUCHING_REQUESTS) is vouched
