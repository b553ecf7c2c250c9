"""Plants a bug in a copy of shifter and lets the simulation run on it, one process per batch of seeds.

The copy is a directory of its own, from which Python imports shifter first; that it did is asked of the process itself,
since a run on the sound code would only look as if the checker were blind. The checker and the world are not edited.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.sim.planted.bug import Bug

ROOT: Final = Path(__file__).resolve().parents[3]
MODES: Final = ("safety", "liveness")

_BATCH_SEEDS: Final = 16
_BATCH_TIMEOUT_SECONDS: Final = 300.0
_TOLD: Final = re.compile(r"^seed (\d+)[^:]*: (.+?): ")


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one bug: the first seed that broke a rule, in which mode, which rules, and what it took."""

    bug: Bug
    seed: int | None
    mode: str
    rules: tuple[str, ...]
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether one of the rules that it must break was broken."""
        return self.seed is not None and bool(set(self.rules) & set(self.bug.rules))


def problems(bug: Bug, root: Path = ROOT) -> list[str]:
    """Return why a bug cannot be planted in the code below a directory; empty if it can."""
    counted = [(edit, (root / edit.file).read_text(encoding="utf-8").count(edit.old)) for edit in bug.edits]
    return [f"{bug.name}: {edit.file} has {count} times: {edit.old!r}" for edit, count in counted if count != 1]


def plant(bug: Bug | None, directory: Path, root: Path = ROOT) -> None:
    """Copy shifter and the simulation below a directory, with a bug planted.

    Raises:
        ValueError: a text to be replaced does not occur exactly once.
    """
    if bug is not None and (said := problems(bug, root)):
        raise ValueError("; ".join(said))
    shutil.copytree(root / "shifter", directory / "shifter")
    shutil.copytree(root / "tests" / "sim", directory / "tests" / "sim")
    for path in (root / "tests").glob("kube*.py"):
        shutil.copy(path, directory / "tests")
    shutil.copytree(root / "deploy" / "chart" / "crds", directory / "deploy" / "chart" / "crds")
    for edit in bug.edits if bug is not None else ():
        path = directory / edit.file
        path.write_text(path.read_text(encoding="utf-8").replace(edit.old, edit.new), encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()


def imported_from(directory: Path) -> Path:
    """Return where a process that is started in a directory imports shifter from."""
    said = subprocess.run(
        [sys.executable, "-c", "import shifter; print(shifter.__file__)"],
        cwd=directory, env=_environment(directory), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return Path(said.stdout.strip())


def hunt(bug: Bug, directory: Path) -> Found:
    """Run seeds of a bug's modes on a planted copy until one breaks a rule that the bug must break, or all have run.

    Raises:
        RuntimeError: the simulation did not run on the copy, or broke off.
    """
    if directory not in imported_from(directory).parents:
        raise RuntimeError(f"{bug.name}: shifter is imported from {imported_from(directory)}")
    began = time.monotonic()
    other: Found | None = None
    for mode, seeds in _days(bug):
        found = _run(bug, directory, mode, seeds, began)
        if found.as_expected and _is_sound_too(found):
            found = replace(found, rules=())
        if found.as_expected:
            return found
        other = other or (found if found.seed is not None else None)
    return other or Found(bug, None, "", (), time.monotonic() - began)


def _days(bug: Bug) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield modes with spans of seeds: ever more seeds of the bug's stage, or of both kinds of random days."""
    modes = (bug.stage,) if bug.stage else MODES
    yield from ((mode, seeds) for seeds in _batches(bug.seeds) for mode in modes)


def _batches(most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of seeds, each twice as many as the one before: most bugs are found by the first few."""
    first, size = 1, 2
    while first <= most:
        yield first, min(first + size - 1, most)
        first, size = first + size, min(2 * size, _BATCH_SEEDS)


def _is_sound_too(found: Found) -> bool:
    """Whether the sound code breaks the same rules with the same seed: then it was not the bug that did it."""
    assert found.seed is not None
    sound = _run(found.bug, ROOT, found.mode, (found.seed, found.seed), time.monotonic())
    return bool(set(found.rules) & set(found.bug.rules) & set(sound.rules))


def _run(bug: Bug, directory: Path, mode: str, seeds: tuple[int, int], began: float) -> Found:
    command = [sys.executable, "-m", "tests.sim", "--mode", mode, "--seeds", f"{seeds[0]}..{seeds[1]}"]
    done = subprocess.run(
        command, cwd=directory, env=_environment(directory), capture_output=True, text=True, check=False,
        timeout=_BATCH_TIMEOUT_SECONDS,
    )  # fmt: skip
    told = [(int(match[1]), match[2]) for line in done.stdout.splitlines() if (match := _TOLD.match(line))]
    if done.returncode and not told:
        raise RuntimeError(f"{bug.name}: {' '.join(command[1:])} ended with {done.returncode}: {done.stderr[-2000:]}")
    wanted = [each for each in told if each[1] in bug.rules] or told
    if not wanted:
        return Found(bug, None, mode, (), time.monotonic() - began)
    seed = min(number for number, _ in wanted)
    rules = tuple(sorted({rule for number, rule in told if number == seed}))
    return Found(bug, seed, mode, rules, time.monotonic() - began)


def _environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
