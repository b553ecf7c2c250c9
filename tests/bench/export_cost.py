"""What an export of ten thousand objects costs: seconds and memory of writing it, reading it back, lint and order.

Run by hand: `python -m tests.bench.export_cost`. Every part runs in a process of its own, so that each peak is its own;
objects are made page by page, as a server would send them, and none is kept.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from shifter.mesh.configuration.archive import Asked, Page, write_export
from shifter.mesh.configuration.findings import GatewayPods, Target
from shifter.mesh.configuration.kinds import DESTINATION_RULE, ENVOY_FILTER, GATEWAY, VIRTUAL_SERVICE, ConfigKind
from shifter.mesh.configuration.lint import findings_of
from shifter.mesh.configuration.manifest import Source
from shifter.mesh.configuration.opening import changes_of, open_export
from shifter.mesh.configuration.order import order_key, to_apply

OBJECTS: Final = 10_000
_PAGE: Final = 500
_NAMESPACES: Final = 40
_KINDS: Final = (VIRTUAL_SERVICE, DESTINATION_RULE, GATEWAY, ENVOY_FILTER)
_LUA: Final = "function envoy_on_request(handle)\n  handle:logInfo('hello')\nend\n" * 10
_TARGET: Final = Target(
    release="1.18.5", gateways=(GatewayPods("istio-system", "a", {"istio": "ingressgateway"}),), secrets=frozenset()
)


def pages(objects: int) -> Iterator[Page]:
    """Yield pages of objects of a common size: routes, rules, gateways with certificates, filters with a program."""
    for number in range(0, objects, _PAGE):
        kind = _KINDS[number // _PAGE % len(_KINDS)]
        bodies = [_body(kind, each) for each in range(number, min(number + _PAGE, objects))]
        yield Page(kind, kind.served_by((1, 18))[0], bodies)


def _body(kind: ConfigKind, number: int) -> dict[str, Any]:
    return {
        "apiVersion": kind.at("v1alpha3").api_version,
        "kind": kind.name,
        "metadata": {
            "name": f"service-{number}",
            "namespace": f"team-{number % _NAMESPACES}",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "resourceVersion": str(number),
            "labels": {"app": f"service-{number}", "tcm.cloud.tencent.com/managed-by": "mesh-mn8gnn1g"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1500},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {f"f:{key}": {} for key in range(40)}}],
        },
        "spec": _spec(kind, number),
        "status": {},
    }


def _spec(kind: ConfigKind, number: int) -> dict[str, Any]:
    host = f"service-{number}.team-{number % _NAMESPACES}.svc.cluster.local"
    if kind is VIRTUAL_SERVICE:
        route = [{"destination": {"host": host, "subset": subset}, "weight": 50} for subset in ("v1", "v2")]
        match = [{"uri": {"prefix": "/api"}, "headers": {"x-canary": {"exact": "always"}}}]
        return {"hosts": [host], "gateways": ["mesh"], "http": [{"match": match, "route": route, "timeout": "3s"}] * 4}
    if kind is DESTINATION_RULE:
        subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2", "v3")]
        return {"host": host, "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 100}}}, "subsets": subsets}
    if kind is GATEWAY:
        server = {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": [f"a{number}.example.com"]}
        tls = {"mode": "SIMPLE", "credentialName": f"tls-{number}"}
        return {"selector": {"istio": "ingressgateway"}, "servers": [{**server, "tls": tls}]}
    value = {"name": "envoy.filters.http.lua", "typed_config": {"inlineCode": _LUA}}
    return {"configPatches": [{"applyTo": "HTTP_FILTER", "patch": {"operation": "INSERT_BEFORE", "value": value}}]}


def write(folder: Path) -> int:
    """Export `OBJECTS` objects; return how many were written."""
    return len(write_export(folder, pages(OBJECTS), Asked(Source(), "bench", "now")).files)


def check(folder: Path) -> int:
    """Compare every file with its checksum; return how many are not as they were written."""
    return len(changes_of(folder))


def lint(folder: Path) -> int:
    """Read and lint the whole export; return how many findings there are."""
    return len(findings_of(open_export(folder).objects(), _TARGET))


def order(folder: Path) -> int:
    """Put the whole export into the order of applying; return how many objects that are."""
    objects = open_export(folder).objects()
    keys = {stored.path: order_key(stored.read.value) for stored in objects if stored.read.value is not None}
    return len(to_apply(keys, lambda path: keys[path]))


def main() -> None:
    """Run every part in its own process and print what each took; with a part's name: run that."""
    parts = {"write": write, "check": check, "lint": lint, "order": order}
    if len(sys.argv) > 1:
        begun = time.perf_counter()
        count = parts[sys.argv[1]](Path(sys.argv[2]))
        took, peak = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        told = {"part": sys.argv[1], "count": count, "seconds": round(took, 1), "peak_mib": peak}
        sys.stdout.write(f"{json.dumps(told)}\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            command = [sys.executable, "-m", "tests.bench.export_cost", part, f"{folder}/data"]
            subprocess.run(command, check=True, timeout=300)


if __name__ == "__main__":
    main()
