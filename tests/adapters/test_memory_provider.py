"""What the in-memory provider has beyond its port: faults on command, and a record for checkers."""

from __future__ import annotations

import pytest

from shifter.adapters.memory import Author, Fault, MemoryProvider, Rule
from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, Selector
from shifter.errors import AmbiguousWriteError, NotFoundError, ProviderRefusedError, ProviderUnavailableError
from shifter.ports import Change, Operation, Progress

SERVERS = (Server("old:1", 1, 100, Health.ALIVE), Server("new:2", 2, 0, Health.ALIVE))
AFTER = {"old:1": 75, "new:2": 25}


def a_route(balancer: str = "lb-1", host: str = "shop.example.com", region: str = "ap-guangzhou") -> Route:
    return Route(region, balancer, "lbl-1", host, "/", Selector(ports=(1,)), Selector(ports=(2,)))


SHOP, PAY, ELSEWHERE = a_route(), a_route(host="pay.example.com"), a_route("lb-2")


def a_provider(looks: int = 1) -> MemoryProvider:
    return MemoryProvider([(route, Rule(SERVERS)) for route in (SHOP, PAY, ELSEWHERE)], looks_until_done=looks)


def weights(provider: MemoryProvider, route: Route = SHOP) -> dict[str, int]:
    return provider.observe([route])[route.id].weights


def test_a_write_comes_into_force_after_the_looks_it_takes() -> None:
    provider = a_provider(looks=3)
    operation = provider.submit([Change(SHOP, AFTER)])
    states = [provider.check(operation).progress for _ in range(4)]

    assert states == [Progress.RUNNING, Progress.RUNNING, Progress.DONE, Progress.DONE]


def test_no_looks_means_at_once() -> None:
    provider = a_provider(looks=0)
    provider.submit([Change(SHOP, AFTER)])

    assert [write.after for write in provider.writes] == [{SHOP.id: AFTER}]


def test_looking_at_a_domain_brings_only_its_own_operation_forward() -> None:
    provider = a_provider(looks=2)
    operation = provider.submit([Change(SHOP, AFTER)])
    for _ in range(5):
        provider.observe([ELSEWHERE])

    assert provider.check(operation).progress is Progress.RUNNING


def test_domains_do_not_lock_each_other() -> None:
    provider = a_provider(looks=5)
    provider.submit([Change(SHOP, AFTER)])

    assert provider.submit([Change(ELSEWHERE, AFTER)]).domain == ELSEWHERE.domain


def test_the_same_balancer_name_in_two_regions_is_two_domains() -> None:
    other = a_route(region="ap-beijing")
    provider = MemoryProvider([(SHOP, Rule(SERVERS)), (other, Rule(SERVERS))], looks_until_done=0)
    provider.submit([Change(other, AFTER)])

    assert weights(provider, SHOP) != AFTER
    assert weights(provider, other) == AFTER


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault.BUSY, ProviderUnavailableError, f"another operation is running in {SHOP.domain}; try again later"),
        (Fault.QUOTA, ProviderRefusedError, "the quota of the account is exceeded"),
        (Fault.UNREACHABLE, ProviderUnavailableError, "nobody answers"),
        (Fault.AMBIGUOUS_BEFORE, AmbiguousWriteError, "the answer was lost; the write may have been carried out"),
    ],
)
def test_a_fault_strikes_as_often_as_it_was_ordered_and_does_nothing(
    fault: Fault, error: type[Exception], said: str
) -> None:
    provider = a_provider(looks=0)
    provider.inject(fault, times=2)

    for _ in range(2):
        with pytest.raises(error, match=said):
            provider.submit([Change(SHOP, AFTER)])
    assert provider.writes == ()
    provider.submit([Change(SHOP, AFTER)])
    assert weights(provider) == AFTER


def test_an_operation_that_nobody_started_is_refused() -> None:
    with pytest.raises(ProviderRefusedError, match=f"there is no operation any in {SHOP.domain}"):
        a_provider().check(Operation(SHOP.domain, "any"))


def test_a_fault_of_one_domain_spares_the_others() -> None:
    provider = a_provider(looks=0)
    provider.inject(Fault.UNREACHABLE, domain=SHOP.domain)

    assert weights(provider, ELSEWHERE) == {"old:1": 100, "new:2": 0}
    with pytest.raises(ProviderUnavailableError):
        provider.check(Operation(SHOP.domain, "any"))


@pytest.mark.parametrize("fault", [Fault.AMBIGUOUS_AFTER, Fault.TASK_FAILS, Fault.TASK_LIES, Fault.TASK_HALF])
def test_a_busy_domain_does_not_swallow_the_fault_of_an_accepted_write(fault: Fault) -> None:
    provider = a_provider(looks=0)
    provider.inject(fault)
    provider.hold_lock(SHOP.domain)
    with pytest.raises(ProviderUnavailableError):
        provider.submit([Change(SHOP, AFTER), Change(PAY, AFTER)])
    provider.release_lock(SHOP.domain)
    provider.inject(Fault.BUSY)

    answers: list[str] = []
    for _ in range(2):
        try:
            answers.append(provider.check(provider.submit([Change(SHOP, AFTER), Change(PAY, AFTER)])).progress)
        except AmbiguousWriteError:
            answers.append("ambiguous")
        except ProviderUnavailableError:
            answers.append("busy")
    expected = {
        Fault.AMBIGUOUS_AFTER: "ambiguous",
        Fault.TASK_FAILS: Progress.FAILED,
        Fault.TASK_LIES: Progress.DONE,
        Fault.TASK_HALF: Progress.FAILED,
    }
    assert answers == [expected[fault], "busy"]


