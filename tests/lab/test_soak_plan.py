"""What goes wrong in a soak, and when: the same for the same seed, several at once, nothing in the calm."""

from collections import Counter
from itertools import pairwise

import pytest

from shifter.lab.account import open_account
from shifter.lab.checker.kinds import SIMULATED, Kind
from shifter.lab.emulator import FaultKind
from shifter.lab.soak.plan import Site, Trouble, calm_seconds, plan
from shifter.lab.soak.run import BALANCER_OF
from shifter.lab.topology import Namespace, lay_out, ports_needed

VERBS = frozenset({"pause", "resume", "approve", "promote", "rollback", "retry", "reconcile", "freeze", "unfreeze"})
TEN_MINUTES = 600.0


def site(verbs: frozenset[str] = VERBS) -> Site:
    namespaces = tuple(Namespace(name) for name in BALANCER_OF)
    gateways = lay_out(namespaces, range(20_000, 20_000 + ports_needed())).gateways
    return Site(open_account(namespaces, BALANCER_OF, gateways).balancers, BALANCER_OF, verbs)


def end(trouble: Trouble) -> float:
    return trouble.at_seconds + trouble.lasts_seconds


@pytest.fixture(scope="module")
def drawn() -> tuple[Trouble, ...]:
    return plan(1, TEN_MINUTES, site())


def test_the_same_seed_gives_the_same_troubles_and_another_gives_others() -> None:
    first, again, other = (plan(seed, 120, site()) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_troubles_come_by_time_and_are_numbered(drawn: tuple[Trouble, ...]) -> None:
    assert [trouble.number for trouble in drawn] == list(range(1, len(drawn) + 1))
    assert [trouble.at_seconds for trouble in drawn] == sorted(trouble.at_seconds for trouble in drawn)


def test_ten_minutes_have_every_kind_of_trouble_and_every_fault_of_the_cloud(drawn: tuple[Trouble, ...]) -> None:
    faults = {trouble.event.kind for trouble in drawn if trouble.event is not None}

    assert {trouble.kind for trouble in drawn} == set(Kind) - SIMULATED
    assert faults == set(FaultKind)


def test_ten_minutes_have_every_order_and_two_people_at_once(drawn: tuple[Trouble, ...]) -> None:
    orders = [asked for trouble in drawn for asked in trouble.orders]

    assert {asked.verb for asked in orders} == VERBS
    assert {asked.words for asked in orders} >= {("--adopt", "--yes"), ("--restore", "--yes"), ("--full", "--yes")}
    assert any(len({asked.by for asked in trouble.orders}) > 1 for trouble in drawn)
    assert all(0 <= asked.after_seconds < 1 for asked in orders)


def test_an_order_that_this_version_does_not_know_is_given_by_nobody() -> None:
    troubles = plan(1, TEN_MINUTES, site(frozenset({"pause", "resume"})))

    assert {asked.verb for trouble in troubles for asked in trouble.orders} == {"pause", "resume"}
    assert {asked.words for trouble in troubles for asked in trouble.orders} == {()}


def test_several_troubles_are_in_force_at_once(drawn: tuple[Trouble, ...]) -> None:
    together = [sum(each.at_seconds <= at < end(each) for each in drawn) for at in range(5, 535)]

    assert max(together) >= 5
    assert sum(together) / len(together) > 2


@pytest.mark.parametrize("seconds", [20.0, 90.0, TEN_MINUTES])
def test_everything_is_over_before_the_calm(seconds: float) -> None:
    troubles = plan(3, seconds, site())

    assert all(end(trouble) <= seconds - calm_seconds(seconds) for trouble in troubles)


def test_the_calm_is_a_minute_or_half_of_a_short_soak() -> None:
    assert (calm_seconds(TEN_MINUTES), calm_seconds(40)) == (60, 20)


def test_the_service_is_disturbed_in_one_way_at_a_time(drawn: tuple[Trouble, ...]) -> None:
    ours = [each for each in drawn if each.kind in {Kind.KILLED, Kind.FROZEN, Kind.RESTARTED}]

    assert Counter(each.kind for each in ours)[Kind.KILLED] > 1
    assert all(end(first) <= second.at_seconds for first, second in pairwise(ours))


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_soak_of_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="a soak needs a namespace and some time"):
        plan(1, seconds, site())


def test_a_soak_of_no_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="a soak needs a namespace and some time"):
        plan(1, 60, Site((), {}, VERBS))
