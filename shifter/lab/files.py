"""The files a user of the lab would have written: fleet, policies, keys. Pure rendering; time is compressed here.

The lab is fast because its settings are (short scrapes, ticks and soaks), never because a clock is faked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from shifter.core.documents.schema import API_VERSION
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, SOURCE_NODE_PORT, TARGET_POD_PORT, Account, RulePlace
from shifter.lab.topology import GATEWAY_NAMESPACE, GATEWAY_WORKLOAD, SOURCE_MESH, TARGET_MESH

Document = Mapping[str, Any]
_NOTHING: Final[Document] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the lab migrates. Steps are percent, the rest seconds."""

    steps: tuple[int, ...] = (10, 25, 50, 100)
    tick_seconds: float = 1.0
    scrape_seconds: float = 1.0
    soak_seconds: float = 5.0
    hold_seconds: float = 10.0
    requests_per_second: float = 100.0


@dataclass(frozen=True, slots=True)
class Own:
    """What a story's files have of their own: merged into what all have, key by key, where None takes a key away.

    Args:
        spec_of: parts of a policy's `spec`, by namespace.
        fleet_spec: parts of the fleet's `spec`.
    """

    spec_of: Mapping[str, Document] = field(default_factory=dict)
    fleet_spec: Document = field(default_factory=dict)


NOTHING_OWN: Final = Own()
LAB_PACE: Final = Pace()
_LATENCY: Final[Document] = MappingProxyType(
    {"tolerance": {"ratio": 2, "percent": 5}, "margin": {"ratio": 3, "percent": 10}}
)
"""Wide, since one machine plays everybody: a few milliseconds more are its scheduler's and say nothing of a mesh."""

CALL_TIMEOUT_SECONDS: Final = 2.0
"""How long the service waits for an answer of the cloud in the lab."""


def merged(base: Document, own: Document) -> Document:
    """Return `base` with `own` laid over it: mappings are merged, None takes a key away, all else is replaced."""
    together = {name: value for name, value in base.items() if name not in own}
    for name, value in own.items():
        before = base.get(name)
        if value is not None:
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            together[name] = merged(before, value) if both else value  # type: ignore[arg-type] # both are mappings
    return together


def fleet(
    account_directory: Path, emulator_port: int, prometheus: Mapping[str, str], pace: Pace, own: Document = _NOTHING
) -> Document:
    """Return the fleet file. `prometheus` maps each mesh to the URL of its server; `own` is merged into the spec."""
    spec = {
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
    }
    return _document("Fleet", "lab", merged(spec, own))


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


def policy(namespace: str, place: RulePlace, pace: Pace, own: Document = _NOTHING) -> Document:
    """Return the policy file of one namespace; `own` is merged into its spec."""
    spec = {
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
        "analysis": {"hold": _seconds(pace.hold_seconds), "latency": _LATENCY},
    }
    return _document("ShiftPolicy", namespace, merged(spec, own))


def write_all(
    directory: Path,
    account: Account,
    emulator_port: int,
    prometheus: Mapping[str, str],
    pace: Pace,
    *,
    own: Own = NOTHING_OWN,
) -> None:
    """Write keys, `fleet.yaml` and `policies/*.yaml` below `directory`.

    Raises:
        ValueError: `own` has parts for a namespace that the account does not know.
    """
    if strangers := own.spec_of.keys() - account.places.keys():
        raise ValueError(f"no policy is written for {', '.join(sorted(strangers))}")
    keys = directory / "keys"
    policies = directory / "policies"
    for folder in (keys, policies):
        folder.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    for name, content in (("secret-id", SECRET_ID), ("secret-key", SECRET_KEY)):
        # Private before there is anything in it: a mounted secret is, and a user copies what the lab does.
        (keys / name).touch(mode=0o600)
        (keys / name).write_text(content, encoding="utf-8")
    _write(directory / "fleet.yaml", fleet(keys, emulator_port, prometheus, pace, own.fleet_spec))
    for namespace, place in account.places.items():
        _write(policies / f"{namespace}.yaml", policy(namespace, place, pace, own.spec_of.get(namespace, _NOTHING)))


def _write(path: Path, document: Document) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _document(kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": _plain(spec)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return JSON values in the types that YAML and JSON know: a story's may be read-only."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _seconds(span: float) -> str:
    return f"{span:g}s"
