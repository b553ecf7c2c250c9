"""Which error codes mean that a write was not carried out, and which leave it open."""

from __future__ import annotations

import pytest
from tencentcloud.clb.v20180317 import errorcodes

from shifter.adapters.tencent.api import Kind, kind_of

RETRY = [
    "FailedOperation.ResourceInOperating",
    "FailedOperation.ResourceInCloning",
    "FailedOperation.RateLimitExceeded",
    "FailedOperation.InvalidLBStatus",
    "RequestLimitExceeded",
    "RequestLimitExceeded.RequestLimitExceeded",
    "RequestLimitExceeded.UinLimitExceeded",
    "ResourceUnavailable",
]
UNKNOWN = [
    "FailedOperation",
    "FailedOperation.RequestTimeout",
    "InternalError",
    "InternalError.AssociationReferenceInvalid",
    "ClientNetworkError",
    "ServerNetworkError",
    "JSONDecodeError",
    "KeyError",
    "SomethingNobodyHasSeen",
    "",
]
FATAL = [
    "InvalidParameter",
    "InvalidParameter.LBIdNotFound",
    "InvalidParameter.ListenerIdNotFound",
    "InvalidParameter.LocationNotFound",
    "InvalidParameterValue.Length",
    "InvalidParameterValue.Range",
    "MissingParameter",
    "UnknownParameter",
    "ResourceNotFound",
    "UnsupportedOperation",
    "LimitExceeded",
    "AuthFailure",
    "AuthFailure.TokenFailure",
    "AuthFailure.SignatureFailure",
    "AuthFailure.SignatureExpire",
    "AuthFailure.SecretIdNotFound",
    "UnauthorizedOperation",
    "FailedOperation.InsufficientBalance",
    "FailedOperation.TrafficCheckRisk",
    "FailedOperation.TargetNumCheckRisk",
    "FailedOperation.FrequencyCheckRisk",
    "FailedOperation.EipTrafficCheckRisk",
]
MEANINGS = (
    [(code, Kind.NOT_DONE) for code in RETRY]
    + [(code, Kind.UNKNOWN) for code in UNKNOWN]
    + [(code, Kind.REFUSED) for code in FATAL]
)


@pytest.mark.parametrize(("code", "kind"), MEANINGS)
def test_a_code_says_whether_the_call_was_carried_out(code: str, kind: Kind) -> None:
    assert kind_of(code) is kind


def test_every_code_of_the_sdk_belongs_to_a_family_that_was_thought_about() -> None:
    families = {value.split(".")[0] for name, value in vars(errorcodes).items() if name.isupper()}
    unknown = {family for family in families if kind_of(family) is Kind.UNKNOWN}

    assert len(families) > 15
    assert unknown == {"FailedOperation", "InternalError"}
