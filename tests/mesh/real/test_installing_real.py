"""The guide's whole sequence by the real command line, istioctl and istiod: killed at every step, resumed, again."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

import pytest

from tests.mesh.real.conftest import Guide, Story
from tests.mesh.real.running import MEMBER, PRIMARY, steps_of
from tests.mesh.towns import Town

_READER = "istio-reader-service-account"
_PARTS = ("kube-", "Python-urllib")  # of the cluster: its own, and those that stand for the rest of one
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def _written(town: Town, seen: Mapping[str, int]) -> Sequence[str]:
    """What people wrote since, in all clusters; dry runs and questions about rights write nothing."""
    found = []
    for name, cluster in town.clusters.items():
        for event in list(cluster.plane.audit())[seen[name] :]:
            asked = event.get("objectRef", {})
            is_question = asked.get("resource", "").endswith("reviews") or "dryRun=All" in event["requestURI"]
            is_part = event["userAgent"].startswith(_PARTS) or event["user"]["username"].startswith("system:")
            if not is_part and event["verb"] in _WRITES and not is_question:
                found.append(f"{event['verb']} {asked.get('resource')} {asked.get('name')}")
    return found


def _seen(town: Town) -> Mapping[str, int]:
    return {name: len(list(cluster.plane.audit())) for name, cluster in town.clusters.items()}


def test_a_plan_of_nothing_says_what_it_cannot_know_yet(story: Story) -> None:
    plan = json.loads(story.planned)

    assert plan["needed"] is True
    outcomes = {f"{each['cluster']}  {each['step']}": each["outcome"] for each in plan["steps"]}
    assert outcomes[f"{PRIMARY}  control plane"] == "would be done"
    assert outcomes[f"{MEMBER}  the way to istiod"] == "not known yet"


@pytest.mark.fault(
    on="process",
    fault="killed while it installs a mesh",
    does="the next run goes on; nothing public, no second IstioOperator",
    sees="the steps that are left",
    safe_within="at once",
)
def test_a_run_killed_at_every_step_is_resumed_to_the_end(story: Story) -> None:
    assert story.last_code == 0
    assert {f"{PRIMARY}  control plane", f"{PRIMARY}  its IstioOperator", f"{MEMBER}  the way to istiod"} <= set(
        story.visits
    )


def test_no_state_in_between_is_unsound(story: Story) -> None:
    assert story.unsound == []


def test_an_istioctl_ends_with_the_run_that_started_it(story: Story) -> None:
    assert story.survived == []


def test_a_second_run_writes_nothing_but_its_lock(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    seen = _seen(guide.town)

    again = guide.person.runs("install")

    assert "is installed: no steps carried out" in again.said
    written = _written(guide.town, seen)
    assert written, "not even the lock was seen"
    assert {each.split()[1] for each in written} == {"leases"}


def test_a_plan_afterwards_has_nothing_to_do(guide: Guide, story: Story) -> None:
    assert story.last_code == 0

    plan = guide.person.runs("plan", "--diff")

    assert "nothing is to be done" in plan.said
    assert {line[0] for line in plan.out.splitlines()} == {"="}


@pytest.mark.fault(
    on="people",
    fault="delete istiod of an installed mesh",
    does="plan shows it; install brings it back",
    sees="plan: `Deployment istio-system/istiod is gone`",
    safe_within="at once",
)
def test_an_istiod_deleted_by_hand_is_noticed_and_comes_back(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    plane = guide.town.primary.plane
    plane.kubectl("root", "delete", "deployment", "istiod", "-n", "istio-system")

    planned = steps_of(guide.person.runs("plan", "-o", "json"))
    mended = guide.person.runs("install")

    assert "Deployment istio-system/istiod is gone" in planned[f"{PRIMARY}  control plane"]["says"]
    assert mended.code == 0, mended.said
    assert plane.kubectl("root", "get", "deployment", "istiod", "-n", "istio-system").returncode == 0


def test_a_remote_secret_that_is_gone_or_leads_nowhere_any_more_is_made_anew(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    plane, name = guide.town.primary.plane, f"istio-remote-secret-{MEMBER}"
    where = f"{PRIMARY}  remote secret of {MEMBER}"
    member = guide.town.clusters[MEMBER].plane
    member.kubectl("root", "delete", "secret", "-n", "istio-system", f"{_READER}-istio-remote-secret-token")
    dead = steps_of(guide.person.runs("plan", "-o", "json"))[where]
    plane.kubectl("root", "delete", "secret", name, "-n", "istio-system")
    gone = steps_of(guide.person.runs("plan", "-o", "json"))[where]

    made = guide.person.runs("install")

    assert dead["says"] == f"make it anew: its credential is not {MEMBER}'s any more"
    assert gone["says"] == "istioctl create-remote-secret"
    assert made.code == 0, made.said
    kept = json.loads(plane.kubectl("root", "get", "secret", name, "-n", "istio-system", "-o", "json").stdout)
    credential = base64.b64decode(kept["data"][MEMBER]).decode().split("token: ")[1].split()[0]
    assert credential not in made.said + made.out + json.dumps([dead, gone])


def test_a_mesh_that_was_installed_by_hand_is_shown_and_taken_over(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    planes = [cluster.plane for cluster in guide.town.clusters.values()]
    for plane in planes:
        plane.kubectl("root", "delete", "configmap", "shifter-mesh", "-n", "istio-system")

    plan = guide.person.runs("plan", "-o", "json")
    taken = guide.person.runs("install")

    says = steps_of(plan)[f"{PRIMARY}  its IstioOperator"]["says"]
    assert says == "istioctl install: take over what somebody installed (istio-system/istio-eastwestgateway)"
    assert taken.code == 0, taken.said
    for plane in planes:
        assert plane.kubectl("root", "get", "configmap", "shifter-mesh", "-n", "istio-system").returncode == 0


@pytest.mark.fault(
    on="people",
    fault="write another CLB at a gateway that is installed",
    does="refuses before istioctl runs",
    sees="error `has the existing CLB ..., and the file says`",
    safe_within="at once",
)
def test_another_clb_in_the_file_is_refused_before_anything_is_done(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    seen = _seen(guide.town)
    before = guide.person.spec["primary"]["eastWest"]
    guide.person.spec["primary"]["eastWest"] = {"loadBalancer": {"existing": "lb-00000002"}}

    refused = guide.person.runs("install")

    guide.person.spec["primary"]["eastWest"] = before
    assert refused.code == 4, refused.said
    assert "has the existing CLB lb-lujb6a5a, and the file says the existing CLB lb-00000002" in refused.said
    assert "hint: write what it had" in refused.said
    assert {each.split()[1] for each in _written(guide.town, seen)} == {"leases"}


@pytest.mark.fault(
    on="people",
    fault="take a gateway out of the mesh file",
    does="refuses without --allow-removal",
    sees="error `istioctl would remove that`",
    safe_within="at once",
)
def test_a_gateway_gone_from_the_file_is_removed_only_when_allowed(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    member, plane = guide.person.spec["members"][0], guide.town.clusters[MEMBER].plane
    intranet = member["gateways"].pop()

    refused = guide.person.runs("install")
    removed = guide.person.runs("install", "--allow-removal")

    assert refused.code == 4, refused.said
    assert "the file does not have istio-system/istio-ingressgateway-intranet: istioctl would remove" in refused.said
    assert "hint: if that is meant: --allow-removal" in refused.said
    assert removed.code == 0, removed.said
    gone = plane.kubectl("root", "get", "service", intranet["name"], "-n", "istio-system", check=False)
    assert "NotFound" in gone.stderr


def test_exchanged_contexts_are_refused(guide: Guide, story: Story) -> None:
    assert story.last_code == 0
    primary, member = guide.person.spec["primary"], guide.person.spec["members"][0]
    primary["context"], member["context"] = member["context"], primary["context"]

    refused = guide.person.runs("install")

    primary["context"], member["context"] = member["context"], primary["context"]
    assert refused.code == 4, refused.said
    assert "shifter has installed another mesh here" in refused.said or "is not the file's" in refused.said
