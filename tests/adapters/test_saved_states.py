"""States as each version saved them, kept as files: what one wrote, every later one reads, with nothing lost.

`states/version_N.json` has every field that version N could save. Versions 1 and 2 are in
`tests/contract/test_store_state.py`. Whoever raises the schema version adds the file of the one before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shifter.adapters.saved_form import read_state, state_text
from shifter.core.state import SCHEMA_VERSION, ShiftState
from shifter.errors import RefusedError

STATES = Path(__file__).with_name("states")
FIRST = 3


def saved_by(version: int) -> str:
    return (STATES / f"version_{version}.json").read_text(encoding="utf-8")


def is_kept(before: Any, after: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether everything of `before` is in `after`; fields that came later may be there besides."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(key in after and is_kept(value, after[key]) for key, value in before.items())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(is_kept, before, after))
    return bool(before == after)


@pytest.mark.parametrize("version", range(FIRST, SCHEMA_VERSION + 1))
def test_what_a_version_saved_is_read_with_nothing_lost(version: int) -> None:
    text = saved_by(version)
    state = read_state("shop", text)
    again = json.loads(state.model_dump_json(by_alias=True))

    assert state.schema_version == SCHEMA_VERSION
    assert is_kept(json.loads(text) | {"schema_version": SCHEMA_VERSION}, again)
    assert read_state("shop", state_text(state)) == state


def test_the_file_of_this_version_has_every_field_that_is_saved() -> None:
    saved = json.loads(saved_by(SCHEMA_VERSION))
    state = read_state("shop", json.dumps(saved))

    assert saved.keys() == ShiftState.model_fields.keys()
    assert [name for name, value in saved.items() if value in (None, [], {})] == []
    assert json.loads(state.model_dump_json(by_alias=True)) == saved


@pytest.mark.parametrize("version", range(FIRST, SCHEMA_VERSION + 1))
def test_a_saved_state_that_is_cut_off_anywhere_is_refused(version: int) -> None:
    text = json.dumps(json.loads(saved_by(version)))
    for length in range(len(text)):
        with pytest.raises(RefusedError, match="saved state of shop is not understood"):
            read_state("shop", text[:length])


@pytest.mark.parametrize("odd", ["null", "[]", "7", '""', "{}", '{"schema_version": "4"}', "[" * 10_000, "\x00"])
def test_what_is_no_state_at_all_is_refused_in_words(odd: str) -> None:
    with pytest.raises(RefusedError, match="saved state of shop is not understood"):
        read_state("shop", odd)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 10**6, 10**400])
def test_a_state_of_a_later_version_is_refused_and_named_as_one(version: int) -> None:
    text = json.dumps(json.loads(saved_by(SCHEMA_VERSION)) | {"schema_version": version})

    with pytest.raises(RefusedError, match="written by a later shifter"):
        read_state("shop", text)
