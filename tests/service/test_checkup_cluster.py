"""The check-up of a store in a cluster: the real probe and store on an API server in memory."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.lease_record import INSTALLATION
from shifter.adapters.kube.ledger import Ledger
from shifter.adapters.kube.objects import moment, record_body
from shifter.adapters.kube.probe import BINDINGS, LONGEST, POLICIES, KubeProbe
from shifter.adapters.kube.store import KubeStore
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.documents.fleet import Fleet
from shifter.core.records import NewRecord, What
from shifter.core.state import FleetState, ShiftState
from shifter.ports.clusters import Right
from shifter.ports.kube import ACCESS_REVIEWS, LEASES, Body, Kind, Listing
from shifter.ports.mesh import NAMESPACES
from shifter.service.checkup.cluster import ClusterDoor
from shifter.service.checkup.doors import Context
from shifter.service.checkup.findings import Finding, Group, Level
from shifter.service.checkup.gathering import Bounds, gather
from shifter.service.checkup.rights import SERVING
from tests.documents import a_fleet, a_policy
from tests.kube import Fault, MemoryApi, MemoryCluster
from tests.reports import a_report

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NAMESPACE = "shifter-system"
NAME = f"orders.{NAMESPACE}.shifter.io"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:shifter"
POLICY: Body = {
    "failurePolicy": "Fail",
    "variables": [{"name": "who", "expression": "request.userInfo.username"}],
    "validations": [{"expression": "variables.order.by == variables.who"}],
}
BINDING: Body = {
    "policyName": NAME,
    "validationActions": ["Deny"],
    "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}},
}
FLEET = a_fleet("lab")


class Installation:
    """A cluster in which all is well, until a test says otherwise; looked at a few seconds after noon."""

    def __init__(self) -> None:
        self.time = NOON
        self.cluster = MemoryCluster(clock=lambda: self.time)
        self.api = MemoryApi(self.cluster, ACCOUNT)
        self.people = MemoryApi(self.cluster, "ann")
        self.fleet: Fleet | None = FLEET
        self.policies = {"shop": a_policy("shop")}
        self.put(POLICIES, "", NAME, spec=POLICY)
        self.put(BINDINGS, "", NAME, spec=BINDING)
        self.lease()
        self.store = KubeStore(MemoryApi(self.cluster), NAMESPACE, "tests", lambda: "n1")
        state = ShiftState.model_validate({"name": "shop", "policy": a_policy("shop"), "since": NOON})
        self.store.save(state, 0, [NewRecord(NOON, "shop", What.DONE, "shifter", "it is in force", 1, 7)])
        self.store.report(a_report(NOON, "shop", mode=FLEET.spec.mode))
        self.time = NOON + timedelta(seconds=5)

    def put(self, kind: Kind, namespace: str, name: str, **parts: object) -> Body:
        return self.cluster.create(kind, namespace, kind.body(metadata={"name": name}, **parts), "root")

    def lease(self, installation: str = FLEET.metadata.name, **changes: object) -> None:
        if any(each["metadata"]["name"] == "shifter" for each in self.cluster.list(LEASES, NAMESPACE, {}).items):
            self.cluster.delete(LEASES, NAMESPACE, "shifter", None)
        spec = {
            "holderIdentity": "pod-1_ab",
            "leaseTransitions": 7,
            "leaseDurationSeconds": 30,
            "renewTime": moment(NOON),
            **changes,
        }
        metadata = {"name": "shifter", "annotations": {INSTALLATION: installation}}
        self.cluster.create(LEASES, NAMESPACE, LEASES.body(metadata=metadata, spec=spec), "root")

    def edit(self, edited: Callable[[Body], None]) -> None:
        """Write a shift's status by hand."""
        body = self.cluster.get(SHIFTS, NAMESPACE, "shop")
        edited(body["status"])
        self.cluster.replace(SHIFTS, NAMESPACE, body, status=True, user="eve")

    def findings(self, *, offline: bool = False, seconds: float = 8.0) -> tuple[Finding, ...]:
        probe = KubeProbe(
            self.api,
            NAMESPACE,
            "https://10.0.0.1:6443",
            lambda: KubeStore(self.api, NAMESPACE, "doctor", lambda: "n2"),
        )
        survey = ClusterDoor(probe, lambda: self.time).survey(offline=offline)
        gather(survey.errands, Bounds(seconds, seconds), time.monotonic)
        return tuple(survey.findings(Context(self.fleet, self.policies, self.time)))

    def bad(self) -> list[Finding]:
        return [each for each in self.findings() if each.level is not Level.OK and not each.untried]

    def only(self, subject: str) -> Finding:
        (found,) = (each for each in self.bad() if each.subject == subject)
        return found


