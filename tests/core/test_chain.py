"""A history that is not as it was written is found out, and what was done to it is said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.chain import (
    FIRST_ID,
    GENESIS,
    MOST_FINDINGS,
    START,
    Examined,
    Fault,
    Link,
    Seal,
    Stretch,
    Walk,
    chained,
    digest,
)

PAGE = 3


def a_link(reason: str = "because") -> Link:
    at = "2026-03-04T05:06:07.000000+00:00"
    return Link(0, at, "shop", "phase", "shifter", reason, "3", "7", '{"a":1}')


def a_chain(count: int, *, after: Seal = START) -> list[Link]:
    """Return a sound history of so many records after `after`."""
    made: list[Link] = []
    for number in range(count):
        after = Seal((new := chained(after, a_link(f"reason {number}"))).id, new.hash)
        made.append(new)
    return made


def sealed(links: Sequence[Link]) -> Seal:
    return Seal(links[-1].id, links[-1].hash)


def walked(
    links: Sequence[Link],
    *,
    head: Seal,
    anchor: Seal = START,
    noted: Seal | None = None,
    page: int = PAGE,
    newest_only: bool = False,
) -> Examined:
    """Go along a history as a store would give it, page by page."""
    walk, more = Walk(newest_only=newest_only), True
    while more:
        found = [link for link in sorted(links, key=lambda link: link.id) if link.id >= walk.next_id]
        more = walk.take(Stretch(anchor, head, noted, found[:page]))
    return walk.result()


def told(examined: Examined) -> list[str]:
    return [each.text for each in examined.findings]


def with_text(link: Link, **change: str) -> Link:
    return Link(**{**asdict(link), **change})


# --- what a hash is


def test_a_hash_is_the_sha256_of_netstrings_with_the_hash_before_it() -> None:
    link = Link(12, "2026-03-04T05:06:07.000000+00:00", "shop", "intent", "ana", "größer", "3", "7", '{"to":5.0}')
    before = "ab" * 32
    text = (
        f"16:shifter record 1,64:{before},2:12,32:2026-03-04T05:06:07.000000+00:00,4:shop,6:intent,3:ana,8:größer,"
        '1:3,1:7,10:{"to":5.0},'
    )

    assert digest(before, link) == hashlib.sha256(text.encode()).hexdigest()


def test_a_hash_of_the_first_format_never_changes() -> None:
    first, second = a_chain(2)

    assert (first.id, second.id) == (1, 2)
    assert first.hash == "5552340a756cdc0359fc9d771a4468688ae42d96f8215d033e25af90f6b5c641"
    assert second.hash == "e4cbf4fa0ba1603a1d3b4546320cf29e84b4b6ee58d427086adbd685f58eb5ef"


def test_no_text_is_one_that_cannot_be_hashed() -> None:
    assert digest(GENESIS, a_link("\udcff")) != digest(GENESIS, a_link("\ufffd"))


# --- a sound history


@pytest.mark.parametrize("count", [1, PAGE, PAGE + 1, 50])
def test_a_history_as_it_was_written_is_sound(count: int) -> None:
    links = a_chain(count)

    found = walked(links, head=sealed(links), noted=sealed(links[: count // 2 + 1]))

    assert found == Examined(count, links[0], links[-1], START, sealed(links), (), 0)
    assert found.sound


def test_no_history_is_sound() -> None:
    assert walked([], head=START) == Examined(0, None, None, START, START, (), 0)


def test_what_was_pruned_is_not_missed() -> None:
    links = a_chain(7)

    assert walked(links[4:], anchor=sealed(links[:4]), head=sealed(links)).sound
    assert walked([], anchor=sealed(links), head=sealed(links)).sound


def test_a_note_of_what_was_pruned_since_says_nothing() -> None:
    links = a_chain(7)

    assert walked(links[4:], anchor=sealed(links[:4]), head=sealed(links), noted=Seal(2, "ff")).sound


def test_a_note_without_a_hash_is_of_an_earlier_version_and_no_reason_to_doubt() -> None:
    links = a_chain(3)

    assert walked(links, head=sealed(links), noted=Seal(2, "")).sound


def test_records_appended_and_pruned_meanwhile_are_nothing_wrong() -> None:
    links, walk = a_chain(12), Walk()

    walk.take(Stretch(START, sealed(links[:6]), None, links[:3]))
    assert (walk.next_id, walk.count) == (4, 3)
    walk.take(Stretch(sealed(links[:7]), sealed(links), None, links[7:9]))  # the walk was overtaken
    walk.take(Stretch(sealed(links[:8]), sealed(links), None, links[9:]))
    walk.take(Stretch(sealed(links[:8]), sealed(links), None))

    assert walk.result() == Examined(8, links[0], links[-1], sealed(links[:8]), sealed(links), (), 0)


def test_the_newest_records_alone_are_taken_from_the_first_of_them_on() -> None:
    links = a_chain(9)
    spoilt = [*links[:6], replace(links[6], by="eve"), *links[7:]]

    assert walked(links[5:], head=sealed(links), newest_only=True).sound
    assert walked(links, head=sealed(links), newest_only=True).sound
    assert not walked(spoilt[5:], head=sealed(links), newest_only=True).sound
    assert not walked([replace(links[0], by="eve"), *links[1:]], head=sealed(links), newest_only=True).sound


# --- what was done to it


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2026-03-04T05:06:07.000001+00:00"},
        {"shift": "shop "},
        {"what": "done"},
        {"by": "eve"},
        {"reason": "reason4"},
        {"sequence": "4"},
        {"epoch": "8"},
        {"evidence": '{"a": 1}'},
    ],
)
def test_any_changed_text_is_found_where_it_is(change: dict[str, str]) -> None:
    links = a_chain(9)
    links[4] = with_text(links[4], **change)

    found = walked(links, head=sealed(links))

    assert told(found) == ["record 5 was changed after it was written, or record 4 was and got a hash that fits"]
    assert (found.findings[0].fault, found.findings[0].first, found.findings[0].last) == (Fault.CHANGED, 5, 5)
    assert not found.sound


def test_of_the_first_record_there_is_no_other_that_could_have_been_changed() -> None:
    links = a_chain(3)
    links[0] = replace(links[0], by="eve")

    assert told(walked(links, head=sealed(links))) == ["record 1 was changed after it was written"]


def test_two_texts_that_only_together_are_the_same_are_not() -> None:
    links = a_chain(3)
    links[1] = replace(links[1], shift="sho", what="pphase")

    assert not walked(links, head=sealed(links)).sound


def test_a_hash_that_alone_was_changed_is_told_apart() -> None:
    links = a_chain(5)
    links[2] = replace(links[2], hash="0" * 64)

    assert told(walked(links, head=sealed(links))) == [
        "the hash of record 3 was changed; what it says is as it was written"
    ]


def test_a_changed_record_with_a_hash_that_fits_shows_in_the_next() -> None:
    links = a_chain(5)
    forged = replace(links[2], by="eve")
    links[2] = replace(forged, hash=digest(links[1].hash, forged))

    assert told(walked(links, head=sealed(links))) == [
        "record 4 was changed after it was written, or record 3 was and got a hash that fits"
    ]


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ([4], "record 5 is missing; so record 6 cannot be checked"),
        ([3, 4, 5], "records 4 to 6 are missing; so record 7 cannot be checked"),
        ([0], "record 1 is missing; so record 2 cannot be checked"),
    ],
)
def test_missing_records_are_found(gone: list[int], says: str) -> None:
    links = a_chain(9)

    found = walked([link for place, link in enumerate(links) if place not in gone], head=sealed(links))

    assert told(found) == [says]


def in_place_of(link: Link, other: Link) -> Link:
    return replace(other, id=link.id)


@pytest.mark.parametrize(("one", "other"), [(3, 4), (3, 5), (1, 7)])
def test_records_that_changed_places_are_both_found(one: int, other: int) -> None:
    links = a_chain(9)
    links[one], links[other] = in_place_of(links[one], links[other]), in_place_of(links[other], links[one])

    assert told(walked(links, head=sealed(a_chain(9)))) == [
        f"in the place of record {one + 1} is the one that was written as record {other + 1}",
        f"in the place of record {other + 1} is the one that was written as record {one + 1}",
    ]


def test_a_record_put_between_others_that_were_numbered_anew_is_found() -> None:
    links = a_chain(9)
    new = chained(sealed(links[:4]), a_link("nothing happened"))
    moved = [replace(link, id=link.id + 1) for link in links[4:]]

    found = walked([*links[:4], new, *moved], head=Seal(10, links[-1].hash))

    assert told(found) == [
        "in the place of record 6 is the one that was written as record 5",
        "record 7 and what follows it were written with other numbers, beginning with 6: 1 before it was put in",
    ]


def test_a_record_taken_from_others_that_were_numbered_anew_is_found() -> None:
    links = a_chain(9)
    moved = [replace(link, id=link.id - 2) for link in links[5:]]

    found = walked([*links[:3], *moved], head=Seal(7, links[-1].hash))

    assert told(found) == [
        "record 4 was changed after it was written, or record 3 was and got a hash that fits",
        "record 5 and what follows it were written with other numbers, beginning with 7: 2 before it were taken out",
    ]


@pytest.mark.parametrize(("count", "says"), [(1, "1 before it was taken out"), (8, "8 before it were taken out")])
def test_so_many_records_taken_from_others_that_were_numbered_anew_are_counted(count: int, says: str) -> None:
    links = a_chain(20)
    moved = [replace(link, id=link.id - count) for link in links[3 + count :]]

    found = walked([*links[:3], *moved], head=Seal(20 - count, links[-1].hash))

    assert told(found) == [
        "record 4 was changed after it was written, or record 3 was and got a hash that fits",
        f"record 5 and what follows it were written with other numbers, beginning with {5 + count}: {says}",
    ]


def test_numbers_that_are_further_off_are_changed_records() -> None:
    links = a_chain(14)
    moved = [replace(link, id=link.id - 9) for link in links[12:]]

    found = walked([*links[:3], *moved], head=Seal(5, links[-1].hash))

    assert [each.fault for each in found.findings] == [Fault.CHANGED, Fault.CHANGED]


def test_a_record_that_comes_after_one_in_the_last_place_is_known_by_its_hash() -> None:
    links = a_chain(9)
    order = (1, 5, 3, 9, 2, 6, 7, 8, 4)

    found = walked(
        [in_place_of(link, links[number - 1]) for link, number in zip(links, order, strict=True)], head=sealed(links)
    )

    assert told(found)[:4] == [
        f"in the place of record {place} is the one that was written as record {number}"
        for place, number in ((2, 5), (4, 9), (5, 2), (9, 4))
    ]


def test_a_history_that_was_numbered_anew_from_its_beginning_is_found() -> None:
    links = a_chain(4)
    moved = [replace(link, id=link.id + 1) for link in links]

    found = walked([chained(START, a_link("at first")), *moved], head=Seal(5, links[-1].hash))

    assert "1 before it was put in" in told(found)[-1]


def test_a_record_where_all_were_pruned_is_found() -> None:
    links = a_chain(7)

    found = walked([links[1], *links[4:]], anchor=sealed(links[:4]), head=sealed(links))

    assert told(found) == ["record 2 is there, although everything up to 4 was pruned: it was put in"]
    assert found.findings[0].fault is Fault.STRAY


def test_a_record_of_which_it_is_said_that_it_was_the_last_one_pruned_is_found() -> None:
    links = a_chain(7)

    found = walked(links[3:], anchor=sealed(links[:4]), head=sealed(links))

    assert told(found) == ["record 4 is there, although everything up to 4 was pruned: it was put in"]


def test_a_first_record_that_was_written_with_another_number_is_found() -> None:
    written = chained(Seal(1, GENESIS), a_link())
    first = replace(written, id=1)

    found = walked([first], head=sealed([first]))

    assert told(found) == [
        "record 1 and what follows it were written with other numbers, beginning with 2: 1 before it was taken out"
    ]


def test_where_nothing_was_pruned_a_history_begins_as_all_do_whatever_the_store_says() -> None:
    another = Seal(0, "f" * 64)
    forged = a_chain(3, after=another)

    found = walked(forged, anchor=another, head=sealed(forged))

    assert told(found) == ["record 1 was changed after it was written"]
    assert found.anchor == START


def test_what_was_noted_when_the_walk_began_counts_also_when_the_note_is_gone_later() -> None:
    links, walk = a_chain(9), Walk()

    walk.take(Stretch(START, sealed(links[:6]), sealed(links), links[:3]))
    walk.take(Stretch(START, sealed(links[:6]), None, links[3:6]))

    assert told(walk.result()) == [
        "history ends with record 6, but a note beside the store says that 9 were saved",
    ]


def test_a_walk_trusts_no_record_to_be_the_first_unless_told_so() -> None:
    links, walk = a_chain(3), Walk()

    walk.take(Stretch(START, sealed(links), None, links[1:]))

    assert told(walk.result()) == ["record 1 is missing; so record 2 cannot be checked"]


def test_a_walk_that_was_given_nothing_found_nothing() -> None:
    assert Walk().result() == Examined(0, None, None, START, START, (), 0)


def test_a_history_that_was_cut_off_is_found() -> None:
    links = a_chain(9)

    found = walked(links[:6], head=sealed(links))

    assert told(found) == ["history ends with record 6, but 9 were appended: the newest were cut off"]
    assert (found.findings[0].first, found.findings[0].last) == (7, 9)


def test_a_history_that_was_cut_off_with_what_the_store_remembers_is_found_by_the_note_beside_it() -> None:
    links = a_chain(9)

    found = walked(links[:6], head=sealed(links[:6]), noted=sealed(links))

    assert told(found) == ["history ends with record 6, but a note beside the store says that 9 were saved"]
    assert (found.findings[0].first, found.findings[0].last) == (7, 9)


def test_records_that_the_store_never_appended_are_found() -> None:
    links = a_chain(9)

    found = walked(links, head=sealed(links[:6]))

    assert told(found) == ["records 7 to 9 are there, but the newest that was appended is 6"]
    assert (found.findings[0].first, found.findings[0].last) == (7, 9)


def test_a_newest_record_that_was_changed_with_its_hash_is_found() -> None:
    links = a_chain(5)
    forged = [*links[:4], chained(sealed(links[:4]), a_link("nothing happened"))]

    assert told(walked(forged, head=sealed(links))) == [
        "record 5 is the newest, but not as it was when it was appended: its hash is another"
    ]


def test_a_history_that_was_written_anew_is_found_by_the_note_beside_the_store() -> None:
    links, forged = a_chain(5), a_chain(6, after=Seal(0, "f" * 64))

    found = walked(forged, anchor=Seal(0, "f" * 64), head=sealed(forged), noted=sealed(links))

    assert "record 5 is another than the one that was noted beside the store when it was saved" in told(found)


def test_a_record_of_another_history_that_follows_from_nothing_here_is_found() -> None:
    links = a_chain(6)
    links[3] = replace(links[3], hash=links[1].hash)

    assert not walked(links, head=sealed(a_chain(6))).sound


def test_whole_records_in_wrong_places_are_never_let_pass() -> None:
    one = replace(a_link(), id=2)
    first = chained(START, a_link())
    forged = replace(one, hash=digest(GENESIS, one))  # follows from the beginning, where it is not

    found = walked([first, forged], head=Seal(2, forged.hash))

    assert told(found) == ["record 2 was changed after it was written, or record 1 was and got a hash that fits"]


def test_only_so_many_findings_are_told_and_the_rest_is_counted() -> None:
    links = [replace(link, hash=f"{link.id:064}") for link in a_chain(500)]

    found = walked(links, head=sealed(links))

    assert len(found.findings) == MOST_FINDINGS
    assert found.more == 500 - MOST_FINDINGS


def test_gaps_without_end_are_counted_and_not_kept() -> None:
    links = a_chain(200)[::2]

    found = walked(links, head=sealed(links))

    assert (len(found.findings), found.more) == (MOST_FINDINGS, 99 - MOST_FINDINGS)


# --- whatever was done


texts = st.sampled_from(["at", "shift", "what", "by", "reason", "sequence", "epoch", "evidence", "hash"])


def changed(links: list[Link], place: int, draw: st.DataObject) -> list[Link]:
    field = draw.draw(texts)
    old: str = getattr(links[place], field)
    at = draw.draw(st.integers(0, len(old)))
    new = old[:at] + draw.draw(st.characters()) + old[at + draw.draw(st.integers(0, 1)) :]
    links[place] = with_text(links[place], **{field: new})
    return links


def removed(links: list[Link], place: int, draw: st.DataObject) -> list[Link]:
    return links[:place] + links[place + draw.draw(st.integers(1, 3)) :]


def swapped(links: list[Link], place: int, draw: st.DataObject) -> list[Link]:
    other = draw.draw(st.integers(0, len(links) - 1))
    links[place], links[other] = in_place_of(links[place], links[other]), in_place_of(links[other], links[place])
    return links


def inserted(links: list[Link], place: int, draw: st.DataObject) -> list[Link]:
    after = sealed(links[:place]) if place else START
    moved = [replace(link, id=link.id + 1) for link in links[place:]]
    return [*links[:place], chained(after, a_link(draw.draw(st.text()))), *moved]


@given(
    count=st.integers(2, 25),
    pruned=st.integers(0, 5),
    does=st.sampled_from([changed, removed, swapped, inserted]),
    page=st.integers(1, 30),
    draw=st.data(),
)
def test_whatever_is_done_to_one_place_is_found(
    count: int,
    pruned: int,
    does: Callable[[list[Link], int, st.DataObject], list[Link]],
    page: int,
    draw: st.DataObject,
) -> None:
    whole = a_chain(count + pruned)
    anchor, links = sealed(whole[:pruned]) if pruned else START, whole[pruned:]

    spoilt = does(list(links), draw.draw(st.integers(0, count - 1)), draw)
    found = walked(spoilt, anchor=anchor, head=sealed(whole), page=page)

    assert walked(links, anchor=anchor, head=sealed(whole), page=page).sound
    assert found.sound == (spoilt == links)
    assert all(one.first <= other.first for one, other in pairwise(found.findings))


def test_a_walk_begins_before_all_ids() -> None:
    assert Walk().next_id == FIRST_ID == -(2**63)


def test_one_record_that_is_missing_at_the_beginning_though_nobody_pruned_it_is_found() -> None:
    walk = Walk()
    walk.take(Stretch(Seal(1, "1"), Seal(1, "1"), pruned=0))

    (finding,) = walk.result().findings

    assert (finding.fault, finding.first, finding.last) == (Fault.CUT, 1, 1)
    assert finding.text == "record 1 is missing, and was not pruned: the beginning was cut off"
