"""The front door: from the bytes of a request to the bytes of an answer, in two steps and without a clock.

`admit` decides whether a request is a call at all (protocol, signature, action, version, region, rate, shape of
the parameters); `perform` does it. Between the two a `slow` fault may wait, and that wait is the reason for the
split: a call held up on its way in still takes effect afterwards, when its sender has long given up.

The order of the refusals is the emulator's own; the real one is not documented.
"""

import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shifter.lab.emulator.actions import ACTIONS, Call, Pace
from shifter.lab.emulator.cloud import Cloud
from shifter.lab.emulator.envelope import JSON_TYPE, ApiError, Ending, Reply, bad_gateway, refusal, success
from shifter.lab.emulator.faults import CALL_KINDS, Fault, FaultKind, Faults
from shifter.lab.emulator.nulls import with_nulls
from shifter.lab.emulator.parameters import check
from shifter.lab.emulator.signing import HttpRequest, Keys, verify

VERSION = "2018-03-17"
CALLS_PER_SECOND = 20
MAX_BODY_BYTES = 10 * 1024 * 1024
REGIONS = frozenset(
    {
        "ap-bangkok",
        "ap-beijing",
        "ap-chengdu",
        "ap-chongqing",
        "ap-guangzhou",
        "ap-hongkong",
        "ap-jakarta",
        "ap-nanjing",
        "ap-seoul",
        "ap-shanghai",
        "ap-singapore",
        "ap-tokyo",
        "eu-frankfurt",
        "na-ashburn",
        "na-siliconvalley",
        "sa-saopaulo",
    }
)
_INTERNAL_ERROR = ApiError("InternalError", "An internal error has occurred. Retry your request.")
_QUOTA = ApiError("LimitExceeded", "The quota of your account is exceeded.")
_WITH_CHARSET = f"{JSON_TYPE}; charset=utf-8"
_ENDINGS = {
    FaultKind.LOST_REPLY: Ending.LOST,
    FaultKind.RESET_AFTER: Ending.RESET,
    FaultKind.TRUNCATED: Ending.TRUNCATED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A call that may be worked on, and the fault that strikes it, if any."""

    action: str
    parameters: Mapping[str, Any]
    request_id: str
    region: str
    fault: Fault | None

    @property
    def wait_seconds(self) -> float:
        """How long the call is held up before it is worked on."""
        return self.fault.seconds if self.fault is not None and self.fault.kind is FaultKind.SLOW else 0.0


class Api:
    """One account's CLB API in one region. Not thread-safe: the emulator owns the lock around it."""

    def __init__(
        self, *, cloud: Cloud, faults: Faults, keys: Keys, region: str, pace: Pace, rng: random.Random
    ) -> None:
        if region not in REGIONS:
            raise ValueError(f"no such region: {region}")
        self._cloud = cloud
        self._elsewhere = Cloud([], rng)
        self._faults = faults
        self._keys = keys
        self._region = region
        self._pace = pace
        self._rng = rng
        self._second = 0
        self._calls: dict[str, int] = {}

    def admit(self, request: HttpRequest, now: float) -> Admitted | Reply:
        """Take a request in, or answer it at once.

        Args:
            request: as received.
            now: seconds since the epoch.
        """
        request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        try:
            action, region = self._identify(request, now)
            parameters = _parameters(request.body)
            check(ACTIONS[action].parameters, parameters)
            _refuse_unsupported(action, parameters)
        except ApiError as error:
            return refusal(error, request_id)
        fault = self._faults.take(action, self._balancers_named(parameters), CALL_KINDS)
        if fault is not None and (spoilt := _before(fault.kind, request_id)) is not None:
            return spoilt
        return Admitted(action=action, parameters=parameters, request_id=request_id, region=region, fault=fault)

    def perform(self, admitted: Admitted, now: float) -> Reply:
        """Work on an admitted call; `now` is seconds since the epoch, after any wait."""
        kind = admitted.fault.kind if admitted.fault is not None else None
        if admitted.fault is not None and kind is FaultKind.LOCKED:
            for lb_id in self._balancers_named(admitted.parameters):
                self._cloud.hold_lock(lb_id, now + admitted.fault.seconds)
        call = Call(
            action=admitted.action,
            parameters=admitted.parameters,
            request_id=admitted.request_id,
            now=now,
            region=admitted.region,
            cloud=self._cloud if admitted.region == self._region else self._elsewhere,
            faults=self._faults,
            rng=self._rng,
            pace=self._pace,
        )
        try:
            answer = ACTIONS[admitted.action].handle(call)
        except ApiError as error:
            reply = refusal(error, admitted.request_id)
        else:
            if kind is FaultKind.NULLS:
                answer = with_nulls(admitted.action, answer, self._rng)
            after = kind is FaultKind.WRONG_CONTENT_TYPE_AFTER
            reply = success(answer, admitted.request_id, content_type=_WITH_CHARSET if after else JSON_TYPE)
        if kind is FaultKind.ERROR_AFTER:
            return refusal(_INTERNAL_ERROR, admitted.request_id)
        return reply if kind is None else replace(reply, ending=_ENDINGS.get(kind, Ending.SENT))

    def _identify(self, request: HttpRequest, now: float) -> tuple[str, str]:
        """Return the action and region of a request that is signed, known, and not too frequent."""
        if request.method != "POST" or request.headers.get("content-type", "") != JSON_TYPE:
            raise ApiError("UnsupportedProtocol", f"The emulator takes POST with Content-Type {JSON_TYPE} only.")
        action = _header(request, "X-TC-Action")
        version = _header(request, "X-TC-Version")
        verify(request, self._keys, now)
        if version != VERSION:
            raise ApiError("NoSuchVersion", f"The service clb has no version {version}.")
        if action not in ACTIONS:
            raise ApiError("InvalidAction", f"The service clb has no action {action} in version {version}.")
        region = _header(request, "X-TC-Region")
        if region not in REGIONS:
            raise ApiError("UnsupportedRegion", f"The region {region} is not supported.")
        self._count(action, now)
        return action, region

    def _count(self, action: str, now: float) -> None:
        """Count calls by calendar second, refused ones too, as the real message's number shows."""
        if int(now) != self._second:
            self._second, self._calls = int(now), {}
        self._calls[action] = self._calls.get(action, 0) + 1
        if self._calls[action] > CALLS_PER_SECOND:
            raise _too_fast(self._calls[action])

    def _balancers_named(self, parameters: Mapping[str, Any]) -> frozenset[str]:
        task = self._cloud.task(parameters.get("TaskId", ""))
        named = {parameters.get("LoadBalancerId"), task.lb_id if task is not None else None}
        return frozenset({one for one in named if one}) | frozenset(parameters.get("LoadBalancerIds", ()))


def _before(kind: FaultKind, request_id: str) -> Reply | None:
    """Return what a call hears that is not worked on at all; None if it is."""
    refusals = {
        FaultKind.THROTTLE: _too_fast(CALLS_PER_SECOND + 1),
        FaultKind.QUOTA: _QUOTA,
        FaultKind.ERROR_BEFORE: _INTERNAL_ERROR,
    }
    if kind in refusals:
        return refusal(refusals[kind], request_id)
    if kind is FaultKind.WRONG_CONTENT_TYPE:
        return refusal(_INTERNAL_ERROR, request_id, content_type=_WITH_CHARSET)
    if kind is FaultKind.RESET_BEFORE:
        return Reply(b"", ending=Ending.RESET)
    return bad_gateway(502) if kind is FaultKind.HTML_502 else None


def _header(request: HttpRequest, name: str) -> str:
    value = request.headers.get(name.lower(), "")
    if not value:
        raise ApiError("MissingParameter", f"The request is missing a required parameter `{name}`.")
    return value


def _parameters(body: bytes) -> Mapping[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise ApiError("RequestSizeLimitExceeded", f"A request is at most {MAX_BODY_BYTES} bytes.")
    try:
        parameters = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError("InvalidParameter", "The body is not JSON.") from error
    if not isinstance(parameters, dict):
        raise ApiError("InvalidParameter", "The body is not a JSON object.")
    return parameters


def _refuse_unsupported(action: str, parameters: Mapping[str, Any]) -> None:
    ignored = sorted(parameters.keys() & ACTIONS[action].unsupported)
    if ignored:
        raise ApiError("UnsupportedOperation", f"The emulator does not act on {', '.join(ignored)}.")


def _too_fast(count: int) -> ApiError:
    return ApiError(
        "RequestLimitExceeded",
        f"Your current request times equals to `{count}` in a second, which exceeds the frequency limit "
        f"`{CALLS_PER_SECOND}` for a second. Please reduce the frequency of calls.",
    )
