"""What an API server's answer means, or that none came: an object, or a `KubeError` that says in which way it failed.

Reads and writes fail differently. A read that got no answer is as if it had never been made; a write may have been
carried out unless something says that it was not. What says so is a short list: the connection was never made, the
server's certificate was not believed, HTTP 429 (turned away at the door), and every other 4xx. No 5xx is in it: etcd
answers late with 500 what it has committed, and 503 and 504 are also what a balancer says in whose hands the connection
to the server broke. To look and see costs one read; to repeat what was done may cost a climb.

Sources: "HTTP verbs" and "Error occurrence" of the Kubernetes API conventions; kube-apiserver 1.34.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from urllib3 import exceptions as http

from shifter.adapters.outside import LONGEST_FOREIGN_TEXT, CrowdedError, OverdueError, cause_of
from shifter.core.text import LONGEST, plain
from shifter.ports.kube import Body, Failing, KubeError

_BY_STATUS: Final = {
    HTTPStatus.UNAUTHORIZED: Failing.DENIED,
    HTTPStatus.FORBIDDEN: Failing.DENIED,
    HTTPStatus.NOT_FOUND: Failing.MISSING,
    HTTPStatus.CONFLICT: Failing.CONFLICT,
    HTTPStatus.GONE: Failing.EXPIRED,
    HTTPStatus.TOO_MANY_REQUESTS: Failing.UNAVAILABLE,
}
_BY_REASON: Final = {"AlreadyExists": Failing.EXISTS, "Expired": Failing.EXPIRED, "Gone": Failing.EXPIRED}

_PLACE_IN_C: Final = re.compile(r" \(_ssl\.c:\d+\)$")

# Raised before the first byte of a request is sent. A TLS failure other than a disbelieved certificate is not among
# them: with TLS 1.3 a server refuses *our* certificate after it has the request.
_UNSENT: Final = (
    http.NewConnectionError,
    http.ConnectTimeoutError,
    http.ProxyError,
    http.ClosedPoolError,
    http.LocationValueError,
    ssl.SSLCertVerificationError,
)


def decoded(body: bytes) -> Body | None:
    """Return the JSON object of a body; None if it is none."""
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):  # JSON's and Unicode's errors are ValueErrors
        return None
    return found if isinstance(found, dict) else None


def _no_number(name: str) -> float:
    raise ValueError(name)


def refusal(status: int, body: bytes, *, writes: bool) -> KubeError:
    """Return what an HTTP answer other than success means.

    Args:
        status: the HTTP status.
        body: whatever came with it; a Kubernetes `Status`, or a proxy's page.
        writes: whether the request could change something.
    """
    said = decoded(body)
    if said is None or said.get("kind") != "Status":
        begins = plain(body[: 2 * LONGEST_FOREIGN_TEXT].decode("utf-8", "replace"), LONGEST_FOREIGN_TEXT)
        return KubeError(
            _failing(status, "", writes=writes),
            f"HTTP {status}: {begins}" if begins else f"HTTP {status}",
            status=status,
        )
    return from_status(said, writes=writes, status=status)


def from_status(said: Mapping[str, Any], *, writes: bool, status: int = 0) -> KubeError:
    """Return what a Kubernetes `Status` means; without `status` its own code counts, as in a watch's ERROR."""
    code = said.get("code")
    status = status or (code if isinstance(code, int) else 0)
    reason = plain(str(said.get("reason") or ""), LONGEST_FOREIGN_TEXT)
    message = plain(str(said.get("message") or "")[: 2 * LONGEST], LONGEST)
    text = message or " ".join(word for word in (f"HTTP {status}" if status else "a failure", reason) if word)
    return KubeError(_failing(status, reason, writes=writes), text, status=status, reason=reason)


def _failing(status: int, reason: str, *, writes: bool) -> Failing:
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if status in _BY_STATUS:
        return _BY_STATUS[HTTPStatus(status)]
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR or not status:
        return Failing.AMBIGUOUS if writes else Failing.UNAVAILABLE
    if status >= HTTPStatus.BAD_REQUEST:
        return Failing.INVALID
    return Failing.AMBIGUOUS if writes else Failing.UNDECODABLE  # a redirect: nobody that we asked answered


def silence(error: Exception, server: str, seconds: float, *, writes: bool) -> KubeError:
    """Return what it means that no whole answer came.

    Args:
        error: what the library, the operating system or a bound of ours raised.
        server: who was asked, for people.
        seconds: how long was waited, for people.
        writes: whether the request could change something.
    """
    unsent = isinstance(error, CrowdedError) or any(isinstance(each, _UNSENT) for each in _chain(error))
    failing = Failing.AMBIGUOUS if writes and not unsent else Failing.UNAVAILABLE
    return KubeError(failing, f"the API server {server} does not answer ({_why(error, seconds)})")


def _why(error: Exception, seconds: float) -> str:
    """Say why: never in the words of an error that may quote a header, for one of them is the token."""
    if isinstance(error, CrowdedError | OverdueError):
        return str(error)
    *outer, innermost = _chain(error)
    if any(isinstance(each, http.ProtocolError | EOFError) for each in (*outer, innermost)):
        return "the connection broke"
    if isinstance(innermost, ssl.SSLError):  # in its own letters: people look for CERTIFICATE_VERIFY_FAILED
        return plain(_PLACE_IN_C.sub("", innermost.strerror or str(innermost)), LONGEST_FOREIGN_TEXT)
    if isinstance(innermost, TimeoutError) and (_was_connecting(outer) or "handshake" in str(innermost)):
        return "no connection in time"  # which has a bound of its own, shorter than the one for answers
    return cause_of(error, seconds) if isinstance(innermost, OSError | http.HTTPError) else type(innermost).__name__


def _was_connecting(chain: Iterable[BaseException]) -> bool:
    return any(isinstance(each, http.ConnectTimeoutError) for each in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def undecodable(what: str, *, writes: bool) -> KubeError:
    """Return what it means that an answer of success is none: a write may well have been carried out."""
    return KubeError(
        Failing.AMBIGUOUS if writes else Failing.UNDECODABLE, f"the API server's answer is no {what}", status=200
    )
