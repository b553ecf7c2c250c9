"""What a running service holds in memory: everything that can be reached from it, and nothing of the world around.

Tracing allocations would slow a week down by half and count what the world keeps of shifter's values. So the objects
are followed instead, as the garbage collector does. Where a simulated part begins (a class of `tests`), nothing is
followed any more.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

_NOT_HELD = (ModuleType, CodeType, BuiltinFunctionType)
_WORLD, _OURS = "tests.", "shifter."


@dataclass(frozen=True, slots=True)
class Held:
    """How many bytes were held, and how many objects of which type."""

    size_bytes: int
    objects: Counter[str]

    def more_than(self, before: Held, count: int) -> list[str]:
        """Return the types of which there are most more than before, at most so many, with by how many."""
        more = Counter(self.objects)
        more.subtract(before.objects)
        return [f"{name} {extra:+,}" for name, extra in more.most_common(count) if extra > 0]


def held_by(roots: Iterable[object]) -> Held:
    """Count what is reachable from these objects and from what shifter's modules keep; nothing is counted twice."""
    shared = {id(vars(module)) for module in list(sys.modules.values()) if isinstance(module, ModuleType)}
    seen, size, objects = set(shared), 0, Counter[str]()
    waiting = [*roots, *_of_modules()]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, FunctionType):
            waiting += _of_function(each)
        elif not _is_left_out(each):
            size += sys.getsizeof(each)
            objects[type(each).__qualname__] += 1
            waiting += gc.get_referents(each)
    return Held(size, objects)


def _is_left_out(each: object) -> bool:
    """Classes and modules are the program, not what it keeps; the rest of it is the world's."""
    return isinstance(each, (type, *_NOT_HELD)) or type(each).__module__.startswith(_WORLD)


def _of_function(function: FunctionType) -> list[object]:
    """A closure keeps what it closes over; its module is reached as a module, and the world's keep the world."""
    if function.__module__ is None or function.__module__.startswith(_WORLD):
        return []
    return [function.__closure__, function.__defaults__, function.__kwdefaults__]


def _of_modules() -> list[object]:
    """What modules and classes of shifter keep for as long as the process lives."""
    kept: list[object] = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith(_OURS):
            kept += vars(module).values()
            ours = (each for each in vars(module).values() if isinstance(each, type) and each.__module__ == name)
            kept += [value for each in ours for value in vars(each).values()]
    return kept
