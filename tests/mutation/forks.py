"""`python forks.py MODULE TEST...`, in the copy: mutates a module, and asks its tests about every mutant.

mutmut writes all mutants of the module into one file, with a switch between them. The tests are loaded once; each
mutant gets a fork of that process, so that it costs what its tests cost, and what it breaks dies with it. A function's
mutants are asked only of the tests that reach it, the quickest first.
"""

from __future__ import annotations

import ast
import difflib
import gc
import os
import resource
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final, NoReturn

import pytest
from _pytest.runner import runtestprotocol
from mutmut.__main__ import write_all_mutants_to_file
from mutmut.state import state
from mutmut.utils.format_utils import get_mutant_name

_SWITCH: Final = "MUTANT_UNDER_TEST"
_QUICK_SECONDS: Final = 2.0
"""A test that takes longer is not asked: there are ten thousand mutants."""
_LONGER: Final = 4
"""A mutant may take this many times as long as its tests do, and this many seconds of the processor more."""
_MOST_BYTES: Final = 3 << 30


class Mutation:
    """A pytest plugin that runs the tests it collected not once, but for every mutant."""

    def __init__(self, module: str) -> None:
        """Write the mutants in the place of `module`."""
        path = Path(module)
        source = path.read_text(encoding="utf-8")
        with path.open("w", encoding="utf-8") as out:
            names = write_all_mutants_to_file(out=out, source=source, filename=path).mutant_names
        functions = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        self._bodies = {each.name: each for each in functions if isinstance(each, ast.FunctionDef)}
        self._module = module
        self._mutants = {name: get_mutant_name(path, name) for name in names}

    def pytest_collection_finish(self) -> None:
        """Of a property let fewer examples do, and never look for a smaller one."""
        from hypothesis import Phase, settings  # noqa: PLC0415 - its own plugin comes first

        quick = [Phase.explicit, Phase.generate]
        settings.register_profile("mutation", deadline=None, database=None, max_examples=30, phases=quick)
        settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn which tests reach what, and how long they take; then try each mutant; print what became of them."""
        seconds: dict[str, float] = {}
        reaching: dict[str, list[pytest.Item]] = defaultdict(list)
        os.environ[_SWITCH] = "stats"
        for item in session.items:
            state()._stats.clear()
            begun = time.monotonic()
            if _fails(item):
                raise pytest.UsageError(f"{item.nodeid} fails without a mutant")
            seconds[item.nodeid] = time.monotonic() - begun
            for function in state()._stats if seconds[item.nodeid] <= _QUICK_SECONDS else ():
                reaching[function].append(item)
        gc.freeze()
        fates: Counter[str] = Counter()
        told: list[str] = []
        for name, mutant in self._mutants.items():
            items = reaching[mutant.rpartition("__mutmut_")[0]]
            if self._is_left_out(name):
                fates["not tried"] += 1
                continue
            items.sort(key=lambda item: seconds[item.nodeid])
            fate = _fate(mutant, items, sum(seconds[item.nodeid] for item in items)) if items else "without tests"
            fates[fate] += 1
            if fate not in {"killed", "timed out"}:
                told += [f"  {mutant} {fate}", *self._changed(name)]
        counts = "".join(f", {count} {fate}" for fate, count in sorted(fates.items()))
        print("\n".join([f"\n{self._module}: {len(self._mutants)} mutants{counts}", *told]), flush=True)  # noqa: T201 - the report is the product
        return True

    def _original(self, name: str) -> ast.FunctionDef:
        return self._bodies[f"{name.rpartition('__mutmut_')[0]}__mutmut_orig"]

    def _is_left_out(self, name: str) -> bool:
        """Return whether only a text is different, or a value is None, which mypy refuses where it does not belong."""
        before, after = _difference(self._original(name).body, self._bodies[name].body) or (0, 0)
        nothing = after is None or (isinstance(after, ast.Constant) and after.value is None)
        return nothing or (isinstance(before, str) and isinstance(after, str))

    def _changed(self, name: str) -> list[str]:
        """Return the lines that are different, as `-` and `+`."""
        trees = self._original(name), self._bodies[name]
        before, after = (ast.unparse(tree).replace(tree.name, "", 1).splitlines() for tree in trees)
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        return [f"    {line}" for line in lines if line[0] in "-+"]


def _fails(item: pytest.Item) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def _fate(mutant: str, items: list[pytest.Item], seconds: float) -> str:
    child = os.fork()
    if child == 0:
        _ask(mutant, items, int(_LONGER * (1 + seconds)) + 1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "timed out"
    return {0: "survived", 1: "killed"}.get(os.WEXITSTATUS(status), "crashed")


def _ask(mutant: str, items: list[pytest.Item], most_seconds: int) -> NoReturn:
    code = 2
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.environ[_SWITCH] = mutant
        code = int(any(_fails(item) for item in items))
    finally:
        os._exit(code)


def _difference(before: object, after: object) -> tuple[object, object] | None:
    """Return the first place at which two trees are different, with what is there in each."""
    if type(before) is not type(after):
        return before, after
    if isinstance(before, ast.AST):
        pairs = [(getattr(before, field, None), getattr(after, field, None)) for field in before._fields]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
    else:
        return None if before == after else (before, after)
    return next((found for each in pairs if (found := _difference(*each))), None)


if __name__ == "__main__":
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=0", "--hypothesis-seed=0"]
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(pytest.main([*options, *sys.argv[2:]], plugins=[Mutation(sys.argv[1])]))
