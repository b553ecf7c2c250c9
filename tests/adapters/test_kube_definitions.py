"""The definitions that a cluster has, against what this shifter writes: nothing may be dropped without a word."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from shifter.adapters.kube.definitions import WRITTEN, read_definitions, refuse_unfit
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.store import KubeStore
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.records import NewRecord, What
from shifter.core.state import FleetState, ShiftState
from shifter.errors import RefusedError
from shifter.ports.kube import Body, Failing, Kind, KubeError
from tests.documents import a_policy
from tests.kube import Fault, MemoryApi, MemoryCluster
from tests.kube_schemas import read_schemas
from tests.reports import a_report

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SERVED_BY_CHART = {(kind.group, kind.plural) for kind in (SHIFTS, SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS)}


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def api(cluster: MemoryCluster) -> MemoryApi:
    return MemoryApi(cluster)


def drop(cluster: MemoryCluster, kind: Kind, *way: str) -> None:
    """Let a definition be an earlier one, without a field."""
    schema: Any = copy.deepcopy(cluster.schemas[kind.group, kind.plural])
    inner = schema
    for step in way[:-1]:
        inner = inner.get("items", inner)["properties"][step]
    del inner.get("items", inner)["properties"][way[-1]]
    cluster.schemas[kind.group, kind.plural] = schema


def test_the_definitions_of_the_chart_keep_what_is_written_and_nothing_else(api: MemoryApi) -> None:
    found = read_definitions(api)

    assert [(each.name, each.trouble, each.more) for each in found] == [
        (f"{kind.plural}.shifter.io", "", ()) for kind in WRITTEN
    ]


def paths(value: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Every field that holds something; entries of a list by the list's name."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from paths(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for each in value:
            yield from paths(each, at)
    else:
        yield at


class Writes(MemoryApi):
    """A server that remembers what it is sent."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster)
        self.sent: dict[str, set[str]] = {}

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        self._note(kind, body, "spec")
        return super().create(kind, namespace, body)

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        self._note(kind, body, "status" if status else "spec")
        return super().replace(kind, namespace, body, status=status)

    def _note(self, kind: Kind, body: Mapping[str, Any], part: str) -> None:
        found = set(paths({part: body.get(part) or {}})) - {part}
        self.sent.setdefault(kind.plural, set()).update(found)


def test_whatever_a_store_writes_is_asked_of_the_definitions(cluster: MemoryCluster) -> None:
    api = Writes(cluster)
    store = KubeStore(api, "shifter-system", "tests", iter("abc").__next__)
    state = ShiftState.model_validate({"name": "shop", "policy": a_policy("shop"), "since": NOON})
    api.fail(Fault.DENIED, "create", kind=SHIFT_RECORDS)
    version = store.save(state, 0, [NewRecord(NOON, "shop", What.DONE, "shifter", "done", 1, 7, {"a": 1})])
    order = store.create_order(OrderRequest("shop", Verb.PAUSE, "shifter", "wait"), NOON)
    store.save(state, version, [], [OrderAnswer(order.id, Answer.ACCEPTED, "yes", NOON)])
    store.report(a_report(NOON, "shop"))
    store.save_fleet(FleetState(), 0, [NewRecord(NOON, "*", What.HOLDS, "shifter", "frozen", 1, 7)])

    assert {"shifts", "shiftfleets", "shiftorders", "shiftrecords"} <= api.sent.keys()
    for kind, asked in WRITTEN.items():
        kept = {each for each in api.sent[kind.plural] if not each.startswith("status.conditions")}
        whole = {*asked, *(each.rpartition(".")[0] for each in asked), "status.history.unflushed"}
        assert kept - whole == set(), kind.plural


@pytest.mark.parametrize(
    ("kind", "way", "path"),
    [
        (SHIFTS, ("status", "savedBy"), "status.savedBy"),
        (SHIFTS, ("status", "history", "unflushed", "evidence"), "status.history.unflushed.evidence"),
        (SHIFT_FLEETS, ("status", "answers"), "status.answers.order"),
        (SHIFT_ORDERS, ("spec", "override"), "spec.override"),
        (SHIFT_RECORDS, ("spec", "hash"), "spec.hash"),
    ],
)
def test_a_definition_of_an_earlier_shifter_is_refused_by_name_and_field(
    cluster: MemoryCluster, api: MemoryApi, kind: Kind, way: tuple[str, ...], path: str
) -> None:
    drop(cluster, kind, *way)

    with pytest.raises(RefusedError, match=rf"^{kind.plural}\.shifter\.io is defined without {path}") as refused:
        refuse_unfit(api)
    assert refused.value.remedy == "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"


def test_no_definition_at_all_is_refused(cluster: MemoryCluster, api: MemoryApi) -> None:
    for kind in WRITTEN:
        cluster.withdraw(kind)

    with pytest.raises(RefusedError, match=r"shifts\.shifter\.io is not defined in this cluster; shiftfleets"):
        refuse_unfit(api)


def test_definitions_of_a_later_version_alone_are_refused_and_the_later_shifter_is_named(
    cluster: MemoryCluster, api: MemoryApi
) -> None:
    for kind in WRITTEN:
        cluster.withdraw(kind)
    cluster.other_versions = {"v1"}

    with pytest.raises(
        RefusedError, match="is defined as v1 and not as v1alpha1, which this shifter speaks"
    ) as refused:
        refuse_unfit(api)
    assert refused.value.remedy == "run the later version of shifter, which they were installed for"


def test_definitions_that_are_not_published_yet_are_not_called_missing(cluster: MemoryCluster, api: MemoryApi) -> None:
    cluster.publishes = False
    cluster.withdraw(SHIFT_FLEETS)

    with pytest.raises(KubeError, match="does not say yet how they are defined") as failed:
        refuse_unfit(api)
    assert failed.value.failing is Failing.UNAVAILABLE
    assert "shiftfleets" not in str(failed.value)


def test_definitions_of_a_later_shifter_that_only_add_are_taken(cluster: MemoryCluster, api: MemoryApi) -> None:
    schema: Any = copy.deepcopy(cluster.schemas[SHIFTS.group, SHIFTS.plural])
    schema["properties"]["status"]["properties"]["mood"] = {"type": "string"}
    cluster.schemas[SHIFTS.group, SHIFTS.plural] = schema
    cluster.other_versions = {"v1"}

    refuse_unfit(api)

    assert [each.more for each in read_definitions(api) if each.more] == [("status.mood",)]


def test_every_definition_of_the_chart_is_held_against_what_is_written() -> None:
    assert {each for each in read_schemas() if each[0] == "shifter.io"} == SERVED_BY_CHART
    assert {(kind.group, kind.plural) for kind in WRITTEN} == SERVED_BY_CHART
