"""Whatever comes, a standing stays small and sound; a saved one that cannot be is not believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.analysis import standing as standings
from shifter.core.analysis.sequential import Wealth
from shifter.core.analysis.sickness import Sickness
from shifter.core.analysis.standing import Counted, Standing, evidence_of_harm, is_sound
from tests.core.standings import a_row, a_start, added, odd_counts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(odd_counts, st.booleans(), st.booleans()), max_size=60))
def test_whatever_comes_a_standing_stays_finite_and_bounded(
    story: Sequence[tuple[Counted, bool, bool]],
) -> None:
    standing, metrics = a_start()
    after = added(
        standing, metrics, *(a_row(*counts, whole=whole, by_request=by_request) for counts, whole, by_request in story)
    )

    assert len(after.recent) <= standings.RECENT_TICKS
    assert math.isfinite(evidence_of_harm(after, metrics))
    assert 0 <= after.lost < float("inf")


NAN, INFINITE = math.nan, math.inf


def with_metric(standing: Standing, **changes: object) -> Standing:
    metric = replace(standing.wealth.metrics[0], **changes)  # type: ignore[arg-type]
    return replace(standing, wealth=replace(standing.wealth, metrics=(metric, *standing.wealth.metrics[1:])))


def with_learnt(standing: Standing, **changes: float) -> Standing:
    learnt_of = replace(standing.history.metrics[0], **changes)  # type: ignore[arg-type]
    return replace(standing, history=replace(standing.history, metrics=(learnt_of,)))


def a_saved() -> Standing:
    standing, metrics = a_start()
    return added(standing, metrics, *[a_row(750, 7, 750, 7)] * 3)


SHAPES = {
    "no metric": lambda s: replace(s, wealth=replace(s.wealth, metrics=()), history=replace(s.history, metrics=())),
    "nothing at all": lambda s: replace(
        s, wealth=Wealth(()), history=replace(s.history, metrics=()), totals=(), recent=()
    ),
    "wealth of fewer metrics": lambda s: replace(s, wealth=replace(s.wealth, metrics=())),
    "wealth of more metrics": lambda s: replace(s, wealth=replace(s.wealth, metrics=s.wealth.metrics * 2)),
    "history of more metrics": lambda s: replace(s, history=replace(s.history, metrics=s.history.metrics * 2)),
    "totals of fewer metrics": lambda s: replace(s, totals=()),
    "an incident's rates of more metrics": lambda s: replace(s, sickness=Sickness(1, 0, 0, ((0.01, 100.0),) * 2)),
    "a recent tick of more metrics": lambda s: replace(s, recent=(*s.recent, ((1.0, 0.0),) * 2)),
    "too few products from the start": lambda s: with_metric(s, start=(0.0,) * 6),
    "too many latest products": lambda s: with_metric(s, latest=(0.0,) * 8),
    "too few products of safety": lambda s: with_metric(s, safety=(0.0,) * 2),
    "never started": lambda s: with_metric(s, opened=(1, 0)),
    "a dispersion below 1": lambda s: with_learnt(s, dispersion=0.9),
}
NUMBERS = {
    "share": lambda s: replace(s, share=NAN),
    "usual": lambda s: replace(s, usual=NAN),
    "seconds": lambda s: replace(s, seconds=NAN),
    "exposed seconds": lambda s: replace(s, exposed_seconds=NAN),
    "lost": lambda s: replace(s, lost=NAN),
    "lost, infinite": lambda s: replace(s, lost=INFINITE),
    "a product from the start": lambda s: with_metric(s, start=(0.0,) * 6 + (NAN,)),
    "a latest product": lambda s: with_metric(s, latest=(INFINITE,) + (0.0,) * 6),
    "a frozen product": lambda s: with_metric(s, frozen=(0.0, NAN)),
    "the source's rate": lambda s: with_metric(s, source_rate=NAN),
    "the source's weight": lambda s: with_metric(s, source_weight=INFINITE),
    "a learnt rate": lambda s: with_learnt(s, rate=NAN),
    "learnt requests": lambda s: with_learnt(s, requests=NAN),
    "a learnt dispersion": lambda s: with_learnt(s, dispersion=NAN),
}


def test_a_saved_standing_of_a_source_without_a_request_or_a_failure_is_sound() -> None:
    assert is_sound(with_metric(with_learnt(replace(a_saved(), usual=0.0), rate=0.0), source_rate=0.0))


def test_a_saved_standing_is_sound() -> None:
    assert is_sound(a_saved())


@pytest.mark.parametrize("spoilt", SHAPES.values(), ids=SHAPES)
def test_a_saved_standing_of_a_wrong_shape_is_not_sound(spoilt: Callable[[Standing], Standing]) -> None:
    assert not is_sound(spoilt(a_saved()))


@pytest.mark.parametrize("spoilt", NUMBERS.values(), ids=NUMBERS)
def test_a_saved_standing_with_what_is_no_number_is_not_sound(spoilt: Callable[[Standing], Standing]) -> None:
    assert not is_sound(spoilt(a_saved()))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(odd_counts, st.booleans(), st.booleans()), max_size=30))
def test_whatever_comes_a_standing_is_sound(story: Sequence[tuple[Counted, bool, bool]]) -> None:
    standing, metrics = a_start()
    rows = (a_row(*counts, whole=whole, by_request=by_request) for counts, whole, by_request in story)

    assert is_sound(added(standing, metrics, *rows))
