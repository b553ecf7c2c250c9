"""Every error message that shifter can say has been seen by a test."""

from __future__ import annotations

from pathlib import Path

from tests.docs.messages import Message, unquoted

ROOT = Path(__file__).parents[2]


NOT_REACHED = ("no write-ahead log there",)
"""Needs a disk without shared memory; there is none to be had without root."""


def test_every_error_message_is_quoted_by_a_test() -> None:
    missing = [f"{each.place}: {' … '.join(each.parts)}" for each in unquoted(ROOT / "shifter", ROOT / "tests")]

    assert [said for said in missing if not any(words in said for words in NOT_REACHED)] == []


def test_a_message_that_nobody_quotes_is_found(tmp_path: Path) -> None:
    sources, tests = tmp_path / "package", tmp_path / "tests"
    sources.mkdir()
    tests.mkdir()
    (sources / "one.py").write_text('raise SomeError(f"the {x} was eaten by a dog" if y else "all is lost today")\n')
    (tests / "test_one.py").write_text('assert "nothing of it" in said\n')
    missing = unquoted(sources, tests)
    (tests / "test_one.py").write_text('assert "was eaten by" in said\n')

    assert missing == [Message("package/one.py:1", ("the ", " was eaten by a dog", "all is lost today"))]
    assert unquoted(sources, tests) == []
