"""What the installer needs of Istio's own tool: what a release would install, and to have it installed.

shifter renders what a cluster should have, Istio's tool knows how its release gets there. Every call is bounded in time
and in what it may say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shifter.errors import ShifterError


@dataclass(frozen=True, slots=True)
class Reach:
    """One API server as the tool is told of it: a kubeconfig file and a context in it, neither of them empty."""

    kubeconfig: str
    context: str


class IstioctlError(ShifterError):
    """The tool did not do what it was asked for; the text says what, and the last thing that the tool said of it.

    `unfinished`: it was ended, for taking too long or saying too much; what it began in a cluster goes on by itself.
    """

    def __init__(self, message: str, *, unfinished: bool = False, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.unfinished = unfinished


class Istioctl(Protocol):
    """One release of istioctl. Each call fails with `IstioctlError`."""

    @property
    def version(self) -> str:
        """The release, as the tool itself says: `1.18.5`."""

    def validate(self, operator: str) -> None:
        """Ask whether an IstioOperator is one; no cluster is asked.

        Args:
            operator: the YAML text of one.
        """

    def manifest(self, operator: str) -> str:
        """Return what an IstioOperator amounts to: YAML documents; no cluster is asked."""

    def install(self, operator: str, into: Reach, *, ready_within_seconds: float) -> str:
        """Install or upgrade what an IstioOperator says, and wait until it is ready; doing so again changes nothing.

        Args:
            operator: the YAML text of one.
            into: which cluster.
            ready_within_seconds: how long what was installed may take to become ready, each part of it.

        Returns:
            What the tool said of it, for people.
        """

    def remote_secret(self, of: Reach, *, name: str, server: str) -> str:
        """Return the YAML text of the Secret by which another cluster's istiod may read this one. Holds a credential.

        The first time it creates the account that the credential is of in the cluster `of`.

        Args:
            of: the cluster that will be read.
            name: what the mesh calls that cluster.
            server: the address of its API server, as the reader reaches it; empty for the kubeconfig's.
        """