@pytest.fixture
def here() -> Installation:
    return Installation()


def test_where_all_is_well_nothing_is_found(here: Installation) -> None:
    found = here.findings()

    assert [each for each in found if each.level is not Level.OK] == []
    said = {each.subject: each.text for each in found}
    assert said["API server"] == "0.5 s ahead, give or take 0.5 s"
    assert said["definitions"] == "all 4 keep everything that this shifter writes"
    assert said["admission"] == f"{NAME} is in force: orders are in the name of who gives them"
    assert said["service"] == (
        "pod-1_ab holds the lease shifter-system/shifter in epoch 7, renewed 5 s ago by its clock"
    )
    assert said["rights"] == f"{ACCOUNT} may do everything that the service does in namespace {NAMESPACE}"
    assert said["history"] == "the newest 1 records are as they were written"
    assert said["shifts"] == "1 told about: shop; 0 orders wait"
    assert [each.text for each in found if each.subject == "API server" and each.group is Group.STORE] == [
        f"https://10.0.0.1:6443 answers and knows you as {ACCOUNT}"
    ]


def test_a_check_up_writes_nothing_into_the_cluster(here: Installation) -> None:
    before = here.cluster.version
    here.findings()

    assert here.cluster.version == before
    assert here.api.count("replace", "replace_status", "delete") == 0


def test_with_offline_the_cluster_is_not_asked(here: Installation) -> None:
    (found,) = here.findings(offline=True)

    assert (found.untried, found.text) == (True, "--offline: nobody was asked")
    assert here.api.calls == []


# --- the API server


def test_a_server_that_does_not_answer_is_told_once(here: Installation) -> None:
    here.api.set(down=True)
    (found,) = here.findings()

    assert (found.subject, found.level, found.unreachable) == ("API server", Level.UNKNOWN, True)
    assert found.text == "https://10.0.0.1:6443: who asks cannot be told: connection refused"
    assert found.fix.startswith("kubectl cluster-info")


@pytest.fixture
def forever() -> Iterator[threading.Event]:
    """What hangs waits for this."""
    event = threading.Event()
    yield event
    event.set()


def hang(until: threading.Event) -> None:
    until.wait(30)


@pytest.mark.fault(
    on="Kubernetes",
    fault="hangs while somebody asks what is wrong",
    does="the check-up waits no longer than a bound, and tells once that nobody answered",
    sees="`API server: ...: no answer in time`, exit code 5",
    safe_within="15 s",
)
def test_a_server_that_hangs_is_not_waited_for(here: Installation, forever: threading.Event) -> None:
    here.api.meanwhile(lambda _: hang(forever), times=None)
    began = time.monotonic()
    (found,) = here.findings(seconds=0.3)

    assert time.monotonic() - began < 5
    assert (found.unreachable, "no answer in time, no longer waited for" in found.text) == (True, True)


def test_no_answer_of_a_cluster_is_waited_for_longer_than_a_person_would(here: Installation) -> None:
    probe = KubeProbe(here.api, NAMESPACE, "", lambda: here.store)
    errands = ClusterDoor(probe, lambda: NOON).survey(offline=False).errands

    assert {each.within_seconds for each in errands} == {10.0}


