"""The files a user of the lab would have written: fleet, policies, keys. Pure rendering; time is compressed here.

The lab is fast because its settings are (short scrapes, ticks and soaks), never because a clock is faked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from shifter.core.schema import API_VERSION
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, SOURCE_NODE_PORT, TARGET_POD_PORT, Account, RulePlace
from shifter.lab.topology import GATEWAY_NAMESPACE, GATEWAY_WORKLOAD, SOURCE_MESH, TARGET_MESH

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the lab migrates. Steps are percent, the rest seconds."""

    steps: tuple[int, ...] = (10, 25, 50, 100)
    tick_seconds: float = 1.0
    scrape_seconds: float = 1.0
    soak_seconds: float = 5.0
    window_seconds: float = 5.0
    min_requests: int = 30
    requests_per_second: float = 100.0


LAB_PACE: Final = Pace()
CALL_TIMEOUT_SECONDS: Final = 2.0
"""How long the service waits for an answer of the cloud in the lab."""


def fleet(account_directory: Path, emulator_port: int, prometheus: Mapping[str, str], pace: Pace) -> Document:
    """Return the fleet file. `prometheus` maps each mesh to the URL of its server."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Fleet",
        "metadata": {"name": "lab"},
        "spec": {
            "mode": "act",
            "datasources": {
                "source": _datasource(prometheus[SOURCE_MESH]),
                "target": _datasource(prometheus[TARGET_MESH]),
            },
            "provider": {
                "tencent": {
                    "endpoint": f"127.0.0.1:{emulator_port}",
                    "scheme": "http",
                    "secretIdFile": str(account_directory / "secret-id"),
                    "secretKeyFile": str(account_directory / "secret-key"),
                    "timeout": _seconds(CALL_TIMEOUT_SECONDS),
                }
            },
            "timing": {
                "tick": _seconds(pace.tick_seconds),
                "sampleMaxAge": _seconds(3 * pace.scrape_seconds + 1),
                "readDeadline": _seconds(2 * pace.tick_seconds),
                "operationTimeout": "8s",
                "reportEvery": _seconds(pace.tick_seconds),
            },
        },
    }


def _datasource(url: str) -> Document:
    return {
        "url": url,
        "matchers": {
            "reporter": "source",
            "source_workload": GATEWAY_WORKLOAD,
            "source_workload_namespace": GATEWAY_NAMESPACE,
        },
        "podMatchers": {"namespace": GATEWAY_NAMESPACE},
        "timeout": "1s",
    }


def policy(namespace: str, place: RulePlace, pace: Pace) -> Document:
    """Return the policy file of one namespace."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ShiftPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "namespace": namespace,
            "traffic": {
                "clb": {
                    "region": REGION,
                    "loadBalancer": place.balancer,
                    "routes": [{"listener": place.listener, "domain": place.domain, "url": "/"}],
                    "source": {"port": SOURCE_NODE_PORT},
                    "target": {"port": TARGET_POD_PORT},
                }
            },
            "steps": list(pace.steps),
            "soak": _seconds(pace.soak_seconds),
            "analysis": {
                "window": _seconds(pace.window_seconds),
                "minRequests": pace.min_requests,
                "errors": {"maxPercent": 5, "overSourcePercent": 4},
                "latency": {"quantile": 0.9, "maxMs": 250, "overSourceRatio": 10},
            },
        },
    }


def write_all(directory: Path, account: Account, emulator_port: int, prometheus: Mapping[str, str], pace: Pace) -> None:
    """Write keys, `fleet.yaml` and `policies/*.yaml` below `directory`."""
    keys = directory / "keys"
    policies = directory / "policies"
    for folder in (keys, policies):
        folder.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    for name, content in (("secret-id", SECRET_ID), ("secret-key", SECRET_KEY)):
        # Private before there is anything in it: a mounted secret is, and a user copies what the lab does.
        (keys / name).touch(mode=0o600)
        (keys / name).write_text(content, encoding="utf-8")
    _write(directory / "fleet.yaml", fleet(keys, emulator_port, prometheus, pace))
    for namespace, place in account.places.items():
        _write(policies / f"{namespace}.yaml", policy(namespace, place, pace))


def _write(path: Path, document: Document) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _seconds(span: float) -> str:
    return f"{span:g}s"
