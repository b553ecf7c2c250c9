"""What counts as good: the `analysis` and the `blastRadius` of a policy. Margins here, the arithmetic in `analysis/`.

Two edges for every metric, and that they differ is the point. Up to the *tolerance* the target is not blamed: no two
gateways are the same, and with enough traffic any difference could be proven. Within the *margin* it is no worse.
Between the two there is nothing to prove, and a shift goes on for want of harm when its `hold` is over.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from shifter.core.counts.answers import LEFT_FLAGS
from shifter.core.documents.schema import (
    Duration,
    Name,
    Percent,
    Retired,
    StrictModel,
    Unsupported,
    distinct,
    second_of_its_kind,
)

GRPC_FAILURES: Final = (2, 4, 12, 13, 14, 15)
"""UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS: what a server is to blame for, by
OpenTelemetry's semantic conventions for gRPC. The others are the client's doing or a plain answer."""


class Excess(StrictModel):
    """How much worse than the source: `ratio` times its share of bad requests, and `percent` points on top."""

    ratio: Annotated[float, Field(ge=1, le=100)]
    percent: Percent


def _shown(excess: Excess) -> str:
    return f"{excess.ratio:g} times tcm and {excess.percent:g} points"


def _margin_beyond(margin: Excess, info: ValidationInfo) -> Excess:
    """Refuse a margin within the tolerance: what is neither harm nor safe must lie between them, not the reverse."""
    tolerance = info.data.get("tolerance")
    if info.data.get("enabled") is False:  # nothing is judged by either
        return margin
    if tolerance is not None and (margin.ratio < tolerance.ratio or margin.percent <= tolerance.percent):
        raise PydanticCustomError(
            "margins",
            "the tolerance ({tolerance}) is not below the margin ({margin}): what is not blamed could never be proven"
            " safe, and the shift would go on by waiting alone, when its hold is over; make the margin larger or the"
            " tolerance smaller",
            {"tolerance": _shown(tolerance), "margin": _shown(margin)},
        )
    return margin


_Margin = Annotated[Excess, AfterValidator(_margin_beyond), Field(validate_default=True)]
_CODE: Final = r"^[1-5](xx|[0-9]{2})$"
_Code = Annotated[str, Field(pattern=_CODE)]


def _not_of_success(code: str) -> str:
    if code[0] in "12":
        raise PydanticCustomError(
            "code", "answers of class 1xx and 2xx went well: as failures they would make nearly every request one"
        )
    return code


def _something_fails(statuses: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
    """Refuse rules by which nothing is ever a failure; what is wrong by itself is not in the data, and told there."""
    codes, flags = info.data.get("codes"), info.data.get("flags")
    if codes is None or flags is None or statuses or codes or not LEFT_FLAGS.issuperset(flags):
        return statuses
    raise PydanticCustomError(
        "failures",
        "no answer would ever be a failure: an Istio that fails every request would be proven no worse; name codes,"
        " flags or grpcStatuses, or leave the keys out for their defaults",
    )


_FailureCode = Annotated[_Code, AfterValidator(_not_of_success)]
_Flag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,40}$")]
_GrpcStatus = Annotated[int, Field(ge=1, le=16)]


class ErrorRules(StrictModel):
    """Which answers are failures, and how many more of them than the source the target may have.

    `codes` are response codes (`503`) or classes (`5xx`), `flags` Envoy's response flags that make a request a failure
    whatever its code, `grpcStatuses` the numbers of failing gRPC statuses. A client that left is never a failure.
    `maxPercent`: of the target's requests, as long as the source itself keeps to it, in place of the default, which is
    twice the source's history and 2 points; stricter or looser.
    """

    codes: Annotated[tuple[_FailureCode, ...], Field(max_length=50), distinct("a code")] = ("5xx",)
    flags: Annotated[tuple[_Flag, ...], Field(max_length=50), distinct("a flag")] = ()
    grpc_statuses: Annotated[tuple[_GrpcStatus, ...], distinct("a status"), AfterValidator(_something_fails)] = (
        GRPC_FAILURES
    )
    max_percent: Annotated[Percent, Field(ge=0.001)] | None = None
    tolerance: Excess = Excess(ratio=1.1, percent=0.01)
    margin: _Margin = Excess(ratio=1.5, percent=0.1)
    over_source_percent: Retired

    def fails_like(self, other: ErrorRules) -> bool:
        """Return whether the same answers are failures under both."""
        return (self.codes, self.flags, self.grpc_statuses) == (other.codes, other.flags, other.grpc_statuses)


class LatencyRules(StrictModel):
    """How much larger the share of slow requests may be, above bucket edges that the source's history fixes.

    `maxMs` with `quantile`: this part of the target's requests must be faster than `maxMs`, as long as it is of the
    source's; it takes the place of the default as `maxPercent` does. `enabled: false` reads no latency at all.
    """

    enabled: bool = True
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
    max_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    tolerance: Excess = Excess(ratio=1.25, percent=0.2)
    margin: _Margin = Excess(ratio=1.5, percent=0.5)
    over_source_ratio: Retired


class AnswerRules(StrictModel):
    """Answers that are no failures by themselves, but are if the target gives many more of them than the source."""

    codes: Annotated[tuple[_Code, ...], Field(max_length=20), distinct("a code")] = ("3xx", "401", "403", "404")
    tolerance: Excess = Excess(ratio=1.25, percent=0.5)
    margin: _Margin = Excess(ratio=1.5, percent=1.0)


def _not_built_in(name: str) -> str:
    if name == "errors" or re.fullmatch(_CODE, name):
        raise PydanticCustomError("name", "a policy has a metric of this name anyway; give the fleet's another one")
    return name


class CustomRules(StrictModel):
    """A pair of counters that the fleet file defines under this name, judged like errors."""

    name: Annotated[Name, AfterValidator(_not_built_in)]
    max_percent: Annotated[Percent, Field(ge=0.001)] | None = None
    tolerance: Excess = Excess(ratio=1.25, percent=0.2)
    margin: _Margin = Excess(ratio=1.5, percent=0.5)


def _named_once(custom: tuple[CustomRules, ...]) -> tuple[CustomRules, ...]:
    if (twice := second_of_its_kind([each.name for each in custom])) is not None:
        raise PydanticCustomError("twice", "a metric is listed twice", {"at": (twice, "name")})
    return custom


class Analysis(StrictModel):
    """What the target is held against: the source, both live, with evidence that may be looked at in every tick.

    `falseRollbackPercent`: of all migrations whose target is within every tolerance, at most so many go back by chance;
    each retry gets half of the one before, so that all together have at most twice as many. `hold`: how long a share is
    kept for want of proof, before the shift goes on with "bounded, not proven".
    """

    false_rollback_percent: Annotated[float, Field(ge=0.001, le=20)] = 1.0
    hold: Duration = timedelta(minutes=4)
    errors: ErrorRules = ErrorRules()
    answers: AnswerRules = AnswerRules()
    latency: LatencyRules = LatencyRules()
    custom: Annotated[tuple[CustomRules, ...], Field(max_length=10), AfterValidator(_named_once)] = ()
    guards: Unsupported
    window: Retired
    min_requests: Retired

    def judges_like(self, other: Analysis) -> bool:
        """Return whether evidence means the same under both; how long a share is kept for it is no part of that."""
        return self == other.model_copy(update={"hold": self.hold})


class BlastRadius(StrictModel):
    """What a step may cost at worst: `requests` failed ones, or `seconds` of all traffic failing, whichever is more."""

    requests: Annotated[float, Field(ge=1)] = 25.0
    seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