def test_who_is_not_known_is_told_to_log_in(here: Installation) -> None:
    here.api.fail(Fault.UNKNOWN_USER, times=None)
    (found,) = here.findings()

    assert (found.level, found.unreachable) == (Level.UNKNOWN, True)
    assert "the API server does not know who asks" in found.text
    assert found.fix == "log in again, until `kubectl auth whoami` knows you"


def test_a_clock_that_is_apart_from_the_servers_is_told(here: Installation) -> None:
    api, there = here.api, KubeProbe(here.api, NAMESPACE, "", lambda: here.store)
    del api
    survey = ClusterDoor(there, lambda: here.time - timedelta(seconds=90)).survey(offline=False)
    gather(survey.errands, Bounds(8, 8), time.monotonic)
    (found,) = (each for each in survey.findings(Context(None, None, here.time)) if each.group is Group.CLOCKS)

    assert (found.subject, found.level) == ("API server", Level.PROBLEM)
    assert found.text.startswith("90.5 s ahead, give or take 0.5 s")


# --- definitions


def without(here: Installation, kind: Kind, *way: str) -> None:
    """Let a definition be an earlier one, which does not know a field."""
    schema: Any = copy.deepcopy(here.cluster.schemas[kind.group, kind.plural])
    inner = schema
    for step in way[:-1]:
        inner = inner["properties"][step]
    del inner["properties"][way[-1]]
    here.cluster.schemas[kind.group, kind.plural] = schema


def test_a_definition_of_an_earlier_shifter_is_told_with_what_it_drops(here: Installation) -> None:
    without(here, SHIFTS, "status", "savedBy")
    without(here, SHIFTS, "status", "epoch")
    found = here.only("definitions")

    assert found.level is Level.PROBLEM
    assert found.text == (
        "shifts.shifter.io is defined without status.savedBy, status.epoch: the definition is of an earlier shifter,"
        " and the cluster would drop what is written there"
    )
    assert found.fix == "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"


def test_a_definition_that_is_missing_is_told(here: Installation) -> None:
    here.cluster.withdraw(SHIFT_RECORDS)

    assert here.only("definitions").text == "shiftrecords.shifter.io is not defined in this cluster"


def test_definitions_of_a_later_version_alone_are_told(here: Installation) -> None:
    here.cluster.other_versions = {"v1beta1"}
    here.cluster.withdraw(SHIFT_RECORDS)
    found = here.only("definitions")

    assert "shiftrecords.shifter.io is defined as v1beta1 and not as v1alpha1" in found.text
    assert found.fix == "run the later version of shifter, which they were installed for"


def test_a_definition_with_more_fields_does_no_harm_and_is_told(here: Installation) -> None:
    schema: Any = copy.deepcopy(here.cluster.schemas[SHIFTS.group, SHIFTS.plural])
    schema["properties"]["status"]["properties"]["mood"] = {"type": "string"}
    here.cluster.schemas[SHIFTS.group, SHIFTS.plural] = schema

    assert here.bad() == []
    (said,) = (each.text for each in here.findings() if each.subject == "definitions")
    assert said.endswith("of a later shifter, which does no harm: shifts.shifter.io status.mood")


# --- admission


