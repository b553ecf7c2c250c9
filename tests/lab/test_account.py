"""The lab's Tencent account: who is behind which rule, and which process on this machine that is."""

import pytest

from shifter.lab.account import SOURCE_NODE_PORT, TARGET_POD_PORT, Account, open_account
from shifter.lab.emulator import LoadBalancer, Rule, TargetKind
from shifter.lab.topology import SOURCE_MESH, TARGET_MESH, Gateway, Namespace, Topology, lay_out, ports_needed

NAMESPACES = (Namespace("shop"), Namespace("pay", ("pay.example.com", "till.example.com")), Namespace("search"))
BALANCER_OF = {"shop": "lb-front0002", "pay": "lb-front0001", "search": "lb-front0001"}


@pytest.fixture
def topology() -> Topology:
    return lay_out(NAMESPACES, range(20_000, 20_000 + ports_needed()))


@pytest.fixture
def account(topology: Topology) -> Account:
    return open_account(NAMESPACES, BALANCER_OF, topology.gateways)


def rules(account: Account) -> list[Rule]:
    return [rule for balancer in account.balancers for _, rule in balancer.rules()]


def balancer(account: Account, lb_id: str) -> LoadBalancer:
    [found] = [each for each in account.balancers if each.load_balancer_id == lb_id]
    return found


def gateway_of(topology: Topology, port: int) -> Gateway:
    [found] = [gateway for gateway in topology.gateways if gateway.port == port]
    return found


def test_every_gateway_is_exactly_one_target_of_every_rule(account: Account, topology: Topology) -> None:
    wanted = sorted(gateway.port for gateway in topology.gateways)

    behind = [sorted(account.gateway_port[target.key] for target in rule.targets) for rule in rules(account)]

    assert behind == [wanted] * len(NAMESPACES)
    assert len(account.gateway_port) == len(topology.gateways)


def test_tcm_is_bound_as_machines_and_istio_as_pods(account: Account, topology: Topology) -> None:
    [first, *_] = rules(account)

    bound = {
        (gateway_of(topology, account.gateway_port[target.key]).mesh, target.kind, target.port)
        for target in first.targets
    }

    assert bound == {
        (SOURCE_MESH, TargetKind.CVM, SOURCE_NODE_PORT),
        (TARGET_MESH, TargetKind.ENI, TARGET_POD_PORT),
    }


def test_all_traffic_is_the_source_meshs_at_first(account: Account, topology: Topology) -> None:
    weights = {
        (gateway_of(topology, account.gateway_port[target.key]).mesh, target.weight)
        for rule in rules(account)
        for target in rule.targets
    }

    assert weights == {(SOURCE_MESH, 10), (TARGET_MESH, 0)}


def test_namespaces_may_share_a_balancer_but_never_a_rule(account: Account) -> None:
    places = account.places

    assert account.namespaces_of("lb-front0001") == ("pay", "search")
    assert account.namespaces_of("lb-front0002") == ("shop",)
    assert places["pay"].listener == places["search"].listener != places["shop"].listener
    assert len({place.location for place in places.values()}) == len(NAMESPACES)


def test_a_place_leads_to_the_namespaces_own_rule(account: Account) -> None:
    found = {
        name: [
            rule.domain
            for listener, rule in balancer(account, place.balancer).rules()
            if (listener.listener_id, rule.location_id) == (place.listener, place.location)
        ]
        for name, place in account.places.items()
    }

    assert found == {"shop": ["shop.example.com"], "pay": ["pay.example.com"], "search": ["search.example.com"]}


def test_an_unknown_balancer_has_no_namespaces(account: Account) -> None:
    assert account.namespaces_of("lb-nobody") == ()
