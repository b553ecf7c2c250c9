"""What people type in a form of its own: a shift's name, a span of time, an address. Shared by the commands.

Imported with every command, so it must import nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from shifter.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_HIGHEST_PORT: Final = 65535
_LEAST_PATIENCE_SECONDS: Final = 1
_MOST_PATIENCE_SECONDS: Final = 600


class ShiftName(click.ParamType[str]):
    """A shift's name, bare or as `get -o name` prints it: `shop`, `shift/shop`."""

    name = "shift"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401, ARG002 - as click's
        """Return the bare name."""
        return str(value).removeprefix("shift/")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Return the names in the store that begin like what was typed; nothing if it cannot be read at once."""
        from shifter.cli.completing import shift_names  # noqa: PLC0415 - for the shell's questions only

        given = ctx.params.get(param.name or "")
        return shift_names(ctx.ensure_object(Session), incomplete, given if isinstance(given, tuple) else ())


SHIFT: Final = ShiftName()


class Span(click.ParamType[Any]):
    """A span of time with its unit, such as `60s` or `5m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click's
        """Return the span as a `timedelta`."""
        from pydantic_core import PydanticCustomError  # noqa: PLC0415 - not for `--help`

        from shifter.core.documents.schema import parse_duration  # noqa: PLC0415 - not for `--help`

        try:
            return parse_duration(value)
        except PydanticCustomError as error:
            self.fail(f"{value!r}: {error.message()}", param, ctx)


class Patience(click.ParamType[float]):
    """How long to wait for one answer, as kubectl takes it: a span with its unit, or seconds. Never without an end."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click's
        """Return seconds, 1 to 600."""
        text = str(value)
        number = float(text) if text.isascii() and text.isdigit() else Span().convert(text, param, ctx).total_seconds()
        if not _LEAST_PATIENCE_SECONDS <= number <= _MOST_PATIENCE_SECONDS:
            self.fail(f"{text!r} is not from 1s to 10m: no call waits for ever", param, ctx)
        return float(number)


PATIENCE: Final = Patience()


class Listen(click.ParamType[tuple[str, int]]):
    """`host:port`; an IPv6 address in brackets."""

    name = "host:port"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int]:
        """Return host and port; port 0 lets the system choose."""
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if (
            not (host and host.isascii() and host.isprintable())
            or not (port.isascii() and port.isdigit())
            or int(port) > _HIGHEST_PORT
        ):
            self.fail(f"{value!r} is not host:port, e.g. 127.0.0.1:8080", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)
