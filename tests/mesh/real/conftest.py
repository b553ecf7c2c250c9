"""For each release one town in which the guide's mesh is installed, by runs that are killed at every step."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.tools import find_tools
from tests.mesh.real.running import MEMBER, PRIMARY, Person, begun, child_of, is_over, kill, person_of
from tests.mesh.tools import RELEASES, IstioTools, Release, find_istio
from tests.mesh.towns import Town

_ISTIOCTL_SECONDS = 20.0
_FIRST = f"{PRIMARY}  control plane"
_HALF_WAY = {
    _FIRST: (PRIMARY, "deployment istiod"),
    f"{PRIMARY}  its IstioOperator": (PRIMARY, "deployment istio-eastwestgateway"),
    f"{MEMBER}  the way to istiod": (MEMBER, "mutatingwebhookconfiguration istio-sidecar-injector"),
    f"{MEMBER}  its IstioOperator": (MEMBER, "deployment istio-ingressgateway"),
}
"""The steps that istioctl does, and what is there when it has begun and is not done."""

_MAY_BE_PUBLIC = {(MEMBER, "istio-system/istio-ingressgateway"), (MEMBER, "staging/istio-ingressgateway-staging")}


_TEST_SECONDS = 400


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests in here the time of a whole installation: the first of a release waits for it."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))


@dataclass(slots=True)
class Story:
    """How an installation went that was killed again and again. `unsound` is what no moment of it may have.

    `visits` counts by step how often a run was killed in it; `killed` has those in which none is killed any more.
    """

    planned: str = ""
    killed: list[str] = field(default_factory=list)
    visits: dict[str, int] = field(default_factory=dict)
    survived: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    last_code: int | None = None


@dataclass(frozen=True, slots=True)
class Guide:
    """The guide's two clusters, and somebody who installs its mesh."""

    tools: IstioTools
    town: Town
    person: Person


@pytest.fixture(scope="session", params=RELEASES, ids=lambda release: release.minor)
def guide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    release: Release = request.param
    tools = find_istio(release, os.environ)
    folder = tmp_path_factory.mktemp(f"guide-{release.minor}")
    with Town(find_tools(os.environ), tools.discovery, folder / "town", (PRIMARY, MEMBER)) as town:
        yield Guide(tools, town, person_of(town, folder / "person", tools.version, tools.istioctl))


@pytest.fixture(scope="session")
def story(guide: Guide) -> Story:
    """The installation: every run is killed at the next step that it begins, until there is none left."""
    told = Story(planned=guide.person.runs("plan", "-o", "json").out)
    while told.last_code is None:
        run = guide.person.starts()
        assert run.stderr is not None
        for step in begun(run):
            if step not in told.killed:
                _kill_in(guide, run, step, told)
                break
        else:
            told.last_code = run.wait(30)
            run.stderr.close()
        told.unsound += unsound(guide.town)
    return told


def _kill_in(guide: Guide, run: subprocess.Popen[str], step: str, told: Story) -> None:
    """Kill a run in a step: where istioctl does it once as istioctl has started, and once when it is half-way."""
    seen = told.visits.get(step, 0)
    told.visits[step] = seen + 1
    half_way = _HALF_WAY.get(step)
    if half_way is None or (seen == 0 and step == _FIRST):
        if half_way is None:
            told.killed.append(step)
        kill(run)
        return
    istioctl = child_of(run.pid, _ISTIOCTL_SECONDS)
    if seen > (step == _FIRST):
        told.killed.append(step)
        _wait_for(guide.town, *half_way)
    kill(run)
    if istioctl is None or not is_over(istioctl):
        told.survived.append(f"{step}: {istioctl}")


def _wait_for(town: Town, cluster: str, what: str) -> None:
    """Wait until something is there, or for as long as it may take."""
    ends = time.monotonic() + _ISTIOCTL_SECONDS
    plane = town.clusters[cluster].plane
    while time.monotonic() < ends:
        if plane.kubectl("root", "get", *what.split(), "-n", "istio-system", check=False).returncode == 0:
            return


def unsound(town: Town) -> list[str]:
    """What must be true at no moment: a public Service that nobody asked for, a second IstioOperator."""
    found: list[str] = []
    for name, cluster in town.clusters.items():
        for service in cluster.asking.items("/api/v1/services"):
            metadata = service["metadata"]
            place = f"{metadata['namespace']}/{metadata['name']}"
            internal = ("qcloud-loadbalancer-internal-subnetid", "tke-existed-lbid")
            is_public = service["spec"].get("type") == "LoadBalancer" and not any(
                key.endswith(internal) for key in metadata.get("annotations", {})
            )
            if is_public and (name, place) not in _MAY_BE_PUBLIC:
                found.append(f"{name}: {place} is public")
        kept = cluster.plane.kubectl("root", "get", "istiooperators", "-A", "-o", "name", check=False)
        if len(kept.stdout.split()) > 1:
            found.append(f"{name}: {kept.stdout}")
    return found
