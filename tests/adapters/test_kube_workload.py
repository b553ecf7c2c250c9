"""What is ready and what is pinned of a Deployment, and what a cluster can do wrong about either."""

from __future__ import annotations

import pytest

from shifter.core.deciding.pinning import Workload
from shifter.errors import CapacityUnavailableError
from shifter.ports.kube import AUTOSCALERS, DEPLOYMENTS, Kind
from tests.kube import Fault
from tests.scaled import NAME, NAMESPACE, ScaledGateway, autoscaler_body

WHAT = f"{NAMESPACE}/{NAME}"


def refusal_of(gateway: ScaledGateway, **known: str) -> CapacityUnavailableError:
    with pytest.raises(CapacityUnavailableError) as caught:
        gateway.workload(**known).observe()
    return caught.value


def test_replicas_that_a_server_leaves_out_are_none() -> None:
    assert ScaledGateway(ready=0).workload().observe() == Workload(0, 1)


@pytest.mark.parametrize("least", [None, 0])
def test_a_floor_that_nobody_set_or_that_is_none_counts_as_1(least: int | None) -> None:
    gateway = ScaledGateway()
    gateway.change(minReplicas=least)

    assert gateway.workload().observe().floor == 1


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "StatefulSet", "apiVersion": "apps/v1", "name": NAME},
        {"kind": "Deployment", "apiVersion": "apps/v1", "name": "another"},
        {"kind": "Deployment", "apiVersion": "example.com/v1", "name": NAME},
    ],
    ids=["a StatefulSet", "another Deployment", "another group's"],
)
def test_an_autoscaler_of_something_else_is_nobodys_business(target: dict[str, str]) -> None:
    gateway = ScaledGateway()
    gateway.change(scaleTargetRef=target)
    gateway.workload().pin(4)

    assert gateway.workload().observe() == Workload(2, None)
    assert gateway.floor() == 1


def test_a_target_without_a_version_is_a_deployment_all_the_same() -> None:
    gateway = ScaledGateway(floor=3)
    gateway.change(scaleTargetRef={"kind": "Deployment", "name": NAME})

    assert gateway.workload().observe().floor == 3


def test_of_two_autoscalers_none_is_believed_even_if_one_is_named_like_the_deployment() -> None:
    gateway = ScaledGateway()
    gateway.hand.create(AUTOSCALERS, NAMESPACE, autoscaler_body("second", NAME))
    error = refusal_of(gateway)

    assert str(error) == f"the Deployment {WHAT} has more than one autoscaler: {NAME}, second"
    assert error.remedy == "delete all but one; they work against each other"


def test_an_autoscaler_that_is_named_is_asked_for_by_name_alone() -> None:
    gateway = ScaledGateway(floor=3)
    gateway.hand.create(AUTOSCALERS, NAMESPACE, autoscaler_body("second", NAME, minReplicas=7))

    assert gateway.workload(autoscaler="second").observe().floor == 7
    assert gateway.api.count("list") == 0


def test_an_autoscaler_that_is_named_and_scales_something_else_is_a_slip() -> None:
    gateway = ScaledGateway()
    gateway.hand.create(AUTOSCALERS, NAMESPACE, autoscaler_body("second", "another"))
    error = refusal_of(gateway, autoscaler="second")

    assert str(error) == f"the autoscaler {NAMESPACE}/second does not scale the Deployment {NAME}"
    assert error.remedy == "name the one that does, or none: then it is looked for"


@pytest.mark.fault(
    on="people",
    fault="name the wrong cluster for tcm's gateway",
    does="holds; nothing is pinned",
    sees="hold `cold source`: the Deployment that was found has the uid ..., not ...: it is another cluster's",
    safe_within="at once",
)
def test_a_deployment_of_another_uid_is_not_counted_and_not_pinned() -> None:
    gateway = ScaledGateway()
    uid = gateway.deployment()["metadata"]["uid"]
    known = gateway.workload(uid=uid)
    stranger = gateway.workload(uid="another")
    error = refusal_of(gateway, uid="another")
    with pytest.raises(CapacityUnavailableError, match="another cluster's"):
        stranger.pin(4)

    assert known.observe() == Workload(2, 1)
    assert str(error) == (
        f"the Deployment {WHAT} that was found has the uid {uid}, not another:"
        " it is another cluster's, or was made anew"
    )
    assert error.remedy == "mend kubeconfigFile or context in the fleet's clusters, or gateway.uid if it is the one"
    assert gateway.floor() == 1


