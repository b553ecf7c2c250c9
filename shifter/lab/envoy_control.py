"""Changes a running Envoy: endpoint files and runtime keys.

Both take effect without a reload. A file must appear by rename (`json_files`): Envoy watches for moves, and a
half-written file would be refused.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from shifter.lab.envoy import endpoints, front_cluster
from shifter.lab.free_ports import LOOPBACK
from shifter.lab.json_files import write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ADMIN_TIMEOUT_SECONDS = 5.0
MAX_WEIGHT = 100  # the cloud balancer's own limit


_FINENESS = 100  # into how many parts a weight is cut where a part of it is lost


@dataclass(frozen=True, slots=True)
class Loss:
    """That percentage (0-100) of a gateway's requests ends at another port."""

    percent: float
    port: int

    def __post_init__(self) -> None:
        fraction(self.percent)


class EnvoyControlError(RuntimeError):
    """An Envoy did not accept a runtime change."""


class FrontEnvoy:
    """The weights of the balancer's data plane, and what is lost behind its back. Safe for several threads.

    Args:
        endpoint_directory: the folder that the front's bootstrap names.
    """

    def __init__(self, endpoint_directory: Path) -> None:
        self._directory = endpoint_directory
        self._weights: dict[str, list[tuple[int, int]]] = {}
        self._losses: dict[str, dict[int, Loss]] = {}
        # The cloud's thread sets weights while the story's loses traffic; the last file must know of both.
        self._lock = threading.Lock()

    def set_weights(self, host: str, weights: Iterable[tuple[int, int]]) -> None:
        """Set the weights of one domain's rule; in force within some milliseconds.

        Args:
            host: the domain.
            weights: (gateway port, weight 0-100) pairs. Ports that are left out get nothing; none above 0 means that
                users get 503.

        Raises:
            ValueError: a weight outside 0-100.
        """
        pairs = list(weights)
        for port, weight in pairs:
            if not 0 <= weight <= MAX_WEIGHT:
                raise ValueError(f"weight {weight} of port {port} is not within 0-{MAX_WEIGHT}")
        with self._lock:
            self._weights[host] = pairs
            self._write(host)

    def set_losses(self, host: str, losses: Mapping[int, Loss]) -> None:
        """Set what of a domain's requests is lost on the way, by gateway port; the weights stay what they are."""
        with self._lock:
            self._losses[host] = dict(losses)
            self._write(host)

    def _write(self, host: str) -> None:
        losses, cluster = self._losses.get(host, {}), front_cluster(host)
        pairs = self._weights.get(host, [])
        if losses:
            pairs = _kept_and_lost(pairs, losses)
        write_json(self._directory / f"{cluster}.json", endpoints(cluster, pairs))


def _kept_and_lost(weights: Iterable[tuple[int, int]], losses: Mapping[int, Loss]) -> list[tuple[int, int]]:
    """Let a part of some weights lead elsewhere.

    All weights grow alike, so that the others' shares stay. What is lost to one port is one member: Envoy knows a
    cluster's members by their address and would take the second for the first again.
    """
    found: Counter[int] = Counter()
    for port, weight in weights:
        loss = losses.get(port)
        lost = 0 if loss is None else round(weight * _FINENESS * loss.percent / 100)
        found[port] += weight * _FINENESS - lost
        if loss is not None:
            found[loss.port] += lost
    return list(found.items())


def set_runtime(admin_port: int, values: Mapping[str, str]) -> None:
    """Set runtime keys of one Envoy; an empty value takes an override back. In force when this returns.

    Raises:
        EnvoyControlError: it did not answer within `ADMIN_TIMEOUT_SECONDS`, or refused.
    """
    query = urlencode(values, quote_via=quote)  # Envoy does not take a plus sign for a space
    connection = http.client.HTTPConnection(LOOPBACK, admin_port, timeout=ADMIN_TIMEOUT_SECONDS)
    try:
        connection.request("POST", f"/runtime_modify?{query}")
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise EnvoyControlError(f"the Envoy with admin port {admin_port} did not answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise EnvoyControlError(f"the Envoy with admin port {admin_port} refused: {response.status} {answer}")


def fraction(percent: float) -> str:
    """A percentage as a runtime value, to a ten-thousandth of a percent.

    Raises:
        ValueError: not within 0-100.
    """
    if not 0 <= percent <= 100:  # noqa: PLR2004 - a percentage
        raise ValueError(f"{percent} is not a percentage")
    return json.dumps({"numerator": round(percent * 10_000), "denominator": "MILLION"})