def test_definitions_and_admission_that_nobody_may_read_are_unknown_and_not_ok(here: Installation) -> None:
    here.api.fail(Fault.DENIED, "get", kind=POLICIES, times=None)
    found = here.only("admission")

    assert (found.level, found.unreachable) == (Level.UNKNOWN, False)
    assert "the admission policy cannot be read" in found.text


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (POLICIES, None, f"there is no ValidatingAdmissionPolicy {NAME}"),
        (BINDINGS, None, f"there is no ValidatingAdmissionPolicyBinding {NAME}"),
        (BINDINGS, {**BINDING, "policyName": "other"}, f"the binding {NAME} is of the policy other"),
        (BINDINGS, {**BINDING, "validationActions": ["Audit"]}, f"the binding {NAME} denies nothing"),
        (
            BINDINGS,
            {**BINDING, "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "x"}}}},
            f"the binding {NAME} is for another namespace",
        ),
        (
            POLICIES,
            {**POLICY, "failurePolicy": "Ignore"},
            f"the policy {NAME} lets orders through that it cannot judge",
        ),
        (POLICIES, {**POLICY, "variables": []}, f"the policy {NAME} does not compare spec.by with who asks"),
    ],
)
def test_orders_that_are_not_guarded_are_a_problem(
    here: Installation, kind: Kind, spec: Body | None, said: str
) -> None:
    here.cluster.delete(kind, "", NAME, None)
    if spec is not None:
        here.put(kind, "", NAME, spec=spec)
    found = here.only("admission")

    assert found.level is Level.PROBLEM
    assert found.text == f"{said}: orders can be given in another's name, and past RBAC"


def test_the_line_that_installs_names_the_namespace_that_was_looked_at(here: Installation) -> None:
    probe = KubeProbe(here.api, "nowhere", "", lambda: here.store)

    assert "--namespace nowhere " in probe.admission().remedy


# --- rights


def test_each_right_that_the_service_lacks_is_named_with_the_line_that_grants_it(here: Installation) -> None:
    here.api.fail(Fault.DENIED, "delete", kind=SHIFT_RECORDS, times=None)
    found = here.only("rights")

    assert (found.group, found.level) == (Group.PERMISSIONS, Level.PROBLEM)
    assert found.text == f"{ACCOUNT} may not delete shiftrecords.shifter.io in namespace {NAMESPACE}"
    role = f"shifter-delete-shiftrecords-{NAMESPACE}-shifter"
    assert found.fix == (
        f"kubectl create role {role} --verb=delete --resource=shiftrecords.shifter.io -n {NAMESPACE} && kubectl create"
        f" rolebinding {role} --role={role} --serviceaccount={NAMESPACE}:shifter -n {NAMESPACE}"
    )


def test_of_many_missing_rights_the_role_is_what_mends_it(here: Installation) -> None:
    here.api.fail(Fault.DENIED, "get", "list", "create", "delete", "watch", "replace", "replace_status", times=None)
    here.api.heal()
    here.api.fail(Fault.DENIED, "create", "replace_status", "delete", times=None, kind=SHIFT_ORDERS)
    here.api.fail(Fault.DENIED, "create", "delete", times=None, kind=SHIFT_RECORDS)
    here.api.fail(Fault.DENIED, "create", "list", "watch", "get", times=None, kind=SHIFT_ORDERS)
    found = [each for each in here.bad() if each.subject == "rights"]

    assert len(found) == 5
    assert found[-1].text.startswith(f"nor may {ACCOUNT} ")
    assert found[-1].fix == "bind the chart's Role shifter to it: docs/operations.md, 'Who may do what'"


def test_a_person_needs_to_look_and_is_told_how_to_see_the_services_rights(here: Installation) -> None:
    here.api = here.people
    here.people.fail(Fault.DENIED, "delete", times=None, kind=SHIFT_RECORDS)
    found = here.findings()

    assert here.bad() == []
    assert [each.text for each in found if each.subject == "rights"] == [
        f"ann may look at everything in namespace {NAMESPACE}"
    ]
    (told,) = (each for each in found if each.subject == "service's rights")
    assert told.untried
    assert told.text.endswith("but of ann, were looked at; ann may not delete shiftrecords.shifter.io")
    assert told.fix == f"shifter doctor --as {ACCOUNT}"


def test_who_may_not_look_is_told_what_is_missing(here: Installation) -> None:
    here.api = here.people
    here.people.fail(Fault.DENIED, "list", times=None, kind=SHIFTS)
    found = {each.subject: each for each in here.bad()}

    assert found["rights"].text == f"ann may not list shifts.shifter.io in namespace {NAMESPACE}"
    assert "--user=ann" in found["rights"].fix
    assert {found[each].level for each in ("objects", "contents")} == {Level.UNKNOWN}
    assert not found["contents"].unreachable


