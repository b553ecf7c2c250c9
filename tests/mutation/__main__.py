"""`python -m tests.mutation [MODULE ...]`: changes one thing in a copy of shifter, and asks whether a test notices.

mutmut makes the changes, `forks.py` asks the module's own tests about them. mutmut stays out of the repository: a
scratch directory below `build/` holds its own virtual environment (`requirements/mutation.lock`) and a copy of the
code. A survivor is no error by itself: it may mean the same as the original, or be argued in docs/mutation.md. So
nothing fails but a run that could not be made.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SCRATCH: Final = ROOT / "build" / "mutation"
LOCK: Final = ROOT / "requirements" / "mutation.lock"

SUITES: Final[dict[str, tuple[str, ...]]] = {
    "shifter/core/analysis/hypotheses.py": ("core/analysis/test_sequential*.py", "core/analysis/test_standing.py"),
    "shifter/core/analysis/standing.py": ("core/analysis/test_guards.py",),
    "shifter/core/deciding/decide.py": ("core/deciding/test_holds.py", "core/deciding/test_retreat.py"),
    "shifter/core/deciding/stages.py": ("core/deciding/test_decide*.py",),
    "shifter/service/act.py": (
        "service/test_act.py",
        "service/test_queued_climbs.py",
        "service/test_store_outage.py",
        "service/test_turn*.py",
        "service/test_writes_in_parts.py",
    ),
}
"""Which tests below `tests` are asked as well as the module's own: `core/deciding/test_journal*.py` of `journal.py`."""

_MODULES: Final = ("shifter/core/**/[!_]*.py", "shifter/service/act.py")
_MANY_EXAMPLES: Final = ("*properties*", "*standing_odds*")
"""What draws a hundred examples or plays a day takes seconds for each mutant."""


def main() -> int:
    """Mutate the modules that are named, all by default; return 1 if a run could not be made."""
    known = sorted(path.relative_to(ROOT).as_posix() for each in _MODULES for path in ROOT.glob(each))
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="shifter/core/deciding/journal.py ...; all by default"
    )
    given = parser.parse_args()
    if unknown := [module for module in given.modules if module not in known]:
        parser.error(f"not mutated: {', '.join(unknown)}; one of: {', '.join(known)}")
    python = _python()
    done = [_mutate(python, module) for module in given.modules or known]
    return 0 if all(done) else 1


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


def _mutate(python: Path, module: str) -> bool:
    tests = _tests_of(module)
    if not tests:
        print(f"{module}: no tests of its own", flush=True)  # noqa: T201 - the report is the product
        return True
    home = SCRATCH / "copy"
    shutil.rmtree(home, ignore_errors=True)
    for name in ("shifter", "tests"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", home / "pyproject.toml")
    (home / "setup.cfg").write_text("[mutmut]\nsource_paths = shifter\n", encoding="utf-8")
    return subprocess.run([python, "tests/mutation/forks.py", module, *tests], cwd=home, check=False).returncode == 0


def _tests_of(module: str) -> list[str]:
    """Return the files of tests that are asked about a module's mutants, as paths below the root."""
    own = Path(module).relative_to("shifter")
    patterns = (f"{own.parent.as_posix()}/test_{own.stem}*.py", *SUITES.get(module, ()))
    found = {path for pattern in patterns for path in (ROOT / "tests").glob(pattern)}
    return sorted(
        path.relative_to(ROOT).as_posix() for path in found if not any(path.match(each) for each in _MANY_EXAMPLES)
    )


if __name__ == "__main__":
    sys.exit(main())
