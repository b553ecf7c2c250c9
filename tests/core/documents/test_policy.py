"""Policies: what a valid one means, and every rule that makes one invalid."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shifter.core.balancing.splits import Route, Selector
from shifter.core.documents.policy import AUTO_STEPS, Conflict, ShiftPolicy, conflicts


def _document(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a file may hold
    return {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "ShiftPolicy",
        "metadata": {"name": "shop"},
        "spec": {
            "namespace": "shop",
            "traffic": {"clb": _clb()},
            "steps": [10, 50.5, 100],
            "soak": "5m",
            **spec,
        },
    }


def _rule(listener: str) -> dict[str, str]:
    return {"listener": listener, "domain": "shop.example.com", "url": "/"}


def _clb(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a file may hold
    return {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": [_rule("lbl-1")],
        "source": {"port": 30080},
        "target": {"port": 31080},
        **changes,
    }


def _policy(name: str = "shop", **spec: Any) -> ShiftPolicy:  # noqa: ANN401 - whatever a file may hold
    document = _document(**spec)
    document["metadata"]["name"] = name
    return ShiftPolicy.model_validate_json(json.dumps({key: value for key, value in document.items() if value}))


def _complaint(**spec: Any) -> str:  # noqa: ANN401 - whatever a file may hold
    with pytest.raises(ValidationError) as caught:
        _policy(**spec)
    error = caught.value.errors()[0]
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def test_a_policy_names_its_routes_with_their_sides() -> None:
    assert _policy().routes == (
        Route(
            region="ap-guangzhou",
            balancer="lb-1",
            listener="lbl-1",
            host="shop.example.com",
            path="/",
            source=Selector(ports=(30080,)),
            target=Selector(ports=(31080,)),
        ),
    )


def test_every_criterion_of_a_selector_is_kept() -> None:
    source = {"ids": ["ins-1", "eni-2"], "ips": ["10.0.0.1", "fd00::1"], "tag": "tcm"}
    policy = _policy(traffic={"clb": _clb(source=source)})

    assert policy.routes[0].source == Selector(ids=("ins-1", "eni-2"), ips=("10.0.0.1", "fd00::1"), tags=("tcm",))


def test_a_listener_as_a_whole_is_no_route_and_the_way_out_is_said() -> None:
    assert _complaint(traffic={"clb": _clb(routes=[{"listener": "lbl-4"}])}) == (
        "spec.traffic.clb.routes.0: a listener as a whole carries every namespace, and a layer 4 listener cannot be"
        " split per namespace; name the rule's domain and url"
    )


@pytest.mark.parametrize(
    ("spec", "namespaces"), [({}, ("shop",)), ({"namespace": None, "namespaces": ["a", "b"]}, ("a", "b"))]
)
def test_one_namespace_or_several_move_as_one(spec: dict[str, Any], namespaces: tuple[str, ...]) -> None:
    assert _policy(**spec).namespaces == namespaces


def test_a_policy_made_past_validation_without_namespaces_has_none() -> None:
    policy = _policy()
    empty = policy.model_copy(update={"spec": policy.spec.model_copy(update={"namespace": None})})

    assert empty.namespaces == ()


def test_the_criteria_have_defaults_that_treat_both_meshes_alike_and_read_latency() -> None:
    spec = _policy().spec

    assert (spec.analysis.false_rollback_percent, spec.analysis.hold) == (1.0, timedelta(minutes=4))
    assert (spec.analysis.errors.codes, spec.analysis.errors.flags) == (("5xx",), ())
    assert spec.analysis.errors.grpc_statuses == (2, 4, 12, 13, 14, 15)
    assert (spec.analysis.errors.max_percent, spec.analysis.latency.max_ms) == (None, None)
    assert (spec.analysis.latency.enabled, spec.analysis.answers.codes) == (True, ("3xx", "401", "403", "404"))
    assert (spec.analysis.custom, spec.on_failure) == ((), "rollback")
    assert (spec.blast_radius.requests, spec.blast_radius.seconds) == (25, 1)


def test_no_tolerance_of_the_defaults_reaches_its_margin() -> None:
    analysis = _policy(analysis={"custom": [{"name": "logins"}]}).spec.analysis

    edges = [(rules.tolerance, rules.margin) for rules in (analysis.errors, analysis.answers)]
    edges += [(analysis.latency.tolerance, analysis.latency.margin)]
    edges += [(rules.tolerance, rules.margin) for rules in analysis.custom]

    assert all(tolerance.ratio < margin.ratio and tolerance.percent < margin.percent for tolerance, margin in edges)


def test_every_criterion_may_be_said() -> None:
    said = {
        "falseRollbackPercent": 0.1,
        "hold": "10m",
        "errors": {"codes": ["500", "5xx"], "flags": ["UF", "URX"], "grpcStatuses": [14], "maxPercent": 1},
        "answers": {"codes": []},
        "latency": {"enabled": False},
        "custom": [{"name": "logins", "maxPercent": 3, "margin": {"ratio": 2, "percent": 1}}],
    }
    policy = _policy(analysis=said, blastRadius={"requests": 5, "seconds": 0.5}, onFailure="stepBack")

    assert policy.spec.analysis.errors.flags == ("UF", "URX")
    assert policy.spec.analysis.custom[0].margin.ratio == 2
    assert (policy.spec.blast_radius.requests, policy.spec.on_failure) == (5, "stepBack")


def test_the_ladder_is_the_list_of_steps_or_what_auto_chooses_among() -> None:
    assert _policy().spec.ladder == (10, 50.5, 100)
    automatic = _policy(steps="auto").spec

    assert (automatic.steps, automatic.ladder) == ((), AUTO_STEPS)
    assert list(AUTO_STEPS) == sorted({*AUTO_STEPS})
    assert (AUTO_STEPS[0] > 0, AUTO_STEPS[-1]) == (True, 100)


@pytest.mark.parametrize("steps", ["auto", [5, 100]])
def test_steps_are_dumped_as_they_are_written(steps: object) -> None:
    policy = _policy(steps=steps)
    text = policy.model_dump_json(by_alias=True)

    assert json.loads(text)["spec"]["steps"] == steps
    assert ShiftPolicy.model_validate_json(text) == policy


def test_the_gates_are_the_shares_that_need_an_approval() -> None:
    assert _policy().gates == ()
    assert _policy(approvals=[{"before": 25}, {"before": 100}]).gates == (25, 100)


def test_the_identity_changes_with_what_must_not_change_under_way_and_with_nothing_else() -> None:
    identity = _policy().identity

    assert _policy(name="other", steps=[100], soak="1m", analysis={"hold": "1m"}).identity == identity
    assert _policy(namespace="cart").identity != identity
    assert _policy(traffic={"clb": _clb(loadBalancer="lb-2")}).identity != identity
    assert _policy(traffic={"clb": _clb(target={"port": 31081})}).identity != identity


def test_the_identity_does_not_depend_on_the_order_of_writing() -> None:
    routes = [_rule("lbl-1"), _rule("lbl-2")]
    one = _policy(namespace=None, namespaces=["a", "b"], traffic={"clb": _clb(routes=routes)})
    two = _policy(namespace=None, namespaces=["b", "a"], traffic={"clb": _clb(routes=routes[::-1])})

    assert one.identity == two.identity


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"namespace": None}, "give namespace or namespaces"),
        ({"namespaces": ["shop"]}, "give namespace or namespaces"),
        ({"namespace": None, "namespaces": []}, "spec.namespaces"),
        ({"namespace": None, "namespaces": ["a", "a"]}, "a namespace is listed twice"),
        ({"namespace": "Shop"}, "spec.namespace: not a Kubernetes name"),
        ({"steps": []}, "spec.steps"),
        ({"steps": [100] * 51}, "spec.steps"),
        ({"steps": [10, 50]}, "the last step must be 100"),
        ({"steps": [10, 10, 100]}, "step 10 % does not climb from 10 %"),
        ({"steps": [50, 10.5, 100]}, "step 10.5 % does not climb from 50 %"),
        ({"steps": [0, 100]}, "spec.steps.0"),
        ({"steps": [50, 101]}, "spec.steps.1"),
        ({"steps": "fast"}, "spec.steps"),
        ({"steps": ["auto"]}, "spec.steps.0"),
        ({"approvals": [{"before": 0}]}, "spec.approvals.0.before"),
        ({"approvals": [{"before": 50}, {"before": 50}]}, "approvals must grow from one to the next"),
        ({"approvals": [{}]}, "spec.approvals.0.before"),
        ({"soak": "0s"}, "spec.soak"),
        ({"soak": 300}, "spec.soak: not a duration"),
        ({"onFailure": "ignore"}, "spec.onFailure"),
        ({"blastRadius": {"requests": 0.5}}, "spec.blastRadius.requests"),
        ({"blastRadius": {"seconds": 0}}, "spec.blastRadius.seconds"),
        ({"analysis": {"falseRollbackPercent": 0}}, "spec.analysis.falseRollbackPercent"),
        ({"analysis": {"falseRollbackPercent": 21}}, "spec.analysis.falseRollbackPercent"),
        ({"analysis": {"hold": "0s"}}, "spec.analysis.hold"),
        ({"analysis": {"errors": {"maxPercent": 0}}}, "spec.analysis.errors.maxPercent"),
        ({"analysis": {"errors": {"codes": ["6xx"]}}}, "spec.analysis.errors.codes.0"),
        ({"analysis": {"errors": {"codes": ["503", "503"]}}}, "a code is listed twice"),
        ({"analysis": {"errors": {"flags": ["U F"]}}}, "spec.analysis.errors.flags.0"),
        ({"analysis": {"errors": {"flags": ["UF", "UF"]}}}, "a flag is listed twice"),
        ({"analysis": {"errors": {"grpcStatuses": [0]}}}, "spec.analysis.errors.grpcStatuses.0"),
        ({"analysis": {"errors": {"grpcStatuses": [2, 2]}}}, "a status is listed twice"),
        ({"analysis": {"errors": {"tolerance": {"ratio": 0.9, "percent": 1}}}}, "spec.analysis.errors.tolerance.ratio"),
        ({"analysis": {"latency": {"maxMs": 5, "quantile": 1}}}, "spec.analysis.latency.quantile"),
        ({"analysis": {"latency": {"maxMs": 0}}}, "spec.analysis.latency.maxMs"),
        ({"analysis": {"custom": [{"name": "a"}, {"name": "a"}]}}, "spec.analysis.custom: a metric is listed twice"),
        ({"analysis": {"custom": [{"name": f"m{n}"} for n in range(11)]}}, "spec.analysis.custom"),
        ({"analysis": {"custom": [{}]}}, "spec.analysis.custom.0.name: Field required"),
        ({"traffic": {}}, "spec.traffic.clb"),
        ({"traffic": {"clb": _clb(region="Guangzhou")}}, "spec.traffic.clb.region"),
        ({"traffic": {"clb": _clb(routes=[])}}, "spec.traffic.clb.routes"),
        ({"traffic": {"clb": _clb(routes=[_rule("a")] * 2)}}, "a route is listed twice"),
        ({"traffic": {"clb": _clb(routes=[{"listener": "a", "url": "/"}])}}, "spec.traffic.clb.routes.0.domain: Field"),
        ({"traffic": {"clb": _clb(routes=[{"listener": "a", "domain": "b.example.com"}])}}, "routes.0.url: Field"),
        ({"traffic": {"clb": _clb(routes=["lbl-1"])}}, "spec.traffic.clb.routes.0"),
        ({"traffic": {"clb": _clb(source={})}}, "selects nothing; give port, ids, ips or tag"),
        ({"traffic": {"clb": _clb(source={"port": 31080})}}, "select the same members"),
        ({"traffic": {"clb": _clb(source={"port": 0})}}, "spec.traffic.clb.source.port"),
        ({"traffic": {"clb": _clb(source={"ips": ["10.0.0.300"]})}}, "no IP address: it would match no member"),
    ],
)
def test_a_rule_that_is_broken_is_named_where_it_is_broken(spec: dict[str, Any], complaint: str) -> None:
    assert complaint in _complaint(**spec)


@pytest.mark.parametrize("name", ["errors", "404", "3xx"])
def test_a_custom_metric_cannot_have_the_name_of_one_that_every_policy_has(name: str) -> None:
    assert _complaint(analysis={"custom": [{"name": name}]}) == (
        "spec.analysis.custom.0.name: a policy has a metric of this name anyway; give the fleet's another one"
    )


@pytest.mark.parametrize("rules", ["errors", "latency", "answers"])
@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ({"tolerance": {"ratio": 2, "percent": 0}}, "the tolerance (2 times tcm and 0 points)"),
        ({"margin": {"ratio": 1, "percent": 50}}, "is not below the margin (1 times tcm and 50 points)"),
        ({"tolerance": {"ratio": 1, "percent": 9}, "margin": {"ratio": 2, "percent": 9}}, "the tolerance (1 times tcm"),
        ({"tolerance": {"ratio": 1, "percent": 9}, "margin": {"ratio": 2, "percent": 8}}, "the tolerance (1 times tcm"),
    ],
    ids=["default margin", "default tolerance", "equal", "reversed"],
)
@pytest.mark.fault(
    on="policy files",
    fault="the harm tolerance is above the safety margin",
    does="is refused; the earlier policy stays in force",
    sees="`the tolerance (...) is not below the margin (...): what is not blamed could never be proven safe`",
    safe_within="at once",
)
def test_a_tolerance_that_reaches_the_margin_is_refused_with_the_reason(
    rules: str, edges: dict[str, Any], said: str
) -> None:
    complaint = _complaint(analysis={rules: edges})

    assert complaint.startswith(f"spec.analysis.{rules}.margin: the tolerance (")
    assert said in complaint
    assert "make the margin larger or the tolerance smaller" in complaint


def test_a_tolerance_that_is_wrong_by_itself_is_told_without_the_margin() -> None:
    with pytest.raises(ValidationError) as caught:
        _policy(analysis={"errors": {"tolerance": {"ratio": 0}}})

    assert {error["loc"][3] for error in caught.value.errors()} == {"tolerance"}


@pytest.mark.parametrize(
    ("analysis", "at"),
    [
        ({"window": "1m"}, "window"),
        ({"minRequests": 100}, "minRequests"),
        ({"errors": {"overSourcePercent": 0.5}}, "errors.overSourcePercent"),
        ({"latency": {"maxMs": 500, "overSourceRatio": 1.5}}, "latency.overSourceRatio"),
    ],
)
def test_keys_of_the_fixed_limits_are_refused_with_the_reason(analysis: dict[str, Any], at: str) -> None:
    assert _complaint(analysis=analysis) == (
        f"spec.analysis.{at}: not used any more: evidence is weighed instead of held against a fixed window;"
        " remove the key"
    )


@pytest.mark.parametrize("steps", [5, 100.0, True, "100", {"100": 1}])
def test_steps_that_are_neither_a_list_nor_auto_are_refused(steps: object) -> None:
    assert _complaint(steps=steps).startswith("spec.steps")


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"steps": [10, 20, 20, 100]}, (2,)),
        ({"steps": [20, 10, 100]}, (1,)),
        ({"steps": [10, 20, 90]}, (2,)),
        ({"approvals": [{"before": 25}, {"before": 25}]}, (1, "before")),
        ({"approvals": [{"before": 25}, {"before": 50}, {"before": 40}]}, (2, "before")),
    ],
)
def test_of_a_list_that_does_not_grow_the_first_entry_that_does_not_is_pointed_at(
    spec: dict[str, Any], place: tuple[int | str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        _policy(**spec)

    assert caught.value.errors()[0]["ctx"]["at"] == place


@pytest.mark.parametrize("key", ["windows", "dependsOn", "retry"])
def test_keys_of_the_format_that_are_not_enforced_yet_are_refused(key: str) -> None:
    assert _complaint(**{key: [{"before": 50}]}) == (
        f"spec.{key}: not supported yet by this version of shifter; remove the key"
    )


def test_later_keys_deeper_down_are_refused_too() -> None:
    assert "not supported yet" in _complaint(analysis={"guards": []})
    assert "not supported yet" in _complaint(traffic={"clb": _clb(), "dns": {}})


def test_policies_that_share_nothing_do_not_conflict() -> None:
    one = _policy("one", namespace="a", traffic={"clb": _clb(routes=[_rule("x")])})
    two = _policy("two", namespace="b", traffic={"clb": _clb(routes=[_rule("y")])})

    assert list(conflicts({"1.yaml": one, "2.yaml": two})) == []


def test_of_two_policies_that_claim_one_thing_the_later_one_is_wrong() -> None:
    assert list(conflicts({"z.yaml": _policy(), "a.yaml": _policy()})) == [
        Conflict("a.yaml", ("metadata", "name"), "the name shop already has a policy, in z.yaml"),
        Conflict("a.yaml", ("spec", "namespace"), "namespace shop already has a policy, in z.yaml"),
        Conflict(
            "a.yaml",
            ("spec", "traffic", "clb", "routes", 0),
            "route lb-1/lbl-1/shop.example.com/ already has a policy, in z.yaml",
        ),
    ]


def test_a_conflict_names_the_place_in_a_list_of_namespaces() -> None:
    several = _policy("two", namespace=None, namespaces=["a", "shop"], traffic={"clb": _clb(routes=[_rule("other")])})
    (conflict,) = conflicts({"1.yaml": _policy(), "2.yaml": several})

    assert conflict.path == ("spec", "namespaces", 1)