def test_a_deployment_that_is_gone_is_not_taken_for_none_that_are_left() -> None:
    gateway = ScaledGateway()
    gateway.hand.delete(DEPLOYMENTS, NAMESPACE, NAME)
    error = refusal_of(gateway)

    assert str(error).startswith(f"tcm's cluster has no Deployment {WHAT}: ")
    assert error.remedy == "was it renamed or deleted, or is it another cluster's kubeconfig?"


@pytest.mark.parametrize(
    ("verb", "kind", "what", "known"),
    [
        ("get", DEPLOYMENTS, WHAT, {}),
        ("list", AUTOSCALERS, f"in {NAMESPACE}", {}),
        ("get", AUTOSCALERS, WHAT, {"autoscaler": NAME}),
    ],
    ids=["the deployment", "the autoscalers", "the autoscaler"],
)
def test_a_missing_permission_is_named_with_the_rule_that_grants_it(
    verb: str, kind: Kind, what: str, known: dict[str, str]
) -> None:
    gateway = ScaledGateway()
    gateway.api.fail(Fault.DENIED, verb, kind=kind)
    error = refusal_of(gateway, **known)

    assert str(error).startswith(f"tcm's cluster refuses to {verb} {kind.plural}.{kind.group} {what}: ")
    assert error.remedy == (
        f"a Role in its namespace {NAMESPACE} that grants it:"
        f" apiGroups: [{kind.group}], resources: [{kind.plural}], verbs: [{verb}]"
    )


@pytest.mark.parametrize(
    ("fault", "said", "remedy"),
    [
        (Fault.UNKNOWN_USER, "tcm's cluster does not know who asks: Unauthorized", "give it a kubeconfig"),
        (Fault.DOWN, f"tcm's cluster does not tell deployments {WHAT}: connection refused", "see whether this machine"),
        (Fault.TIMEOUT, f"tcm's cluster does not tell deployments {WHAT}: read timed out", "see whether this machine"),
        (Fault.THROTTLED, f"tcm's cluster does not tell deployments {WHAT}: too many requests", "see whether"),
        (Fault.GARBLED, f"tcm's cluster does not tell deployments {WHAT}: the answer is no JSON", "see whether"),
    ],
)
def test_what_the_cluster_says_instead_is_told_with_what_mends_it(fault: Fault, said: str, remedy: str) -> None:
    gateway = ScaledGateway()
    gateway.api.fail(fault, "get")
    error = refusal_of(gateway)

    assert str(error).startswith(said)
    assert error.remedy.startswith(remedy)


def test_a_cluster_that_does_not_know_autoscalers_at_all_is_told_as_such() -> None:
    gateway = ScaledGateway()
    gateway.api.fail(Fault.NO_KIND, "list")

    assert str(refusal_of(gateway)) == (
        f"tcm's cluster does not tell horizontalpodautoscalers in {NAMESPACE}:"
        " the server could not find the requested resource"
    )


@pytest.mark.parametrize("ready", ["2", 2.5, -1, True])
def test_replicas_that_are_no_number_of_them_are_not_believed(ready: object) -> None:
    gateway = ScaledGateway()
    gateway.scale(ready)

    assert str(refusal_of(gateway)) == f"readyReplicas of {NAME} is no number of replicas: {ready!r}"


@pytest.mark.parametrize("spec", [None, [], "none"])
def test_an_autoscaler_without_a_spec_scales_nothing(spec: object) -> None:
    gateway = ScaledGateway()
    body = gateway.autoscaler() | {"spec": spec}
    gateway.hand.replace(AUTOSCALERS, NAMESPACE, body)

    assert gateway.workload().observe() == Workload(2, None)


def test_a_pin_changes_the_floor_and_nothing_else() -> None:
    gateway = ScaledGateway()
    before = gateway.autoscaler()
    gateway.workload().pin(4)
    after = gateway.autoscaler()

    assert after["spec"] == before["spec"] | {"minReplicas": 4}
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_floor_that_is_there_already_is_not_written_again() -> None:
    gateway = ScaledGateway(floor=4)
    gateway.workload().pin(4)

    assert gateway.api.count("replace") == 0


