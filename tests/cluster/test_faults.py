"""What shifter's client makes of a real API server in trouble: stopped, frozen, full, cut off, or a stranger to us."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from shifter.adapters.kube.client import BOUNDS, KubeClient
from shifter.adapters.kube.connecting import identity
from shifter.errors import StoreUnavailableError
from shifter.ports.kube import LEASES, Body, Change, Failing, KubeError
from tests.cluster.plane import ControlPlane
from tests.cluster.wire import Wire

Connected = Callable[[Path], KubeClient]

CALL_SECONDS = BOUNDS.connect_seconds + BOUNDS.answer_seconds
LATE_SECONDS = 1.0
CACHED_SECONDS = 20.0
PLUGINS = "client.authentication.k8s.io/v1"


@pytest.fixture
def wire(plane: ControlPlane) -> Iterator[Wire]:
    with plane.wire() as made:
        yield made


@pytest.fixture
def api(plane: ControlPlane, wire: Wire, connected: Connected) -> KubeClient:
    """A client whose every connection goes through the wire."""
    return connected(plane.kubeconfig("root", wire=wire))


def a_lease(name: str = "one") -> Body:
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15}
    return {"apiVersion": LEASES.api_version, "kind": LEASES.name, "metadata": {"name": name}, "spec": spec}


def failure(call: Callable[[], object]) -> KubeError:
    """How a call fails, which it does within its bound."""
    began = time.monotonic()
    with pytest.raises(KubeError) as caught:
        call()
    assert time.monotonic() - began < CALL_SECONDS + LATE_SECONDS
    return caught.value


def rest_of(changes: Iterator[Change]) -> list[Change]:
    """What else a watch tells until it ends or fails."""
    rest: list[Change] = []
    with suppress(KubeError):
        rest.extend(changes)
    return rest


def test_a_server_that_is_gone_has_certainly_not_written(
    plane: ControlPlane, namespace: str, connected: Connected
) -> None:
    api = connected(plane.kubeconfig("root"))
    api.list(LEASES, namespace)
    plane.apiserver.kill()

    told = failure(lambda: api.create(LEASES, namespace, a_lease()))
    plane.mend()

    assert told.failing is Failing.UNAVAILABLE
    assert api.create(LEASES, namespace, a_lease())


def test_where_nobody_listens_a_write_is_certainly_not_carried_out(namespace: str, api: KubeClient, wire: Wire) -> None:
    wire.refuse()

    told = failure(lambda: api.create(LEASES, namespace, a_lease()))
    wire.mend()

    assert told.failing is Failing.UNAVAILABLE
    assert api.create(LEASES, namespace, a_lease())


def test_a_frozen_server_leaves_a_write_open(plane: ControlPlane, namespace: str, api: KubeClient) -> None:
    api.list(LEASES, namespace)
    plane.apiserver.freeze()

    told = failure(lambda: api.create(LEASES, namespace, a_lease()))
    plane.apiserver.thaw()
    plane.wait_ready()

    assert told.failing is Failing.AMBIGUOUS


def test_a_write_whose_answer_is_lost_is_open_and_was_carried_out(namespace: str, api: KubeClient, wire: Wire) -> None:
    api.list(LEASES, namespace)  # so that there is a connection
    wire.swallow(answers_only=True)

    told = failure(lambda: api.create(LEASES, namespace, a_lease()))
    wire.mend()
    again = failure(lambda: api.create(LEASES, namespace, a_lease()))

    assert (told.failing, again.failing) == (Failing.AMBIGUOUS, Failing.EXISTS)


def test_a_connection_that_is_cut_while_idle_costs_no_call(namespace: str, api: KubeClient, wire: Wire) -> None:
    api.create(LEASES, namespace, a_lease())
    wire.cut()

    assert api.get(LEASES, namespace, "one")["spec"]["holderIdentity"] == "a"


def test_a_connection_that_is_forgotten_while_idle_costs_one_call(namespace: str, api: KubeClient, wire: Wire) -> None:
    api.create(LEASES, namespace, a_lease())
    wire.forget()

    told = failure(lambda: api.get(LEASES, namespace, "one"))

    assert told.failing is Failing.UNAVAILABLE
    assert api.get(LEASES, namespace, "one")["spec"]["holderIdentity"] == "a"


def test_a_watch_that_is_cut_ends_at_once(namespace: str, api: KubeClient, wire: Wire) -> None:
    since = api.list(LEASES, namespace).resource_version
    api.create(LEASES, namespace, a_lease())
    changes = api.watch(LEASES, namespace, since, seconds=30)
    first = next(changes)
    wire.cut()
    began = time.monotonic()

    rest = rest_of(changes)

    assert (first.type, rest) == ("ADDED", [])
    assert time.monotonic() - began < LATE_SECONDS


def test_a_full_etcd_is_read_and_leaves_a_write_open(plane: ControlPlane, namespace: str, api: KubeClient) -> None:
    api.create(LEASES, namespace, a_lease())
    plane.fill_up()

    told = failure(lambda: api.create(LEASES, namespace, a_lease("two")))
    listed = api.list(LEASES, namespace).items
    plane.make_room()

    assert told.failing is Failing.AMBIGUOUS
    assert "database space exceeded" in str(told)
    assert [each["metadata"]["name"] for each in listed] == ["one"]
    assert api.create(LEASES, namespace, a_lease("two"))


def test_a_server_without_its_etcd_fails_in_time(plane: ControlPlane, namespace: str, api: KubeClient) -> None:
    api.create(LEASES, namespace, a_lease())
    plane.etcd.freeze()

    read = failure(lambda: api.get(LEASES, namespace, "one"))
    written = failure(lambda: api.create(LEASES, namespace, a_lease("two")))
    plane.etcd.thaw()
    plane.wait_ready()

    assert (read.failing, written.failing) == (Failing.UNAVAILABLE, Failing.AMBIGUOUS)


def test_an_expired_token_is_a_refusal_that_says_what_to_do(
    plane: ControlPlane, namespace: str, connected: Connected
) -> None:
    plane.kubectl("root", "create", "serviceaccount", "mine", "-n", namespace)
    api = connected(plane.account_kubeconfig(namespace, "mine", seconds=-1.0))

    told = failure(lambda: api.get(LEASES, namespace, "one"))
    with pytest.raises(StoreUnavailableError, match="does not know who asks") as caught:
        identity(api)

    assert (told.failing, told.status) == (Failing.DENIED, 401)
    assert "kubectl auth whoami" in str(caught.value.remedy)


def test_a_token_that_expires_while_it_is_used_is_refused_from_then_on(
    plane: ControlPlane, namespace: str, connected: Connected
) -> None:
    plane.kubectl("root", "create", "serviceaccount", "mine", "-n", namespace)
    api = connected(plane.account_kubeconfig(namespace, "mine", seconds=4.0))
    name = identity(api)
    deadline = time.monotonic() + CACHED_SECONDS

    while (told := failure(lambda: api.get(LEASES, namespace, "one"))).status == 403:
        assert time.monotonic() < deadline, "it never expires"
        time.sleep(0.2)

    assert name == f"system:serviceaccount:{namespace}:mine"
    assert (told.failing, told.status) == (Failing.DENIED, 401)


def test_a_plugin_is_run_again_once_its_token_is_not_known_any_more(
    plane: ControlPlane, namespace: str, connected: Connected, tmp_path: Path
) -> None:
    def answers(token: str) -> None:
        (tmp_path / "answer").write_text(
            json.dumps({"apiVersion": PLUGINS, "kind": "ExecCredential", "status": {"token": token}})
        )

    place = plane.kubeconfig("root")
    config = json.loads(place.read_text())
    program = f"print(open({str(tmp_path / 'answer')!r}).read())"
    plugin = {"apiVersion": PLUGINS, "command": sys.executable, "args": ["-c", program], "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": plugin}
    place.write_text(json.dumps(config))
    plane.kubectl("root", "create", "serviceaccount", "mine", "-n", namespace)
    answers(plane.account_token(namespace, "mine", seconds=-1.0))
    api = connected(place)
    answers(plane.token("root"))

    told = failure(lambda: api.get(LEASES, namespace, "one"))
    again = failure(lambda: api.get(LEASES, namespace, "one"))

    assert (told.status, again.status) == (401, 404)


def test_many_connections_that_are_forgotten_while_idle_cost_one_call(
    namespace: str, api: KubeClient, wire: Wire
) -> None:
    api.create(LEASES, namespace, a_lease())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: api.list(LEASES, namespace), range(32)))
    wire.forget()

    told = failure(lambda: api.get(LEASES, namespace, "one"))

    assert told.failing is Failing.UNAVAILABLE
    for _ in range(8):
        assert api.get(LEASES, namespace, "one")


def test_after_a_watch_that_went_silent_no_call_fails(namespace: str, api: KubeClient, wire: Wire) -> None:
    since = api.list(LEASES, namespace).resource_version
    api.create(LEASES, namespace, a_lease())
    changes = api.watch(LEASES, namespace, since, seconds=1)
    first = next(changes)
    wire.forget()
    with pytest.raises(KubeError, match="does not answer"):
        list(changes)

    assert first.type == "ADDED"
    assert api.get(LEASES, namespace, "one")


def test_a_watch_outlives_a_restart_of_etcd(plane: ControlPlane, namespace: str, api: KubeClient) -> None:
    since = api.list(LEASES, namespace).resource_version
    changes = api.watch(LEASES, namespace, since, seconds=20)
    api.create(LEASES, namespace, a_lease())
    first = next(changes)

    plane.restart_etcd()
    api.create(LEASES, namespace, a_lease("two"))
    second = next(each for each in changes if each.type != "BOOKMARK")

    assert [each.body["metadata"]["name"] for each in (first, second)] == ["one", "two"]
