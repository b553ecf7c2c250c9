"""One release of istioctl, asked in the words of the port.

Files go in through standard input and answers come back the same way, so that neither an IstioOperator nor a credential
ever lies on a disk. What a run printed is told to people shortened; the answers that hold a credential, never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shifter.adapters.istioctl.program import Program, clean
from shifter.adapters.istioctl.running import Said, run
from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.core.text import plain
from shifter.ports.istioctl import IstioctlError, Reach

RENDER_TIMEOUT_SECONDS: Final = 60.0
SECRET_TIMEOUT_SECONDS: Final = 90.0
PARTS_OF_AN_INSTALL: Final = 4
"""What becomes ready one after another, each within its time: base, istiod, egress and ingress gateways."""

_LONGEST_COMPLAINT: Final = 600


class IstioctlTool:
    """The port's `Istioctl`, as a program.

    Args:
        program: which one.
        environ: of this process; little of it is passed on.
    """

    def __init__(self, program: Program, environ: Mapping[str, str]) -> None:
        self._program = program
        self._environ = clean(environ)

    @property
    def version(self) -> str:
        """As the port says."""
        return self._program.release

    def validate(self, operator: str) -> None:
        """As the port says."""
        self._ask(["validate", "--filename=-"], operator, RENDER_TIMEOUT_SECONDS)

    def manifest(self, operator: str) -> str:
        """As the port says."""
        return self._ask(["manifest", "generate", "--filename=-"], operator, RENDER_TIMEOUT_SECONDS).out

    def install(self, operator: str, into: Reach, *, ready_within_seconds: float) -> str:
        """As the port says."""
        words = ["install", "--filename=-", "--skip-confirmation", f"--readiness-timeout={ready_within_seconds:.0f}s"]
        said = self._ask([*words, *_of(into)], operator, PARTS_OF_AN_INSTALL * ready_within_seconds)
        return said.out + said.complaints

    def remote_secret(self, of: Reach, *, name: str, server: str) -> str:
        """As the port says."""
        # Without a namespace it would take that of the kubeconfig's current context, where the reader has no rights.
        words = [
            "create-remote-secret",
            f"--name={name}",
            f"--namespace={SYSTEM_NAMESPACE}",
            *([f"--server={server}"] if server else []),
        ]
        return self._ask([*words, *_of(of)], "", SECRET_TIMEOUT_SECONDS).out

    def _ask(self, words: Sequence[str], stdin: str, timeout_seconds: float) -> Said:
        argv = [str(self._program.path.absolute()), *words]
        said = run(argv, environ=self._environ, stdin=stdin, timeout_seconds=timeout_seconds, ends_with_us=True)
        if said.exit_code != 0:
            complaint = plain(said.complaints.strip()[-_LONGEST_COMPLAINT:], _LONGEST_COMPLAINT) or "it said nothing"
            raise IstioctlError(f"`istioctl {' '.join(words)}` failed with exit code {said.exit_code}: {complaint}")
        return said


def _of(cluster: Reach) -> list[str]:
    return [f"--kubeconfig={cluster.kubeconfig}", f"--context={cluster.context}"]
