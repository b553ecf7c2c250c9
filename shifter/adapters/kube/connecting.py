"""Which API server is meant, as whom, and what that one may do.

Named files first, then the pod that this runs in, then `~/.kube/config`. What is wrong with them is said before
anything is asked, for a wrong context is a wrong cluster. The client library costs a second to import, so only what
connects imports it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from shifter.adapters.kube.failures import LOG_IN, NAME_IT, UNAUTHORIZED, is_no_namespace, unknown
from shifter.adapters.kube.kinds import OUR_GROUP, OUR_VERSION, SHIFT_ORDERS
from shifter.adapters.kube.kubeconfig import choose, files_named
from shifter.adapters.kube.places import Here, Place, in_context, in_pod
from shifter.errors import ConfigError, NotFoundError, RefusedError, StoreUnavailableError
from shifter.ports.kube import ACCESS_REVIEWS, SELF_REVIEWS, Body, Failing, Kind, KubeApi, KubeError
from shifter.ports.mesh import NAMESPACES

if TYPE_CHECKING:
    from shifter.adapters.kube.configuring import ConfiguringClient

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds who it is."""

_DEFAULT_FILE: Final = ".kube/config"
_NOT_PROXIED: Final = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was asked for by kubectl's flags; each may be empty.

    `kubeconfig` is one file. `impersonate` is `--as`. `request_timeout_seconds` 0 means shifter's own bounds: kubectl's
    meaning, no bound at all, is not to be had. `may_ask`: a person is there, whom a log-in plugin may ask.
    """

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    impersonate: str = ""
    request_timeout_seconds: float = 0.0
    may_ask: bool = False


def connect(
    where: Cluster,
    environ: Mapping[str, str],
    *,
    service_account: Path = SERVICE_ACCOUNT,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ConfiguringClient:
    """Return a client of the API server that is meant. Asks nothing of it; a log-in plugin is run.

    Args:
        where: what was asked for.
        environ: HOME, KUBECONFIG, KUBERNETES_SERVICE_HOST and _PORT, HTTPS_PROXY, HTTP_PROXY and NO_PROXY are read.
        service_account: where a pod finds its token.
        now: the wall clock, with a timezone; for plugins' tokens that expire.

    Raises:
        ConfigError: nothing says where, or what says so is wrong.
    """
    here = Here(environ, where.may_ask, now)
    try:
        return _client(_place(where, here, service_account), where, here)
    except BaseException:
        here.folder.remove()
        raise


def identity(api: KubeApi) -> str:
    """Return as whom the server knows us: the verified name that it demands in orders.

    Raises:
        StoreUnavailableError: it does not know us.
        RefusedError: it cannot say (it is older than 1.28).
        KubeError: it does not answer.
    """
    try:
        review = api.create(SELF_REVIEWS, "", {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.name})
    except KubeError as error:
        if error.status == UNAUTHORIZED:
            raise StoreUnavailableError(unknown(error), remedy=LOG_IN) from error
        if error.failing is Failing.MISSING:
            raise RefusedError(
                f"the API server cannot say who asks ({error}): it is older than Kubernetes 1.28"
            ) from error
        raise
    match review.get("status"):
        case {"userInfo": {"username": str(name)}} if name:
            return name
        case _:
            raise KubeError(Failing.UNDECODABLE, "the API server's answer to who asks holds no name")


def may(api: KubeApi, namespace: str, verb: str, kind: Kind, name: str = "") -> bool:
    """Return whether the server would let us.

    Args:
        api: which server.
        namespace: where; empty for all namespaces.
        verb: `get`, or an order's own, such as `rollback`.
        kind: on which objects.
        name: on which one of them; empty for all.

    Raises:
        KubeError: it does not answer, or does not know who asks.
    """
    asked = {"namespace": namespace, "verb": verb, "group": kind.group, "resource": kind.plural, "name": name}
    body = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.name,
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }
    match api.create(ACCESS_REVIEWS, "", body).get("status"):
        case {"allowed": bool(allowed)}:
            return allowed
        case _:
            raise KubeError(Failing.UNDECODABLE, "the API server's answer to what is allowed holds none")


class Openable(Protocol):
    """What is asked of an API server to see whether a namespace takes orders."""

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return one object as it is now."""

    def document(self, path: str) -> Body:
        """Return what the server says of itself under a path that is no object's."""


