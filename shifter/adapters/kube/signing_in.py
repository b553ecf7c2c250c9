"""How one shows an API server who one is: a token, a file with a token that changes, or a plugin that is asked for one.

A pod's token is replaced every hour or so and a plugin's expires, so who holds one asks anew for every request (that
costs a read of a small file), when the time is up, or when the server no longer knows it: it may have been revoked, and
many plugins do not say when theirs expires. What a plugin prints is never quoted: it is the secret.

Source: "Authenticating", section "client-go credential plugins", in the Kubernetes documentation; ExecCredential v1.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from shifter.adapters.kube.answers import decoded
from shifter.adapters.kube.kubeconfig import Choice, Entry
from shifter.core.text import plain
from shifter.errors import ConfigError

PLUGIN_TIMEOUT_SECONDS: Final = 120.0
"""How long a plugin may take: somebody may have to log in by a browser."""

AGAIN: Final = timedelta(seconds=30)
"""So long after a plugin was run for a token that was refused it is not run for another one."""

_EARLY: Final = timedelta(seconds=30)
_LONGEST_COMPLAINT: Final = 300
_PLUGIN_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class PrivateFolder:
    """A folder that nobody else can read, for what the library takes only as a file. Made when first needed.

    A pod, whose root is read-only, needs none.
    """

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def put(self, name: str, content: bytes) -> Path:
        """Write a file, which replaces one by that name, and return where it lies."""
        self._made = self._made or tempfile.TemporaryDirectory(prefix="shifter-")
        path = Path(self._made.name) / name
        path.touch(0o600)
        path.write_bytes(content)
        return path

    def remove(self) -> None:
        """Remove it and all that is in it. Doing so twice is harmless."""
        if self._made is not None:
            self._made.cleanup()


class TokenSource(Protocol):
    """Something that says what to send with the next request."""

    def authorization(self) -> str:
        """Return the value of the header `Authorization`; empty for none.

        Raises:
            ConfigError: there is none to be had; the text says why.
        """

    def refused(self, value: str) -> None:
        """Learn that the server does not know who showed this: show what is newer the next time, if anything is."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same for every request."""

    value: str = ""

    def authorization(self) -> str:
        """Return it."""
        return self.value

    def refused(self, value: str) -> None:
        """There is no other one."""


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file with a token, read for every request."""

    path: Path

    def authorization(self) -> str:
        """Return what the file holds now."""
        try:
            token = self.path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"the token file {self.path} cannot be read ({type(error).__name__})") from error
        if not is_token(token):
            raise ConfigError(f"the token file {self.path} is empty or holds more than a token")
        return f"Bearer {token}"

    def refused(self, value: str) -> None:
        """The file is read for every request anyway."""


@dataclass(slots=True)
class Plugin:
    """A program of a kubeconfig that knows how to log in, such as kubelogin. Safe to use from several threads.

    Args:
        choice: whose `exec` it is, and for which cluster.
        environ: of this process; the plugin gets it too.
        folder: for the certificate and key that some plugins answer with.
        may_ask: whether a person is there to answer questions.
        now: the wall clock, with a timezone.
        timeout_seconds: how long it may take.
    """

    choice: Choice
    environ: Mapping[str, str]
    folder: PrivateFolder
    may_ask: bool
    now: Callable[[], datetime]
    timeout_seconds: float = PLUGIN_TIMEOUT_SECONDS
    pair: tuple[Path, Path] | None = field(default=None, init=False)
    """The certificate and its key that it answered with, if it did; newer ones are put in their place."""

    _value: str = field(default="", init=False)
    _expires: datetime | None = field(default=None, init=False)
    _has_run: bool = field(default=False, init=False)
    _refused_at: datetime | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def authorization(self) -> str:
        """Return what the plugin said, asking it again shortly before that expires."""
        with self._lock:
            if not self._has_run or (self._expires is not None and self.now() >= self._expires - _EARLY):
                self._take(self._run())
                self._has_run = True
            return self._value

    def refused(self, value: str) -> None:
        """Run the plugin before the next request, unless it has answered otherwise since.

        Once in `AGAIN`: where the server knows nobody, or the plugin answers the same each time, it would else be run
        for every call, and may open a browser each time.
        """
        with self._lock:
            now, before = self.now(), self._refused_at
            if value == self._value and (before is None or not before <= now < before + AGAIN):
                self._has_run, self._refused_at = False, now

    def _take(self, status: Mapping[str, Any]) -> None:
        match status:
            case {"token": str(token)} if is_token(token):
                self._value = f"Bearer {token}"
            case {"clientCertificateData": str(certificate), "clientKeyData": str(key)}:
                put = self.folder.put
                self.pair = put("plugin.crt", certificate.encode()), put("plugin.key", key.encode())
            case _:
                raise ConfigError(f"{self._who()} answers neither with a token nor with a certificate and its key")
        self._expires = _instant(status.get("expirationTimestamp"))

    def _run(self) -> Mapping[str, Any]:
        fields = _exec_of(self.choice.user)
        command, version = str(fields.get("command") or ""), str(fields.get("apiVersion") or "")
        if not command or version not in _PLUGIN_VERSIONS:
            raise ConfigError(f"exec of {self.choice.user} needs a command and an apiVersion: {_PLUGIN_VERSIONS[0]}")
        if "/" in command:
            command = str(self.choice.user.folder / command)
        may_ask = self.may_ask and fields.get("interactiveMode") != "Never"
        try:
            done = subprocess.run(  # noqa: S603 - what the person's own kubeconfig names, as kubectl does
                [command, *_texts(fields.get("args"))],
                env={
                    **self.environ,
                    **_variables(fields),
                    "KUBERNETES_EXEC_INFO": self._question(version, may_ask=may_ask),
                },
                stdin=None if may_ask else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if may_ask else subprocess.PIPE,
                timeout=self.timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{self._who()} has not answered within {self.timeout_seconds:g} s") from None
        except (OSError, ValueError) as error:
            why = (getattr(error, "strerror", None) or type(error).__name__).lower()
            hint = plain(str(fields.get("installHint") or ""), _LONGEST_COMPLAINT)
            sentence = f"{self._who()} cannot be started: {why}"
            raise ConfigError(f"{sentence}; {hint}" if hint else sentence) from error
        if done.returncode != 0:
            said = plain((done.stderr or b"").decode("utf-8", "replace")[-_LONGEST_COMPLAINT:])
            raise ConfigError(f"{self._who()} failed with exit code {done.returncode}{f': {said}' if said else ''}")
        match decoded(done.stdout):
            case {"kind": "ExecCredential", "apiVersion": answered, "status": dict(status)} if answered == version:
                return status
            case _:
                raise ConfigError(f"{self._who()} answers with no ExecCredential of {version}")

    def _who(self) -> str:
        return f'the plugin "{_exec_of(self.choice.user).get("command")}" by which {self.choice.user} logs in'

    def _question(self, version: str, *, may_ask: bool) -> str:
        spec: dict[str, Any] = {"interactive": may_ask}
        if _exec_of(self.choice.user).get("provideClusterInfo"):
            spec["cluster"] = _shown_cluster(self.choice.cluster)
        return json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})


def _exec_of(user: Entry) -> Mapping[str, Any]:
    found = user.fields.get("exec")
    return found if isinstance(found, dict) else {}


def _texts(found: object) -> list[str]:
    return [str(each) for each in found] if isinstance(found, list) else []


def _variables(fields: Mapping[str, Any]) -> dict[str, str]:
    found = fields.get("env")
    pairs = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return {str(each["name"]): str(each["value"]) for each in pairs if "name" in each and "value" in each}


def _shown_cluster(cluster: Entry) -> dict[str, Any]:
    """Return a cluster as plugins are told of it: they know no files, and `config` is what is meant for them."""
    names = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    shown = {name: cluster.fields[name] for name in names if name in cluster.fields}
    extensions = cluster.fields.get("extensions")
    for each in extensions if isinstance(extensions, list) else []:
        if isinstance(each, dict) and each.get("name") == "client.authentication.k8s.io/exec":
            shown["config"] = each.get("extension")
    return shown


def is_token(token: str) -> bool:
    """Say whether a header can carry it: what cannot is refused by the library in a sentence that quotes it."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _instant(found: object) -> datetime | None:
    if not isinstance(found, str):
        return None
    try:
        instant = datetime.fromisoformat(found)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