def test_who_may_look_at_nothing_is_asked_whether_that_is_the_place(here: Installation) -> None:
    here.api = here.people
    here.people.fail(Fault.DENIED, "get", "list", times=None)

    assert here.only("rights").text.endswith(f" in namespace {NAMESPACE}: is it the right one?")


def test_rights_that_nobody_tells_are_unknown(here: Installation) -> None:
    here.api.fail(Fault.ERROR, "create", kind=ACCESS_REVIEWS, times=None)

    assert here.only("rights").level is Level.UNKNOWN


# --- who leads


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"holderIdentity": ""}, Level.WARNING, "nobody leads, the lease shifter-system/shifter is let go of"),
        ({"renewTime": moment(NOON - timedelta(minutes=5))}, Level.PROBLEM, "renewed 305 s ago by its clock, of 30 s"),
        ({"renewTime": moment(NOON + timedelta(hours=1))}, Level.OK, "renewed 0 s ago"),
    ],
)
def test_who_leads_is_told(here: Installation, changes: Body, level: Level, said: str) -> None:
    here.lease(**changes)
    (found,) = (each for each in here.findings() if each.subject == "service")

    assert (found.level, said in found.text) == (level, True)


def test_that_no_replica_has_ever_led_is_told(here: Installation) -> None:
    here.cluster.delete(LEASES, NAMESPACE, "shifter", None)

    assert "not there: no replica has ever led here" in here.only("service").text


def elsewhere(here: Installation) -> Finding:
    """What is told of the service where somebody looks for it in the namespace `nowhere`."""
    survey = ClusterDoor(KubeProbe(here.api, "nowhere", "", lambda: here.store), lambda: here.time).survey(
        offline=False
    )
    gather(survey.errands, Bounds(8, 8), time.monotonic)
    found = survey.findings(Context(None, None, here.time))
    (told,) = (each for each in found if each.subject == "service")
    return told


def test_a_namespace_that_there_is_not_looks_like_no_empty_installation(here: Installation) -> None:
    found = elsewhere(here)

    assert (found.level, found.text) == (
        Level.PROBLEM,
        "there is no namespace nowhere: shifter is not installed there",
    )
    assert found.fix == "where is it? kubectl get shiftfleets --all-namespaces; then say -n"


def is_there(here: Installation) -> None:
    here.cluster.add_namespace("nowhere")


def nobody_says(here: Installation) -> None:
    here.api.fail(Fault.DENIED, "get", kind=NAMESPACES, times=None)


@pytest.mark.parametrize("arranged", [is_there, nobody_says])
def test_a_namespace_in_which_nothing_of_shifters_ever_was_is_told_as_such(
    here: Installation, arranged: Callable[[Installation], None]
) -> None:
    arranged(here)
    found = elsewhere(here)

    assert found.level is Level.WARNING
    assert found.text.startswith("nothing of shifter's is in namespace nowhere, not even a lease")
    assert found.fix.startswith(
        "where is it? kubectl get shiftfleets --all-namespaces; then say -n; if it is the right"
    )


def test_who_leads_is_asked_for_no_namespace(here: Installation) -> None:
    here.findings()

    assert [call for call in here.api.calls if call.kind == NAMESPACES] == []


def test_a_lease_that_may_not_be_read_is_unknown(here: Installation) -> None:
    here.api.fail(Fault.DENIED, "get", kind=LEASES, times=None)

    assert {each.level for each in here.bad() if each.subject == "service"} == {Level.UNKNOWN}


def test_two_installations_on_one_lease_are_suspected(here: Installation) -> None:
    here.lease("theirs")
    found = here.only("lease")

    assert found.level is Level.PROBLEM
    assert found.text == (
        "shifter-system/shifter is held by the installation theirs, and the fleet file is"
        f" {FLEET.metadata.name}'s: two installations share one namespace, and one of them never leads"
    )


