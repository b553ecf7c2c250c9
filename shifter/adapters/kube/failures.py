"""What a failed call to the API server means to the service: one of shifter's errors, with what mends it.

A 403 is mostly a missing right, but not always: a namespace or a definition on its way out, a quota and a webhook
refuse with it, too, and no role mends those. Only the server's sentence tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from shifter.errors import ConflictError, NotFoundError, RefusedError, ShifterError, StoreUnavailableError
from shifter.ports.kube import Failing, KubeError

INSTALL: Final = "helm upgrade --install shifter deploy/chart --namespace shifter-system --create-namespace"
DEFINE: Final = "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"
ROLES: Final = "ask for a role of shifter's: docs/operations.md, 'Who may do what'"
LOG_IN: Final = "log in again, until `kubectl auth whoami` knows you"
NAME_IT: Final = "-n names the namespace that shifter is installed in; `kubectl get namespaces` lists what there is"
UNKNOWN: Final = "the token or certificate has expired, or is that of another cluster"
UNAUTHORIZED: Final = 401

_BY_HAND: Final = "by hand: docs/runbook.md, 'shifter is dead'"
_AWAY: Final = (
    "kubectl cluster-info; see the network to it, --kubeconfig and --context; meanwhile shifter still goes back by"
    f" itself, for 15 minutes even if it cannot reach the API server either; {_BY_HAND}"
)
_DISBELIEVED: Final = (
    "is that the kubeconfig of this cluster? its certificate-authority must be the server's; a proxy in between shows a"
    " certificate of its own"
)
_RIGHTS: Final = ('" cannot ', "that needs the verb")
"""How RBAC says it, and how the policy that guards orders does."""

_NAMESPACE_GOES: Final = (
    "the namespace is being deleted, and nothing new can be made in it: docs/operations.md, 'A Shift does not go away';"
    f" going back is {_BY_HAND}"
)
_DEFINITION_GOES: Final = (
    "the definition is being deleted, and waits for finalizers of its objects; once it is gone:"
    f" {DEFINE}; until then going back is {_BY_HAND}"
)
_OBSTACLES: Final = (
    ("because it is being terminated", _NAMESPACE_GOES),
    ("custom resource definition is terminating", _DEFINITION_GOES),
    ("quota", "`kubectl describe quota` in that namespace shows which is full: raise it"),
    ("admission webhook", "whoever runs that webhook can say why; `kubectl get validatingwebhookconfigurations`"),
)
"""What stands in the sentence of a refusal that no role mends, and what does."""


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn what a call raises into an error of the store.

    Args:
        what: what was tried, as `shifts cannot be listed`.

    Raises:
        StoreUnavailableError: nobody answered, or whether it was kept is open, or nobody knows who asks.
        ConflictError: somebody else wrote first.
        NotFoundError: there is no such namespace.
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
    if is_no_namespace(error):
        return NotFoundError(said, remedy=NAME_IT)
    if error.failing is Failing.MISSING:
        return RefusedError(f"{said}; is shifter installed in this cluster, in this version?", remedy=DEFINE)
    if error.status == UNAUTHORIZED:
        return StoreUnavailableError(f"{what}: {unknown(error)}", remedy=LOG_IN)
    if error.failing in {Failing.DENIED, Failing.INVALID}:
        return _refused(said, error)
    return StoreUnavailableError(said, remedy=_remedy_of_silence(error))


def is_no_namespace(error: KubeError) -> bool:
    """Whether the namespace itself is what is missing."""
    return error.failing is Failing.MISSING and str(error).startswith('namespaces "')


def unknown(error: KubeError) -> str:
    """Return what a 401 means, in a sentence."""
    return f"the API server does not know who asks ({error}): {UNKNOWN}"


def _refused(said: str, error: KubeError) -> RefusedError:
    """Return a refusal with what mends it: what the sentence names, else a role, or definitions of this version."""
    text = str(error)
    lacks_a_right = error.failing is Failing.DENIED and any(each in text for each in _RIGHTS)
    if not lacks_a_right and (remedy := next((remedy for mark, remedy in _OBSTACLES if mark in text), "")):
        return RefusedError(said, remedy=remedy)
    if error.failing is Failing.DENIED:
        return RefusedError(said, remedy=ROLES)
    if "denied request" in text:  # by an admission policy, which says what it wants
        return RefusedError(said)
    return RefusedError(f"{said}; are the CRDs of this version?", remedy=DEFINE)


def _remedy_of_silence(error: KubeError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return _DISBELIEVED
    # A log-in that fails here, before the server is asked, says nothing of the server.
    is_silent = error.status == 0 and "was not asked" not in str(error)
    return _AWAY if is_silent or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
