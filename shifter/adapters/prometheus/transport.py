"""One bounded connection to Prometheus, through prometheus-api-client, that refuses what must not be believed.

The library alone is not safe here: its own retries sleep as long as a Retry-After header asks, its session reads
.netrc and proxy variables, it follows redirects, reads bodies of any size, and `custom_query` drops `warnings`
(which say that the answer is partial) and the result type. So it is handed a session of ours without any of that,
with a response hook that sees the whole answer first. Only `custom_query` and `custom_query_range` are used: other
methods build PromQL from values without escaping.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import Response, Session
from requests.exceptions import SSLError
from urllib3 import Retry
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from shifter.adapters.outside import LONGEST_FOREIGN_TEXT, cause_of
from shifter.core.documents.fleet import Datasource
from shifter.core.text import plain
from shifter.errors import MetricsUnavailableError

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""A cluster of 500 namespaces with 5 gateway pods answers some 3 MiB; far beyond that the query has no aggregation."""

MAX_ANSWER_VALUES = 2_000_000
"""More lists, objects and commas than `MAX_ANSWER_BYTES` of real rows have. 32 MiB of empty lists would take 700 MB
and, parsed twice in one piece, keep every other thread waiting for seconds."""

_CHUNK_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 200
_OK = 200
_HINTS = {
    401: "; look at the fleet's bearerTokenFile",
    403: "; look at the fleet's bearerTokenFile",
    404: "; is the fleet's url that of a Prometheus?",
}
_LET_US_IN = "give it a token that this Prometheus accepts: bearerTokenFile"
_REMEDIES = {401: _LET_US_IN, 403: _LET_US_IN, 404: "write the address of a Prometheus: url"}
_ONE_WORD = "write one token into the file, readable for this user, or name another: bearerTokenFile"
_AUTHORITY = "name the authority of its certificate: caFile; or is it plain http? then mend url"


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of an instant vector: its labels, and a value that is finite."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Track:
    """One row of a range: its labels, and its points as they came, `[seconds, "value"]` each and not judged yet."""

    labels: Mapping[str, str]
    points: Sequence[Any]


class TooMuchError(MetricsUnavailableError):
    """There is an answer, but it is larger, or takes longer, than is waited for: less of it may well be had."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one query. `question` says which datasource was asked for what, for people."""

    question: str
    samples: tuple[Sample, ...] = ()

    def refusal(self, text: str, remedy: str = "") -> MetricsUnavailableError:
        """Return the error that says why this answer is not believed; `remedy` names keys of the datasource."""
        return MetricsUnavailableError(f"{self.question}: {text}", remedy=remedy)

    def too_much(self, text: str) -> TooMuchError:
        """Return the error that says that less should be asked at a time."""
        return TooMuchError(f"{self.question}: {text}")

    def sample(self, labels: Mapping[str, str], text: object) -> Sample:
        """Return a value of this answer, as Prometheus writes values.

        Raises:
            MetricsUnavailableError: it is no finite number.
        """
        value = _number(text) if isinstance(text, str) else math.nan
        if not math.isfinite(value):
            raise self.refusal(f"answered {_shown(str(text))} where a number must be, for {_shown(str(labels))}")
        return Sample(labels, value)


