"""Documents name only what there is, and what they name is looked at closely enough to notice a slip."""

from __future__ import annotations

import pytest

from tests.docs import names
from tests.docs.test_docs import COMMAND_LINES, DOCS, ROOT

TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCS}
each_document = pytest.mark.parametrize("doc", TEXTS)


@each_document
def test_every_make_target_variable_and_mode_exists(doc: str) -> None:
    commands = (words for where, words in COMMAND_LINES if where == doc and words[0] == "make")

    assert names.strange_make(TEXTS[doc], commands) == []


@each_document
def test_files_and_tests_that_are_named_exist(doc: str) -> None:
    assert names.strange_files(TEXTS[doc]) == []
    assert names.strange_tests(TEXTS[doc]) == []


@each_document
def test_what_is_said_to_be_in_a_file_is_defined_there(doc: str) -> None:
    assert names.strange_names(TEXTS[doc]) == []


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("`make sim-plantd`", ["sim-plantd"]),
        ("`make simm SEED=33 MODE=lifeness`", ["MODE=lifeness", "simm"]),
        ("in the mode of `MODE=lease-gone`", ["MODE=lease-gone"]),
        ("`make sim SEEED=33`", ["SEEED=33"]),
        ("`make sim SEED=1 MODE=lease-lost` and `make sim-planted`", []),
        ("`make the file, its -wal and -shm readable`", []),
    ],
)
def test_a_slip_in_a_make_command_is_noticed(text: str, strange: list[str]) -> None:
    assert names.strange_make(text) == strange


def test_a_slip_in_a_make_line_of_a_block_is_noticed() -> None:
    assert names.strange_make("", iter([["make", "simm", "MODE=none"]])) == ["MODE=none", "simm"]


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("`core/evidence.py`", ["core/evidence.py"]),
        ("`shifter/core/evidence.py`", ["shifter/core/evidence.py"]),
        ("`adapters/tencent/none.py` and `analysis/`", ["adapters/tencent/none.py"]),
        ("`core/counts/evidence.py`, `forecasts/`, `tests/sim`, `.ci/run`", []),
        ("`shift/NAME`", []),
    ],
)
def test_a_slip_in_a_path_is_noticed(text: str, strange: list[str]) -> None:
    assert names.strange_files(text) == strange


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("`MOST_TICKS` in `core/counts/evidence.py`", ["MOST_TICKS in core/counts/evidence.py"]),
        ("`QUEUE_LIMIT` in `service/none.py`", ["QUEUE_LIMIT in service/none.py"]),
        ("`LONGEST_REFUSAL`, `MOST` in `service/observe.py`", ["MOST in service/observe.py"]),
        ("`Courier.forge` in `service/act.py`", ["Courier.forge in service/act.py"]),
        ("`Courier.forget` in `service/act.py`, `MAX_TICKS` in `core/counts/evidence.py`", []),
    ],
)
def test_a_slip_in_what_a_file_defines_is_noticed(text: str, strange: list[str]) -> None:
    assert names.strange_names(text) == strange


def test_a_slip_in_a_tests_name_is_noticed() -> None:
    assert names.strange_tests("`test_none_such`, `test_none.py`, `test_limits.py`") == [
        "test_none.py",
        "test_none_such",
    ]
