"""Every answer of the emulator held to the documents that ship with the official SDK: its models, at every depth.

A field must exist in the model, have the type that the model documents, and be null only where the model says that
it may be, or where the official samples show it (`NULL_IN_SAMPLES`). Error codes must be ones the SDK lists.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tencentcloud.clb.v20180317 import errorcodes, models
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from shifter.lab.emulator import Emulator, Fault, FaultKind
from shifter.lab.emulator.actions import ACTIONS
from shifter.lab.emulator.nulls import NULLABLE

Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Advance = Callable[[float], None]
SHOP = {"LoadBalancerId": "lb-shop"}
WRITE = "BatchModifyTargetWeight"
ITEM = {"ListenerId": "lbl-http", "LocationId": "loc-shop", "Targets": [{"EniIp": "10.1.0.1", "Port": 8080}]}
ASKED: dict[str, dict[str, Any]] = {
    "DescribeLoadBalancers": {},
    "DescribeListeners": SHOP,
    "DescribeTargets": SHOP,
    "DescribeTargetHealth": {"LoadBalancerIds": ["lb-shop", "lb-unchecked"]},
    WRITE: {**SHOP, "ModifyList": [ITEM]},
    "ModifyTargetWeight": {**SHOP, **ITEM},
}
TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool, "float": float}

# What the samples show as null though its model says nothing of it: the other layer's list of each listener, no cloud
# functions, no rewriting, and a RuleId of rules that have none.
NULL_IN_SAMPLES = {
    ("ListenerBackend", "Rules"),
    ("ListenerBackend", "Targets"),
    ("RuleTargets", "FunctionTargets"),
    ("RewriteTarget", "TargetListenerId"),
    ("RewriteTarget", "TargetLocationId"),
    ("RuleHealth", "RuleId"),
}

# Common to all products, and so not in the list of this one (product document 1140/51177 has them).
COMMON_CODES = {"MissingParameter", "RequestLimitExceeded", "UnknownParameter", "UnsupportedOperation", "InternalError"}


def documented(model: type, name: str) -> tuple[str, bool]:
    """The type a field has by its model's document, and whether it may be null."""
    # Not the property's own text: those of deprecated fields have none.
    told = re.search(rf":param _{name}: (.*?):type {name}: ([^\n]+)", str(vars(model)["__init__"].__doc__), re.DOTALL)
    assert told, f"{model.__name__}.{name} has no documented type"
    return told[2].strip().removeprefix(":class:`").removesuffix("`").rsplit(".", 1)[-1], "null" in told[1]


def misfits(model: type, value: Mapping[str, Any]) -> Iterator[str]:
    """What of an object does not fit the model, in words."""
    for name, found in value.items():
        place = f"{model.__name__}.{name}"
        if name not in vars(model):
            yield f"{place} is not in the model"
            continue
        kind, nullable = documented(model, name)
        if found is None:
            if not nullable and (model.__name__, name) not in NULL_IN_SAMPLES:
                yield f"{place} is null"
            continue
        yield from wrong_types(place, kind, found)


def wrong_types(place: str, kind: str, found: object) -> Iterator[str]:
    if kind.startswith("list of "):
        if not isinstance(found, list):
            yield f"{place} is no list"
            return
        for one in found:
            yield from wrong_types(place, kind.removeprefix("list of "), one)
    elif kind in TYPES:
        if type(found) is not TYPES[kind]:
            yield f"{place} is {found!r}, which is no {kind}"
    elif not isinstance(found, Mapping):
        yield f"{place} is {found!r}, which is no {kind}"
    else:
        yield from misfits(getattr(models, kind), found)


@pytest.mark.parametrize("action", ASKED)
def test_every_field_of_an_answer_is_in_the_model_with_its_type_and_null_only_where_it_may_be(
    call: Call, advance: Advance, action: str
) -> None:
    model = getattr(models, f"{action}Response")
    for _ in range(10):
        advance(1)

        assert list(misfits(model, call(action, ASKED[action]))) == []


