"""What reaches stdout: safe on a terminal, aligned without one, and exact for programs."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shifter.cli.output import (
    Format,
    ago,
    clean,
    in_lines,
    local,
    plain_table,
    span,
    stamp,
    write_document,
    write_table,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("plain 中文 ·", "plain 中文 ·"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "reset"),
        ("\x9b31mred", "31mred"),
        ("two\nlines\tand\rmore", "two lines and more"),
        ("bell\x07 null\x00", "bell null"),
        ("\u202eback\u202c\u200b", "back"),
        ("half \ud800", "half"),
    ],
)
def test_nothing_stored_can_command_a_terminal(stored: str, shown: str) -> None:
    assert clean(stored) == shown


@given(st.text())
def test_cleaned_text_is_one_line_without_controls_and_cleaning_again_changes_nothing(text: str) -> None:
    assert not set(clean(text)) & set("\x1b\x9b\n\r\x00\u202e")
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (3599, "59m"),
        (3600, "1h"),
        (11100, "3h5m"),
        (86400, "1d"),
        (187200, "2d4h"),
    ],
)
def test_spans_are_shown_in_the_units_that_matter(seconds: int, shown: str) -> None:
    assert span(timedelta(seconds=seconds)) == shown


def test_instants_are_utc_for_programs_and_local_for_people() -> None:
    assert stamp(NOON) == "2026-11-20T12:00:00.000Z"
    assert stamp(None) is None
    assert local(NOON) == "2026-11-20 20:00:00 +08:00"
    assert ago(NOON, NOON + timedelta(minutes=3)) == "3m ago (20:00:00 +08:00)"
    assert ago(NOON, NOON + timedelta(days=2)) == "2d ago (2026-11-20 20:00:00 +08:00)"


def test_plain_tables_are_aligned_also_with_wide_characters() -> None:
    assert plain_table(["A", "B", "C"], [["中文", "x", "1"], ["abc", "yy", ""]]) == [
        "A      B    C",
        "中文   x    1",
        "abc    yy",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_tables_show_texts_as_they_are_and_never_as_markup(capsys: pytest.CaptureFixture[str], terminal: bool) -> None:  # noqa: FBT001 - a parameter of the test
    write_table(["REASON"], [["[red]x[/red] :smile: \x1b[31m!"]], terminal=terminal)

    assert capsys.readouterr().out.split() == ["REASON", "[red]x[/red]", ":smile:", "!"]


@given(st.text())
def test_json_and_yaml_carry_any_text_and_nothing_that_commands_a_terminal(text: str) -> None:
    written = {}
    for form in (Format.JSON, Format.YAML):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            write_document("Sample", {"text": text}, form)
        written[form] = out.getvalue()

    assert json.loads(written[Format.JSON])["text"] == text
    assert not set("".join(written.values())) & set("\x1b\x9b\x07\u202e\ud800")


@pytest.mark.parametrize("text", ["on", "1:30", "a: b", "\u202e", "\ud83d\ude00", "中文"])
def test_yaml_reads_back_as_the_same(capsys: pytest.CaptureFixture[str], text: str) -> None:
    write_document("Sample", {"text": text}, Format.YAML)

    assert yaml.safe_load(capsys.readouterr().out)["text"].encode("utf-16", "surrogatepass") == text.encode(
        "utf-16", "surrogatepass"
    )


@pytest.mark.parametrize(
    ("text", "width", "most", "lines"),
    [
        ("short", 10, 2, ["short"]),
        ("", 10, 2, [""]),
        ("one two three", 7, 2, ["one two", "three"]),
        ("one two three four", 7, 2, ["one two", "three…"]),
        ("one two three four", 7, 1, ["one tw…"]),
        ("abcdefghijklm", 5, 3, ["abcde", "fghij", "klm"]),
        ("abcdefghijklm", 5, 2, ["abcde", "fghi…"]),
        ("中文字符", 5, 1, ["中文…"]),
        ("ab", 1, 1, ["a…"]),
    ],
)
def test_a_text_is_broken_into_so_many_lines_and_what_is_cut_off_is_marked(
    text: str, width: int, most: int, lines: list[str]
) -> None:
    assert in_lines(text, width, most).split("\n") == lines
