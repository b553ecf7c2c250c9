"""Which store is meant: a file on this machine, or objects in a cluster. What was typed decides, then the environment.

A file is named by its path. A cluster is meant by `--store kubernetes`, by any of kubectl's flags, and by the name
`kubectl shifter`, for whoever types that stands in a cluster already. What is typed wins over what is set: a variable
that somebody exported last week must not send an order elsewhere. Flags for both at once are a slip of the hand, and
one that could move the wrong traffic.

Looked at with every command, so it must import nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from shifter.wiring import ClusterAddress

    StoreAddress = Path | ClusterAddress

KUBERNETES: Final = "kubernetes"
"""What `--store` and SHIFTER_STORE say for a store in a cluster; a file of that name is `./kubernetes`."""

DEFAULT_NAMESPACE: Final = "shifter-system"
"""Where an installation is unless somebody says otherwise."""

REQUEST_TIMEOUT_SECONDS: Final = 10.0
"""How long a command waits for one answer of the API server: longer than an election of etcd takes."""


@dataclass(slots=True)
class ClusterFlags:
    """kubectl's flags as they were typed; None is one that was not."""

    kubeconfig: str | None = None
    context: str | None = None
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None
    impersonate: str | None = None
    request_timeout_seconds: float | None = None

    def typed(self) -> tuple[str, ...]:
        """Return the flags that were typed, as people know them."""
        given = {
            "--kubeconfig": self.kubeconfig,
            "--context": self.context,
            "--cluster": self.cluster,
            "--user": self.user,
            "--namespace": self.namespace,
            "--as": self.impersonate,
            "--request-timeout": self.request_timeout_seconds,
        }
        return tuple(flag for flag, value in given.items() if value is not None)


def file_path(environment: Mapping[str, str]) -> Path:
    """Return where the store's file is without `--store`: where SHIFTER_STORE says, else the user's state directory."""
    if environment.get("SHIFTER_STORE"):
        return Path(environment["SHIFTER_STORE"])
    state = environment.get("XDG_STATE_HOME", "")
    # The XDG specification says to ignore a relative path.
    base = Path(state) if state.startswith("/") else Path(environment.get("HOME", "/")) / ".local" / "state"
    return base / "shifter" / "shifter.db"


def chosen(store: str | None, flags: ClusterFlags, environment: Mapping[str, str], *, in_cluster: bool) -> StoreAddress:
    """Return which store is meant.

    Args:
        store: what `--store` says; None if it was not typed.
        flags: kubectl's flags.
        environment: SHIFTER_STORE and SHIFTER_NAMESPACE in it count, and where the user's files are.
        in_cluster: whether a cluster is meant where nothing else says.

    Raises:
        click.UsageError: a file and a cluster are both named.
    """
    typed = flags.typed()
    if store is not None and store != KUBERNETES:
        if typed:
            said = f"--store {store} is a file, and {typed[0]} is for a store in a cluster: one of the two"
            raise click.UsageError(said, click.get_current_context(silent=True))
        return Path(store)
    named = environment.get("SHIFTER_STORE", "")
    if store == KUBERNETES or typed or named == KUBERNETES or (in_cluster and not named):
        return cluster_address(flags, environment)
    return file_path(environment)


def cluster_address(flags: ClusterFlags, environment: Mapping[str, str]) -> ClusterAddress:
    """Return the cluster that the flags mean, and the namespace in it; empty texts leave it to the kubeconfig."""
    from shifter.wiring import ClusterAddress  # noqa: PLC0415 - most commands are for a file

    timeout = flags.request_timeout_seconds
    return ClusterAddress(
        kubeconfig=Path(flags.kubeconfig) if flags.kubeconfig else None,
        context=flags.context or "",
        cluster=flags.cluster or "",
        user=flags.user or "",
        namespace=flags.namespace or environment.get("SHIFTER_NAMESPACE") or DEFAULT_NAMESPACE,
        impersonate=flags.impersonate or "",
        request_timeout_seconds=REQUEST_TIMEOUT_SECONDS if timeout is None else timeout,
    )