# --- what has come to a stop


def test_a_shift_that_is_being_deleted_is_told_with_where_to_read_on(here: Installation) -> None:
    here.cluster.delete(SHIFTS, NAMESPACE, "shop", None)
    found = here.only("objects")

    assert found.text == "shop is being deleted since 2026-11-22 12:00:05 UTC, its finalizer keeps it, and it holds"
    assert "'A Shift does not go away'" in found.fix


def test_a_shift_without_a_policy_is_told(here: Installation) -> None:
    here.policies = {"pay": a_policy("pay")}

    assert here.only("policies").text.startswith("no policy names shop: it holds where it is")


def test_a_number_that_was_edited_by_hand_is_told_beside_what_is_saved(here: Installation) -> None:
    here.edit(lambda status: status.update(share=50))
    found = here.only("objects")

    assert found.level is Level.WARNING
    assert found.text == (
        "shop: somebody else than shifter wrote its status: status.share says 50, the saved state 0.0"
    )


class Noting(MemoryApi):
    """A server that notes down who wrote what, as a real one does."""

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        found = super().list(kind, namespace, labels=labels)
        for body in found.items:
            body["metadata"]["managedFields"] = [
                {"manager": "shifter", "subresource": "status", "time": "2026-11-22T12:00:00Z"},
                {"manager": "kubectl-edit", "subresource": "status", "time": "2026-11-22T12:00:04Z"},
                {"manager": "kubectl-label", "time": "2026-11-22T12:00:05Z"},
            ]
        return found


class NotingFleet(MemoryApi):
    """As above, of what all shifts have in common."""

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        found = super().get(kind, namespace, name)
        if kind == SHIFT_FLEETS:
            found["metadata"]["managedFields"] = [{"manager": "kubectl-edit", "subresource": "status"}]
        return found


def test_who_else_wrote_a_status_is_told(here: Installation) -> None:
    here.api = Noting(here.cluster, ACCOUNT)

    assert here.only("objects").text == (
        "shop: somebody else than shifter wrote its status: kubectl-edit at 2026-11-22T12:00:04Z"
    )


def test_a_state_that_was_edited_by_hand_is_told_as_unreadable(here: Installation) -> None:
    here.edit(lambda status: status.update(state=status["state"].replace('"share":0.0', '"share":50.0')))
    found = here.only("shifts")

    assert found.level is Level.PROBLEM
    assert "saved state of shop" in found.text
    assert "Hold: unreadable" in found.fix


@pytest.mark.parametrize(("length", "level"), [(180_000, Level.WARNING), (LONGEST["report"], Level.PROBLEM)])
def test_a_status_that_is_nearly_full_is_told(here: Installation, length: int, level: Level) -> None:
    here.edit(lambda status: status.update(report="x" * length))
    found = next(each for each in here.bad() if each.subject == "objects")

    assert found.level is level
    assert found.text.startswith(f"status.report of shop is {length:,} long, of {LONGEST['report']:,} that are kept")


def test_an_order_that_nobody_answers_is_told_after_a_minute(here: Installation) -> None:
    here.store.create_order(OrderRequest("shop", Verb.PAUSE, "shifter", "wait"), here.time)
    fresh = here.bad()
    here.time += timedelta(seconds=61)
    here.lease(renewTime=moment(here.time))
    found = here.only("orders")

    assert fresh == []
    assert found.level is Level.PROBLEM
    assert found.text == (
        "1 order unanswered for more than a minute; the first: pause shop by shifter, at 2026-11-22 12:00:05 UTC"
    )
    assert found.fix.startswith("the service does not obey")


