"""The files of tests that are about something else: a policy of one route, a fleet of which nothing is real.

What such files may say, and what they become, is tested beside `shifter.core` and `shifter.files`, by other files.
"""

from __future__ import annotations

import json
from typing import Any

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import API_VERSION


def policy_document(name: str = "shop", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A policy file's content. `changes` replace whole keys of the spec, or of `traffic.clb` if it is one of those."""
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": [{"listener": "lbl-1", "domain": f"{name}.example.com", "url": "/"}],
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    spec: dict[str, Any] = {"namespace": name, "traffic": {"clb": clb}, "steps": [5, 100], "soak": "5m"}
    for key, value in changes.items():
        (clb if key in clb else spec)[key] = value
    return {"apiVersion": API_VERSION, "kind": "ShiftPolicy", "metadata": {"name": name}, "spec": spec}


def a_policy(name: str = "shop", **changes: Any) -> ShiftPolicy:  # noqa: ANN401 - JSON
    """The same as it is understood."""
    return ShiftPolicy.model_validate_json(json.dumps(policy_document(name, **changes)))


def a_fleet(name: str, **spec: Any) -> Fleet:  # noqa: ANN401 - JSON
    """A fleet whose datasources are nowhere and whose keys are in no file; `spec` is what is said besides."""
    nowhere = {
        mesh: {"url": f"http://{app}.invalid", "matchers": {"app": app}, "podMatchers": {"app": app}}
        for mesh, app in (("source", "tcm"), ("target", "istio"))
    }
    provider = {"tencent": {"secretIdFile": "none", "secretKeyFile": "none"}}
    whole = {"datasources": nowhere, "provider": provider, **spec}
    document = {"apiVersion": API_VERSION, "kind": "Fleet", "metadata": {"name": name}, "spec": whole}
    return Fleet.model_validate_json(json.dumps(document))
