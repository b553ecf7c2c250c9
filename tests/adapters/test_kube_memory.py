"""What does it take to read a thousand shifts of a cluster, over a real connection?"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import Configuration

from shifter.adapters import saved_form
from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.kinds import SHIFTS
from shifter.adapters.kube.packing import Remembered
from shifter.adapters.kube.store import KubeStore
from shifter.core.state import ShiftState
from shifter.ports.kube import Body
from tests.adapters.apiserver import FakeApiServer, running
from tests.contract.stores import NOW
from tests.documents import a_policy

SHIFTS_THERE = 1_000
OBJECT_BYTES = 30_000
MOST_BYTES = 50e6


def shift(number: int) -> Body:
    """A Shift as the API server keeps it, of 30 kB; half of it a report."""
    name = f"shift-{number:04d}"
    state = ShiftState(name=name, policy=a_policy(name), since=NOW)
    text = saved_form.state_text(state)
    notes = [
        {"manager": "shifter", "operation": "Update", "fieldsV1": {"f:status": {f"f:{field}": {}}}} for field in "abc"
    ]
    body = SHIFTS.body(
        metadata={"name": name, "uid": f"uid-{number}", "resourceVersion": str(number + 1), "managedFields": notes},
        spec={},
        status={"version": 1, "state": text, "report": ""},
    )
    body["status"]["report"] = "r" * (OBJECT_BYTES - len(json.dumps(body)))
    return body


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    return [json.dumps(shift(number)).encode() for number in range(SHIFTS_THERE)]


def stream(handler: BaseHTTPRequestHandler, head: bytes, items: list[bytes]) -> None:
    """Send a list, an object at a time: what the server holds of it is not to be counted."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(head) + sum(map(len, items)) + len(items) - 1 + len(b"]}")))
    handler.end_headers()
    handler.wfile.write(head)
    for number, item in enumerate(items):
        handler.wfile.write(b"," if number else b"")
        handler.wfile.write(item)
    handler.wfile.write(b"]}")


@pytest.fixture
def server(bodies: list[bytes]) -> Iterator[FakeApiServer]:
    def page(handler: BaseHTTPRequestHandler) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
        first, limit = int(asked.get("continue", 0)), int(asked["limit"])
        rest = first + limit if first + limit < SHIFTS_THERE else ""
        head = json.dumps({"metadata": {"resourceVersion": "9", "continue": str(rest)}}).encode()
        stream(handler, head[:-1] + b',"items":[', bodies[first : first + limit])

    with running() as made:
        made.reply = page
        yield made


def test_a_thousand_shifts_are_read_and_remembered_in_less_than_50_mb(server: FakeApiServer) -> None:
    api = KubeClient(Configuration(host=server.url))
    store = KubeStore(api, "shifter-system", "writer", lambda: "n")
    tracemalloc.start()
    try:
        found = store.load()
        gc.collect()
        _, peak = tracemalloc.get_traced_memory()
        count = len(found)
        del found
        gc.collect()
        remembered, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        store.close()

    assert count == SHIFTS_THERE
    assert peak < MOST_BYTES, f"{peak / 1e6:.1f} MB"
    assert remembered < MOST_BYTES / 5, f"{remembered / 1e6:.1f} MB"


def test_what_is_remembered_is_what_was_there_without_the_servers_notes() -> None:
    memory = Remembered()
    body = shift(1)
    memory.keep(body)
    del body["metadata"]["managedFields"]

    assert memory.body == body
    assert not memory.leaving


def test_that_somebody_deletes_it_is_remembered_with_it_and_forgotten_with_it() -> None:
    memory = Remembered()
    body = shift(1)
    body["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    memory.keep(body)
    leaving = memory.leaving
    memory.keep(None)

    assert (leaving, memory.leaving, memory.body) == (True, False, None)
