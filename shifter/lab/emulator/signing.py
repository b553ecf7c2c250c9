"""Is this request really from the holder of the key? TC3-HMAC-SHA256, seen from the server's side.

Written from the published algorithm (product document 213/30654) and checked against its published vector, not
from the SDK: a shared mistake would cancel out. Action, version, region and timestamp travel in headers that
are *not* signed (the timestamp is bound in by the string to sign), so a tampered action passes here, as it does
at the real service; a tampered body, host, content type, date or timestamp does not.

Nothing here knows what an action is.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shifter.lab.emulator.envelope import ApiError

ALGORITHM = "TC3-HMAC-SHA256"
MAX_SKEW_SECONDS = 300
_UNSIGNED = "UNSIGNED-PAYLOAD"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<secret_id>[^/,\s]+)/(?P<date>\d{{4}}-\d{{2}}-\d{{2}})/(?P<service>\w+)/tc3_request, ?"
    r"SignedHeaders=(?P<signed_headers>[a-z0-9-]+(?:;[a-z0-9-]+)+), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The parts of a request that matter to a signature; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """One permanent key pair, and the only service it may call.

    `token` is the session token of a temporary pair; a request must carry exactly it, or none if it is empty.
    """

    secret_id: str
    secret_key: str
    service: str = "clb"
    token: str = ""


def verify(request: HttpRequest, keys: Keys, now: float) -> None:
    """Accept the request or say why not.

    Args:
        request: as received; the body is hashed byte for byte.
        keys: what the caller must hold.
        now: the server's clock, seconds since the epoch.

    Raises:
        ApiError: `MissingParameter`, or one of `AuthFailure.InvalidAuthorization`, `.SignatureExpire`,
            `.SecretIdNotFound`, `.TokenFailure`, `.SignatureFailure` (product document 1140/51177).
    """
    timestamp = _timestamp(request.headers)
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        raise ApiError("AuthFailure.InvalidAuthorization", "The Authorization header is not a TC3-HMAC-SHA256 one.")
    signed = match["signed_headers"].split(";")
    if not {"content-type", "host"} <= set(signed) or any(name not in request.headers for name in signed):
        raise ApiError("AuthFailure.InvalidAuthorization", "SignedHeaders must hold content-type and host.")
    if match["service"] != keys.service:
        raise ApiError("AuthFailure.InvalidAuthorization", f"The credential scope is not for {keys.service}.")
    if abs(now - timestamp) > MAX_SKEW_SECONDS:
        raise ApiError("AuthFailure.SignatureExpire", "The signature has expired; check the caller's clock.")
    if match["secret_id"] != keys.secret_id:
        raise ApiError("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
    if request.headers.get("x-tc-token", "") != keys.token:
        raise ApiError("AuthFailure.TokenFailure", "The token does not belong to this SecretId.")
    same_day = match["date"] == datetime.fromtimestamp(timestamp, tz=UTC).strftime("%Y-%m-%d")
    expected = sign(request, keys, timestamp, match["signed_headers"])
    if not (same_day and hmac.compare_digest(expected, match["signature"])):
        raise ApiError("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")


def sign(request: HttpRequest, keys: Keys, timestamp: int, signed_headers: str) -> str:
    """Return the hex signature this request should carry; `signed_headers` is `;`-separated."""
    unsigned = request.headers.get("x-tc-content-sha256") == _UNSIGNED
    payload = _UNSIGNED.encode() if unsigned else request.body
    canonical = "\n".join(
        [
            request.method,
            request.path,
            request.query,
            *(f"{name}:{request.headers[name].strip().lower()}" for name in signed_headers.split(";")),
            "",
            signed_headers,
            hashlib.sha256(payload).hexdigest(),
        ]
    )
    date = datetime.fromtimestamp(timestamp, tz=UTC).strftime("%Y-%m-%d")
    scope = f"{date}/{keys.service}/tc3_request"
    to_sign = "\n".join([ALGORITHM, str(timestamp), scope, _hash(canonical)])
    key = f"TC3{keys.secret_key}".encode()
    for part in (date, keys.service, "tc3_request"):
        key = _mac(key, part)
    return _mac(key, to_sign).hex()


def _timestamp(headers: Mapping[str, str]) -> int:
    text = headers.get("x-tc-timestamp", "")
    if not text:
        raise ApiError("MissingParameter", "The request is missing a required parameter `X-TC-Timestamp`.")
    # Eleven digits reach the year 5138; the calendar ends in 9999.
    if not re.fullmatch(r"\d{1,11}", text, re.ASCII):
        raise ApiError("InvalidParameterValue", "X-TC-Timestamp must be whole seconds since the epoch.")
    return int(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
