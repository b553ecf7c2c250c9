"""A mesh file's clusters and tool, connected: what `shifter mesh` works with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shifter.core.documents.mesh import Mesh
from shifter.errors import ConfigError
from shifter.ports.istioctl import Istioctl, Reach

if TYPE_CHECKING:
    from shifter.mesh.installing.site import Site

_DEFAULT_KUBECONFIG: Final = ".kube/config"
CACHE_VARIABLE: Final = "SHIFTER_ISTIOCTL_CACHE"
"""Names the folder with verified istioctls, as `<release>/istioctl`."""


def find_istioctl(release: str, path: str, sha256: str, environ: Mapping[str, str]) -> Istioctl:
    """Return Istio's tool of a release.

    Args:
        release: which.
        path: where it is; empty: it is looked for.
        sha256: its digest; empty for any.
        environ: of this process.

    Raises:
        NotFoundError: there is none.
        ConfigError: it is another one.
    """
    from shifter.adapters.istioctl.program import Wanted, find  # noqa: PLC0415 - for these commands alone
    from shifter.adapters.istioctl.tool import IstioctlTool  # noqa: PLC0415 - for these commands alone

    cache = Path(environ[CACHE_VARIABLE]) if environ.get(CACHE_VARIABLE) else None
    return IstioctlTool(find(Wanted(release, path, sha256, cache), environ), environ)


@contextmanager
def connected(
    mesh: Mesh, environ: Mapping[str, str], *, ready_seconds: float, address_seconds: float
) -> Iterator[Mapping[str, Site]]:
    """Connect to the clusters of a mesh file; they are let go of at the end of the `with` block.

    Args:
        mesh: the file.
        environ: of this process.
        ready_seconds: how long pods may take to become ready.
        address_seconds: how long a load balancer may take to get its address.

    Raises:
        ConfigError: a kubeconfig or a context is wrong.
    """
    from shifter.adapters.kube.connecting import Cluster, connect  # noqa: PLC0415 - costs a second
    from shifter.mesh.installing.site import Patience, Site  # noqa: PLC0415 - for these commands alone

    patience = Patience(time.monotonic, time.sleep, ready_seconds, address_seconds)
    with ExitStack() as stack:
        sites: dict[str, Site] = {}
        for cluster in mesh.clusters:
            reach = Reach(cluster.kubeconfig_file or _usual(environ), cluster.context)
            # The same file for both: two tools that read different ones talk to different clusters.
            where = Cluster(kubeconfig=reach.kubeconfig, context=cluster.context, may_ask=True)
            api = connect(where, environ)
            stack.callback(api.close)
            sites[cluster.cluster] = Site(cluster, api, reach, patience)
        yield sites


def _usual(environ: Mapping[str, str]) -> str:
    named = [each for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    if len(named) > 1:
        raise ConfigError(
            "KUBECONFIG names several files, and istioctl is given one: write kubeconfigFile at each cluster, or make"
            " one of them by kubectl config view --flatten"
        )
    return named[0] if named else str(Path(environ.get("HOME", os.curdir)) / _DEFAULT_KUBECONFIG)
