"""Changes a running Envoy: endpoint files and runtime keys.

Both take effect without a reload. A file must appear by rename (`json_files`): Envoy watches for moves, and a
half-written file would be refused.
"""

from __future__ import annotations

import http.client
import json
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


class EnvoyControlError(RuntimeError):
    """An Envoy did not accept a runtime change."""


class FrontEnvoy:
    """The weights of the balancer's data plane.

    Args:
        endpoint_directory: the folder that the front's bootstrap names.
    """

    def __init__(self, endpoint_directory: Path) -> None:
        self._directory = endpoint_directory

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
        cluster = front_cluster(host)
        write_json(self._directory / f"{cluster}.json", endpoints(cluster, pairs))


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
