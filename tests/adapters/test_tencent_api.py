"""One call to the API: what its failures mean, how it is paced, and what it never gives away.

The other side is a small server that answers with whatever bytes a test wants, also with what no API would say.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shifter.adapters.outside import MOST_LEFT_BEHIND
from shifter.adapters.tencent.api import ClbApi
from shifter.core.documents.fleet import Tencent
from shifter.errors import AmbiguousWriteError, ProviderRefusedError, ProviderUnavailableError, ShifterError

REGION = "ap-guangzhou"
SECRETS = ("AKIDcanaryId1234", "canaryKey5678", "canaryToken9012")
FILES = {"secretId": "id", "secretKey": "key", "token": "token"}
JSON = "application/json"


@dataclass
class Wire:
    """A server on 127.0.0.1 that remembers requests and answers all of them the same way."""

    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    location: str = ""
    hangs: threading.Event | None = None
    hangs_up: bool = False
    drips: threading.Event | None = None
    requests: list[tuple[Mapping[str, str], Any]] = field(default_factory=list)
    port: int = 0

    def says(self, response: object, content_type: str = JSON) -> None:
        self.body, self.content_type = json.dumps({"Response": response}).encode(), content_type

    def refuses(self, code: str, message: str = "No.", content_type: str = JSON) -> None:
        self.says({"Error": {"Code": code, "Message": message}, "RequestId": "r-1"}, content_type)


def handler_of(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            wire.requests.append((dict(self.headers), json.loads(body)))
            if wire.hangs is not None:
                wire.hangs.wait(10)
            if wire.hangs is not None or wire.hangs_up:
                self.close_connection = True
                return
            if wire.drips is not None:
                self.drip(wire.drips)
                return
            self.send_response(wire.status)
            self.send_header("Content-Type", wire.content_type)
            self.send_header("Content-Length", str(len(wire.body)))
            if wire.location:
                self.send_header("Location", wire.location)
            self.end_headers()
            self.wfile.write(wire.body)

        def drip(self, until: threading.Event) -> None:
            self.close_connection = True
            self.send_response(200)
            self.flush_headers()
            with suppress(OSError):
                while not until.wait(0.05):
                    self.wfile.write(b"X: y\r\n")

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    wire.says({"RequestId": "r-1"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(wire))
    wire.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield wire
    for event in (wire.hangs, wire.drips):
        if event is not None:
            event.set()
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Keys:
    """The credential files."""

    folder: Path

    def __post_init__(self) -> None:
        self.write(*SECRETS)

    @property
    def settings(self) -> dict[str, str]:
        return {f"{name}File": str(self.folder / file) for name, file in FILES.items()}

    def write(self, id_: str, key: str, token: str) -> None:
        for name, text in (("id", id_), ("key", key), ("token", token)):
            fresh = self.folder / f"{name}.new"
            fresh.write_text(text + "\n")
            fresh.rename(self.folder / name)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


Connect = Callable[..., ClbApi]


@pytest.fixture
def connect(keys: Keys) -> Connect:
    """Return a function that makes an API client for a port on 127.0.0.1."""

    def connected(port: int, timeout_ms: int = 2000, **clock: Callable[..., float]) -> ClbApi:
        where = {"endpoint": f"127.0.0.1:{port}", "scheme": "http", "timeout": f"{timeout_ms}ms"}
        return ClbApi(Tencent.model_validate(keys.settings | where), **clock)  # type: ignore[arg-type]

    return connected


def read(api: ClbApi) -> Mapping[str, Any]:
    return api.read(REGION, "DescribeTargets", {"LoadBalancerId": "lb-1"}, ["Listeners"])


def write(api: ClbApi) -> Mapping[str, Any]:
    return api.write(REGION, "BatchModifyTargetWeight", {"LoadBalancerId": "lb-1"}, ["RequestId"])


def failure_of(call: Callable[[ClbApi], object], api: ClbApi) -> ShifterError:
    with pytest.raises(ShifterError) as caught:
        call(api)
    return caught.value


# --- answers that say no ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8"])
@pytest.mark.parametrize(
    ("code", "on_read", "on_write"),
    [
        ("FailedOperation.ResourceInOperating", ProviderUnavailableError, ProviderUnavailableError),
        ("RequestLimitExceeded", ProviderUnavailableError, ProviderUnavailableError),
        ("InternalError", ProviderUnavailableError, AmbiguousWriteError),
        ("NeverSeen.Before", ProviderUnavailableError, AmbiguousWriteError),
        ("AuthFailure.SignatureFailure", ProviderRefusedError, ProviderRefusedError),
        ("InvalidParameterValue.Range", ProviderRefusedError, ProviderRefusedError),
    ],
)
def test_a_refusal_is_told_apart_whatever_its_content_type(
    wire: Wire,
    connect: Connect,
    content_type: str,
    code: str,
    on_read: type[ShifterError],
    on_write: type[ShifterError],
) -> None:
    wire.refuses(code, "Please try later.", content_type)
    api = connect(wire.port)

    assert type(failure_of(read, api)) is on_read
    assert type(failure_of(write, api)) is on_write
    assert str(failure_of(write, api)) == f"BatchModifyTargetWeight: {code}: Please try later. (request r-1)"


def test_nothing_is_ever_tried_again(wire: Wire, connect: Connect) -> None:
    wire.refuses("RequestLimitExceeded")
    failure_of(write, connect(wire.port))

    assert len(wire.requests) == 1


# --- answers that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, JSON, b""),
        (200, JSON, b"not json"),
        (200, JSON, b"[]"),
        (200, JSON, b"{}"),
        (200, JSON, b'{"Response": null}'),
        (200, JSON, b'{"Response": {}}'),
        (200, JSON, b'{"Response": {"RequestId": null, "Listeners": null}}'),
        (200, JSON, b'{"Response": {"Error": {"Code": "InternalError", "Message": "no id"}}}'),
        (200, "text/html", b'{"Response": {"Error": null}}'),
        (200, "text/html", b"<html>captive portal</html>"),
        (200, "text/html", b'"Response"'),
        (502, "text/html", b"<html>bad gateway</html>"),
        (429, JSON, b'{"Response": {"RequestId": "r-1", "Listeners": []}}'),
    ],
)
def test_an_answer_that_is_none_leaves_a_write_open_and_a_read_unanswered(
    wire: Wire, connect: Connect, status: int, content_type: str, body: bytes
) -> None:
    wire.status, wire.content_type, wire.body = status, content_type, body
    api = connect(wire.port)

    assert type(failure_of(read, api)) is ProviderUnavailableError
    assert type(failure_of(write, api)) is AmbiguousWriteError


def test_fields_nobody_knows_and_lists_that_are_null_do_no_harm(wire: Wire, connect: Connect) -> None:
    wire.says({"RequestId": "r-1", "Listeners": [{"Rules": None, "Brand": {"New": 1}}], "AlsoNew": 2})

    assert read(connect(wire.port))["Listeners"] == [{"Rules": None, "Brand": {"New": 1}}]


def test_a_long_page_of_html_is_cut_to_one_short_line(wire: Wire, connect: Connect) -> None:
    wire.status, wire.body = 502, b"<p>\n" * 10_000

    said = str(failure_of(write, connect(wire.port)))

    assert said.startswith("BatchModifyTargetWeight: ServerNetworkError: <p> <p>")
    assert len(said) <= len("BatchModifyTargetWeight: ServerNetworkError: ") + 120
    assert said.isprintable()


# --- the network ------------------------------------------------------------------------------------------------


def test_a_refused_connection_means_that_nothing_was_sent(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound but not listening: connecting to it is refused.
        api = connect(taken.getsockname()[1])

        assert type(failure_of(write, api)) is ProviderUnavailableError
        assert type(failure_of(read, api)) is ProviderUnavailableError
        said = f"DescribeTargets: cannot connect to 127.0.0.1:{taken.getsockname()[1]}: connection refused"
        assert str(failure_of(read, api)) == said


def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(keys: Keys) -> None:
    settings = keys.settings | {"endpoint": "clb.invalid", "timeout": "2s"}
    failure = failure_of(write, ClbApi(Tencent.model_validate(settings)))

    assert type(failure) is ProviderUnavailableError
    assert re.fullmatch(r"BatchModifyTargetWeight: cannot connect to clb.invalid: [a-z ]*name[a-z ]*", str(failure))


def test_a_write_that_nobody_answers_is_ambiguous_and_bounded_in_time(wire: Wire, connect: Connect) -> None:
    wire.hangs = threading.Event()
    began = time.monotonic()
    failure = failure_of(write, connect(wire.port, timeout_ms=300))

    assert type(failure) is AmbiguousWriteError
    assert str(failure) == f"BatchModifyTargetWeight: 127.0.0.1:{wire.port}: no answer within 0.3 s"
    assert time.monotonic() - began < 3
    assert len(wire.requests) == 1


def test_a_write_that_had_to_wait_its_turn_still_ends_in_three_timeouts(wire: Wire, connect: Connect) -> None:
    api = connect(wire.port, timeout_ms=300, monotonic=lambda: 0.0, sleep=lambda _: None)
    for _ in range(12):
        write(api)
    wire.drips = threading.Event()

    assert str(failure_of(write, api)) == "BatchModifyTargetWeight: no whole answer within 0.6 s"


def test_a_read_waits_longer_for_its_turn_than_a_write(wire: Wire, connect: Connect) -> None:
    wire.says({"RequestId": "r-1", "Listeners": []})
    api = connect(wire.port, timeout_ms=300, monotonic=lambda: 0.0, sleep=lambda _: None)
    for _ in range(13):
        write(api)
    said = str(failure_of(write, api))
    for _ in range(70):
        read(api)

    assert said == "more than 10 calls per second are waiting; this one would wait 0.4 s"
    assert str(failure_of(read, api)).endswith("this one would wait 6.1 s")


def test_a_call_whose_answer_drips_is_given_up_as_a_whole(wire: Wire, connect: Connect) -> None:
    wire.drips = threading.Event()
    api = connect(wire.port, timeout_ms=200)
    began = time.monotonic()

    assert type(failure_of(write, api)) is AmbiguousWriteError
    assert type(failure_of(read, api)) is ProviderUnavailableError
    assert str(failure_of(read, api)) == "DescribeTargets: no whole answer within 0.6 s"
    assert time.monotonic() - began < 3


def test_when_a_lane_left_too_many_reads_behind_the_next_is_not_made_and_a_write_is(
    wire: Wire, connect: Connect
) -> None:
    wire.drips = threading.Event()
    api = connect(wire.port, timeout_ms=100)
    for _ in range(MOST_LEFT_BEHIND):
        assert str(failure_of(read, api)) == "DescribeTargets: no whole answer within 0.3 s"
    sent = len(wire.requests)
    failure = failure_of(read, api)

    assert type(failure) is ProviderUnavailableError
    assert str(failure) == f"DescribeTargets: {MOST_LEFT_BEHIND} earlier calls have still not ended"
    assert len(wire.requests) == sent
    assert type(failure_of(write, api)) is AmbiguousWriteError
    with ThreadPoolExecutor(1) as another_lane:
        said = another_lane.submit(failure_of, read, api).result()
    assert str(said) == "DescribeTargets: no whole answer within 0.3 s"


def test_a_connection_that_breaks_after_the_request_leaves_a_write_open(wire: Wire, connect: Connect) -> None:
    wire.hangs_up = True
    api = connect(wire.port)

    assert type(failure_of(write, api)) is AmbiguousWriteError
    assert type(failure_of(read, api)) is ProviderUnavailableError


def test_a_signed_request_is_not_redirected(wire: Wire, connect: Connect) -> None:
    wire.status, wire.location = 307, f"http://127.0.0.1:{wire.port}/elsewhere"

    assert type(failure_of(write, connect(wire.port))) is AmbiguousWriteError
    assert len(wire.requests) == 1


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxies_of_the_environment_are_ignored(
    wire: Wire, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert write(connect(wire.port)) == {"RequestId": "r-1"}


def test_a_request_is_signed_for_its_region_and_asks_for_english(wire: Wire, connect: Connect) -> None:
    write(connect(wire.port))
    headers, body = wire.requests[0]

    assert body == {"LoadBalancerId": "lb-1"}
    assert headers["X-TC-Action"] == "BatchModifyTargetWeight"
    assert headers["X-TC-Region"] == REGION
    assert headers["X-TC-Language"] == "en-US"
    assert headers["X-TC-Token"] == SECRETS[2]
    assert f"Credential={SECRETS[0]}/" in headers["Authorization"]


def test_one_client_serves_several_threads(wire: Wire, connect: Connect) -> None:
    api = connect(wire.port)
    threads = [threading.Thread(target=write, args=(api,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(wire.requests) == 8


# --- secrets ----------------------------------------------------------------------------------------------------


def test_changed_credential_files_are_used_for_the_next_call(wire: Wire, connect: Connect, keys: Keys) -> None:
    api = connect(wire.port)
    write(api)
    keys.write("AKIDsecondPair", "secondKey", "secondToken")
    write(api)

    first, second = (headers["Authorization"] for headers, _ in wire.requests)
    assert f"Credential={SECRETS[0]}/" in first
    assert "Credential=AKIDsecondPair/" in second
    assert wire.requests[1][0]["X-TC-Token"] == "secondToken"


def test_without_credentials_nothing_is_sent(wire: Wire, connect: Connect, keys: Keys) -> None:
    (keys.folder / "key").unlink()

    assert type(failure_of(write, connect(wire.port))) is ProviderRefusedError
    assert wire.requests == []


@pytest.mark.parametrize("content_type", [JSON, "text/html"])
@pytest.mark.parametrize("status", [200, 502])
def test_no_secret_leaves_by_error_text_or_log(
    wire: Wire, connect: Connect, caplog: pytest.LogCaptureFixture, status: int, content_type: str
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("tencentcloud_sdk_common").setLevel(logging.DEBUG)
    wire.refuses("AuthFailure.SecretIdNotFound", f"unknown {' '.join(SECRETS)}", content_type)
    wire.status = status
    api = connect(wire.port)

    for call in (read, write):
        told = "".join(traceback.format_exception(failure_of(call, api)))
        assert "***" in told
        assert [secret for secret in SECRETS if secret in told] == []
    assert [secret for secret in SECRETS if secret in caplog.text] == []
    assert [secret for secret in SECRETS if secret in repr(vars(api))] == []


# --- pace -------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_a_burst_passes_at_once_and_the_rest_is_spread(wire: Wire, connect: Connect) -> None:
    clock = Clock()
    api = connect(wire.port, monotonic=clock.monotonic, sleep=clock.sleep)
    for _ in range(10):
        write(api)
    assert clock.now == 100.0
    write(api)

    assert clock.now == pytest.approx(100.1)


def test_each_action_has_a_pace_of_its_own(wire: Wire, connect: Connect) -> None:
    wire.says({"RequestId": "r-1", "Listeners": []})
    clock = Clock()
    api = connect(wire.port, monotonic=clock.monotonic, sleep=clock.sleep)
    for _ in range(10):
        write(api)
        read(api)

    assert clock.now == 100.0
