"""What `--keep` tells people to type works: the orders of a shift that has come to its end."""

from datetime import UTC, datetime

import pytest

from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.keeping import moving_again
from tests.reports import a_report

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def report(phase: Phase) -> Report:
    return a_report(NOON, phase=phase, step=2, wanted=100, written=100, observed=100)


@pytest.mark.parametrize(
    ("phase", "verbs"),
    [(Phase.COMPLETED, ["rollback", "retry"]), (Phase.ROLLED_BACK, ["retry"])],
)
def test_a_shift_at_its_end_moves_again_by_orders_that_it_takes(phase: Phase, verbs: list[str]) -> None:
    told = [line.split() for line in moving_again("shop", {"shop": report(phase)})]

    assert [(words[0], words[1], words[2]) for words in told] == [("shifter", verb, "shop") for verb in verbs]