def test_a_task_status_fits_its_model_in_every_state(emulator: Emulator, call: Call, advance: Advance) -> None:
    seen = set()
    for kind in (None, FaultKind.TASK_FAILS, FaultKind.TASK_ENDLESS):
        if kind is not None:
            emulator.inject(Fault(action=WRITE, kind=kind))
        task_id = call(WRITE, ASKED[WRITE])["RequestId"]
        for _ in range(2):
            answer = call("DescribeTaskStatus", {"TaskId": task_id})
            seen.add(answer["Status"])
            assert list(misfits(models.DescribeTaskStatusResponse, answer)) == []
            advance(2)

    assert seen == {0, 1, 2}


@pytest.mark.parametrize("action", NULLABLE)
def test_nulls_are_ordered_only_where_the_documents_allow_them(
    emulator: Emulator, call: Call, advance: Advance, action: str
) -> None:
    asked = ASKED.get(action) or {}
    if action == "DescribeTaskStatus":
        asked = {"TaskId": call(WRITE, ASKED[WRITE])["RequestId"]}
    emulator.inject(Fault(action=action, kind=FaultKind.NULLS, times=10))
    model = getattr(models, f"{action}Response")
    for _ in range(10):
        advance(1)

        assert list(misfits(model, call(action, asked))) == []


@pytest.mark.parametrize("path", [f"{action}.{path}" for action, paths in NULLABLE.items() for path in paths])
def test_every_field_called_nullable_is_documented_as_nullable(path: str) -> None:
    action, *names, last = path.split(".")
    model = getattr(models, f"{action}Response")
    for name in names:
        model = getattr(models, documented(model, name)[0].removeprefix("list of "))

    assert documented(model, last)[1]


@pytest.mark.parametrize("action", [name for name in NULLABLE if name != "DescribeTaskStatus"])
def test_answers_with_nulls_pass_through_the_sdks_own_models(emulator: Emulator, sdk: ClbClient, action: str) -> None:
    emulator.inject(Fault(action=action, kind=FaultKind.NULLS, times=3))
    request = getattr(models, f"{action}Request")()
    request._deserialize(ASKED[action])
    for _ in range(3):
        assert getattr(sdk, action)(request).RequestId


@pytest.mark.parametrize("action", ACTIONS)
def test_the_parameters_that_an_action_takes_are_exactly_those_of_its_model(action: str) -> None:
    request = getattr(models, f"{action}Request")()

    assert set(ACTIONS[action].parameters.members) == {name.removeprefix("_") for name in vars(request)}


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("DescribeListeners", {}),
        ("DescribeListeners", {"LoadBalancerId": "lb-gone"}),
        ("DescribeTargets", {**SHOP, "ListenerIds": ["lbl-gone"]}),
        ("DescribeLoadBalancers", {"Limit": 101}),
        ("DescribeLoadBalancers", {"Colour": "red"}),
        ("DescribeTaskStatus", {"TaskId": "never-made"}),
        (WRITE, {**SHOP, "ModifyList": []}),
        (WRITE, {**SHOP, "ModifyList": [{**ITEM, "LocationId": "loc-gone"}]}),
        (WRITE, {**SHOP, "ModifyList": [ITEM, ITEM]}),
        (WRITE, {"LoadBalancerId": "lb-classic", "ModifyList": [ITEM]}),
    ],
)
def test_a_refusals_code_is_one_that_the_sdk_lists(sdk: ClbClient, action: str, parameters: dict[str, Any]) -> None:
    listed = {value for name, value in vars(errorcodes).items() if name.isupper()} | COMMON_CODES

    with pytest.raises(TencentCloudSDKException) as caught:
        sdk.call_json(action, parameters)
    assert caught.value.code in listed
    assert caught.value.requestId


@pytest.mark.parametrize("kind", [FaultKind.THROTTLE, FaultKind.QUOTA, FaultKind.LOCKED, FaultKind.ERROR_BEFORE])
def test_an_ordered_refusals_code_is_one_that_the_sdk_lists(
    emulator: Emulator, sdk: ClbClient, kind: FaultKind
) -> None:
    listed = {value for name, value in vars(errorcodes).items() if name.isupper()}
    emulator.inject(Fault(action=WRITE, kind=kind))

    with pytest.raises(TencentCloudSDKException) as caught:
        sdk.call_json(WRITE, ASKED[WRITE])
    assert caught.value.code in listed