class Connection:
    """A connection for the queries of one read; not for several threads. Close it, or use it as a context manager.

    `where` is what people call the place it leads to.

    Args:
        datasource: where, and with which credentials; their files are read here, so that a rotated token works.
        name: what people call this datasource.
        clock: a monotonic clock, in seconds.

    Raises:
        MetricsUnavailableError: the token file cannot be read.
    """

    def __init__(self, datasource: Datasource, name: str, clock: Callable[[], float]) -> None:
        self.where = f"{name} metrics ({datasource.url})"
        self._clock = clock
        self._timeout_seconds = datasource.timeout.total_seconds()
        # All queries together get twice the timeout of one: a server that is late each time is not up.
        self._deadline = clock() + 2 * self._timeout_seconds
        self._answer = Answer(self.where)
        self._kind = "vector"
        self._answer_deadline = self._deadline
        session = Session()
        session.trust_env = False
        self._ca_file = datasource.ca_file
        session.verify = datasource.ca_file or True
        session.hooks["response"] = [self._inspect]
        if datasource.bearer_token_file is not None:
            session.headers["Authorization"] = f"Bearer {self._token(datasource.bearer_token_file)}"
        retry_nothing = Retry(0, read=False, redirect=0, respect_retry_after_header=False)
        self._connect = PrometheusConnect(url=datasource.url.rstrip("/"), retry=retry_nothing, session=session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connect.close()

    def ask(self, subject: str, query: str, at: datetime | None) -> Answer:
        """Return the instant vector of a query.

        Takes at most three times the datasource's timeout (connecting, first byte, rest), and all calls on one
        connection together at most four times; name resolution is the operating system's and not bounded here.

        Args:
            subject: what is asked, for people.
            query: PromQL.
            at: evaluation time; part of the query, so that the answer can be had again. None: Prometheus' own now.

        Raises:
            MetricsUnavailableError: no answer, an error, partial data, or not a vector of finite numbers.
        """

        def asking(params: dict[str, str], timeouts: tuple[float, float]) -> list[object]:
            when = {} if at is None else {"time": f"{at.timestamp():.3f}"}
            found: list[object] = self._connect.custom_query(query, params | when, timeout=timeouts)
            return found

        rows = self._rows(Answer(f"{self.where}, {subject}"), "vector", asking)
        return Answer(self._answer.question, tuple(self._sample(row) for row in rows))

    def ask_range(self, subject: str, query: str, within: tuple[float, float], step_seconds: float) -> list[Track]:
        """Return what the instant vector of a query was at the first instant and every step on, up to the last.

        Takes as long as `ask` at most. Prometheus refuses more than 11,000 instants.

        Args:
            subject: what is asked, for people.
            query: PromQL.
            within: first and last instant, seconds since the epoch, to the millisecond.
            step_seconds: above 0, to the millisecond.

        Raises:
            TooMuchError: the answer is too large or takes too long; ask for fewer instants.
            MetricsUnavailableError: no answer, an error, partial data, or no matrix. Values are not looked at.
        """
        first, last = (datetime.fromtimestamp(instant, UTC) for instant in within)

        def asking(params: dict[str, str], timeouts: tuple[float, float]) -> list[object]:
            # The library rounds both ends to whole seconds.
            exact = {"start": f"{within[0]:.3f}", "end": f"{within[1]:.3f}"}
            found: list[object] = self._connect.custom_query_range(
                query, first, last, f"{step_seconds:.3f}", params | exact, timeout=timeouts
            )
            return found

        return [self._track(row) for row in self._rows(Answer(f"{self.where}, {subject}, recorded"), "matrix", asking)]

    def _rows(
        self, answer: Answer, kind: str, asking: Callable[[dict[str, str], tuple[float, float]], list[object]]
    ) -> list[object]:
        """Ask within what is left of the time; `answer` says what is asked, for people."""
        self._answer, self._kind = answer, kind
        now = self._clock()
        left_seconds = min(self._timeout_seconds, self._deadline - now)
        if left_seconds <= 0:
            raise self._answer.too_much("no time left, the queries before it took too long")
        self._answer_deadline = now + left_seconds
        params = {"timeout": f"{max(1, round(left_seconds * 1000))}ms"}
        try:
            return asking(params, (left_seconds, left_seconds))
        except (OSError, HTTPError, PrometheusApiClientException) as error:  # requests' errors are OSErrors
            why = cause_of(error, left_seconds)
            text = why if why.startswith("no answer") else f"no answer ({why})"
            raise self._answer.refusal(text, _AUTHORITY if self._unproven(error) else "") from error

    def _unproven(self, error: Exception) -> bool:
        """Return whether it is the certificate: it is not believed, or the file of its authority is not there."""
        return isinstance(error, SSLError) or (self._ca_file is not None and not Path(self._ca_file).exists())

    def _token(self, path: str) -> str:
        try:
            token = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            text = f"cannot read the bearer token file {path} ({type(error).__name__})"
            raise self._answer.refusal(text, _ONE_WORD) from error
        if not token or not token.isprintable():
            text = f"the bearer token file {path} is empty or holds more than a token"
            raise self._answer.refusal(text, _ONE_WORD)
        return token

    def _inspect(self, response: Response, *_args: object, **_kwargs: object) -> None:
        """Judge the whole answer before the library sees it; an error raised here reaches the caller of `ask`."""
        response.raw = _BoundedBody(response.raw, self._check_body)
        try:
            self._judge(response)
        except Exception:
            response.close()  # a body left unread keeps its socket out of the session's hands
            raise

    def _judge(self, response: Response) -> None:
        if response.is_redirect or 300 <= response.status_code < 400:  # noqa: PLR2004 - the HTTP class
            to = _host(response.headers.get("Location", ""))
            raise self._answer.refusal(
                f"redirects{to} (HTTP {response.status_code}); write the final address in the fleet"
            )
        if _values(response.content) > MAX_ANSWER_VALUES:
            raise self._answer.too_much(f"answered more than {MAX_ANSWER_VALUES} values")
        envelope = _json_object(response.content)
        if response.status_code != _OK:
            said = _shown(str(envelope.get("error"))) if envelope else _foreign(response)
            text = f"answered HTTP {response.status_code}: {said}{_HINTS.get(response.status_code, '')}"
            if envelope and _is_too_much(envelope):
                raise self._answer.too_much(text)
            raise self._answer.refusal(text, _REMEDIES.get(response.status_code, ""))
        if envelope is None:
            raise self._answer.refusal(f"answered no JSON; is that a Prometheus? It begins: {_foreign(response)}")
        complaint = _complaint(envelope, self._kind)
        if complaint:
            raise self._answer.refusal(complaint)

    def _check_body(self, length: int) -> None:
        if length > MAX_ANSWER_BYTES:
            raise self._answer.too_much(f"answered more than {MAX_ANSWER_BYTES // 1024**2} MiB")
        if self._clock() > self._answer_deadline:
            raise self._answer.too_much("was still answering when the time was up")

    def _sample(self, row: object) -> Sample:
        match row:
            case {"metric": dict(labels), "value": [_, str(text)]} if _are_texts(labels):
                return self._answer.sample(labels, text)
            case _:
                raise self._answer.refusal(f"answered a row that is no sample: {_shown(str(row))}")

    def _track(self, row: object) -> Track:
        match row:
            case {"metric": dict(labels), "values": list(points)} if _are_texts(labels):
                return Track(labels, points)
            case _:
                raise self._answer.refusal(f"answered a row that is no range: {_shown(str(row))}")


def _are_texts(labels: Mapping[Any, Any]) -> bool:
    return all(isinstance(each, str) for each in labels.values())


class _BoundedBody:
    """What requests reads a body from: hands on what has arrived and checks after each piece.

    urllib3's own `stream` waits until a piece is full, so that a server sending a byte now and then is never late.
    """

    def __init__(self, raw: BaseHTTPResponse, check: Callable[[int], None]) -> None:
        self._raw = raw
        self._check = check

    def stream(self, _amount: int, *, decode_content: bool) -> Iterator[bytes]:
        length = 0
        while piece := self._raw.read1(_CHUNK_BYTES, decode_content=decode_content):
            length += len(piece)
            self._check(length)
            yield piece

    def close(self) -> None:
        self._raw.close()

    def release_conn(self) -> None:
        self._raw.release_conn()


def _host(location: str) -> str:
    """Return where a redirect leads, for people: no path and no query, which may hold somebody's secret."""
    try:
        parts = urlsplit(location)
        host = parts.hostname
    except ValueError:
        return ""
    return f" to {plain(f'{parts.scheme}://{host}', LONGEST_FOREIGN_TEXT)}" if host else ""


def _values(body: bytes) -> int:
    """Return how many values a JSON text has at most."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return envelope if isinstance(envelope, dict) else None


def _is_too_much(envelope: Mapping[str, Any]) -> bool:
    """Say whether an error of Prometheus means that the query asked for more than it may."""
    said = str(envelope.get("error"))
    return envelope.get("errorType") == "timeout" or "too many samples" in said or "maximum resolution" in said


def _complaint(envelope: Mapping[str, Any], wanted: str) -> str:
    """Return what is wrong with an answer of Prometheus' API (v1) to a query; empty if nothing is.

    Args:
        envelope: the answer.
        wanted: the result type that was asked for, `vector` or `matrix`.
    """
    if envelope.get("status") != "success":
        return f"answered the error {_shown(str(envelope.get('error')))}"
    for kind in ("warnings", "infos"):
        if envelope.get(kind):
            return f"may be partial, it came with {kind}: {_shown(str(envelope[kind]))}"
    match envelope.get("data"):
        case {"resultType": kind, "result": list()} if kind == wanted:
            return ""
        case {"resultType": kind}:
            return f"answered a {_shown(str(kind))} where a {wanted} must be"
        case _:
            return "answered without any result"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _foreign(response: Response) -> str:
    """Return the beginning of a body that is no answer of Prometheus, such as a proxy's page."""
    return plain(response.text[: 2 * LONGEST_FOREIGN_TEXT], LONGEST_FOREIGN_TEXT)


def _shown(text: str) -> str:
    """Return a foreign text for people: one short line."""
    return plain(text[: 2 * _SHOWN_CHARACTERS], _SHOWN_CHARACTERS)
