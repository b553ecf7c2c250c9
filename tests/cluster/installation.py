"""shifter's chart, rendered by the real helm and applied to the control plane, as an administrator would install it.

Pods stay pending, since there is no node: a test runs the service itself, with the rights of the chart's service
account (`ControlPlane.account_kubeconfig`).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.plane import ControlPlane

CHART: Final = Path(__file__).parents[2] / "deploy" / "chart"
KINDS: Final = ("shifts", "shiftfleets", "shiftorders", "shiftrecords")
ACCOUNT: Final = "shifter"
ROLES: Final = {"vic": "viewer", "ann": "operator", "adm": "admin"}
"""Who of the control plane's people gets which of the chart's example roles."""

HELM_SECONDS: Final = 30.0
DEADLINE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1


def define(plane: ControlPlane) -> None:
    """Let our kinds be served: the chart's definitions, which helm installs once and never touches again."""
    plane.kubectl("root", "apply", "--server-side", "-f", str(CHART / "crds"))
    # `kubectl wait` fails on a definition that has no status yet, and an established one is not served yet.
    plane.must_serve(*(f"/apis/shifter.io/v1alpha1/{plural}?limit=1" for plural in KINDS))


def render(plane: ControlPlane, namespace: str, *words: str) -> Sequence[Mapping[str, Any]]:
    """Render the chart.

    Args:
        plane: whose helm, and whose version of Kubernetes.
        namespace: of the release.
        words: more of `helm template`, such as `--set`, `replicas=3`.

    Raises:
        AssertionError: helm refuses; with what it said.
    """
    said = ("template", "shifter", str(CHART), "--namespace", namespace, "--kube-version", plane.version, *words)
    done = helm(plane, *said)
    assert done.returncode == 0, f"helm {' '.join(said)}: {done.stderr}"
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def helm(plane: ControlPlane, *words: str) -> subprocess.CompletedProcess[str]:
    """Run helm with an administrator's rights in a cluster; what is after `helm`."""
    return subprocess.run(
        [str(plane.tools.helm), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HELM_SECONDS,
        env={**plane.environment, "KUBECONFIG": str(plane.kubeconfig("root"))},
        check=False,
    )


def install(plane: ControlPlane, namespace: str, *words: str) -> Sequence[Mapping[str, Any]]:
    """Install the chart into a namespace that exists, bind its roles to `ROLES`, and wait until orders are admitted.

    Raises:
        AssertionError: helm or the API server refuses.
    """
    objects = render(plane, namespace, *words)
    plane.apply(*objects, *(_binding(namespace, who, beside(namespace, role)) for who, role in ROLES.items()))
    await_admission(plane, namespace)
    return objects


def uninstall(plane: ControlPlane, namespace: str) -> None:
    """Delete what the chart has put into the whole cluster, but for the definitions, which all installations share."""
    kinds = ("validatingadmissionpolicy", "validatingadmissionpolicybinding")
    policies = [f"{kind}/{_policy(namespace)}" for kind in kinds]
    roles = [f"clusterrole/{beside(namespace, role)}" for role in ROLES.values()]
    plane.kubectl("root", "delete", "--ignore-not-found", *policies, *roles)


def beside(namespace: str, what: str) -> str:
    """Return what the chart calls something that another installation has, too."""
    return f"{what}.{namespace}.shifter.io"


def an_order(namespace: str, by: str, *, shift: str = "shop", verb: str = "pause", **rest: object) -> dict[str, Any]:
    """An order as an object to be created."""
    return {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "ShiftOrder",
        "metadata": {"generateName": f"{verb}-", "namespace": namespace},
        "spec": {"shift": shift, "verb": verb, "by": by, "reason": "because", **rest},
    }


def _binding(namespace: str, who: str, role: str) -> Mapping[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{who}-{role}", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": who}],
    }


def await_admission(plane: ControlPlane, namespace: str) -> None:
    """Wait until orders are admitted: policies are compiled and come into force a moment after they were taken.

    Raises:
        AssertionError: they do not.
    """
    forged = json.dumps(an_order(namespace, "somebody-else"))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        told = plane.kubectl("root", "create", "--dry-run=server", "-f", "-", said=forged, check=False)
        if told.returncode != 0 and _policy(namespace) in told.stderr:
            return
        assert time.monotonic() < deadline, f"a forged order is not refused: {told.stdout}{told.stderr}"
        time.sleep(POLL_SECONDS)


def _policy(namespace: str) -> str:
    return beside(namespace, "orders")
