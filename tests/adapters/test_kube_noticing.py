"""How a service that asks every second learns of orders: by a watch at once, by a list in time, never by neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta

import pytest

from shifter.adapters.kube.news import is_led
from shifter.adapters.kube.noticing import LIST_SECONDS, Noticed
from shifter.adapters.kube.objects import moment
from shifter.core.deciding.orders import STOPPING_VERBS, Answer, Order, Verb
from shifter.errors import StoreUnavailableError
from shifter.ports.kube import LEASES
from tests.contract.stores import NOW, a_request
from tests.kube import MemoryApi
from tests.kube_cluster import MemoryCluster


def an_order(number: int, verb: Verb = Verb.PAUSE) -> Order:
    return Order(number, NOW, a_request(verb))


@dataclass
class World:
    """A clock, what a watch has seen, and what a list would show."""

    now: float = 0.0
    seen: dict[str, Order | None] = field(default_factory=dict)
    there: dict[str, Order] = field(default_factory=dict)
    lists: int = 0
    down: bool = False

    def items(self) -> Mapping[str, Order | None]:
        return self.seen

    def stop(self, within_seconds: float) -> bool:
        del within_seconds
        return True

    def listed(self) -> Mapping[str, Order]:
        self.lists += 1
        if self.down:
            raise StoreUnavailableError("the API server does not answer")
        return dict(self.there)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def noticed(world: World) -> Noticed:
    return Noticed(world, world.listed, lambda: world.now)


def test_an_order_that_the_watch_saw_is_noticed_without_a_list(world: World, noticed: Noticed) -> None:
    noticed.waiting()
    world.seen["a"] = an_order(1)

    assert noticed.waiting() == (an_order(1),)
    assert world.lists == 1


def test_an_order_that_the_watch_missed_is_noticed_by_the_next_list(world: World, noticed: Noticed) -> None:
    noticed.waiting()
    world.there["a"] = an_order(1)

    world.now = LIST_SECONDS - 0.1
    early = noticed.waiting()
    world.now = LIST_SECONDS
    late = noticed.waiting()

    assert (early, late) == ((), (an_order(1),))


def test_an_order_that_was_seen_to_be_answered_waits_no_more(world: World, noticed: Noticed) -> None:
    world.there["a"] = an_order(1)
    noticed.waiting()
    world.seen["a"] = replace(an_order(1), answer=Answer.ACCEPTED)

    assert noticed.waiting() == ()


def test_orders_come_oldest_first_and_one_that_nobody_understands_hides_no_other(
    world: World, noticed: Noticed
) -> None:
    world.there["b"] = an_order(2)
    world.seen |= {"odd": None, "a": an_order(1), "c": an_order(3)}

    assert [order.id for order in noticed.waiting()] == [1, 2, 3]


def test_who_did_not_answer_is_not_asked_again_at_once(world: World, noticed: Noticed) -> None:
    world.down = True
    for world.now in (0.0, 1.0, LIST_SECONDS - 0.1):
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            noticed.waiting()
    world.down = False
    world.now = LIST_SECONDS

    assert (noticed.waiting(), world.lists) == ((), 2)


@pytest.mark.fault(
    on="Kubernetes",
    fault="orders cannot be listed (no permission, an error, silence), and somebody orders a rollback, pause or freeze",
    does="obeys what the watch has seen, in turn; nothing rises before they can be listed again",
    sees="`store.problem`; hold `pause`, or the next report says that it goes back",
    safe_within="1 s after the watch saw it",
)
@pytest.mark.parametrize("verb", sorted(STOPPING_VERBS))
def test_an_order_that_stops_something_is_noticed_though_none_can_be_listed(
    world: World, noticed: Noticed, verb: Verb
) -> None:
    world.down = True
    with pytest.raises(StoreUnavailableError):
        noticed.waiting()
    world.seen["a"] = an_order(1, verb)

    assert noticed.waiting() == (an_order(1, verb),)


@pytest.mark.parametrize("verb", sorted(set(Verb) - STOPPING_VERBS))
def test_an_order_after_which_a_share_may_rise_waits_until_all_can_be_listed(
    world: World, noticed: Noticed, verb: Verb
) -> None:
    world.down = True
    world.seen["a"] = an_order(1, verb)
    with pytest.raises(StoreUnavailableError):
        noticed.waiting()
    world.down, world.now = False, LIST_SECONDS

    assert noticed.waiting() == (an_order(1, verb),)


def test_orders_before_one_that_stops_something_come_along(world: World, noticed: Noticed) -> None:
    world.there["b"] = an_order(2, Verb.RESUME)
    noticed.waiting()
    world.down, world.now = True, LIST_SECONDS
    world.seen = {"c": an_order(3, Verb.ROLLBACK), "a": an_order(1, Verb.APPROVE)}

    assert [order.id for order in noticed.waiting()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("spec", "led"),
    [
        ({"holderIdentity": "a_1", "renewTime": moment(NOW - timedelta(seconds=29)), "leaseDurationSeconds": 30}, True),
        (
            {"holderIdentity": "a_1", "renewTime": moment(NOW - timedelta(seconds=31)), "leaseDurationSeconds": 30},
            False,
        ),
        ({"holderIdentity": "", "renewTime": moment(NOW), "leaseDurationSeconds": 30}, False),
        ({}, False),
        (None, False),
    ],
)
def test_somebody_leads_who_holds_a_lease_that_has_not_run_out(spec: Mapping[str, object] | None, led: bool) -> None:  # noqa: FBT001 - a test's parameter
    api = MemoryApi(MemoryCluster())
    if spec is not None:
        api.create(LEASES, "shifter-system", LEASES.body(metadata={"name": "shifter"}, spec=dict(spec)))

    assert is_led(api, "shifter-system", NOW.astimezone(UTC)) is led
