"""What a mesh's Prometheus says its gateway answered, asked apart from shifter's own queries.

The verdict holds it against what users saw. Sharing shifter's PromQL would let both be wrong in the same way.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Final

from shifter.lab.topology import GATEWAY_NAMESPACE, GATEWAY_WORKLOAD

UNKNOWN: Final = "unknown"
"""Under which requests are counted whose destination the gateway did not know."""

_QUERY_SECONDS: Final = 5.0


def counted(prometheus_url: str) -> dict[str, float]:
    """Return the requests that a mesh's gateway answered since it started, by namespace.

    Raises:
        OSError: the server does not answer within some seconds, or refuses.
    """
    matchers = f'reporter="source",source_workload="{GATEWAY_WORKLOAD}",source_workload_namespace="{GATEWAY_NAMESPACE}"'
    query = f"sum by (destination_service_namespace) (istio_requests_total{{{matchers}}})"
    address = f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=_QUERY_SECONDS) as answer:  # noqa: S310 - our own loopback server
        rows = json.load(answer)["data"]["result"]
    return {row["metric"].get("destination_service_namespace", UNKNOWN): float(row["value"][1]) for row in rows}
