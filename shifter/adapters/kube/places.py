"""Where an API server is and what a connection to it needs: of the pod that this runs in, or of a kubeconfig's context.

Everything that can be seen to be wrong is said here, before anything is asked: the library says of a key that does not
belong to its certificate that the server does not answer.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from shifter.adapters.kube.kubeconfig import Choice, Entry
from shifter.adapters.kube.signing_in import Fixed, Plugin, PrivateFolder, TokenFile, TokenSource, is_token
from shifter.core.text import plain
from shifter.errors import ConfigError

_GROUPS: Final = ("as-groups", "as-uid", "as-user-extra")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is and how one logs in to it; texts may be empty.

    `authority` is a file of certificates in PEM, `certificate` the files of our own one and its key: each connection
    reads them anew, so that newer ones may take their place.
    """

    server: str
    signing_in: TokenSource
    authority: Path | None = None
    certificate: tuple[Path, Path] | None = None
    impersonate: str = ""
    tls_server_name: str = ""
    proxy: str = ""
    is_trusted_blindly: bool = False


@dataclass(frozen=True, slots=True)
class Here:
    """What this process has: its environment, a folder, perhaps a person in front of it, and the wall clock."""

    environ: Mapping[str, str]
    may_ask: bool
    now: Callable[[], datetime]
    folder: PrivateFolder = field(default_factory=PrivateFolder)


def in_pod(environ: Mapping[str, str], service_account: Path) -> Place:
    """Return the server of the cluster that this runs in, and the pod's own account.

    Raises:
        ConfigError: its files or variables are not all there.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigError(
            f"there is a service account in {service_account}, but KUBERNETES_SERVICE_HOST and _PORT are not set;"
            " run it in a pod, or name a kubeconfig: --kubeconfig"
        )
    path = service_account / "ca.crt"
    try:
        _refuse_none(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__})") from error
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Place(server, TokenFile(service_account / "token"), authority=path)


def in_context(choice: Choice, here: Here) -> Place:
    """Return what a kubeconfig's choice leads to. A log-in plugin is run.

    Raises:
        ConfigError: something in it is wrong, or not there, or shifter does not know it.
    """
    cluster, user = choice.cluster, choice.user
    if unknown := [key for key in _GROUPS if user.fields.get(key)]:
        raise ConfigError(f"{user} in the kubeconfig has {unknown[0]}: shifter acts for users, not for groups")
    server = _address(cluster)
    authority = cluster.content("certificate-authority")
    if authority is not None:
        _refuse_none(authority, f"the certificate-authority of {cluster}")
    signing_in = _signing_in(choice, here)
    signing_in.authorization()
    return Place(
        server,
        signing_in,
        authority=_file(cluster, "certificate-authority", here.folder),
        certificate=_pair(user, signing_in, here.folder),
        impersonate=user.text("as"),
        tls_server_name=cluster.text("tls-server-name"),
        proxy=cluster.text("proxy-url"),
        is_trusted_blindly=cluster.fields.get("insecure-skip-tls-verify") is True,
    )


def _address(cluster: Entry) -> str:
    server = cluster.text("server")
    try:
        parts = urlsplit(server)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ConfigError(f'server of {cluster} in the kubeconfig is no address: "{plain(server)}"')
    return server.rstrip("/")


def _refuse_none(content: bytes, what: str) -> None:
    """Refuse what holds no certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii"))
    except (UnicodeError, ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{what} holds no certificate in PEM") from error


def _signing_in(choice: Choice, here: Here) -> TokenSource:
    user = choice.user
    if path := user.path("tokenFile"):
        return TokenFile(path)
    if token := user.text("token").strip():
        if not is_token(token):
            raise ConfigError(f"token of {user} in the kubeconfig is no token")
        return Fixed(f"Bearer {token}")
    if user.fields.get("exec"):
        return Plugin(choice, here.environ, here.folder, here.may_ask, here.now)
    if user.fields.get("auth-provider"):
        raise ConfigError(
            f"{user} in the kubeconfig logs in by auth-provider, which shifter does not know; use an exec plugin,"
            " such as kubelogin, or a token"
        )
    if name := user.text("username"):
        pair = f"{name}:{user.text('password')}".encode()
        return Fixed(f"Basic {base64.b64encode(pair).decode()}")
    return Fixed()


def _pair(user: Entry, signing_in: TokenSource, folder: PrivateFolder) -> tuple[Path, Path] | None:
    """Return the files of our own certificate and its key, having seen that they belong together."""
    pair = signing_in.pair if isinstance(signing_in, Plugin) else _own_pair(user, folder)
    if pair is None:
        return None
    try:
        # Without a password given, a key that has one would ask the terminal for it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*pair, password="")
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors
        raise ConfigError(f"the client-certificate and client-key of {user} are no pair in PEM") from error
    return pair


def _own_pair(user: Entry, folder: PrivateFolder) -> tuple[Path, Path] | None:
    found = [_file(user, key, folder) for key in ("client-certificate", "client-key")]
    match found:
        case [None, None]:
            return None
        case [Path() as certificate, Path() as key]:
            return certificate, key
        case _:
            raise ConfigError(
                f"{user} in the kubeconfig has one of client-certificate and client-key, without the other"
            )


def _file(entry: Entry, key: str, folder: PrivateFolder) -> Path | None:
    """Return where it lies; what is a file already stays where it is, since a newer one may take its place."""
    content = entry.content(key)
    if content is None:
        return None
    path = entry.path(key)
    return path if path is not None and not entry.text(f"{key}-data") else folder.put(key, content)