@pytest.mark.fault(
    on="people",
    fault="lower the autoscaler's ceiling below what is to be kept",
    does="no first step; nothing is written",
    sees="the autoscaler goes up to 3 replicas, and 4 are to be kept",
    safe_within="at once",
)
def test_a_floor_above_the_ceiling_is_refused_with_both_numbers() -> None:
    gateway = ScaledGateway()
    gateway.change(maxReplicas=3)
    with pytest.raises(CapacityUnavailableError) as caught:
        gateway.workload().pin(4)

    assert str(caught.value) == f"the autoscaler {NAME} goes up to 3 replicas, and 4 are to be kept"
    assert caught.value.remedy == "raise its maxReplicas to 4 at least"
    assert gateway.api.count("replace") == 0


def test_who_writes_at_the_same_time_loses_nothing_and_the_floor_is_set_all_the_same() -> None:
    gateway = ScaledGateway()
    gateway.api.meanwhile(lambda _: gateway.change(maxReplicas=20), "replace", kind=AUTOSCALERS)
    gateway.workload().pin(4)

    assert (gateway.floor(), gateway.autoscaler()["spec"]["maxReplicas"]) == (4, 20)


def test_against_somebody_who_writes_all_the_time_it_gives_up_after_three_tries() -> None:
    gateway = ScaledGateway()
    gateway.api.fail(Fault.CONFLICT, "replace", times=None)
    with pytest.raises(CapacityUnavailableError, match=f"{WHAT} is changed by others all the time"):
        gateway.workload().pin(4)

    assert gateway.api.count("replace") == 3


@pytest.mark.fault(
    on="Kubernetes",
    fault="the answer to a new floor of tcm's autoscaler is lost",
    does="no first step until the floor is read back",
    sees="whether ... took its floor is not known",
    safe_within="at once",
)
def test_a_lost_answer_is_told_as_a_doubt_and_not_asked_again_by_itself() -> None:
    gateway = ScaledGateway()
    gateway.api.fail(Fault.LOST, "replace")
    with pytest.raises(CapacityUnavailableError, match=f"whether {WHAT} took its floor is not known"):
        gateway.workload().pin(4)

    assert (gateway.api.count("replace"), gateway.floor()) == (1, 4)


@pytest.mark.parametrize(
    ("fault", "said", "remedy"),
    [
        (Fault.DENIED, "tcm's cluster refuses to update horizontalpodautoscalers.autoscaling", "a Role in its"),
        (Fault.INVALID, f"tcm's cluster does not accept the floor of {WHAT}: denied by", "raise the floor where"),
        (Fault.DOWN, "tcm's cluster does not tell horizontalpodautoscalers", "see whether this machine reaches"),
    ],
)
def test_a_floor_that_is_not_taken_is_told_with_what_mends_it(fault: Fault, said: str, remedy: str) -> None:
    gateway = ScaledGateway()
    gateway.api.fail(fault, "replace")
    with pytest.raises(CapacityUnavailableError) as caught:
        gateway.workload().pin(4)

    assert str(caught.value).startswith(said)
    assert caught.value.remedy.startswith(remedy)
    assert gateway.floor() == 1


def test_an_autoscaler_that_goes_away_between_look_and_write_is_told_as_gone() -> None:
    gateway = ScaledGateway()
    gateway.api.meanwhile(lambda _: gateway.hand.delete(AUTOSCALERS, NAMESPACE, NAME), "replace", kind=AUTOSCALERS)
    with pytest.raises(CapacityUnavailableError, match=f"has no HorizontalPodAutoscaler {WHAT}"):
        gateway.workload().pin(4)


def test_whether_a_floor_may_be_changed_is_asked_and_not_tried() -> None:
    allowed, denied, without = ScaledGateway(), ScaledGateway(), ScaledGateway(floor=None)
    denied.api.fail(Fault.DENIED, "replace", kind=AUTOSCALERS, times=None)

    assert (allowed.workload().pin_refusal(), without.workload().pin_refusal()) == ("", "")
    assert denied.workload().pin_refusal() == f"may not update horizontalpodautoscalers.autoscaling {WHAT}"
    assert denied.api.count("replace") == 0


def test_a_cluster_that_does_not_say_what_may_be_done_is_told_as_such() -> None:
    gateway = ScaledGateway()
    gateway.api.fail(Fault.DOWN, "create")

    with pytest.raises(CapacityUnavailableError, match="does not tell selfsubjectaccessreviews"):
        gateway.workload().pin_refusal()


def test_whose_cluster_it_is_is_said() -> None:
    gateway = ScaledGateway()
    gateway.api.fail(Fault.DOWN, "get")

    assert str(refusal_of(gateway, mesh="istio")).startswith("istio's cluster does not tell deployments")
