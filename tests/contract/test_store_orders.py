"""What every store must do with orders and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.adapters.saved_form import LONGEST_SPAN, NAME_LENGTH, OPEN_ORDERS_PER_SHIFT, REASON_LENGTH
from shifter.core.deciding.orders import FLEET, FLEET_VERBS, Answer, OrderAnswer, OrderRequest, Verb
from shifter.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
)
from shifter.ports import Store
from tests.contract.stores import (
    DAY,
    NOW,
    Subject,
    a_record,
    a_request,
    a_state,
    an_answer,
    moments,
    same_store,
)


@pytest.mark.parametrize("in_one_save", [True, False])
def test_an_order_is_answered_once(store: Store, in_one_save: bool) -> None:  # noqa: FBT001 - a test's parameter
    order = store.create_order(a_request(), NOW)
    answers = [an_answer(order.id)]
    if not in_one_save:
        store.save(a_state(), 0, answers=answers)

    with pytest.raises(ConflictError, match="accepted already"):
        store.save(a_state(share=5), 0 if in_one_save else 1, [a_record()], [*answers, an_answer(order.id)])

    assert store.history() == ()
    assert all(saved.state.share == 0 for saved in store.load().values())


shares = st.none() | st.floats(0, 100, exclude_min=True, allow_subnormal=False)
options: Mapping[Verb, Mapping[str, st.SearchStrategy[Any]]] = {
    Verb.PAUSE: {"hands_off": st.none() | st.timedeltas(timedelta(microseconds=1), LONGEST_SPAN)},
    Verb.APPROVE: {"share": shares},
    Verb.PROMOTE: {"share": shares, "full": st.booleans(), "override": st.booleans()},
    Verb.ROLLBACK: {"override": st.booleans()},
    Verb.RECONCILE: {"adopt": st.booleans()},
}
"""What can be asked with each verb; a store may refuse the rest."""


def asked_with(verb: Verb) -> st.SearchStrategy[OrderRequest]:
    shift = FLEET if verb in FLEET_VERBS else "shop"
    told: dict[str, st.SearchStrategy[Any]] = {
        "shift": st.just(shift),
        "verb": st.just(verb),
        "by": st.just("ana"),
        "reason": st.text(),
    }
    return st.fixed_dictionaries({**told, **options.get(verb, {})}).map(lambda fields: OrderRequest(**fields))


requests = st.sampled_from(Verb).flatmap(asked_with)


@same_store
@given(at=moments, asked=requests, answer=st.sampled_from(Answer), text=st.text())
def test_every_field_of_an_order_comes_back(
    subject: Subject, at: datetime, asked: OrderRequest, answer: Answer, text: str
) -> None:
    store = subject.store
    before = store.load().get("shop")

    created = store.create_order(asked, at)
    open_order = store.order(created.id)
    store.save(a_state(), before.version if before else 0, answers=[OrderAnswer(created.id, answer, text, at)])
    answered = store.order(created.id)

    assert created == open_order
    dated = created.at if subject.dates_orders else at
    assert (open_order.request, open_order.at, open_order.answer) == (asked, dated, None)
    assert (answered.request, answered.at, answered.answer, answered.answer_text) == (asked, dated, answer, text)


def test_open_orders_come_oldest_first_whatever_their_clock_said(store: Store) -> None:
    first = store.create_order(a_request(Verb.PAUSE), NOW)
    second = store.create_order(a_request(Verb.ROLLBACK, shift="other"), NOW - DAY)
    third = store.create_order(a_request(Verb.RESUME), NOW)

    store.save(a_state(), 0, answers=[an_answer(first.id)])

    assert first.id < second.id < third.id
    assert store.open_orders() == (second, third)


def test_an_answered_order_can_still_be_read(store: Store) -> None:
    order = store.create_order(a_request(), NOW)

    store.save(a_state(), 0, answers=[OrderAnswer(order.id, Answer.REFUSED, "there is nothing to pause", NOW)])

    answered = store.order(order.id)
    assert (answered.answer, answered.answer_text) == (Answer.REFUSED, "there is nothing to pause")


@pytest.mark.parametrize("order_id", [-1, 0, 1, 10**30])
def test_an_unknown_order_is_not_found(store: Store, order_id: int) -> None:
    with pytest.raises(NotFoundError, match=f"there is no order {order_id}$"):
        store.order(order_id)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (a_request(by="  "), "an order needs a name: nobody is given as the one who asks"),
        (a_request(by="a" * (NAME_LENGTH + 1)), "the order's by has 254 characters; at most 253 are kept"),
        (a_request(shift="s" * (NAME_LENGTH + 1)), "the order's shift has 254 characters; at most 253 are kept"),
        (a_request(reason="r" * (REASON_LENGTH + 1)), "the order's reason has 1001 characters; at most 1000 are kept"),
        (a_request(reason="\udc80"), r"the order's reason is not Unicode text: \\udc80"),
        (replace(a_request(), share=0), "the order's share is 0; it must be above 0 and at most 100 %"),
        (replace(a_request(), share=-5), "share is -5"),
        (replace(a_request(), share=100.1), "at most 100 %"),
        (replace(a_request(), share=float("nan")), "share is nan"),
        (replace(a_request(), share=float("inf")), "share is inf"),
        (
            replace(a_request(), hands_off=timedelta(0)),
            "the order's hands_off is 0:00:00; it must be above 0 and at most 366 days",
        ),
        (replace(a_request(), hands_off=-timedelta(hours=1)), "above 0"),
        (replace(a_request(), hands_off=timedelta.max), "at most 366 days"),
    ],
)
def test_an_order_with_what_cannot_be_kept_is_refused(store: Store, asked: OrderRequest, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        store.create_order(asked, NOW)

    assert store.open_orders() == ()


def test_an_order_with_the_longest_texts_is_kept(store: Store) -> None:
    asked = a_request(shift="s" * NAME_LENGTH, by="b" * NAME_LENGTH, reason="r" * REASON_LENGTH)

    order = store.create_order(asked, NOW)

    assert store.order(order.id).request == asked


def test_orders_that_nobody_answers_are_bounded_for_each_shift(store: Store) -> None:
    made = [store.create_order(a_request(Verb.PROMOTE), NOW) for _ in range(OPEN_ORDERS_PER_SHIFT)]

    with pytest.raises(
        RefusedError, match=f"{OPEN_ORDERS_PER_SHIFT} orders for shop wait unanswered already; is the service running"
    ):
        store.create_order(a_request(Verb.PROMOTE), NOW)
    other = store.create_order(a_request(Verb.PROMOTE, shift="other"), NOW)
    store.save(a_state(), 0, answers=[an_answer(made[0].id)])
    again = store.create_order(a_request(Verb.PROMOTE), NOW)

    assert made[-1].id < other.id < again.id


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.PAUSE, Verb.FREEZE])
def test_an_order_that_stops_something_finds_room_when_others_do_not(store: Store, verb: Verb) -> None:
    for _ in range(OPEN_ORDERS_PER_SHIFT):
        store.create_order(a_request(Verb.PROMOTE), NOW)
    if verb in FLEET_VERBS:
        for _ in range(OPEN_ORDERS_PER_SHIFT):
            store.create_order(a_request(Verb.UNFREEZE, shift=FLEET), NOW)
    stopping = store.create_order(a_request(verb, shift=FLEET if verb in FLEET_VERBS else "shop"), NOW)

    assert store.open_orders()[-1] == stopping


def test_prune_keeps_open_orders_and_those_answered_lately(store: Store) -> None:
    asked = [store.create_order(a_request(), NOW - 9 * DAY) for _ in range(3)]
    store.save(a_state(), 0, answers=[an_answer(asked[0].id, NOW - 8 * DAY), an_answer(asked[1].id, NOW)])

    dropped = store.prune(NOW - DAY)

    assert dropped == 1
    assert store.open_orders() == (asked[2],)
    assert store.order(asked[1].id).answer is Answer.ACCEPTED
    with pytest.raises(NotFoundError):
        store.order(asked[0].id)
