"""The chart installed into a cluster: again, beside another one, and what its service account may do there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from shifter.adapters.kube.api import DEPLOYMENTS, LEASES, SHIFTS, KubeError
from shifter.adapters.kube.client import KubeClient
from tests.cluster.installation import ACCOUNT, an_order, install, render, uninstall
from tests.cluster.plane import ControlPlane
from tests.cluster.rights import Asked, Right, allows, asked, granted

DEADLINE_SECONDS = 10.0


@pytest.fixture
def second(plane: ControlPlane, installed: str) -> Iterator[str]:
    """A second installation, with its own namespace."""
    name = f"{installed}-second"
    plane.kubectl("root", "create", "namespace", name)
    install(plane, name)
    yield name
    uninstall(plane, name)
    plane.kubectl("root", "delete", "namespace", name, "--wait=false")


def test_installing_again_changes_nothing(plane: ControlPlane, installed: str) -> None:
    objects = {"apiVersion": "v1", "kind": "List", "items": render(plane, installed)}

    done = plane.kubectl("root", "diff", "-f", "-", said=json.dumps(objects), check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_two_installations_do_not_touch_each_other(plane: ControlPlane, installed: str, second: str) -> None:
    uninstall(plane, second)

    def give(namespace: str) -> str:
        forged = json.dumps(an_order(namespace, "somebody"))
        return plane.kubectl("root", "create", "--dry-run=server", "-f", "-", said=forged, check=False).stderr

    deadline = time.monotonic() + DEADLINE_SECONDS
    while give(second):
        assert time.monotonic() < deadline, "a policy that was deleted is still in force"
        time.sleep(0.1)
    assert "spec.by must be who gives the order" in give(installed)


def test_the_service_account_has_the_rights_of_its_role(
    plane: ControlPlane, installed: str, service_api: KubeClient
) -> None:
    roles = [each for each in render(plane, installed) if each["kind"] == "Role"]

    service_api.list(SHIFTS, installed)
    with pytest.raises(KubeError, match="forbidden"):
        service_api.get(LEASES, installed, "another")
    with pytest.raises(KubeError, match="forbidden"):
        service_api.get(DEPLOYMENTS, "default", "any")

    told = told_of(plane, installed, 3)
    rights = granted(roles)
    assert [bool(allows(rights, each.right)) for each in told] == [True, False, False]
    assert told == [
        Asked(Right("list", "shifts.shifter.io"), installed, 200),
        Asked(Right("get", "leases.coordination.k8s.io", "another"), installed, 403),
        Asked(Right("get", "deployments.apps", "any"), "default", 403),
    ]


def test_a_right_by_name_allows_no_other_name() -> None:
    rule = {"apiGroups": ["", "apps"], "resources": ["a", "a/status"], "verbs": ["get"], "resourceNames": ["one"]}
    rights = granted([{"rules": [rule]}])

    assert rights == {Right("get", each, "one") for each in ("a", "a/status", "a.apps", "a.apps/status")}
    assert allows(rights, Right("get", "a.apps/status", "one")) == {Right("get", "a.apps/status", "one")}
    assert not allows(rights, Right("get", "a", "two"))
    assert not allows(rights, Right("list", "a"))


def told_of(plane: ControlPlane, namespace: str, count: int) -> list[Asked]:
    """What the service account asked; the log is written a moment after an answer."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found := asked(plane, f"system:serviceaccount:{namespace}:{ACCOUNT}")) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found
