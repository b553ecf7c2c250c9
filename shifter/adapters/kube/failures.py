"""What a failed call to the API server means to the service: one of shifter's errors, with what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shifter.errors import ConflictError, RefusedError, ShifterError, StoreUnavailableError
from shifter.ports.kube import Failing, KubeError

INSTALL: Final = "helm upgrade --install shifter deploy/chart --namespace shifter-system --create-namespace"
DEFINE: Final = "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"
LOG_IN: Final = "kubectl auth whoami"
UNAUTHORIZED: Final = 401


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn what a call raises into an error of the store.

    Args:
        what: what was tried, as `shifts cannot be listed`.

    Raises:
        StoreUnavailableError: nobody answered, or whether it was kept is open, or nobody knows who asks.
        ConflictError: somebody else wrote first.
        RefusedError: no permission, no such kind, or the server refuses the object.
    """
    try:
        yield
    except KubeError as error:
        raise store_error(what, error) from error


def store_error(what: str, error: KubeError) -> ShifterError:
    """Return what a failed call means; see `store_errors`."""
    said = f"{what}: {error}"
    if error.failing in {Failing.CONFLICT, Failing.EXISTS}:
        return ConflictError(said)
    if error.failing is Failing.MISSING:
        return RefusedError(f"{said}; is shifter installed in this cluster, in this version?", remedy=INSTALL)
    if error.failing is Failing.DENIED and error.status != UNAUTHORIZED:
        return RefusedError(said, remedy="ask for a role of shifter's: docs/operations.md, 'Roles'")
    if error.failing is Failing.DENIED:
        return StoreUnavailableError(f"{said}; the credentials are wrong or have expired", remedy=LOG_IN)
    if error.failing is Failing.INVALID:
        return RefusedError(f"{said}; are the CRDs of this version?", remedy=INSTALL)
    return StoreUnavailableError(said)