def test_half_of_several_routes_is_whole_routes() -> None:
    provider = a_provider(looks=0)
    provider.inject(Fault.TASK_HALF)
    provider.submit([Change(SHOP, AFTER), Change(PAY, AFTER)])

    assert weights(provider, SHOP) == AFTER
    assert weights(provider, PAY) == {"old:1": 100, "new:2": 0}
    assert [set(write.after) for write in provider.writes] == [{SHOP.id}]


def test_an_operation_whose_member_left_meanwhile_fails_and_changes_nothing() -> None:
    provider = a_provider(looks=2)
    operation = provider.submit([Change(PAY, AFTER), Change(SHOP, AFTER)])
    provider.remove_server(SHOP, "new:2")
    provider.check(operation)

    assert provider.check(operation).progress is Progress.FAILED
    assert weights(provider, PAY) == {"old:1": 100, "new:2": 0}
    assert provider.writes == ()


def test_every_call_and_every_write_is_on_record_in_one_order() -> None:
    provider = a_provider(looks=1)
    operation = provider.submit([Change(SHOP, AFTER)])
    with pytest.raises(ProviderUnavailableError):
        provider.submit([Change(PAY, AFTER)])
    provider.edit_weights(PAY, {"new:2": 9})
    with pytest.raises(ProviderRefusedError):
        provider.submit([Change(PAY, {"new:2": 0})])

    calls = [(call.changes[0].route.id, call.answer.split(" ", 1)[0]) for call in provider.calls]
    assert calls == [(SHOP.id, "accepted"), (PAY.id, "another"), (PAY.id, f"{PAY.id}:")]
    assert [(write.author, write.operation, write.after) for write in provider.writes] == [
        (Author.SHIFTER, operation.id, {SHOP.id: AFTER}),
        (Author.PERSON, "", {PAY.id: {"old:1": 100, "new:2": 9}}),
    ]
    numbers = [call.number for call in provider.calls] + [write.number for write in provider.writes]
    assert len(set(numbers)) == len(numbers)


def test_a_rule_can_be_refused_warned_of_slow_and_removed() -> None:
    provider = a_provider()
    provider.put_rule(SHOP, Rule(SERVERS, settle_seconds=30, warnings=("sticky",), refusal="not yours"))
    view = provider.observe([SHOP])[SHOP.id]
    provider.remove_rule(SHOP)
    gone = provider.observe([SHOP])[SHOP.id]

    assert (view.settle_seconds, view.warnings, view.refusal) == (30, ("sticky",), "not yours")
    assert gone.refusal == f"there is no rule {SHOP.id}"
    with pytest.raises(NotFoundError):
        provider.remove_rule(SHOP)
    with pytest.raises(NotFoundError):
        provider.edit_weights(SHOP, {"old:1": 1})


@pytest.mark.parametrize("key", ["old:9", ""])
def test_a_persons_hand_cannot_touch_members_that_are_not_there(key: str) -> None:
    provider = a_provider()

    with pytest.raises(NotFoundError, match=f" has no member {key}$"):
        provider.edit_weights(SHOP, {key: 1})
    with pytest.raises(NotFoundError, match=f" has no member {key}$"):
        provider.set_health(SHOP, key, Health.DEAD)
    with pytest.raises(NotFoundError, match=f" has no member {key}$"):
        provider.remove_server(SHOP, key)


def test_an_endless_task_runs_on_and_keeps_its_domain_busy_until_it_is_released() -> None:
    provider = a_provider(looks=0)
    provider.inject(Fault.TASK_ENDLESS)
    operation = provider.submit([Change(SHOP, AFTER)])
    for _ in range(5):
        assert provider.check(operation).progress is Progress.RUNNING
        with pytest.raises(ProviderUnavailableError):
            provider.submit([Change(SHOP, AFTER)])

    provider.release_lock(SHOP.domain)
    provider.submit([Change(PAY, AFTER)])
    assert provider.check(operation).progress is Progress.RUNNING
    assert (weights(provider, SHOP), weights(provider, PAY)) == ({"old:1": 100, "new:2": 0}, AFTER)


def test_releasing_a_lock_does_not_end_an_operation_under_way() -> None:
    provider = a_provider(looks=3)
    provider.submit([Change(SHOP, AFTER)])
    provider.release_lock(SHOP.domain)

    with pytest.raises(ProviderUnavailableError):
        provider.submit([Change(PAY, AFTER)])
