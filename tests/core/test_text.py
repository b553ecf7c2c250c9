"""Text from outside, before it is kept or shown."""

from __future__ import annotations

import errno
import os

import pytest

from shifter.core.text import LONGEST, closest, did_you_mean, plain, shortened, so_many, some, why


@pytest.mark.parametrize("text", ["", "connection refused", "50 % to istio…", "名字 не известно"])
def test_what_can_be_shown_is_left_alone(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines", "two lines"),
        ("tab\there", "tab here"),
        ("  much \r\n\r\n space  ", "much space"),
        ("bell\x07 and nul\x00", "bell and nul"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("turned \u202e around", "turned around"),
        ("\x00\n", ""),
    ],
)
def test_what_is_no_letter_becomes_a_space_and_spaces_become_one(text: str, line: str) -> None:
    assert plain(text) == line


def test_a_lone_surrogate_becomes_text_that_can_be_written() -> None:
    assert plain("bad \ud800 thing").encode() == b"bad ? thing"


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST])
def test_what_is_short_enough_is_kept_whole(length: int) -> None:
    assert plain("x" * length) == "x" * length


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert plain("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"


def test_who_asks_may_set_another_length() -> None:
    assert plain("abcdef", 4) == "abc…"


def test_only_the_finished_line_counts_against_the_length() -> None:
    assert plain("a" + " " * 10_000 + "b", 3) == "a b"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("shp", "shop"), ("SHOP", "shop"), ("load_balancer", "loadBalancer"), ("zzz", ""), ("shop" * 1000, "")],
)
def test_the_word_that_was_probably_meant_is_found(word: str, meant: str) -> None:
    assert closest(word, ["shop", "loadBalancer"]) == meant
    assert did_you_mean(word, ["shop", "loadBalancer"]) == (f'did you mean "{meant}"?' if meant else "")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["b"], "b"),
        (["b", "a"], "b, a"),
        (["b", "a", "c"], "b, a and 1 more"),
        (list("abcdef"), "a, b and 4 more"),
    ],
)
def test_of_many_names_only_some_are_said_and_how_many_more(names: list[str], said: str) -> None:
    assert some(iter(names), 2) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "/etc/x"), "Permission denied"),
        (OSError("no space for words"), "no space for words"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
def test_why_is_what_the_system_says_without_the_file(error: Exception, said: str) -> None:
    assert why(error) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 requests"), (0.6, "1 request"), (1, "1 request"), (1.4, "1 request"), (12, "12 requests")],
)
def test_a_noun_follows_the_number_as_it_is_shown(number: float, said: str) -> None:
    assert so_many(number, "request") == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("x" * 40, "x" * 40),
        ("x" * 41, f"{'x' * 23}… (41 characters)"),
        ("x" * 1000, f"{'x' * 21}… (1000 characters)"),
    ],
)
def test_of_a_text_that_is_too_long_the_beginning_is_kept_and_how_long_it_was(text: str, said: str) -> None:
    assert shortened(text, 40) == said
