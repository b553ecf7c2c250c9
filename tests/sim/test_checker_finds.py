"""The checker sees: bugs that are planted in a copy of shifter are found by the rule that is there for them.

A few that the first seeds find, for every test run; `make sim-planted` plants all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter.lab.checker import writes
from tests.sim import in_cluster
from tests.sim.__main__ import run
from tests.sim.planted.bug import Bug, Edit
from tests.sim.planted.bugs import BUGS
from tests.sim.planted.plant import hunt, imported_from, plant, problems
from tests.sim.stages import STAGES

CHEAP = (
    "the sequence does not grow",
    "no epoch is stamped on an intent",
    "the soak is counted from the beginning",
    "what the last process saved and did not file",
)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_every_planted_bug_still_has_its_place(bug: Bug) -> None:
    assert problems(bug) == []


def test_a_bug_without_its_place_is_not_planted(tmp_path: Path) -> None:
    lost = Bug("lost", (Edit("shifter/errors.py", "nothing of the kind", ""),), ())

    with pytest.raises(ValueError, match="has 0 times"):
        plant(lost, tmp_path)


def test_bugs_have_names_of_their_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_every_stage_is_set_up_for_a_bug() -> None:
    assert {bug.stage for bug in BUGS} - {"", in_cluster.MODE} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_the_sound_code_breaks_no_rule_on_a_stage(stage: str) -> None:
    outcome = run(1, stage)

    assert outcome.violations == ()
    assert outcome.looked_at[writes.RAISES] > 0


def test_what_is_run_is_the_copy_with_the_bug(tmp_path: Path) -> None:
    plant(BUGS[0], tmp_path)

    assert imported_from(tmp_path) == tmp_path / "shifter" / "__init__.py"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", CHEAP)
def test_a_planted_bug_is_found_by_its_rule(name: str, tmp_path: Path) -> None:
    (bug,) = (bug for bug in BUGS if bug.name.startswith(name))
    plant(bug, tmp_path)

    found = hunt(bug, tmp_path)

    assert found.as_expected, f"seed {found.seed} broke {found.rules}"
