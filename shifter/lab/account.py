"""The lab's Tencent account: which CLBs exist, which gateway pods their rules point at, and under which names.

TCM's gateways are bound as CVMs with a NodePort, Istio's as pod addresses (ENI), because real migrations mix
both ways and each must be addressed the way it was bound. On this machine every pod is a port of 127.0.0.1;
`Account.gateway_port` is the map between the two worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.lab.emulator import Listener, LoadBalancer, Rule, Target, TargetKey, TargetKind
from shifter.lab.topology import FIRST_WEIGHT, SOURCE_MESH, Gateway, Namespace

REGION: Final = "ap-guangzhou"
SECRET_ID: Final = "AKIDlab0shifter0emulator0only"  # noqa: S105 - the emulator's, known to everybody
SECRET_KEY: Final = "lab-key-that-opens-nothing"  # noqa: S105 - the emulator's, known to everybody
SOURCE_NODE_PORT: Final = 30080
TARGET_POD_PORT: Final = 8080


@dataclass(frozen=True, slots=True)
class RulePlace:
    """Where a namespace's rule is in the account."""

    balancer: str
    listener: str
    location: str
    domain: str


@dataclass(frozen=True, slots=True)
class Account:
    """What the emulator holds, and what each of its targets is on this machine."""

    balancers: tuple[LoadBalancer, ...]
    places: Mapping[str, RulePlace]
    gateway_port: Mapping[TargetKey, int]

    def namespaces_of(self, balancer: str) -> tuple[str, ...]:
        """Return the namespaces whose rule is on a balancer."""
        return tuple(name for name, place in self.places.items() if place.balancer == balancer)


def open_account(
    namespaces: Sequence[Namespace], balancer_of: Mapping[str, str], gateways: Sequence[Gateway]
) -> Account:
    """Lay the account out: one HTTPS listener per CLB, one rule per namespace, all gateways behind every rule.

    Args:
        namespaces: what is migrated; the first host of each is its rule's domain.
        balancer_of: the CLB id of each namespace; namespaces may share one.
        gateways: the pods of both meshes.
    """
    ports = {_target(gateway, index).key: gateway.port for index, gateway in enumerate(gateways)}
    targets = tuple(_target(gateway, index) for index, gateway in enumerate(gateways))
    places: dict[str, RulePlace] = {}
    rules: dict[tuple[str, str], list[Rule]] = {}
    for index, namespace in enumerate(namespaces):
        balancer = balancer_of[namespace.name]
        place = RulePlace(balancer, f"lbl-https{balancer[-4:]}", f"loc-{index:08d}", namespace.hosts[0])
        places[namespace.name] = place
        rule = Rule(location_id=place.location, domain=place.domain, url="/", targets=targets)
        rules.setdefault((balancer, place.listener), []).append(rule)
    balancers = tuple(
        LoadBalancer(
            load_balancer_id=balancer,
            name=f"front {balancer}",
            vips=("203.0.113.10",),
            listeners=(Listener(listener_id=listener, protocol="HTTPS", port=443, rules=tuple(held)),),
        )
        for (balancer, listener), held in rules.items()
    )
    return Account(balancers, places, ports)


def _target(gateway: Gateway, index: int) -> Target:
    if gateway.mesh == SOURCE_MESH:
        return Target(
            kind=TargetKind.CVM,
            instance_id=f"ins-{SOURCE_MESH}{index:05d}",
            ip=f"10.0.0.{10 + index}",
            port=SOURCE_NODE_PORT,
            weight=FIRST_WEIGHT,
        )
    return Target(
        kind=TargetKind.ENI, ip=f"10.1.0.{10 + index}", eni_id=f"eni-{index:08d}", port=TARGET_POD_PORT, weight=0
    )
