"""What a person does to the emulated cloud over HTTP, and what it answers to orders that make no sense."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests

from shifter.lab.emulator import Emulator, Health, RuleKey, TargetKey
from shifter.lab.emulator.balancers import MAX_TARGETS
from shifter.lab.emulator.controls import CONTROLS

Post = Callable[..., requests.Response]
Advance = Callable[[float], None]
Refused = Callable[[str, Mapping[str, Any]], str]
RULE = {"lb_id": "lb-shop", "listener_id": "lbl-http", "location_id": "loc-shop"}
SHOP = RuleKey("lbl-http", "loc-shop")
TCM1, TCM2 = TargetKey("ins-tcm1", 30080), TargetKey("ins-tcm2", 30080)
ENI1, ENI2 = TargetKey("10.1.0.1", 8080), TargetKey("10.1.0.2", 8080)
BEFORE = {TCM1: 100, TCM2: 100, ENI1: 0, ENI2: 0}
WRITE = "BatchModifyTargetWeight"


@pytest.fixture
def lab(port: int) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["lab"] = f"http://127.0.0.1:{port}/lab/"
        yield session


@pytest.fixture
def post(lab: requests.Session) -> Post:
    def send(name: str, **order: object) -> requests.Response:
        return lab.post(f"{lab.headers['lab']!s}{name}", json=order, timeout=5)

    return send


def weights(emulator: Emulator) -> dict[TargetKey, int]:
    return dict(emulator.balancer("lb-shop").rule(SHOP).weights)


def healths(emulator: Emulator) -> list[Health]:
    return [target.health for target in emulator.balancer("lb-shop").rule(SHOP).targets]


def test_the_listing_names_every_control_with_what_it_takes(lab: requests.Session) -> None:
    told = lab.get(str(lab.headers["lab"]), timeout=5).json()

    assert told["post"].keys() == {f"/lab/{name}" for name in CONTROLS}
    assert told["post"]["/lab/lock"]["needs"] == ["lb_id", "seconds"]


def test_a_person_edits_weights_past_a_lock(emulator: Emulator, post: Post) -> None:
    post("lock", lb_id="lb-shop", seconds=60)
    answer = post("weights", **RULE, weights={"10.1.0.1:8080": 7, "ins-tcm1:30080": 93})

    assert answer.status_code == 200
    assert weights(emulator) == BEFORE | {ENI1: 7, TCM1: 93}


@pytest.mark.parametrize(
    ("whom", "dead"),
    [
        ({"target": "ins-tcm2:30080"}, [False, True, False, False]),
        ({"port": 8080}, [False, False, True, True]),
        ({}, [True, True, True, True]),
    ],
    ids=["one target", "a side", "all"],
)
def test_the_health_check_finds_one_a_side_or_all_dead(
    emulator: Emulator, post: Post, whom: dict[str, object], dead: list[bool]
) -> None:
    post("health", **RULE, **whom, health="Dead")

    assert [health is Health.DEAD for health in healths(emulator)] == dead


def test_targets_come_and_go(emulator: Emulator, post: Post) -> None:
    post("add-target", **RULE, ip="10.1.0.3", port=8080)
    post("add-target", **RULE, ip="10.0.0.3", port=30080, bound_as="CVM", instance_id="ins-tcm3", weight=5)
    post("remove-target", **RULE, target="ins-tcm1:30080")

    assert weights(emulator) == {
        TCM2: 100,
        ENI1: 0,
        ENI2: 0,
        TargetKey("10.1.0.3", 8080): 10,
        TargetKey("ins-tcm3", 30080): 5,
    }


def test_a_lock_is_held_and_released(post: Post, refused: Refused, emulator: Emulator) -> None:
    post("lock", lb_id="lb-shop", seconds=60)
    order = {"LoadBalancerId": "lb-shop", "ModifyList": [{"ListenerId": "lbl-tcp", "Targets": [{"Port": 1}]}]}

    assert emulator.state()["balancers"][0]["locked"]
    post("release", lb_id="lb-shop")
    assert not emulator.state()["balancers"][0]["locked"]
    assert refused(WRITE, order) == "MissingParameter"


def test_waiting_faults_are_shown_and_forgotten(emulator: Emulator, post: Post) -> None:
    ordered = post("faults", action=WRITE, kind="task_endless", seconds=9, lasts_seconds=60).json()
    cleared = post("clear-faults").json()

    assert [(one["kind"], one["seconds"], one["lasts_seconds"]) for one in ordered["faults"]] == [
        ("task_endless", 9, 60)
    ]
    assert cleared["faults"] == []
    assert emulator.faults.waiting == ()


def test_tke_is_declared_resynced_and_withdrawn(emulator: Emulator, post: Post, advance: Advance) -> None:
    post("declare", **RULE, weights={"10.1.0.1:8080": 50}, every_seconds=30)
    declared = emulator.state()["declared"]
    post("resync", lb_id="lb-shop")
    first = weights(emulator)
    emulator.edit_weights("lb-shop", "lbl-http", "loc-shop", {ENI1: 0})
    advance(31)
    second = weights(emulator)
    post("withdraw", lb_id="lb-shop")

    assert [(one["location_id"], one["every_seconds"], one["members"]) for one in declared] == [("loc-shop", 30, False)]
    assert first == second == BEFORE | {ENI1: 50}
    assert emulator.state()["declared"] == []


@pytest.mark.parametrize(
    ("name", "order", "why"),
    [
        ("faults", {"action": WRITE}, "needs kind"),
        ("faults", {"action": WRITE, "kind": "meteor"}, "kind must be one of throttle, "),
        ("faults", {"action": WRITE, "kind": ["slow"]}, "kind must be one of throttle, "),
        ("faults", {"action": WRITE, "kind": "slow", "times": "2"}, "times must be a whole number"),
        ("faults", {"action": WRITE, "kind": "slow", "times": True}, "times must be a whole number"),
        ("faults", {"action": WRITE, "kind": "slow", "times": 0}, "times must be 1.."),
        ("faults", {"action": WRITE, "kind": "slow", "seconds": "long"}, "seconds must be a number, not 'long'"),
        ("faults", {"action": WRITE, "kind": "slow", "seconds": -1}, "seconds must be 0..300"),
        ("faults", {"action": WRITE, "kind": "slow", "lasts_seconds": -1}, "lasts_seconds must be 0.."),
        ("faults", {"action": WRITE, "kind": "slow", "lb_id": 7}, "lb_id must be a string, not 7"),
        ("faults", {"action": WRITE, "kind": "slow", "when": "now"}, "faults knows no when; it takes action, kind, "),
        ("faults", {"action": "DescribeCats", "kind": "slow"}, "cannot strike"),
        ("faults", {"action": 7, "kind": "slow"}, "action must be a string"),
        ("weights", {**RULE}, "needs weights"),
        ("weights", {**RULE, "weights": {}}, "weights must be an object of weights by target, not {}"),
        ("weights", {**RULE, "weights": {"ins-tcm1": 5}}, "with a port, such as ins-1:30080"),
        ("weights", {**RULE, "weights": {"ins-tcm1:0": 5}}, "1..65535"),
        ("weights", {**RULE, "weights": {"ins-tcm1:30080": 5.5}}, "whole number"),
        ("weights", {**RULE, "weights": {"ins-tcm1:30080": 101}}, "not in 0..100"),
        ("weights", {**RULE, "weights": {"ins-gone:30080": 5}}, "has no target"),
        ("weights", {**RULE, "lb_id": "lb-gone", "weights": {"a:1": 5}}, "there is no load balancer lb-gone"),
        ("weights", {**RULE, "lb_id": None, "weights": {"a:1": 5}}, "there is no load balancer"),
        ("weights", {**RULE, "location_id": "loc-gone", "weights": {"a:1": 5}}, "has no rule"),
        ("health", {**RULE, "health": "Ill"}, "health must be one of Alive, Dead, Unknown"),
        ("health", {**RULE, "health": "Dead", "target": "ins-gone:1"}, "loc-shop has no target ins-gone:1"),
        ("health", {**RULE, "health": "Dead", "port": 99}, "no target on port 99"),
        (
            "health",
            {**RULE, "health": "Dead", "port": 8080, "target": "a:1"},
            "give a target, or the port of a side, or neither",
        ),
        ("add-target", {**RULE, "ip": "10.1.0.1", "port": 8080}, "10.1.0.1:8080 is bound already"),
        ("add-target", {**RULE, "ip": "10.1.0.9", "port": 8080, "bound_as": "CVM"}, "needs an instance id"),
        ("add-target", {**RULE, "ip": "10.1.0.9", "port": 8080, "bound_as": "pod"}, "bound_as must be one of CVM, ENI"),
        ("add-target", {**RULE, "ip": "10.1.0.9", "port": 99999}, "port must be 1..65535"),
        ("remove-target", {**RULE, "target": "ins-gone:1"}, "loc-shop has no target ins-gone:1"),
        ("lock", {"lb_id": "lb-shop", "seconds": 3601}, "seconds must be 0..3600"),
        ("lock", {"lb_id": "lb-gone", "seconds": 1}, "there is no load balancer lb-gone"),
        ("release", {"lb_id": "lb-gone"}, "there is no load balancer lb-gone"),
        ("declare", {**RULE, "members": "yes"}, "members must be true or false"),
        ("declare", {**RULE, "every_seconds": 0}, "every_seconds must be 0.05.."),
        ("resync", {"lb_id": "lb-shop"}, "nothing was declared about lb-shop"),
        ("withdraw", {"lb_id": "lb-shop"}, "nothing was declared about lb-shop"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_a_sentence_and_changes_nothing(
    emulator: Emulator, post: Post, name: str, order: dict[str, object], why: str
) -> None:
    before = emulator.state()
    answer = post(name, **order)

    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert emulator.state() == before


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", 'give a JSON object, such as {"lb_id": "...", "seconds": "..."}'),
        (b"7", 'give a JSON object, such as {"lb_id": "...", "seconds": "..."}'),
        (b"{", "line 1 column 2"),
        (b"\xff", "invalid start byte"),
        (b'{"a": NaN', "line 1 column 10"),
        (b"[" * 100_000, "that is nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_refused_with_a_sentence(lab: requests.Session, body: bytes, why: str) -> None:
    answer = lab.post(f"{lab.headers['lab']!s}lock", data=body, timeout=5)

    assert answer.status_code == 400
    assert why in answer.json()["error"]


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(lab: requests.Session, seconds: str) -> None:
    body = f'{{"lb_id": "lb-shop", "seconds": {seconds}}}'
    answer = lab.post(f"{lab.headers['lab']!s}lock", data=body, timeout=5)

    assert answer.status_code == 400
    assert "seconds must be a number" in answer.json()["error"]


def test_a_control_that_is_none_is_not_found_and_the_others_are_named(post: Post) -> None:
    answer = post("earthquake")

    assert answer.status_code == 404
    assert "there is no control 'earthquake'; there are faults, " in answer.json()["error"]


def test_a_rule_that_is_full_takes_no_more_targets(post: Post) -> None:
    answers = [post("add-target", **RULE, ip="10.2.0.1", port=port) for port in range(1, MAX_TARGETS - 2)]
    last = answers.pop()

    assert {answer.status_code for answer in answers} == {200}
    assert last.status_code == 400
    assert last.json()["error"] == "loc-shop is full: the quota is 200 targets"
