"""Who may do what where the chart is installed as it is: roles and orders, on a real API server with admission."""

from collections.abc import Callable

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.kinds import SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.ports.kube import Body, KubeError
from tests.cluster.installation import an_order
from tests.cluster.plane import ControlPlane

Clients = Callable[[str], KubeClient]

OPERATING = ("pause", "resume", "approve", "promote", "rollback", "retry")
OF_THE_FLEET = ("freeze", "unfreeze")
VERBS = (*OPERATING, "reconcile", *OF_THE_FLEET)
MAY_ORDER = {"eve": set[str](), "vic": set[str](), "ann": set(OPERATING), "adm": set(VERBS), "root": set(VERBS)}


def outcome(call: Callable[[], object]) -> str:
    """In one word how a call failed and what was said, or `done`."""
    try:
        call()
    except KubeError as error:
        return f"{error.failing}: {error}"
    return "done"


def order(client: KubeClient, namespace: str, by: str, **spec: str) -> str:
    return outcome(lambda: client.create(SHIFT_ORDERS, namespace, an_order(namespace, by, **spec)))


def order_with(client: KubeClient, namespace: str, by: str, metadata: Body) -> str:
    body = an_order(namespace, by)
    body["metadata"] |= metadata
    return outcome(lambda: client.create(SHIFT_ORDERS, namespace, body))


def a_shift(name: str = "shop") -> Body:
    metadata = {"name": name}
    return {"apiVersion": SHIFTS.api_version, "kind": SHIFTS.name, "metadata": metadata, "spec": {"steps": [5, 100]}}


def grant(plane: ControlPlane, namespace: str, who: str, *words: str) -> None:
    """Let somebody create orders, and what `kubectl create role` says besides."""
    verbs = ("--verb=create", "--resource=shiftorders.shifter.io")
    plane.kubectl("root", "create", "role", f"{who}-may", "-n", namespace, *verbs)
    plane.kubectl("root", "create", "role", f"{who}-verbs", "-n", namespace, *words)
    for role in (f"{who}-may", f"{who}-verbs"):
        plane.kubectl("root", "create", "rolebinding", role, f"--role={role}", f"--user={who}", "-n", namespace)


@pytest.mark.parametrize("who", sorted(MAY_ORDER))
def test_a_role_allows_its_orders_and_no_other(installed: str, client: Clients, who: str) -> None:
    api = client(who)

    told = {
        verb: order(api, installed, who, verb=verb, shift="*" if verb in OF_THE_FLEET else "shop") for verb in VERBS
    }

    assert {verb for verb, how in told.items() if how == "done"} == MAY_ORDER[who]
    assert all(how == "done" or how.startswith("denied: ") for how in told.values()), told


def test_a_refusal_names_the_right_that_is_missing(installed: str, client: Clients) -> None:
    told = order(client("ann"), installed, "ann", verb="reconcile")

    assert "ann may not reconcile shift shop" in told
    assert f"needs the verb reconcile on shifts.shifter.io in namespace {installed}" in told


def test_an_order_in_anothers_name_is_refused_whoever_gives_it(installed: str, client: Clients) -> None:
    told = {who: order(client(who), installed, "ann") for who in ("adm", "root")}

    assert all("spec.by must be who gives the order: it says ann, but you are" in how for how in told.values()), told


def test_a_right_for_one_shift_allows_no_other_and_not_all(
    installed: str, client: Clients, plane: ControlPlane
) -> None:
    verbs = ("--verb=pause", "--verb=freeze", "--resource=shifts.shifter.io", "--resource-name=shop")
    grant(plane, installed, "eve", *verbs)
    api = client("eve")

    told = [
        order(api, installed, "eve", shift="shop"),
        order(api, installed, "eve", shift="pay"),
        order(api, installed, "eve", shift="*", verb="freeze"),
    ]

    assert [how.partition(":")[0] for how in told] == ["done", "denied", "denied"], told


def test_roles_of_one_installation_give_no_right_in_another_namespace(
    installed: str, client: Clients, plane: ControlPlane
) -> None:
    other = f"{installed}-other"
    plane.kubectl("root", "create", "namespace", other)

    told = order(client("adm"), other, "adm")

    plane.kubectl("root", "delete", "namespace", other, "--wait=false")
    assert told.startswith("denied: ")


def test_an_order_that_is_given_is_never_changed(installed: str, admin_api: KubeClient) -> None:
    given = admin_api.create(SHIFT_ORDERS, installed, an_order(installed, "root"))
    changed = given | {"spec": given["spec"] | {"reason": "another"}}

    told = outcome(lambda: admin_api.replace(SHIFT_ORDERS, installed, changed))

    assert told.startswith("invalid: ")
    assert "an order is given once and never changed" in told


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "00000000-0000-0000-0000-000000000001"}


@pytest.mark.parametrize("keeping", [{"finalizers": ["a.b/c"]}, {"ownerReferences": [OWNER]}])
def test_nobody_keeps_an_order_from_being_deleted(
    installed: str, client: Clients, admin_api: KubeClient, keeping: Body
) -> None:
    told = [order_with(client(who), installed, who, keeping) for who in ("ann", "root")]

    assert all(how.startswith("invalid: ") and "an order has no finalizers and no owners" in how for how in told), told
    assert admin_api.list(SHIFT_ORDERS, installed).items == []


def test_an_order_with_empty_lists_of_those_is_an_order(installed: str, client: Clients) -> None:
    empty: Body = {"finalizers": [], "ownerReferences": []}

    assert order_with(client("ann"), installed, "ann", empty) == "done"


@pytest.mark.parametrize("who", ["vic", "ann", "adm"])
def test_everybody_with_a_role_may_look_and_nobody_may_write_state(
    installed: str, client: Clients, admin_api: KubeClient, who: str
) -> None:
    shift = admin_api.create(SHIFTS, installed, a_shift())
    api = client(who)

    told = [
        outcome(lambda: api.list(SHIFTS, installed)),
        outcome(lambda: api.list(SHIFT_ORDERS, installed)),
        outcome(lambda: api.list(SHIFT_RECORDS, installed)),
        outcome(lambda: api.create(SHIFTS, installed, a_shift("pay"))),
        outcome(lambda: api.replace(SHIFTS, installed, shift)),
        outcome(lambda: api.replace(SHIFTS, installed, shift | {"status": {"version": 1}}, status=True)),
        outcome(lambda: api.delete(SHIFTS, installed, "shop")),
    ]

    assert [how.partition(":")[0] for how in told] == [*["done"] * 3, *["denied"] * 4], told


def test_a_stranger_sees_nothing(installed: str, client: Clients) -> None:
    assert outcome(lambda: client("eve").list(SHIFTS, installed)).startswith("denied: ")
