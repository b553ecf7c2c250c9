"""What every store must do so that nobody changes history unseen: one chain, that can be gone along in pages."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.chain import FIRST_ID, GENESIS, START, Link, Seal, digest
from shifter.core.records import NewRecord, What
from shifter.errors import ConflictError, NotFoundError
from shifter.ports import Store
from tests.contract.stores import (
    DAY,
    NOW,
    Subject,
    a_fleet,
    a_record,
    a_state,
    examined,
    links_of,
    remember,
    same_store,
)

LARGEST = 2**63 - 1


def test_an_empty_history_has_nothing_to_check(store: Store) -> None:
    store.save(a_state(), 0)

    stretch = store.chain(FIRST_ID, 10, *store.chains())

    assert (stretch.anchor, stretch.head, tuple(stretch.links)) == (START, START, ())
    assert examined(store).sound


def test_a_chain_that_nobody_began_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="there is no chain 'nobody'"):
        store.chain(FIRST_ID, 10, "nobody")


def test_every_field_of_a_record_is_in_the_chain_as_it_is_kept(store: Store) -> None:
    at = NOW.astimezone(tz=None) + timedelta(microseconds=5)
    remember(store, NewRecord(at, "shop", What.INTENT, "ana", "größer \udc80", 3, 7, {"to": 5.0, "a": [None]}))

    (link,) = links_of(store)

    moment = "2026-03-04T05:06:07.000895+00:00"
    evidence = '{"to":5.0,"a":[null]}'
    told = Link(1, moment, "shop", "intent", "ana", "größer \\udc80", "3", "7", evidence)
    assert link == replace(told, hash=digest(GENESIS, told))


def test_every_record_carries_the_hash_of_the_chain(store: Store) -> None:
    remember(store, a_record("one"), a_record("two"))
    remember(store, a_record("three"))

    records, links = store.history(), links_of(store)

    assert [(each.id, each.hash) for each in records] == [(link.id, link.hash) for link in links]
    assert store.chain(FIRST_ID, 0, *store.chains()).head == Seal(3, records[-1].hash)
    assert examined(store).sound


def test_the_chain_comes_in_pages_from_an_id_on(store: Store) -> None:
    remember(store, *(a_record(str(number)) for number in range(7)))

    (of,) = store.chains()
    assert [link.id for link in store.chain(FIRST_ID, 3, of).links] == [1, 2, 3]
    assert [link.id for link in store.chain(4, 2, of).links] == [4, 5]
    assert [link.id for link in store.chain(6, 100, of).links] == [6, 7]
    assert not store.chain(8, 100, of).links
    assert not store.chain(1, 0, of).links
    assert not store.chain(1, -1, of).links
    assert not store.chain(LARGEST + 1, 1, of).links
    assert len(store.chain(FIRST_ID - 1, 2**70, of).links) == 7
    assert store.chain(8, 100, of).head.id == 7


def test_saves_of_shifts_and_of_the_fleet_make_unbroken_chains(store: Store) -> None:
    def save(number: int) -> None:
        if number % 2:
            store.save(a_state(f"shop-{number}"), 0, [a_record(f"{number}a"), a_record(f"{number}b")])
            return
        while True:
            try:
                store.save_fleet(a_fleet(), store.load_fleet().version, [a_record(str(number))])
            except ConflictError:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(24)))

    found = [examined(store, of, page=5) for of in store.chains()]
    assert (sum(each.count for each in found), [each for each in found if not each.sound]) == (36, [])


def test_a_failed_save_leaves_no_trace_in_the_chain(store: Store) -> None:
    remember(store, a_record("one"))
    with pytest.raises(ConflictError):
        store.save(a_state(), 9, [a_record("never")])

    remember(store, a_record("two"))

    assert [link.reason for link in links_of(store)] == ["one", "two"]
    assert examined(store).sound


def test_what_is_left_after_a_prune_still_is_one_chain(store: Store) -> None:
    remember(store, *(a_record(str(number), at=NOW - (5 - number) * DAY) for number in range(6)))
    pruned = store.history()[2]

    store.prune(NOW - 2 * DAY)
    store.prune(NOW - 2 * DAY)
    remember(store, a_record("later"))

    found = examined(store)
    assert store.chain(FIRST_ID, 0, *store.chains()).anchor == Seal(3, pruned.hash)
    assert (found.count, found.anchor.id, found.findings) == (4, 3, ())


def test_a_chain_goes_on_after_everything_was_pruned(store: Store) -> None:
    remember(store, a_record(), a_record())
    last = store.history()[-1]
    store.prune(NOW + DAY)
    assert (store.chain(FIRST_ID, 9, *store.chains()).anchor, examined(store).findings) == (Seal(2, last.hash), ())

    remember(store, a_record("later"))

    (link,) = links_of(store)
    assert (link.id, link.hash) == (3, digest(last.hash, link))
    assert examined(store).sound


def test_records_cut_off_from_the_end_are_missed(subject: Subject) -> None:
    remember(subject.store, *(a_record(str(number)) for number in range(5)))

    subject.rewrite(links_of(subject.store)[:3])

    (finding,) = examined(subject.store).findings
    assert finding.text == "history ends with record 3, but 5 were appended: the newest were cut off"


def test_a_history_that_was_emptied_is_missed(subject: Subject) -> None:
    remember(subject.store, a_record(), a_record())

    subject.rewrite(())

    (finding,) = examined(subject.store).findings
    assert finding.text == "history ends with record 0, but 2 were appended: the newest were cut off"


def test_a_record_from_before_a_prune_that_is_put_back_is_found(subject: Subject) -> None:
    remember(subject.store, a_record("old", at=NOW - DAY), a_record("new"), a_record("newer"))
    old = links_of(subject.store)[0]
    subject.store.prune(NOW)

    subject.rewrite([old, *links_of(subject.store)])

    (finding,) = examined(subject.store).findings
    assert finding.text == "record 1 is there, although everything up to 1 was pruned: it was put in"


texts = ("at", "shift", "what", "by", "reason", "sequence", "epoch", "evidence", "hash")
printable = st.characters(blacklist_categories=["Cs", "Cc"])


def with_text(link: Link, field: str, text: str) -> Link:
    return Link(**{**dataclasses.asdict(link), field: text})


def in_place_of(link: Link, other: Link) -> Link:
    return replace(other, id=link.id)


@same_store
@given(data=st.data(), place=st.integers(0, 7), page=st.integers(1, 9))
def test_whatever_is_done_to_one_record_past_the_store_is_found(
    subject: Subject, data: st.DataObject, place: int, page: int
) -> None:
    if not subject.store.history():
        remember(subject.store, *(a_record(f"record {number}") for number in range(8)))
    whole = links_of(subject.store)
    spoilt = list(whole)
    match data.draw(st.sampled_from(["changed", "removed", "swapped", "inserted"])):
        case "changed":
            field = data.draw(st.sampled_from(texts))
            old: str = getattr(whole[place], field)
            at = data.draw(st.integers(0, len(old)))
            added = data.draw(st.integers(1, 9).map(str) if field in {"sequence", "epoch"} else printable)
            spoilt[place] = with_text(whole[place], field, old[:at] + added + old[at + 1 :])
        case "removed":
            del spoilt[place]
        case "swapped":
            other = data.draw(st.integers(0, 7))
            spoilt[place], spoilt[other] = (
                in_place_of(whole[place], whole[other]),
                in_place_of(whole[other], whole[place]),
            )
        case "inserted":
            moved = [replace(link, id=link.id + 1) for link in whole[place:]]
            spoilt = [*whole[:place], replace(whole[0], id=place + 1), *moved]

    subject.rewrite(spoilt)
    found = examined(subject.store, page=page)
    subject.rewrite(whole)

    assert found.sound == (tuple(spoilt) == whole)
    assert examined(subject.store, page=page).sound
