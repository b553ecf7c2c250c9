"""How recorded readings are counted, halved and held against each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.counts.counters import Absence
from shifter.core.counts.evidence import Answer, PodReading, Reading, Series
from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import NotFoundError
from shifter.ports import MeshMetrics, Unread
from shifter.service.backtest.answering import backtest
from shifter.service.backtest.coverage import Coverage
from shifter.service.backtest.halves import Halves, upper_limit
from shifter.service.backtest.judging import Word
from shifter.service.backtest.recording import Question, Recorded
from tests.service.conftest import FLEET, policy

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
TICK = FLEET.spec.timing.tick
WINDOW = timedelta(minutes=5)


def shop(**changes: object) -> ShiftPolicy:
    return ShiftPolicy.model_validate_json(json.dumps(policy("shop", "lb-1", steps=[10, 25, 50, 100], **changes)))


def reading(at: datetime, *pods: str, requests: float = 0, bad: float = 0) -> Reading:
    """Return what the pods show: each so many requests so far, of which so many failed."""
    counters = {Series("shop", Answer("200")): requests - bad, Series("shop", Answer("503")): bad}
    started = at.timestamp() - 50_000
    return Reading(at.timestamp(), {pod: PodReading(at.timestamp() - 3, started, counters) for pod in pods})


class Remembered:
    """A datasource that remembers so many requests a tick of each pod, of which so many failed.

    `worse`: from which tick of the range on another part of them fails. `more`: after which tick so many more came.
    """

    def __init__(
        self,
        *pods: str,
        requests: float = 100,
        bad_part: float = 0.01,
        worse: tuple[int, float] | None = None,
        more: tuple[int, float] | None = None,
    ) -> None:
        self.pods, self.requests, self.bad_part = pods, requests, bad_part
        self.worse, self.more = worse or (0, bad_part), more or (0, 0.0)
        self.instead: dict[datetime, Recorded] = {}
        self.asked: list[Sequence[float]] = []

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        raise AssertionError(f"nobody may read what is live: {at}, {edges_ms}")

    def past(
        self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]
    ) -> Iterable[Reading | Unread]:
        self.asked.append(edges_ms)
        at = start
        while at <= end:
            tick = (at - BEGIN) / step
            requests = self.requests * (tick + 5000) + (self.more[1] if tick > self.more[0] else 0)
            worse_ticks = max(0.0, tick - self.worse[0])
            bad = self.requests * (self.bad_part * (tick + 5000 - worse_ticks) + self.worse[1] * worse_ticks)
            yield self.instead.get(at) or reading(at, *self.pods, requests=requests, bad=bad)
            at += step


def asked(ticks: int = 60, share: float | None = None, **changes: object) -> Question:
    """Ask about a range at 33.3 %; `changes` are of the policy."""
    return Question(shop(**changes), FLEET, BEGIN, BEGIN + ticks * TICK, share, rest=timedelta(minutes=5))


def both(source: Remembered, target: Remembered) -> dict[Side, MeshMetrics]:
    return {Side.SOURCE: source, Side.TARGET: target}


def test_every_tick_after_the_first_reading_is_counted() -> None:
    found = backtest(asked(), both(Remembered("a", "b"), Remembered("c")), WINDOW)

    assert (found.begin, found.ticks, found.counted) == (BEGIN, 60, 60)
    assert found.outcome.share == pytest.approx(100 / 3)


def test_instant_that_was_refused_says_nothing_and_is_no_sign_of_a_gateway_that_is_gone() -> None:
    target = Remembered("c")
    target.instead[BEGIN + 30 * TICK] = Unread((BEGIN + 30 * TICK).timestamp(), "istio metrics: pod 'c' is there twice")
    found = backtest(asked(), both(Remembered("a", "b"), target), WINDOW)
    blind = [each for each in found.outcome.said if each.reason.startswith("holding: no signal: ")]

    assert [each.at for each in blind] == [BEGIN + 30 * TICK]
    assert blind[0].reason == "holding: no signal: istio metrics: pod 'c' is there twice"
    assert found.counted == 59


def test_target_that_was_gone_is_no_signal_with_its_reason() -> None:
    target = Remembered("c")
    for tick in range(35, 60):
        at = BEGIN + tick * TICK
        target.instead[at] = Absence(at.timestamp(), {}, "istio metrics: shows no gateway pod")
    found = backtest(asked(), both(Remembered("a", "b"), target), WINDOW)

    assert found.outcome.said[40].reason.startswith("holding: no signal: istio metrics: shows no gateway pod")
    assert found.outcome.remarks == ()
    assert found.counted == 34


def test_range_that_is_mostly_blind_says_so() -> None:
    target = Remembered()
    target.instead = {BEGIN + tick * TICK: reading(BEGIN + tick * TICK, "c", requests=tick) for tick in range(10)}
    found = backtest(asked(), both(Remembered("a", "b"), target), WINDOW)

    assert found.outcome.remarks[0].startswith("51 of 60 ticks say nothing, the last of them because: ")


def test_range_that_ends_as_soon_as_the_source_is_known_is_refused() -> None:
    source = Remembered("a", "b")
    source.instead = {
        BEGIN - tick * TICK: Absence((BEGIN - tick * TICK).timestamp(), {}, "gone") for tick in range(241)
    }
    with pytest.raises(NotFoundError, match="the range ends as soon as tcm is known"):
        backtest(asked(ticks=9), both(source, Remembered("c")), WINDOW)


def test_source_that_was_always_refused_is_not_found_with_the_reason() -> None:
    source = Remembered("a")
    source.instead = {
        BEGIN + tick * TICK: Unread((BEGIN + tick * TICK).timestamp(), "pod 'a' is there twice")
        for tick in range(-240, 61)
    }
    with pytest.raises(NotFoundError, match=r"nothing of tcm is recorded .*: pod 'a' is there twice"):
        backtest(asked(), both(source, Remembered("c")), WINDOW)


def test_only_the_namespaces_that_no_series_names_are_told_and_nothing_of_a_gateway_that_was_never_there() -> None:
    settings = FLEET.spec.datasources.target
    there, gone = (Coverage("istio", settings, ("shop", "cart", "pay")) for _ in range(2))
    there.see(reading(BEGIN, "c"))
    gone.see(Unread(BEGIN.timestamp(), "pod 'c' is there twice"))

    assert " names cart, pay in destination_service " in there.lacks()
    assert "(named are: shop)" in there.lacks()
    assert gone.lacks() == ""
    assert list(gone.remarks(BEGIN)) == ["istio is not recorded in this range: pod 'c' is there twice"]


def test_source_is_learnt_only_from_what_would_be_judged() -> None:
    found = backtest(asked(), both(Remembered("a", "b", more=(-20, 2e12)), Remembered("c")), WINDOW)

    assert (found.history.ticks, found.history.requests) == (239, 239 * 200)


def test_failing_target_goes_back_all_the_way() -> None:
    found = backtest(asked(), both(Remembered("a", "b"), Remembered("c", worse=(10, 0.2))), WINDOW)
    change = next(each for each in found.outcome.changes if each.word is Word.ROLLBACK)

    assert BEGIN + 10 * TICK < change.at <= BEGIN + 16 * TICK
    assert change.reason.startswith("rolling back: istio fails ")


def test_failing_target_steps_back_where_the_policy_says_so() -> None:
    metrics = both(Remembered("a", "b"), Remembered("c", worse=(10, 0.2)))
    found = backtest(asked(onFailure="stepBack"), metrics, WINDOW)
    change = next(each for each in found.outcome.changes if each.word is Word.STEP_BACK)

    assert change.reason.startswith("stepping back to 25 %: istio fails ")
    assert Word.ROLLBACK not in {each.word for each in found.outcome.said}


def test_dead_target_goes_back_all_the_way_whatever_the_policy_says() -> None:
    metrics = both(Remembered("a", "b"), Remembered("c", worse=(10, 1)))
    found = backtest(asked(onFailure="stepBack"), metrics, WINDOW)

    assert Word.ROLLBACK in {each.word for each in found.outcome.said}
    assert Word.STEP_BACK not in {each.word for each in found.outcome.said}


def test_below_the_first_step_there_is_no_step_to_go_back_to() -> None:
    metrics = both(Remembered("a", "b"), Remembered("c", worse=(10, 0.2)))
    found = backtest(asked(share=5, onFailure="stepBack"), metrics, WINDOW)

    assert Word.ROLLBACK in {each.word for each in found.outcome.said}
    assert Word.STEP_BACK not in {each.word for each in found.outcome.said}


def test_failure_that_waits_for_a_person_is_no_ordinary_hold() -> None:
    metrics = both(Remembered("a", "b"), Remembered("c", worse=(10, 0.2)))
    found = backtest(asked(onFailure="hold"), metrics, WINDOW)
    changes = {each.word: each.reason for each in found.outcome.changes}

    assert changes[Word.FAILING].startswith("holding: failing: istio fails ")
    assert "onFailure is hold: `shifter rollback shop` goes back" in changes[Word.FAILING]


@pytest.mark.parametrize("on_failure", ["rollback", "stepBack"])
def test_incident_of_both_meshes_right_after_the_step_is_probed_once_by_a_step_back(on_failure: str) -> None:
    metrics = both(Remembered("a", "b", worse=(2, 0.4)), Remembered("c", worse=(2, 0.4)))
    found = backtest(asked(ticks=90, onFailure=on_failure), metrics, WINDOW)
    probes = [each for each in found.outcome.changes if each.word is Word.STEP_BACK]

    assert len(probes) == 1
    assert "one step back shows whether istio causes it" in probes[0].reason
    assert found.outcome.said[-1].reason.startswith("holding: incident: both meshes fail")


def test_incident_of_both_meshes_that_begins_later_only_holds() -> None:
    metrics = both(Remembered("a", "b", worse=(20, 0.4)), Remembered("c", worse=(20, 0.4)))
    found = backtest(asked(), metrics, WINDOW)

    assert {each.word for each in found.outcome.said[21:]} == {Word.HOLD}
    assert found.outcome.said[25].reason.startswith("holding: incident: both meshes fail")


@pytest.mark.parametrize(("share", "bets"), [(None, 4), (50.0, 12)])
def test_observed_share_is_judged_on_merged_ticks_and_a_given_one_on_each(share: float | None, bets: int) -> None:
    metrics = both(Remembered("a", "b", requests=20), Remembered("c", requests=40))
    found = backtest(asked(ticks=12, share=share), metrics, WINDOW)

    assert len({each.harm for each in found.outcome.said} - {1.0}) == bets


def test_edges_are_all_read_to_learn_and_only_the_fixed_ones_to_judge() -> None:
    source = Remembered("a", "b")
    backtest(asked(), both(source, Remembered("c")), WINDOW)

    assert list(source.asked[0]) == sorted(FLEET.spec.datasources.source.edges_ms)
    assert list(source.asked[1]) == []


def test_a_pod_stays_in_its_half_when_others_come_and_go() -> None:
    halves = Halves()
    first = [halves.split(reading(BEGIN, "b", "d"))]
    then = [halves.split(reading(BEGIN, *pods)) for pods in (("a", "b", "d"), ("a", "c", "d"), ("d",))]

    sides = [tuple(sorted(half.pods) for half in pair if isinstance(half, Reading)) for pair in first + then]
    assert sides == [(["b"], ["d"]), (["a", "b"], ["d"]), (["a", "c"], ["d"]), ([], ["d"])]
    assert halves.two


def test_new_pod_joins_the_half_that_has_fewer() -> None:
    halves = Halves()
    halves.split(reading(BEGIN, "a", "b", "c", "d"))
    first, second = halves.split(reading(BEGIN, "b", "d", "e"))

    assert isinstance(first, Reading)
    assert isinstance(second, Reading)
    assert (sorted(first.pods), sorted(second.pods)) == (["e"], ["b", "d"])


def test_one_pod_after_another_is_never_two_halves() -> None:
    halves = Halves()
    for pod in ("a", "b", "c"):
        halves.split(reading(BEGIN, pod))

    assert not halves.two


@pytest.mark.parametrize(
    ("hits", "trials", "limit"),
    [
        (0, 1, 0.95),
        (0, 300, 1 - 0.05 ** (1 / 300)),
        (1, 10, 0.394163),  # beta quantiles, as tables have them
        (5, 100, 0.102253),
        (3, 3, 1.0),
    ],
)
def test_upper_limit_is_that_of_clopper_and_pearson(hits: int, trials: int, limit: float) -> None:
    assert upper_limit(hits, trials) == pytest.approx(limit, rel=1e-5)


def test_upper_limit_of_many_windows_is_a_number() -> None:
    assert 0.05 < upper_limit(500, 10_000) < 0.055
