"""`python -m tests.mutation [MODULE ...]`: changes one thing in a copy of shifter, and asks whether a test notices.

mutmut makes the changes and runs only the tests that reach them. It stays out of the repository: a scratch directory
below `build/` holds its own virtual environment (`requirements/mutation.lock`), a copy of the code for each of the two
suites, and what is known so far, so that a run that was stopped goes on. A survivor is no error by itself: it may mean
the same as the original, or be argued in docs/mutation.md. So nothing fails but a run that could not be made.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SCRATCH: Final = ROOT / "build" / "mutation"
LOCK: Final = ROOT / "requirements" / "mutation.lock"

_COPIED: Final = ("shifter", "tests", "pyproject.toml")
_FATE: Final[dict[int | None, str]] = {
    **dict.fromkeys((1, 3), "killed"),
    **dict.fromkeys((-24, 24, 36, 152, 255), "timed out"),
    **dict.fromkeys((5, 33), "without tests"),
    0: "survived",
    None: "not tried",
}
"""What mutmut's exit codes say of a mutant. One that timed out ran far longer than the tests of the sound code do."""

_LOUD: Final = {"killed", "timed out"}

_SLOW: Final = (
    "analysis/test_assess.py::test_whatever_is_counted_every_sentence_and_number_is_one",
    "analysis/test_sequential.py::test_no_comparison_gains_on_average_from_a_target_within_tolerance",
    "analysis/test_sequential.py::test_no_proof_of_safety_gains_on_average_from_a_target_at_the_excess_it_rules_out",
    "forecasts/test_forecast.py::test_before_the_first_step_the_source_is_learnt_in_ticks_and_requests",
    "forecasts/test_forecast.py::test_steps_never_begin_before_the_one_before_and_every_unknown_says_why",
    "forecasts/test_forecast.py::test_the_numbers_are_rounded_up_before_they_are_multiplied_so_that_the_sum_can_be_done_again",
    "test_apportion.py::test_in_the_usual_steps_a_climb_of_which_only_the_targets_part_is_in_force_overshoots_by_less_than_a_point",
    "test_capacity.py::test_a_staged_rollback_never_rises_never_asks_for_too_much_and_ends_with_the_capacity",
)


@dataclass(frozen=True, slots=True)
class Suite:
    """Modules and the tests that are theirs: `patterns` of files below the root, `tests` as pytest selects them."""

    name: str
    patterns: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def home(self) -> Path:
        """Where the copy is mutated."""
        return SCRATCH / self.name

    @property
    def modules(self) -> list[str]:
        """The modules, as paths below the root."""
        return sorted(path.relative_to(ROOT).as_posix() for each in self.patterns for path in ROOT.glob(each))


SUITES: Final = (
    Suite(
        "core",
        ("shifter/core/**/*.py",),
        (
            "tests/core",
            # What draws a hundred examples or plays a day takes seconds for each mutant, and there are ten thousand.
            "--ignore-glob=*properties*",
            "--ignore-glob=*standing_odds*",
            *(f"--deselect=tests/core/{test}" for test in _SLOW),
        ),
    ),
    Suite(
        "act",
        ("shifter/service/act.py",),
        tuple(
            f"tests/service/test_{name}.py"
            for name in (
                "act",
                "queued_climbs",
                "store_outage",
                "turn",
                "turn_back",
                "turn_writes",
                "writes_in_parts",
            )
        ),
    ),
)


def main() -> int:
    """Mutate the modules that are named, all by default; return 1 if a run could not be made."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="shifter/core/deciding/journal.py ...; all by default"
    )
    given = parser.parse_args()
    known = [module for suite in SUITES for module in suite.modules]
    if unknown := [module for module in given.modules if module not in known]:
        parser.error(f"not mutated: {', '.join(unknown)}; one of: {', '.join(known)}")
    wanted = given.modules or known
    python = _python()
    for suite in SUITES:
        modules = [module for module in suite.modules if module in wanted]
        if modules and not _mutate(python, suite, modules):
            return 1
    return 0


def _python() -> Path:
    """Return the interpreter of the scratch environment, which is made anew when its lock changes."""
    home = SCRATCH / "venv"
    python, made_from = home / "bin" / "python", home / "made-from.lock"
    if not made_from.exists() or made_from.read_text(encoding="utf-8") != LOCK.read_text(encoding="utf-8"):
        venv.create(home, clear=True, with_pip=True)
        quiet = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        subprocess.run([python, "-m", "pip", "install", *quiet, "--requirement", LOCK], check=True)
        shutil.copyfile(LOCK, made_from)
    return python


def _mutate(python: Path, suite: Suite, modules: Sequence[str]) -> bool:
    _copy(suite)
    names = [f"{module.removesuffix('.py').replace('/', '.')}.*" for module in modules]
    # Given names, mutmut tries again what it knows; without, it goes on where it was.
    command = [str(python.parent / "mutmut"), "run", "--max-children", "1"]
    done = (
        subprocess.run([*command, *([] if modules == suite.modules else names)], cwd=suite.home, check=False).returncode
        == 0
    )
    for module in modules:
        for line in _report(python, suite, module):
            print(line, flush=True)  # noqa: T201 - the report is the product
    return done


def _copy(suite: Suite) -> None:
    """Bring the copy up to date; what mutmut knows stays beside it."""
    suite.home.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        to = suite.home / name
        if (ROOT / name).is_dir():
            shutil.rmtree(to, ignore_errors=True)
            shutil.copytree(ROOT / name, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, to)
    settings = {
        "source_paths": ["shifter"],
        "only_mutate": suite.modules,
        "pytest_add_cli_args_test_selection": list(suite.tests),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--hypothesis-seed=0"],
        "also_copy": ["tests", "pyproject.toml"],
        # A mutant may take this many seconds longer, and then this many times as long, as its tests do.
        "timeout_constant": ["1"],
        "timeout_multiplier": ["4"],
    }
    lines = ["\n    ".join([f"{key} =", *values]) for key, values in settings.items()]
    (suite.home / "setup.cfg").write_text("\n".join(["[mutmut]", *lines, ""]), encoding="utf-8")


def _report(python: Path, suite: Suite, module: str) -> Iterator[str]:
    """Yield a line with the figures of a module, and what was changed in each mutant that nobody noticed."""
    noted = json.loads((suite.home / "mutants" / f"{module}.meta").read_text(encoding="utf-8"))
    fates = {name: _FATE.get(code, "crashed") for name, code in noted["exit_code_by_key"].items()}
    counts = Counter(fates.values())
    yield f"{module}: {len(fates)} mutants" + "".join(f", {count} {fate}" for fate, count in sorted(counts.items()))
    for name, fate in fates.items():
        if fate not in {*_LOUD, "not tried"}:
            shown = subprocess.run(
                [python.parent / "mutmut", "show", name], cwd=suite.home, check=True, capture_output=True, text=True
            ).stdout
            yield f"  {name} {fate}"
            yield from (f"    {line}" for line in shown.splitlines() if re.match(r"[-+](?![-+])", line))


if __name__ == "__main__":
    sys.exit(main())
