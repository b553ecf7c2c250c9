"""How every command ends: one line `error: ...`, perhaps a hint, and an exit code that scripts can rely on.

The codes are a contract (`shifter --help` lists them): whoever wraps shifter must be able to tell a typing mistake
from a guard's refusal from a store that is not there. No traceback unless asked for: at 3 a.m. it hides the sentence.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum

import click

from shifter.cli.streams import output_error, quietly
from shifter.errors import ConfigError, NotFoundError, RefusedError, ShifterError, TransientError


class Exit(IntEnum):
    """What the exit codes mean."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    UNHEALTHY = 6
    TIMED_OUT = 124
    INTERRUPTED = 130
    READER_GONE = 141


_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (NotFoundError, Exit.NOT_FOUND),
    (RefusedError, Exit.REFUSED),
    (TransientError, Exit.UNREACHABLE),
)


class CommandError(ShifterError):
    """A command ends here, with this code; `hint` says what to do about it."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message, remedy=hint)
        self.code = code

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.remedy


def say(text: str) -> None:
    """Write a line for the person, beside the data: to stderr."""
    quietly(lambda: click.echo(text, err=True))


def ended(command: Callable[[], object], verbose: Callable[[], bool]) -> int:
    """Carry a command out and return its exit code; what went wrong is said on stderr.

    Args:
        command: what to do; an `int` it returns is the exit code.
        verbose: asked afterwards whether an error's traceback is wanted.
    """
    try:
        code = _ended(command)
    except Exception as error:  # noqa: BLE001 - the end of the program: nobody above could act on it
        code = _unexpected(error, verbose)
    lost = output_error()
    return code if lost is None or code != Exit.OK else _undelivered(lost)


def _ended(command: Callable[[], object]) -> int:
    try:
        returned = command()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        quietly(error.show)
        return Exit.USAGE
    except click.UsageError as error:
        command_path = error.ctx.command_path if error.ctx else "shifter"
        return _failed(Exit.USAGE, error.format_message(), f"see `{command_path} --help`")
    except click.ClickException as error:
        return _failed(Exit(error.exit_code), error.format_message())
    except (click.Abort, EOFError, KeyboardInterrupt):
        say("interrupted")
        return Exit.INTERRUPTED
    return returned if isinstance(returned, int) else Exit.OK


def _unexpected(error: Exception, verbose: Callable[[], bool]) -> int:
    lost = output_error() if isinstance(error, OSError) else None
    if lost is not None:
        return _undelivered(lost)
    if verbose():
        quietly(lambda: traceback.print_exception(error, file=sys.stderr))
    return told(error)


def _undelivered(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        # As a shell reports a program that SIGPIPE ended: the reader, `head` for one, has what it wanted.
        return Exit.READER_GONE
    return _failed(Exit.UNEXPECTED, f"stdout: {error.strerror}")


def worst(steps: Sequence[Callable[[], object]]) -> int:
    """Carry every step out, whatever becomes of the others, and return the worst exit code: the highest.

    Of a single step the error is passed on.

    Raises:
        OSError: the output cannot be written; the steps were carried out all the same.
    """
    if len(steps) == 1:
        steps[0]()
        return Exit.OK
    codes: list[int] = [Exit.OK]
    lost: OSError | None = None
    for step in steps:
        try:
            step()
        except ShifterError as error:
            codes.append(told(error))
        except OSError as error:  # nobody reads any more; what was asked for the others is meant all the same
            lost = error
    if lost is not None:
        raise lost
    return max(codes)


def code_of(error: Exception) -> Exit:
    """Return the exit code that an error ends a command with."""
    if isinstance(error, CommandError):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.UNEXPECTED)


def told(error: Exception) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    if isinstance(error, CommandError):
        if error.code is Exit.INTERRUPTED:
            say(str(error))
            return error.code
        return _failed(error.code, str(error), error.hint)
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        for problem in error.problems:
            say(f"error: {problem}")
        return Exit.USAGE
    for kind, code in _CODES:
        if isinstance(error, kind):
            return _failed(code, str(error), error.remedy if isinstance(error, ShifterError) else "")
    if isinstance(error, ShifterError):
        return _failed(Exit.UNEXPECTED, str(error), error.remedy or "-v shows where")
    return _failed(Exit.UNEXPECTED, f"{type(error).__name__}: {error}", "-v shows where")


def _failed(code: Exit, message: str, hint: str = "") -> int:
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")
    return code
