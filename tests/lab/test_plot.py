"""Beats look at a scene and act through the real CLI's interface; an order that is not accepted ends the story."""

import subprocess
from datetime import UTC, datetime

import pytest

from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.plot import Beat, OrderFailedError, Plot, Progress, Scene, order
from shifter.lab.scenarios import SCENARIOS
from shifter.lab.stage import Stage
from tests.reports import a_report, held

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Answering(Stage):
    """A stage whose command line says one thing."""

    def __init__(self, code: int, stdout: str = "", stderr: str = "") -> None:
        self.answer = subprocess.CompletedProcess(("shifter",), code, stdout, stderr)
        self.asked: list[tuple[str, ...]] = []

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        self.asked.append(words)
        return self.answer


class Hanging(Stage):
    """A stage whose command line never comes back."""

    def __init__(self) -> None:
        """Nothing is started."""

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(words, 30)


def report(written: float | None, *holds: str, soaked_seconds: float = 0.0, page: bool = False) -> Report:
    soak: dict[str, float] = {"soaked_seconds": soaked_seconds, "soak_seconds": 5.0}
    return a_report(NOON, "shop", written=written, holds=held(*holds), page=page, **soak)


def scene(*reports: Report) -> Scene:
    return Scene(since_beat=0.5, reports={each.name: each for each in reports})


def test_an_order_says_what_was_typed_and_what_came_back() -> None:
    stage = Answering(0, "order 4 accepted\nshop is paused\n")

    said = order("pause", "shop", "--reason", "deploy")(stage)

    assert stage.asked == [("pause", "shop", "--reason", "deploy")]
    assert said == "$ shifter pause shop --reason deploy  → shop is paused"


def test_an_order_without_words_is_no_failure() -> None:
    assert order("pause", "shop")(Answering(0)) == "$ shifter pause shop  → "


def test_a_refused_order_fails_loudly_with_code_and_reason() -> None:
    stage = Answering(4, stderr="note: service silent\nerror: the source is drained\n")

    with pytest.raises(OrderFailedError, match=r"^`shifter rollback shop` ended with 4: error: the source is drained$"):
        order("rollback", "shop")(stage)


def test_an_order_that_never_ends_fails_the_same_way() -> None:
    with pytest.raises(OrderFailedError, match=r"^`shifter retry shop --wait` did not end within 30 s$"):
        order("retry", "shop", "--wait")(Hanging())


def test_a_scene_says_where_a_shift_is() -> None:
    seen = scene(report(25.0, "paused", page=True))

    assert (seen.phase("shop"), seen.written("shop")) == (Phase.SHIFTING, 25)
    assert (seen.paged("shop"), scene(report(25.0)).paged("shop")) == (True, False)
    assert (seen.held("shop", "paused"), seen.held("shop", "drift")) == (True, False)


def test_a_shift_that_is_not_known_yet_is_nowhere() -> None:
    seen = scene()

    assert (seen.phase("shop"), seen.written("shop"), seen.held("shop", "paused")) == (None, 0, False)
    assert not seen.paged("shop")


def test_a_share_that_nobody_knows_counts_as_none() -> None:
    assert scene(report(None)).written("shop") == 0


def test_beats_come_in_order_and_end() -> None:
    first, second = Beat("first", lambda _: True), Beat("second", lambda _: True)
    progress = Progress(Plot("two", (first, second)), last_at=0.0)

    came = []
    while progress.next is not None:
        came.append(progress.next)
        progress.done += 1

    assert came == [first, second]


@pytest.mark.parametrize(
    ("written", "soaked_seconds", "comes"),
    [(10, 3, False), (25, 0, False), (25, 3, True), (25, 6, False)],
    ids=["too early", "not yet seen", "soaking", "the soak before, the write is under way"],
)
def test_the_drift_comes_in_the_middle_of_a_soak(written: float, soaked_seconds: float, *, comes: bool) -> None:
    [plot] = SCENARIOS["drift"].plots
    first, *_ = plot.beats

    assert first.when(scene(report(written, soaked_seconds=soaked_seconds))) is comes
