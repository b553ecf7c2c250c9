"""What can be asked of the lab's plan, and which plans are refused before a process starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from shifter.lab.prometheus import configuration
from shifter.lab.topology import Namespace, Topology, lay_out, ports_needed

PORTS = range(20_000, 20_000 + ports_needed())
SHOP = Namespace("shop")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda lab: lab.namespace("pay"), "the lab has no namespace 'pay'"),
        (lambda lab: lab.gateways_of("linkerd"), "the lab has no mesh 'linkerd'"),
        (lambda lab: lab.workloads_of("linkerd"), "the lab has no mesh 'linkerd'"),
    ],
)
def test_what_the_lab_does_not_have_is_a_key_error(ask: Callable[[Topology], object], said: str) -> None:
    with pytest.raises(KeyError, match=said):
        ask(lay_out([SHOP], PORTS))


@pytest.mark.parametrize(
    ("namespaces", "ports", "said"),
    [
        ([], PORTS, "the lab needs at least one namespace"),
        ([SHOP], PORTS[1:], f"the lab needs {len(PORTS)} ports, got {len(PORTS) - 1}"),
        ([SHOP], [*PORTS, 1], f"the lab needs {len(PORTS)} ports, got {len(PORTS) + 1}"),
        ([Namespace("../shop")], PORTS, r"'\.\./shop' is no name that Kubernetes or DNS would take"),
        ([Namespace("shop", ("Shop!",))], PORTS, "'Shop!' is no name that Kubernetes or DNS would take"),
        ([SHOP, SHOP], PORTS, "'shop' is given twice"),
        ([SHOP, Namespace("pay", SHOP.hosts)], PORTS, r"'shop\.example\.com' is given twice"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(namespaces: Sequence[Namespace], ports: Sequence[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lay_out(namespaces, ports)


@pytest.mark.parametrize("seconds", [0, 0.0004, -1])
def test_prometheus_scrapes_once_a_millisecond_at_most(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"a scrape interval of {seconds} s is too short"):
        configuration([], seconds)
