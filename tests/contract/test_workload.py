"""The rules of the port to the source's workload, for every adapter of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shifter.adapters.memory_workload import MemoryWorkload
from shifter.core.deciding.pinning import Workload
from shifter.errors import CapacityUnavailableError, InvariantError
from shifter.ports import SourceWorkload
from tests.scaled import ScaledGateway


@dataclass(frozen=True, slots=True)
class Subject:
    """One workload under test with two ready replicas, and how its cluster falls silent."""

    workload: SourceWorkload
    fall_silent: Callable[[], None]


def memory_subject(floor: int | None) -> Subject:
    workload = MemoryWorkload(2, floor)

    def fall_silent() -> None:
        workload.down = True

    return Subject(workload, fall_silent)


def kube_subject(floor: int | None) -> Subject:
    gateway = ScaledGateway(2, floor)
    return Subject(gateway.workload(), lambda: gateway.api.set(down=True))


SUBJECTS = pytest.mark.parametrize("make", [memory_subject, kube_subject], ids=["memory", "kubernetes"])
Make = Callable[[int | None], Subject]


@SUBJECTS
@pytest.mark.parametrize("floor", [1, None])
def test_what_there_is_is_told(make: Make, floor: int | None) -> None:
    assert make(floor).workload.observe() == Workload(2, floor)


@SUBJECTS
def test_a_floor_that_was_pinned_is_seen_and_kept_to(make: Make) -> None:
    workload = make(1).workload
    workload.pin(4)
    workload.pin(4)

    assert workload.observe() == Workload(4, 4)


@SUBJECTS
def test_a_floor_that_is_lowered_again_takes_no_replica_away_by_itself(make: Make) -> None:
    workload = make(1).workload
    workload.pin(4)
    workload.pin(1)

    assert workload.observe() == Workload(4, 1)


@SUBJECTS
def test_without_an_autoscaler_a_pin_changes_nothing(make: Make) -> None:
    workload = make(None).workload
    workload.pin(4)

    assert workload.observe() == Workload(2, None)


@SUBJECTS
@pytest.mark.parametrize("floor", [0, -1])
def test_a_floor_below_1_is_no_way_back(make: Make, floor: int) -> None:
    workload = make(1).workload
    with pytest.raises(InvariantError, match="no way back"):
        workload.pin(floor)

    assert workload.observe() == Workload(2, 1)


@SUBJECTS
def test_a_cluster_that_does_not_answer_is_told_as_such(make: Make) -> None:
    subject = make(1)
    subject.fall_silent()

    with pytest.raises(CapacityUnavailableError):
        subject.workload.observe()
    with pytest.raises(CapacityUnavailableError):
        subject.workload.pin(4)


def test_in_memory_a_lost_answer_may_have_set_the_floor_and_a_deaf_autoscaler_forgets_it() -> None:
    lossy, deaf = MemoryWorkload(2, 1), MemoryWorkload(2, 1)
    lossy.loses_answers = deaf.deaf = True
    with pytest.raises(CapacityUnavailableError, match="the answer was lost"):
        lossy.pin(4)
    deaf.pin(4)

    assert (lossy.observe().floor, deaf.observe().floor) == (4, 1)
