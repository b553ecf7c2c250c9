"""Between shifter and an API server, on the wire: one request per call, in time, and never a wrong guess."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from kubernetes.client import Configuration

from shifter.adapters.kube.client import Bounds, KubeClient
from shifter.adapters.kube.kinds import SHIFTS
from shifter.errors import ConfigError
from shifter.ports.kube import LEASES, SELF_REVIEWS, Change, Failing, KubeError
from tests.adapters.apiserver import FakeApiServer, running
from tests.http import Reply, send

PATH = "/apis/shifter.io/v1alpha1/namespaces/ns/shifts"
SHIFT = {
    "apiVersion": "shifter.io/v1alpha1",
    "kind": "Shift",
    "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7", "uid": "u"},
    "spec": {"steps": ["1%"], "nothing": None},
}
SHORT = Bounds(connect_seconds=0.2, answer_seconds=0.3)
WHOLE_SECONDS = SHORT.connect_seconds + SHORT.answer_seconds
TOKEN = "secret-token"


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with running() as fake:
        yield fake


@pytest.fixture
def connect(server: FakeApiServer) -> Iterator[Callable[..., KubeClient]]:
    clients: list[KubeClient] = []

    def to(url: str = "", **options: Any) -> KubeClient:  # noqa: ANN401 - whatever the client takes
        configuration = Configuration(host=url or server.url)
        configuration.proxy = None
        usual: dict[str, Any] = {"bounds": SHORT, "authorization": lambda: f"Bearer {TOKEN}"}
        clients.append(KubeClient(configuration, **usual | options))
        return clients[-1]

    yield to
    for each in clients:
        each.close()


@pytest.fixture
def api(connect: Callable[..., KubeClient]) -> KubeClient:
    return connect()


def status_of(code: int, reason: str, message: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


READS: dict[str, Callable[[KubeClient], object]] = {
    "get": lambda api: api.get(SHIFTS, "ns", "a"),
    "list": lambda api: api.list(SHIFTS, "ns"),
    "watch": lambda api: list(api.watch(SHIFTS, "ns", "7", seconds=5)),
    "review": lambda api: api.create(SELF_REVIEWS, "", {"kind": "SelfSubjectReview"}),
}
WRITES: dict[str, Callable[[KubeClient], object]] = {
    "create": lambda api: api.create(SHIFTS, "ns", SHIFT),
    "replace": lambda api: api.replace(SHIFTS, "ns", SHIFT),
    "replace status": lambda api: api.replace(SHIFTS, "ns", SHIFT, status=True),
    "delete": lambda api: api.delete(SHIFTS, "ns", "a"),
}
CALLS = READS | WRITES
every_call = pytest.mark.parametrize("call", CALLS)


def failure(api: KubeClient, call: str) -> KubeError:
    with pytest.raises(KubeError) as caught:
        CALLS[call](api)
    assert "\n" not in str(caught.value)
    assert TOKEN not in "".join(map(repr, chain(caught.value)))
    return caught.value


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


# --- what is asked


def test_each_verb_is_one_request_to_the_right_place(server: FakeApiServer, api: KubeClient) -> None:
    server.answer(200, SHIFT)
    api.get(SHIFTS, "ns", "a")
    api.create(SHIFTS, "ns", SHIFT)
    api.replace(SHIFTS, "ns", SHIFT)
    api.replace(SHIFTS, "ns", SHIFT, status=True)
    api.delete(SHIFTS, "ns", "a", uid="u")

    assert [(each.method, each.path) for each in server.asked] == [
        ("GET", f"{PATH}/a"),
        ("POST", PATH),
        ("PUT", f"{PATH}/a"),
        ("PUT", f"{PATH}/a/status"),
        ("DELETE", f"{PATH}/a"),
    ]
    assert [each.body for each in server.asked[:4]] == [None, SHIFT, SHIFT, SHIFT]
    assert server.asked[4].body["preconditions"] == {"uid": "u"}
    assert {each.headers["Authorization"] for each in server.asked} == {f"Bearer {TOKEN}"}
    assert {each.headers["Content-Type"] for each in server.asked[1:]} == {"application/json"}
    assert server.asked[0].headers["User-Agent"].startswith("shifter/")


def test_without_another_authorization_the_configurations_own_is_shown(server: FakeApiServer) -> None:
    server.answer(200, SHIFT)
    api = KubeClient(Configuration(host=server.url, api_key={"authorization": "Bearer own"}))
    api.get(SHIFTS, "ns", "a")
    api.close()

    assert server.asked[0].headers.get_all("Authorization") == ["Bearer own"]


def test_one_connection_serves_calls_one_after_another(server: FakeApiServer, api: KubeClient) -> None:
    server.answer(200, SHIFT)
    for _ in range(5):
        api.get(SHIFTS, "ns", "a")

    assert server.connections == 1


def test_calls_from_many_threads_get_their_own_answers(server: FakeApiServer, api: KubeClient) -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rsplit("/", 1)[1]
        send(handler, 200, json.dumps(SHIFT | {"metadata": {"name": name}}).encode())

    server.reply = echo
    wrong: list[str] = []

    def ask(name: str) -> None:
        for _ in range(20):
            found = api.get(SHIFTS, "ns", name)["metadata"]["name"]
            wrong.extend([] if found == name else [found])

    threads = [threading.Thread(target=ask, args=(f"shift-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.asked) == 160
    assert wrong == []


def test_review_of_oneself_is_asked_outside_namespaces(server: FakeApiServer, api: KubeClient) -> None:
    server.answer(201, {"kind": "SelfSubjectReview", "metadata": {}, "status": {"userInfo": {"username": "ann"}}})

    assert api.create(SELF_REVIEWS, "ns", {"kind": "SelfSubjectReview"})["status"]["userInfo"]["username"] == "ann"
    assert server.asked[0].path == "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def test_somebody_else_is_impersonated_in_every_request(
    server: FakeApiServer, connect: Callable[..., KubeClient]
) -> None:
    api = connect(impersonate="system:serviceaccount:a:b")
    server.answer(200, SHIFT)
    api.get(SHIFTS, "ns", "a")
    api.replace(SHIFTS, "ns", SHIFT)

    assert {each.headers["Impersonate-User"] for each in server.asked} == {"system:serviceaccount:a:b"}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
def test_name_that_addresses_something_else_is_refused_before_anything_is_asked(
    server: FakeApiServer, api: KubeClient, name: str
) -> None:
    for call in (
        lambda: api.delete(SHIFTS, "ns", name),
        lambda: api.get(SHIFTS, name, "a"),
        lambda: api.replace(SHIFTS, "ns", {"metadata": {"name": name}}),
    ):
        with pytest.raises(KubeError, match="cannot be the name of an object") as caught:
            call()
        assert caught.value.failing is Failing.INVALID

    assert server.asked == []


# --- lists


def test_list_is_read_page_by_page(server: FakeApiServer, api: KubeClient) -> None:
    pages = {
        "": {"metadata": {"resourceVersion": "40", "continue": "x/ y"}, "items": [{"metadata": {"name": "a"}}]},
        "x/ y": {"metadata": {"resourceVersion": "40", "continue": "z"}, "items": None},
        "z": {"metadata": {"resourceVersion": "40", "continue": ""}, "items": [{"metadata": {"name": "b"}}]},
    }
    server.reply = lambda handler: send(
        handler, 200, json.dumps(pages[server.asked[-1].query.get("continue", "")]).encode()
    )
    listing = api.list(LEASES, "ns", labels={"b": "2", "a": "1"})

    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.resource_version == "40"
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("coordination.k8s.io/v1", "Lease")}
    assert {each.query["labelSelector"] for each in server.asked} == {"a=1,b=2"}
    assert {each.query["limit"] for each in server.asked} == {"500"}
    assert "resourceVersion" not in server.asked[0].query


def test_list_of_all_namespaces_names_none(server: FakeApiServer, api: KubeClient) -> None:
    server.answer(200, {"metadata": {"resourceVersion": "1"}, "items": []})
    api.list(SHIFTS, "")

    assert server.asked[0].path == "/apis/shifter.io/v1alpha1/shifts"


def test_page_that_has_expired_is_expired(server: FakeApiServer, api: KubeClient) -> None:
    first = {"metadata": {"resourceVersion": "40", "continue": "x"}, "items": []}

    def reply(handler: BaseHTTPRequestHandler) -> None:
        late = "continue" in server.asked[-1].query
        body = status_of(410, "Expired", "The provided continue parameter is too old") if late else first
        send(handler, 410 if late else 200, json.dumps(body).encode())

    server.reply = reply

    error = failure(api, "list")
    assert (error.failing, error.status, error.reason) == (Failing.EXPIRED, 410, "Expired")


def test_list_without_an_end_is_given_up(server: FakeApiServer, connect: Callable[..., KubeClient]) -> None:
    api = connect(bounds=replace(SHORT, pages=3))
    server.answer(200, {"metadata": {"resourceVersion": "40", "continue": "x"}, "items": []})

    assert str(failure(api, "list")) == "there are more than 150 shifts"
    assert len(server.asked) == 3


# --- what an answer of failure means

ANSWERS = [
    (409, "AlreadyExists", Failing.EXISTS, Failing.EXISTS),
    (409, "Conflict", Failing.CONFLICT, Failing.CONFLICT),
    (404, "NotFound", Failing.MISSING, Failing.MISSING),
    (410, "Gone", Failing.EXPIRED, Failing.EXPIRED),
    (401, "Unauthorized", Failing.DENIED, Failing.DENIED),
    (403, "Forbidden", Failing.DENIED, Failing.DENIED),
    (400, "BadRequest", Failing.INVALID, Failing.INVALID),
    (413, "RequestEntityTooLarge", Failing.INVALID, Failing.INVALID),
    (422, "Invalid", Failing.INVALID, Failing.INVALID),
    (429, "TooManyRequests", Failing.UNAVAILABLE, Failing.UNAVAILABLE),
    (408, "Timeout", Failing.UNAVAILABLE, Failing.AMBIGUOUS),
    (500, "InternalError", Failing.UNAVAILABLE, Failing.AMBIGUOUS),
    (503, "ServiceUnavailable", Failing.UNAVAILABLE, Failing.AMBIGUOUS),
    (504, "Timeout", Failing.UNAVAILABLE, Failing.AMBIGUOUS),
    (307, "", Failing.UNDECODABLE, Failing.AMBIGUOUS),
]


@pytest.mark.parametrize(("answer", "expected"), [((each[0], each[1]), (each[2], each[3])) for each in ANSWERS])
@every_call
def test_refusal_is_named_by_status_and_reason_and_is_not_asked_twice(
    server: FakeApiServer, api: KubeClient, call: str, answer: tuple[int, str], expected: tuple[Failing, Failing]
) -> None:
    (status, reason), (reading, writing) = answer, expected
    sentence = 'shifts.shifter.io "a" is\tnot\x1b[31m to be\n had'
    body = json.dumps(status_of(status, reason, sentence)).encode()
    server.reply = lambda handler: send(handler, status, body, Retry_After="1", Location=f"{server.url}/elsewhere")
    error = failure(api, call)

    assert error.failing is (writing if call in WRITES else reading)
    assert (error.status, error.reason) == (status, reason)
    assert str(error) == 'shifts.shifter.io "a" is not [31m to be had'
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, b"404 page not found\n", "HTTP 404: 404 page not found"),
        (502, b"<html>" + b"x" * 10_000, "HTTP 502: <html>" + "x" * 113 + "…"),
        (503, b"", "HTTP 503"),
        (503, b"\xff\xfe", "HTTP 503: ��"),
        (403, b"[1]", "HTTP 403: [1]"),
        (403, b'{"kind": "Status", "message": null, "reason": "Forbidden"}', "HTTP 403 Forbidden"),
        (403, b'{"kind": "Status", "message": ["a"], "reason": {}}', "['a']"),
        (422, json.dumps(status_of(422, "Invalid", "long " * 1000)).encode(), ("long " * 100)[:499] + "…"),
    ],
)
def test_text_of_a_refusal_is_one_short_line(
    server: FakeApiServer, api: KubeClient, status: int, body: bytes, text: str
) -> None:
    server.reply = lambda handler: send(handler, status, body)

    assert str(failure(api, "replace")) == text


ODD = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"<html>login</html>",
    b"\xff\xfe\x00",
    b'{"kind": "Shift"',
    b'{"kind": NaN}',
    b"[" * 100_000,
]


@pytest.mark.fault(
    on="Kubernetes",
    fault="something else answers HTTP 200, such as a page for logging in",
    does="believes nothing; of a write it looks what became of it",
    sees="the API server's answer is no JSON object",
    safe_within="at once",
)
@pytest.mark.parametrize("body", ODD)
@every_call
def test_answer_that_is_no_object_is_undecodable_and_leaves_a_write_open(
    server: FakeApiServer, api: KubeClient, call: str, body: bytes
) -> None:
    server.reply = lambda handler: send(handler, 200, body)
    if call == "watch" and not body:
        assert CALLS[call](api) == []
        return
    error = failure(api, call)

    # A watch without the end of its line is cut off.
    expected = Failing.AMBIGUOUS if call in WRITES else Failing.UNAVAILABLE if call == "watch" else Failing.UNDECODABLE
    assert error.failing is expected
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body", [{"kind": "Status", "metadata": {}}, {"kind": "Shift"}, {"kind": "Shift", "metadata": 1}]
)
@pytest.mark.parametrize("call", ["get", "create", "replace"])
def test_answer_that_is_another_kind_of_object_is_not_taken_for_one(
    server: FakeApiServer, api: KubeClient, call: str, body: dict[str, object]
) -> None:
    server.answer(200, body)
    error = failure(api, call)

    assert error.failing is (Failing.AMBIGUOUS if call in WRITES else Failing.UNDECODABLE)
    assert str(error) == "the API server's answer is no Shift"


@pytest.mark.parametrize("body", [{"items": []}, {"metadata": {}, "items": {"a": 1}}, {"metadata": {}, "items": [1]}])
def test_answer_that_is_no_list_is_undecodable(server: FakeApiServer, api: KubeClient, body: dict[str, object]) -> None:
    server.answer(200, body)

    assert failure(api, "list").failing is Failing.UNDECODABLE


# --- no answer


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection as a machine does that dies: with a reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.connection.close()
    handler.close_connection = True


def cut_in_the_body(handler: BaseHTTPRequestHandler) -> None:
    body = json.dumps(SHIFT).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[:-10])
    handler.close_connection = True


def cut_in_a_chunk(handler: BaseHTTPRequestHandler) -> None:
    chunked(handler, b'{"kind": "Shi')
    handler.close_connection = True


def chunked(handler: BaseHTTPRequestHandler, *pieces: bytes, ends: bool = False) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n" if ends else b"")


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def close_politely(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@pytest.mark.fault(
    on="Kubernetes",
    fault="the connection breaks in mid-call",
    does="asks once; of a write it looks what became of it",
    sees="the API server ... does not answer (the connection broke)",
    safe_within="at once",
)
@pytest.mark.parametrize(
    "reply", [cut, close_politely, cut_in_the_body, cut_in_a_chunk, no_http], ids=lambda reply: reply.__name__
)
@every_call
def test_connection_that_breaks_leaves_a_write_open_and_is_not_tried_again(
    server: FakeApiServer, api: KubeClient, call: str, reply: Reply
) -> None:
    server.reply = reply
    error = failure(api, call)

    assert error.failing is (Failing.AMBIGUOUS if call in WRITES else Failing.UNAVAILABLE)
    assert error.status == 0
    assert str(error) == f"the API server {server.url} does not answer (the connection broke)"
    assert len(server.asked) == 1


def hang_in_the_body(server: FakeApiServer) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"kind": ')
        server.hang()

    return reply


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server hangs, before its answer or in it",
    does="asks once; of a write it looks what became of it",
    sees="the API server ... does not answer (no answer within 3 s)",
    safe_within="5 s",
)
@pytest.mark.parametrize("where", ["before the headers", "in the body"])
@pytest.mark.parametrize("call", ["get", "list", "create", "replace", "delete"])
def test_server_that_hangs_is_given_up_in_time_and_was_asked_once(
    server: FakeApiServer, api: KubeClient, call: str, where: str
) -> None:
    server.reply = server.hang if where == "before the headers" else hang_in_the_body(server)
    began = time.monotonic()
    error = failure(api, call)
    took = time.monotonic() - began
    server.released.set()

    assert error.failing is (Failing.AMBIGUOUS if call in WRITES else Failing.UNAVAILABLE)
    assert "no answer within" in str(error)
    assert took < WHOLE_SECONDS + 0.5
    assert len(server.asked) == 1


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server sends a byte now and then",
    does="asks once; of a write it looks what became of it",
    sees="the API server ... does not answer (no whole answer within 5 s)",
    safe_within="5 s",
)
@pytest.mark.parametrize("where", ["header", "body", "chunk"])
@pytest.mark.parametrize("call", ["get", "replace"])
def test_server_that_sends_a_byte_now_and_then_is_given_up_in_time(
    server: FakeApiServer, api: KubeClient, call: str, where: str
) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if where != "header":
            handler.send_header(*{"body": ("Content-Length", "9999"), "chunk": ("Transfer-Encoding", "chunked")}[where])
            handler.end_headers()
        handler.flush_headers()
        while not server.released.wait(0.05):
            handler.wfile.write({"header": b"X: y\r\n", "body": b" ", "chunk": b"1\r\n \r\n"}[where])

    server.reply = drip
    began = time.monotonic()
    error = failure(api, call)
    took = time.monotonic() - began
    server.released.set()

    assert error.failing is (Failing.AMBIGUOUS if call in WRITES else Failing.UNAVAILABLE)
    assert WHOLE_SECONDS - 0.1 <= took < WHOLE_SECONDS + 0.5


def test_answer_of_any_size_is_not_read(server: FakeApiServer, connect: Callable[..., KubeClient]) -> None:
    api = connect(bounds=Bounds(body_bytes=1_000_000))
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:
            sent += handler.wfile.write(b" " * 100_000)

    server.reply = flood

    assert "it answers more than 1000000 bytes" in str(failure(api, "get"))
    assert sent < 40 * 1024**2


@pytest.mark.fault(
    on="Kubernetes",
    fault="nobody listens where the API server was",
    does="knows that nothing was carried out",
    sees="the API server ... does not answer (connection refused)",
    safe_within="2 s",
)
@every_call
def test_nobody_there_is_certainly_not_carried_out(connect: Callable[..., KubeClient], call: str) -> None:
    error = failure(connect("http://127.0.0.1:1"), call)

    assert error.failing is Failing.UNAVAILABLE
    assert str(error) == "the API server http://127.0.0.1:1 does not answer (connection refused)"


def test_server_that_takes_connections_and_does_not_greet_is_not_said_to_have_been_waited_for_longer(
    connect: Callable[..., KubeClient],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"https://127.0.0.1:{frozen.getsockname()[1]}"
        error = failure(connect(url, bounds=Bounds(connect_seconds=0.2, answer_seconds=10)), "get")

    assert str(error) == f"the API server {url} does not answer (no connection in time)"


def test_name_that_does_not_resolve_is_certainly_not_carried_out(connect: Callable[..., KubeClient]) -> None:
    api = connect("http://nowhere.invalid", bounds=Bounds(connect_seconds=5, answer_seconds=5))

    assert failure(api, "replace").failing is Failing.UNAVAILABLE


def test_header_that_cannot_be_sent_is_not_quoted(server: FakeApiServer, connect: Callable[..., KubeClient]) -> None:
    api = connect(authorization=lambda: f"Bearer {TOKEN}\nX: y")

    assert "ValueError" in str(failure(api, "get"))
    assert server.asked == []


@every_call
def test_without_anything_to_show_nothing_is_asked(
    server: FakeApiServer, connect: Callable[..., KubeClient], call: str
) -> None:
    def refuse() -> str:
        raise ConfigError("the token file is empty")

    error = failure(connect(authorization=refuse), call)

    assert error.failing is Failing.UNAVAILABLE
    assert str(error) == f"the API server {server.url} was not asked: the token file is empty"
    assert server.asked == []


def test_call_after_a_broken_one_gets_a_new_connection(server: FakeApiServer, api: KubeClient) -> None:
    server.answer(200, SHIFT)
    api.get(SHIFTS, "ns", "a")
    server.reply = server.hang
    failure(api, "get")
    server.answer(200, SHIFT)

    assert api.get(SHIFTS, "ns", "a") == SHIFT
    assert server.connections == 2


def test_connection_that_the_server_closed_while_idle_costs_no_call(server: FakeApiServer, api: KubeClient) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        send(handler, 200, json.dumps(SHIFT).encode())
        handler.close_connection = True

    server.reply = reply
    for _ in range(5):
        api.replace(SHIFTS, "ns", SHIFT)
        time.sleep(0.02)

    assert len(server.asked) == 5


# --- watches


def line(what: str, version: str) -> bytes:
    body = {"metadata": {"name": "a", "resourceVersion": version}}
    return json.dumps({"type": what, "object": body}).encode() + b"\n"


def test_watch_yields_changes_as_they_come_and_ends_with_the_servers_end(
    server: FakeApiServer, api: KubeClient
) -> None:
    whole = line("ADDED", "8") + line("MODIFIED", "9") + line("BOOKMARK", "12") + line("DELETED", "13")
    server.reply = lambda handler: chunked(handler, whole[:30], whole[30:100], whole[100:], ends=True)
    changes = list(api.watch(SHIFTS, "ns", "7", seconds=5, labels={"a": "1"}))

    assert [(change.type, change.body["metadata"]["resourceVersion"]) for change in changes] == [
        ("ADDED", "8"),
        ("MODIFIED", "9"),
        ("BOOKMARK", "12"),
        ("DELETED", "13"),
    ]
    assert changes[0].body["kind"] == "Shift"
    assert [each.query for each in server.asked] == [
        {
            "labelSelector": "a=1",
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "7",
            "timeoutSeconds": "5",
        }
    ]


def test_change_is_seen_while_the_watch_goes_on(server: FakeApiServer, api: KubeClient) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        chunked(handler, line("ADDED", "8"))
        server.hang()

    server.reply = reply
    watch = api.watch(SHIFTS, "ns", "7", seconds=5)

    assert isinstance(next(watch), Change)
    server.released.set()
    watch.close()  # type: ignore[attr-defined]


def test_watch_that_ends_at_once_is_asked_once(server: FakeApiServer, api: KubeClient) -> None:
    server.reply = lambda handler: chunked(handler, ends=True)

    assert list(api.watch(SHIFTS, "ns", "7", seconds=5)) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "failing"),
    [
        (status_of(410, "Expired", "too old resource version: 7 (900)"), Failing.EXPIRED),
        (status_of(410, "", "too old"), Failing.EXPIRED),
        ({"reason": "Expired"}, Failing.EXPIRED),
        (status_of(500, "InternalError", "etcd is gone"), Failing.UNAVAILABLE),
        (status_of(403, "Forbidden", "no more"), Failing.DENIED),
        ({}, Failing.UNAVAILABLE),
        ({"code": "410", "message": 5}, Failing.UNAVAILABLE),
    ],
)
def test_error_in_a_watch_is_a_failure_after_what_came_before(
    server: FakeApiServer, api: KubeClient, status: dict[str, object], failing: Failing
) -> None:
    error_line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    server.reply = lambda handler: chunked(handler, line("ADDED", "8"), error_line, ends=True)
    watch = api.watch(SHIFTS, "ns", "7", seconds=5)

    assert next(watch).type == "ADDED"
    with pytest.raises(KubeError) as caught:
        next(watch)
    assert caught.value.failing is failing
    assert str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "odd", [b"{}", b"5", b"<html>", b'{"type":"NEW","object":{}}', b'{"type":"ADDED","object":[]}']
)
def test_change_that_is_none_is_undecodable(server: FakeApiServer, api: KubeClient, odd: bytes) -> None:
    server.reply = lambda handler: chunked(handler, odd + b"\n", ends=True)

    assert failure(api, "watch").failing is Failing.UNDECODABLE


def test_change_of_any_size_is_not_read(server: FakeApiServer, connect: Callable[..., KubeClient]) -> None:
    api = connect(bounds=Bounds(change_bytes=1_000_000))
    server.reply = lambda handler: chunked(handler, b"x" * 2 * 1024**2, ends=True)

    assert str(failure(api, "watch")) == "the API server's answer is no change of at most 1000000 bytes"


@pytest.mark.fault(
    on="Kubernetes",
    fault="a watch is cut without a word",
    does="gives it up soon after its time, and lists anew",
    sees="nothing, unless it goes on",
    safe_within="a watch's time + 5 s",
)
def test_watch_that_is_cut_silently_ends_soon_after_its_time(
    server: FakeApiServer, connect: Callable[..., KubeClient]
) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        chunked(handler, line("ADDED", "8"))
        server.hang()

    server.reply = reply
    watch = connect(bounds=Bounds(grace_seconds=0.2)).watch(SHIFTS, "ns", "7", seconds=0.2)
    next(watch)
    began = time.monotonic()

    with pytest.raises(KubeError, match=r"no answer within 0\.4 s") as caught:
        next(watch)
    assert caught.value.failing is Failing.UNAVAILABLE
    assert 0.3 < time.monotonic() - began < 1.5


def test_server_that_never_ends_a_watch_is_left(server: FakeApiServer, connect: Callable[..., KubeClient]) -> None:
    api = connect(bounds=Bounds(grace_seconds=0.2))

    def reply(handler: BaseHTTPRequestHandler) -> None:
        chunked(handler)
        while not server.released.wait(0.02):
            piece = line("BOOKMARK", "8")
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    server.reply = reply
    began = time.monotonic()
    seen = len(list(api.watch(SHIFTS, "ns", "7", seconds=0.3)))

    assert seen > 3
    assert time.monotonic() - began < 1.5


def test_watch_that_gets_no_head_is_given_up_as_early_as_a_call(server: FakeApiServer, api: KubeClient) -> None:
    server.reply = server.hang
    began = time.monotonic()
    error = failure(api, "watch")
    took = time.monotonic() - began

    assert error.failing is Failing.UNAVAILABLE
    assert took < WHOLE_SECONDS + 0.5


def test_closing_ends_a_watch_that_another_thread_waits_for(server: FakeApiServer, api: KubeClient) -> None:
    started, ended = threading.Event(), threading.Event()
    failings: list[Failing] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        chunked(handler, line("ADDED", "8"))
        server.hang()

    def watch() -> None:
        try:
            for _ in api.watch(SHIFTS, "ns", "7", seconds=60):
                started.set()
        except KubeError as error:
            failings.append(error.failing)
        ended.set()

    server.reply = reply
    thread = threading.Thread(target=watch)
    thread.start()
    assert started.wait(5)
    api.close()

    assert ended.wait(2)
    thread.join()
    assert failings == [Failing.UNAVAILABLE]


def test_nothing_is_asked_after_closing_and_closing_twice_is_harmless(
    server: FakeApiServer, connect: Callable[..., KubeClient]
) -> None:
    closed: list[str] = []
    api = connect(at_close=lambda: closed.append("once"))
    api.close()
    api.close()

    assert {failure(api, call).failing for call in CALLS} == {Failing.UNAVAILABLE}
    assert server.asked == []
    assert closed == ["once"]


# --- the library


def test_words_of_the_api_cost_no_import_of_the_library() -> None:
    script = "import sys, shifter.ports.kube, shifter.adapters.kube.connecting; print('kubernetes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == "False\n"