def closed(api: Openable, namespace: str) -> str:
    """Return why nobody can give an order in a namespace, whoever asks; empty if nothing is known of that.

    Nobody needs a right for it: who may not look at the namespace is told of the definitions alone, which discovery
    shows to everybody who is logged in; of one that is being deleted it leaves out what makes new objects.

    Raises:
        NotFoundError: there is no such namespace.
        KubeError: it cannot be told.
    """
    try:
        found = api.get(NAMESPACES, "", namespace)
    except KubeError as error:
        if is_no_namespace(error):
            raise NotFoundError(f"there is no namespace {namespace} in this cluster", remedy=NAME_IT) from error
        if error.failing is not Failing.DENIED or error.status == UNAUTHORIZED:
            raise
        found = {}
    if (found.get("status") or {}).get("phase") == "Terminating":
        return f"the namespace {namespace} is being deleted"
    for each in api.document(f"/apis/{OUR_GROUP}/{OUR_VERSION}").get("resources") or ():
        if each.get("name") == SHIFT_ORDERS.plural and "create" not in each.get("verbs", ("create",)):
            return f"the definition of {SHIFT_ORDERS.plural}.{OUR_GROUP} is being deleted"
    return ""


def _place(where: Cluster, here: Here, service_account: Path) -> Place:
    paths = files_named(where.kubeconfig, here.environ)
    is_chosen = paths or where.context or where.cluster or where.user
    if not is_chosen and (service_account / "token").exists():
        return in_pod(here.environ, service_account)
    if not paths:
        home = here.environ.get("HOME")
        if not home:
            raise ConfigError("nothing says which cluster is meant; name a kubeconfig: --kubeconfig")
        paths = (Path(home) / _DEFAULT_FILE,)
    return in_context(choose(paths, context=where.context, cluster=where.cluster, user=where.user), here)


def _client(place: Place, where: Cluster, here: Here) -> ConfiguringClient:
    from kubernetes.client import Configuration  # noqa: PLC0415 - costs a second

    from shifter.adapters.kube.client import BOUNDS  # noqa: PLC0415 - costs a second
    from shifter.adapters.kube.configuring import ConfiguringClient  # noqa: PLC0415 - costs a second

    configuration = Configuration(host=place.server)
    configuration.proxy, configuration.no_proxy = _proxies(place, here.environ)
    configuration.ssl_ca_cert = str(place.authority) if place.authority is not None else None
    if place.certificate is not None:
        configuration.cert_file, configuration.key_file = map(str, place.certificate)
    configuration.tls_server_name = place.tls_server_name or None
    if place.is_trusted_blindly:
        configuration.verify_ssl = False
        _say_nothing_of_it()
    seconds = where.request_timeout_seconds or BOUNDS.answer_seconds
    return ConfiguringClient(
        configuration,
        authorization=place.signing_in.authorization,
        refused=place.signing_in.refused,
        impersonate=where.impersonate or place.impersonate,
        bounds=replace(BOUNDS, connect_seconds=min(BOUNDS.connect_seconds, seconds), answer_seconds=seconds),
        at_close=here.folder.remove,
    )


def _proxies(place: Place, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the proxy, as kubectl takes it, and the hosts that are asked without one."""
    variable = f"{urlsplit(place.server).scheme.upper()}_PROXY"
    proxy = place.proxy or environ.get(variable) or environ.get(variable.lower()) or None
    return proxy, ",".join(filter(None, (environ.get("NO_PROXY") or environ.get("no_proxy"), _NOT_PROXIED)))


def _say_nothing_of_it() -> None:
    """Silence urllib3 on a server that is not verified: the kubeconfig says so, and kubectl is silent too."""
    from urllib3.exceptions import InsecureRequestWarning  # noqa: PLC0415 - comes with the library

    warnings.simplefilter("ignore", InsecureRequestWarning)
