"""The options that say which store is meant: `--store`, and kubectl's flags under their own names and letters.

Every command that opens a store takes them, before or after its name, as people type them with kubectl. Its own help
shows `--store` alone: seven more lines under each command would hide what the command is about, so the others are in
`shifter --help`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click

from shifter.cli.addresses import DEFAULT_NAMESPACE, KUBERNETES
from shifter.cli.params import PATIENCE
from shifter.cli.session import Session

_FILE: Final = click.Path(dir_okay=False)
_IN_KUBECONFIG: Final = frozenset({"context", "cluster", "user"})


@dataclass(frozen=True, slots=True)
class _Flag:
    """One of kubectl's flags: its names, the field of `ClusterFlags` that it sets, and what its help says."""

    names: tuple[str, ...]
    field: str
    metavar: str
    help: str
    type: click.ParamType[Any] = click.STRING


_FLAGS: Final = (
    _Flag(("--kubeconfig",), "kubeconfig", "FILE", "Kubeconfig of the cluster. Default: as kubectl's.", _FILE),
    _Flag(("--context",), "context", "NAME", "Context of the kubeconfig."),
    _Flag(("--cluster",), "cluster", "NAME", "Cluster of the kubeconfig, instead of the context's."),
    _Flag(("--user",), "user", "NAME", "User of the kubeconfig, instead of the context's."),
    _Flag(
        ("-n", "--namespace"),
        "namespace",
        "NAME",
        f"Where shifter is installed. Default: $SHIFTER_NAMESPACE, else {DEFAULT_NAMESPACE}.",
    ),
    _Flag(("--as",), "impersonate", "USER", "Ask as somebody else, if the cluster lets you."),
    _Flag(
        ("--request-timeout",),
        "request_timeout_seconds",
        "DURATION",
        "How long to wait for one answer of the cluster, e.g. 30s. Default: 10s.",
        PATIENCE,
    ),
)


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--store`, shown, and kubectl's flags, which only the root's help shows."""
    return cluster_flags(_store(command, f"{KUBERNETES} (flags: `shifter --help`)"))


def cluster_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add kubectl's flags alone, for a command that names its stores otherwise."""
    return _flags(command, hidden=True)


def root_store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--store` and kubectl's flags, all of them shown."""
    return _store(_flags(command, hidden=False), KUBERNETES)


def _store(command: Callable[..., Any], other: str) -> Callable[..., Any]:
    return click.option(
        "--store",
        type=_FILE,
        metavar="FILE",
        expose_value=False,
        callback=_name_store,
        help=f"State file of the service, or {other}. Default: $SHIFTER_STORE, else"
        " $XDG_STATE_HOME/shifter/shifter.db.",
    )(command)


def _flags(command: Callable[..., Any], *, hidden: bool) -> Callable[..., Any]:
    # As decorators that stand one above the other: the lowest first.
    for flag in reversed(_FLAGS):
        command = click.option(
            *flag.names,
            flag.field,
            type=flag.type,
            metavar=flag.metavar,
            expose_value=False,
            hidden=hidden,
            callback=_note,
            shell_complete=_offered if flag.field in _IN_KUBECONFIG else None,
            help=flag.help,
        )(command)
    return command


def _name_store(context: click.Context, _: click.Parameter, name: str | None) -> None:
    if name is not None:
        context.ensure_object(Session).named = name


def _note(context: click.Context, param: click.Parameter, value: str | float | None) -> None:
    """Remember one flag: what is typed behind the command's name is the later word."""
    if value is not None:
        setattr(context.ensure_object(Session).flags, str(param.name), value)


def _offered(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names in the kubeconfig that begin like what was typed; the cluster is not asked."""
    from shifter.cli.kubeconfigs import names  # noqa: PLC0415 - for the shell's questions only

    session = context.ensure_object(Session)
    typed = context.params.get("kubeconfig") or session.flags.kubeconfig
    found = names(str(param.name), typed, session.environment)
    return [name for name in found if name.startswith(incomplete)]