def test_an_order_for_a_shift_that_there_is_not_is_told_once_it_should_have_been_refused(here: Installation) -> None:
    here.store.create_order(OrderRequest("nope", Verb.PAUSE, "shifter", "wait"), here.time)
    here.time += timedelta(seconds=115)
    here.lease(renewTime=moment(here.time))
    fresh = here.bad()
    here.time += timedelta(seconds=10)
    found = here.only("orders")

    assert fresh == []
    assert found.text == (
        "1 order for shifts that there are not, and not refused yet; the first: pause nope by shifter, at 2026-11-22"
        " 12:00:05 UTC"
    )
    assert found.fix.startswith("they are refused once every policy could be read: `shifter policy lint`")


def test_an_order_that_is_not_understood_is_told(here: Installation) -> None:
    del here.cluster.schemas[SHIFT_ORDERS.group, SHIFT_ORDERS.plural]
    here.put(SHIFT_ORDERS, NAMESPACE, "odd", spec={"shift": "shop", "verb": "juggle", "by": "ann"})
    (found,) = (each for each in here.bad() if each.subject == "orders")

    assert found.text == "not understood, and so never answered: odd"


def unfiled(here: Installation, count: int) -> None:
    """Leave records in the status that could not be made objects of."""
    failing = MemoryApi(here.cluster)
    failing.fail(Fault.DENIED, "create", kind=SHIFT_RECORDS, times=None)
    store = KubeStore(failing, NAMESPACE, "tests", lambda: "n3")
    here.edit(lambda status: status["history"].update(unflushed=[]))
    saved = store.load()["shop"]
    records = [NewRecord(NOON, "shop", What.HOLDS, "shifter", f"number {each}") for each in range(count)]
    store.save(saved.state, saved.version, records)


@pytest.mark.parametrize(
    ("count", "seconds", "found"),
    [
        (2, 5, []),
        (2, 90, [(Level.WARNING, "shop: 2 records and 0 answers wait in its status, for more than a minute")]),
        (
            20,
            5,
            [(Level.PROBLEM, "shop: 20 records and 0 answers wait in its status: nothing more can be saved of it")],
        ),
    ],
)
def test_records_that_wait_are_told(
    here: Installation, count: int, seconds: float, found: list[tuple[Level, str]]
) -> None:
    unfiled(here, count)
    here.time = NOON + timedelta(seconds=seconds)
    here.lease(renewTime=moment(here.time))

    assert [(each.level, each.text) for each in here.bad() if each.subject == "objects"] == found


def test_records_and_answers_that_a_shift_at_rest_still_lists_do_not_wait(here: Installation) -> None:
    order = here.store.create_order(OrderRequest("shop", Verb.PAUSE, "shifter", "wait"), here.time)
    saved = here.store.load()["shop"]
    answer = OrderAnswer(order.id, Answer.ACCEPTED, "paused", here.time)
    records = [NewRecord(NOON, "shop", What.HOLDS, "shifter", f"number {each}") for each in range(20)]
    here.store.save(saved.state, saved.version, records, [answer])
    here.time += timedelta(minutes=10)
    here.lease(renewTime=moment(here.time))
    (kept,) = KubeProbe(here.api, NAMESPACE, "", lambda: here.store).shifts()

    assert len(here.cluster.get(SHIFTS, NAMESPACE, "shop")["status"]["history"]["unflushed"]) == 20
    assert len(here.cluster.get(SHIFTS, NAMESPACE, "shop")["status"]["answers"]) == 1
    assert (kept.unfiled, kept.unfiled_since, kept.undelivered) == (0, None, 0)
    assert [each for each in here.bad() if each.subject == "objects"] == []


def test_of_records_of_which_some_were_filed_the_others_wait(here: Installation) -> None:
    unfiled(here, 5)
    status = here.cluster.get(SHIFTS, NAMESPACE, "shop")["status"]
    for link in Ledger.of(status).unfiled[:2]:
        here.cluster.create(SHIFT_RECORDS, NAMESPACE, record_body("shop", link), "root")
    (kept,) = KubeProbe(here.api, NAMESPACE, "", lambda: here.store).shifts()

    assert kept.unfiled == 3


