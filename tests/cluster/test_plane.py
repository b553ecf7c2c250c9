"""The control plane itself: that it is a real one, refuses what a real one refuses, and breaks as it is told to."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse, HTTPSConnection

import pytest

from tests.cluster.plane import ControlPlane
from tests.cluster.wire import Wire

DEADLINE_SECONDS = 20.0


def until(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def connect(plane: ControlPlane, wire: Wire | None, *, seconds: float) -> HTTPSConnection:
    port = plane.port if wire is None else wire.port
    return HTTPSConnection("127.0.0.1", port, timeout=seconds, context=plane.trust)


@contextmanager
def asked(
    plane: ControlPlane, path: str, *, token: str, wire: Wire | None = None, seconds: float = 5.0
) -> Iterator[HTTPResponse]:
    """The answer to one request, on a connection of its own."""
    with closing(connect(plane, wire, seconds=seconds)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        yield connection.getresponse()


def ask(plane: ControlPlane, path: str, *, token: str, wire: Wire | None = None, seconds: float = 5.0) -> int:
    with asked(plane, path, token=token, wire=wire, seconds=seconds) as answer:
        return answer.status


def how_it_broke(watch: HTTPResponse) -> str:
    """Read until a watch breaks. TLS as Python has it shows a reset as an end."""
    try:
        while line := watch.readline():
            assert b"unseen" not in line
    except TimeoutError:
        return "silent"
    except ConnectionResetError:
        return "reset"
    return "reset"


def config_map(name: str, namespace: str, **data: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def test_the_server_knows_cel_rules_and_admission_policies(plane: ControlPlane) -> None:
    major, minor, _ = plane.version.removeprefix("v").split(".", 2)

    assert (int(major), int(minor)) >= (1, 30)


def test_rights_are_only_what_a_role_grants(plane: ControlPlane, namespace: str) -> None:
    before = plane.kubectl("vic", "get", "configmaps", "-n", namespace, check=False)
    plane.kubectl("root", "create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", namespace)
    plane.kubectl("root", "create", "rolebinding", "r", "--role=reader", "--group=shifter-viewers", "-n", namespace)

    until(lambda: plane.kubectl("vic", "get", "configmaps", "-n", namespace, check=False).returncode == 0, "no right")
    assert 'User "vic" cannot list resource "configmaps"' in before.stderr
    assert plane.kubectl("eve", "get", "configmaps", "-n", namespace, check=False).returncode == 1


def test_nobody_is_let_in_without_a_token_that_is_known(plane: ControlPlane) -> None:
    assert ask(plane, "/api/v1/namespaces", token=plane.token("root")) == 200
    assert ask(plane, "/api/v1/namespaces", token=plane.token("mallory")) == 401


def test_an_admission_policy_is_enforced(plane: ControlPlane, namespace: str) -> None:
    scope = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"{namespace}-by"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ]
            },
            "validations": [{"expression": "object.data.by == request.userInfo.username", "message": "by is not you"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"{namespace}-by"},
        "spec": {
            "policyName": f"{namespace}-by",
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": scope},
        },
    }
    forged = json.dumps(config_map("forged", namespace, by="ann"))
    plane.apply(policy, binding)

    def refused() -> str:
        return plane.kubectl("root", "create", "--dry-run=server", "-f", "-", said=forged, check=False).stderr

    until(lambda: "by is not you" in refused(), "the policy refuses nothing")
    plane.kubectl("root", "create", "-f", "-", said=json.dumps(config_map("honest", namespace, by="root")))


def test_every_request_is_in_the_audit_log(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("eve", "delete", "configmap", "nothing", "-n", namespace, check=False)

    def asked() -> set[tuple[str | None, int]]:
        return {
            (event["user"].get("username"), event["responseStatus"]["code"])
            for event in plane.audit()
            if event["verb"] == "delete" and event["objectRef"].get("namespace") == namespace
        }

    until(lambda: asked() == {("eve", 403)}, "not in the log")


def test_what_etcd_took_is_there_after_it_was_killed(plane: ControlPlane, namespace: str) -> None:
    plane.apply(config_map("kept", namespace, a="b"))

    plane.restart_etcd()

    assert plane.kubectl("root", "get", "configmap", "kept", "-n", namespace, "-o", "jsonpath={.data.a}").stdout == "b"


def test_the_api_server_comes_back_after_it_was_killed(plane: ControlPlane, namespace: str) -> None:
    plane.apply(config_map("kept", namespace, a="b"))

    plane.apiserver.kill()
    with pytest.raises(OSError, match="refused"):
        ask(plane, "/readyz", token="")
    plane.mend()

    assert plane.kubectl("root", "get", "configmap", "kept", "-n", namespace, "-o", "jsonpath={.data.a}").stdout == "b"


def test_a_frozen_api_server_takes_connections_and_does_not_answer(plane: ControlPlane) -> None:
    plane.apiserver.freeze()

    with pytest.raises(OSError, match="timed out"):
        ask(plane, "/readyz", token="", seconds=0.5)
    plane.apiserver.thaw()
    plane.wait_ready()


def test_etcd_at_its_quota_answers_reads_and_refuses_writes(plane: ControlPlane, namespace: str) -> None:
    plane.fill_up()

    written = plane.kubectl("root", "create", "configmap", "late", "-n", namespace, check=False)
    plane.kubectl("root", "get", "configmaps", "-n", namespace)

    assert "database space exceeded" in written.stderr
    plane.make_room()
    plane.kubectl("root", "create", "configmap", "late", "-n", namespace)


def test_a_service_accounts_token_is_taken_unless_it_has_expired(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("root", "create", "serviceaccount", "mine", "-n", namespace)

    valid = plane.account_token(namespace, "mine", 30.0)
    expired = plane.account_token(namespace, "mine", -1.0)

    assert ask(plane, "/apis", token=valid) == 200
    assert ask(plane, "/apis", token=expired) == 401


def test_a_service_accounts_token_is_that_accounts(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("root", "create", "serviceaccount", "mine", "-n", namespace)
    config = plane.kubeconfig("mine", token=plane.account_token(namespace, "mine"))

    told = plane.kubectl(
        "root", f"--kubeconfig={config}", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"
    )

    assert told.stdout == f"system:serviceaccount:{namespace}:mine"


def test_a_wire_resets_and_refuses_and_is_mended(plane: ControlPlane) -> None:
    with plane.wire() as wire:
        assert ask(plane, "/readyz", token="", wire=wire) == 200

        wire.refuse()
        with pytest.raises(OSError, match="refused"):
            ask(plane, "/readyz", token="", wire=wire)
        wire.mend()

        assert ask(plane, "/readyz", token="", wire=wire) == 200


def test_a_wire_that_swallows_says_nothing(plane: ControlPlane) -> None:
    with plane.wire() as wire:
        wire.swallow()
        with pytest.raises(OSError, match="timed out"):
            ask(plane, "/readyz", token="", wire=wire, seconds=0.5)
        wire.mend()

        assert ask(plane, "/readyz", token="", wire=wire) == 200


@pytest.mark.parametrize(("how", "seen"), [(Wire.cut, "reset"), (Wire.forget, "silent")])
def test_a_wire_breaks_a_watch_that_is_open(
    plane: ControlPlane, namespace: str, how: Callable[[Wire], None], seen: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=true&timeoutSeconds=20"
    with plane.wire() as wire:
        with asked(plane, path, token=plane.token("root"), wire=wire, seconds=2.0) as watch:
            plane.apply(config_map("seen", namespace))
            first = json.loads(watch.readline())
            how(wire)
            plane.apply(config_map("unseen", namespace))
            broke = how_it_broke(watch)

        assert (first["type"], broke) == ("ADDED", seen)
        assert ask(plane, "/readyz", token="", wire=wire) == 200


def test_a_write_whose_answer_is_swallowed_is_carried_out(plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    headers = {"Authorization": f"Bearer {plane.token('root')}", "Content-Type": "application/json"}
    body = json.dumps(config_map("written", namespace))
    with plane.wire() as wire, closing(connect(plane, wire, seconds=1.0)) as connection:
        connection.connect()  # nobody can greet through a wire that swallows

        wire.swallow(answers_only=True)
        connection.request("POST", path, body, headers)
        with pytest.raises(OSError, match="timed out"):
            connection.getresponse()

    plane.kubectl("root", "get", "configmap", "written", "-n", namespace)
