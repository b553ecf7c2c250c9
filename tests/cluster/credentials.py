"""What the control plane's parts and its people prove themselves with: certificates, keys and tokens, made per run.

By the `openssl` program, so that no test needs a library for it. Everything is worth nothing outside the run's own
folder and this machine.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPENSSL_TIMEOUT_SECONDS: Final = 30
ISSUER: Final = "https://kubernetes.default.svc"
CLOCK_SKEW_SECONDS: Final = 60
"""An API server takes a token for this long after it expired, because clocks differ."""

PEOPLE: Final[Mapping[str, Sequence[str]]] = {
    "root": ("system:masters",),
    "ann": ("shifter-operators",),
    "vic": ("shifter-viewers",),
    "adm": ("shifter-admins",),
    "eve": (),
}
"""Who there is, and in which groups. Only `root` may do anything before somebody binds a role."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files, and each person's token by name."""

    authority: Path
    certificate: Path
    key: Path
    account_key: Path
    people_file: Path
    tokens: Mapping[str, str]


def make_credentials(folder: Path) -> Credentials:
    """Make an authority, the API server's certificate for 127.0.0.1, the key of service accounts, and the people.

    Raises:
        subprocess.SubprocessError: openssl refuses.
        OSError: there is no openssl.
    """
    folder.mkdir(parents=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    authority, authority_key = folder / "ca.crt", folder / "ca.key"
    usage = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", "-x509", *curve, "-subj", "/CN=shifter-tests", "-keyout", authority_key, "-out", authority, *usage)
    certificate, key = folder / "apiserver.crt", folder / "apiserver.key"
    names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE")
    use = ("-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=serverAuth")
    signed = ("-CA", authority, "-CAkey", authority_key)
    subject = ("-subj", "/CN=kube-apiserver")
    _openssl("req", "-x509", *signed, *curve, *subject, "-keyout", key, "-out", certificate, *names, *use)
    account_key = folder / "accounts.key"
    _openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", account_key)
    tokens = {name: secrets.token_hex(16) for name in PEOPLE}
    people_file = folder / "people.csv"
    rows = (f'{tokens[name]},{name},{name},"{",".join(groups)}"' for name, groups in PEOPLE.items())
    people_file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Credentials(authority, certificate, key, account_key, people_file, tokens)


def account_token(
    credentials: Credentials, namespace: str, account: str, uid: str, *, now: float, seconds: float
) -> str:
    """Sign a token for a service account as the API server would.

    The server itself makes none that lives for less than ten minutes.

    Args:
        credentials: whose key signs.
        namespace: where the account is.
        account: its name.
        uid: its uid; the server compares it.
        now: the time, seconds since 1970.
        seconds: for how long from then on the server takes it; negative: it has expired. The server remembers a token
            that it took for ten seconds.
    """
    until = now + seconds - CLOCK_SKEW_SECONDS
    claims = {
        "aud": [ISSUER],
        "exp": until,
        "iat": min(now, until) - CLOCK_SKEW_SECONDS,
        "iss": ISSUER,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}},
        "nbf": min(now, until) - CLOCK_SKEW_SECONDS,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }
    signed = f"{_encode({'alg': 'RS256', 'typ': 'JWT'})}.{_encode(claims)}"
    signature = _openssl("dgst", "-sha256", "-sign", credentials.account_key, said=signed.encode())
    return f"{signed}.{_base64(signature)}"


def _encode(part: Mapping[str, object]) -> str:
    return _base64(json.dumps(part).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _openssl(*words: str | Path, said: bytes = b"") -> bytes:
    argv = ["openssl", *map(str, words)]
    done = subprocess.run(argv, input=said, capture_output=True, timeout=OPENSSL_TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        raise subprocess.SubprocessError(f"openssl {words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
