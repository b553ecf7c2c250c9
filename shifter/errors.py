"""Every error of shifter, sorted by who must act and what the tick does about it.

    ShifterError
    ├── ConfigError            a file or flag is wrong: exit 2; a running service keeps the last good file
    ├── NotFoundError          nothing by that name: exit 3
    ├── RefusedError           a guard says no: exit 4; the shift is as it was
    ├── TransientError         somebody did not answer: hold, try again next tick
    │   ├── StoreUnavailableError      nothing new can be remembered: no climb, retreats go on
    │   ├── MetricsUnavailableError    nothing can be judged: no climb
    │   ├── ProviderUnavailableError   the call was *not* carried out (throttled, busy, refused connection)
    │   └── CapacityUnavailableError   nobody knows what the source could carry: no climb
    ├── AmbiguousWriteError    the call may have been carried out: read back before anything else
    ├── ConflictError          somebody else saved first: load again, decide again
    ├── ProviderRefusedError   the cloud says the request itself is wrong: hold and tell a person
    └── InvariantError         our own bug: freeze the shift and say so

Adapters translate foreign errors into these at the edge and keep the cause (`raise ... from error`);
nothing else in shifter knows an HTTP status or an SDK exception. So what would mend a foreign error is known at that
edge too, and travels with it: `remedy` of ProviderRefusedError, ProviderUnavailableError and MetricsUnavailableError.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class ShifterError(Exception):
    """Base of everything shifter raises on purpose; its text is a sentence for a person.

    `remedy` is the command or edit that mends it, for a person who asks for one; empty where that is not known.
    """

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with one place of one file.

    `line` and `column` count from 1; 0 means the file as a whole. `path` is the dotted place in the
    document (`spec.steps.2`), `hint` what to do about it, `source_line` the text of the line itself. `rule` is the
    stable name of its kind (`unknown-key`), for programs; two problems that differ in nothing else are the same.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    source_line: str = ""
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Return the one-line form `file:line:column path message (hint)`."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        words = [place, self.path, self.message, f"({self.hint})" if self.hint else ""]
        return " ".join(word for word in words if word)


class ConfigError(ShifterError):
    """One or more files or settings are wrong; `problems` has them all, never only the first."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class NotFoundError(ShifterError):
    """There is nothing by that name."""


class RefusedError(ShifterError):
    """A guard refused; the text says which and what would lift it."""


class TransientError(ShifterError):
    """Somebody did not answer; waiting may help."""


class StoreUnavailableError(TransientError):
    """The state store did not answer: shifter cannot remember anything new."""


class MetricsUnavailableError(TransientError):
    """A datasource did not answer, or answered with something that must not be believed."""


class ProviderUnavailableError(TransientError):
    """The provider did not carry the call out, and a later try may succeed (throttled, locked, unreachable)."""


class CapacityUnavailableError(TransientError):
    """What the source's gateway runs as could not be asked, or its autoscaler not be told."""


class AmbiguousWriteError(ShifterError):
    """A write may or may not have been carried out; only reading back can tell."""


class ConflictError(ShifterError):
    """Compare-and-swap failed: the saved version is not the one that was loaded."""


class ProviderRefusedError(ShifterError):
    """The provider refuses the request for a reason that repeating will not change."""


class InvariantError(ShifterError):
    """Something that cannot happen did: a bug of shifter."""