def test_answers_that_have_not_reached_their_orders_wait(here: Installation) -> None:
    order = here.store.create_order(OrderRequest("shop", Verb.PAUSE, "shifter", "wait"), here.time)
    failing = MemoryApi(here.cluster)
    failing.fail(Fault.DENIED, "replace_status", kind=SHIFT_ORDERS, times=None)
    store = KubeStore(failing, NAMESPACE, "tests", lambda: "n3")
    saved = store.load()["shop"]
    store.save(saved.state, saved.version, (), [OrderAnswer(order.id, Answer.ACCEPTED, "paused", here.time)])
    probe = KubeProbe(here.api, NAMESPACE, "", lambda: here.store)
    before = probe.shifts()[0].undelivered
    (name,) = (each["metadata"]["name"] for each in here.cluster.list(SHIFT_ORDERS, NAMESPACE, {}).items)
    here.cluster.delete(SHIFT_ORDERS, NAMESPACE, name, None)

    assert (before, probe.shifts()[0].undelivered) == (1, 0)


def test_what_all_shifts_have_in_common_is_named_as_kubectl_takes_it(here: Installation) -> None:
    here.store.save_fleet(FleetState(), 0)
    here.api = NotingFleet(here.cluster, ACCOUNT)
    found = here.only("objects")

    assert found.text.startswith("all shifts together: somebody else than shifter wrote its status: kubectl-edit")
    assert f"kubectl get shiftfleet fleet -n {NAMESPACE} -o yaml" in found.fix


def test_a_history_that_cannot_be_read_hides_nothing_else(here: Installation) -> None:
    here.api.fail(Fault.ERROR, "list", kind=SHIFT_RECORDS, times=None)
    found = here.only("history")

    assert (found.level, found.unreachable) == (Level.UNKNOWN, True)


def test_every_finding_that_is_not_ok_has_its_fix(here: Installation) -> None:
    here.lease("theirs", holderIdentity="")
    here.cluster.withdraw(SHIFT_RECORDS)
    here.policies = {"pay": a_policy("pay")}
    here.api.fail(Fault.DENIED, times=None, kind=BINDINGS)

    assert len(here.bad()) > 4
    assert [each for each in here.bad() if not each.fix] == []


# --- rights, against the chart


def test_what_is_asked_for_is_what_the_chart_grants_the_service() -> None:
    text = (Path(__file__).parents[2] / "deploy" / "install.yaml").read_text(encoding="utf-8")
    (role,) = (
        each
        for each in yaml.safe_load_all(text)
        if each and (each["kind"], each["metadata"]["name"]) == ("Role", "shifter")
    )
    granted = {
        Right(verb, "/".join([f"{plural}.{group}", *rest]), name)
        for rule in role["rules"]
        for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"])
        for plural, *rest in [resource.split("/")]
        for name in rule.get("resourceNames", [""])
    }

    assert set(SERVING) == granted


def test_of_much_that_a_person_may_not_look_at_the_viewers_role_is_what_mends_it(here: Installation) -> None:
    here.api = here.people
    for kind in (SHIFTS, SHIFT_ORDERS, SHIFT_RECORDS):
        here.people.fail(Fault.DENIED, "get", "list", times=None, kind=kind)
    found = here.only("rights")

    assert found.text.startswith("ann may not get shifts.shifter.io, list shifts.shifter.io, get shiftorders")
    assert found.fix == (
        f"kubectl create rolebinding shifter-viewer-ann --clusterrole=viewer.{NAMESPACE}.shifter.io --user=ann"
        f" -n {NAMESPACE}"
    )


def test_the_admission_policy_of_the_chart_is_one_that_guards(here: Installation) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "install.yaml").read_text(encoding="utf-8")
    for kind in (POLICIES, BINDINGS):
        (made,) = (each for each in yaml.safe_load_all(text) if each and each["kind"] == kind.name)
        here.cluster.delete(kind, "", NAME, None)
        here.cluster.create(kind, "", made, "root")

    assert here.bad() == []
