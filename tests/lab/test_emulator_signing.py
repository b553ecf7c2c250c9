import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import requests
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from shifter.lab.emulator import Emulator
from shifter.lab.emulator.api import MAX_BODY_BYTES
from shifter.lab.emulator.envelope import ApiError, Reply
from shifter.lab.emulator.signing import HttpRequest, Keys, sign, verify

NOON = 1_790_000_000
KEYS = Keys("AKIDlab", "lab-secret")
SIGNED = "content-type;host"
NIL = "0" * 64
BODY = b'{"LoadBalancerId": "lb-shop"}'


def a_request(
    *, keys: Keys = KEYS, timestamp: int = NOON, date: str = "2026-09-21", body: bytes = BODY, **extra: str
) -> HttpRequest:
    unsigned = HttpRequest(
        method="POST",
        path="/",
        query="",
        headers={
            "host": "127.0.0.1:8080",
            "content-type": "application/json",
            "x-tc-timestamp": str(timestamp),
            **{name.replace("_", "-"): value for name, value in extra.items()},
        },
        body=body,
    )
    scope = f"{keys.secret_id}/{date}/{keys.service}/tc3_request"
    signature = sign(unsigned, keys, timestamp, SIGNED)
    return with_headers(
        unsigned,
        authorization=f"TC3-HMAC-SHA256 Credential={scope}, SignedHeaders={SIGNED}, Signature={signature}",
    )


def with_headers(request: HttpRequest, **headers: str) -> HttpRequest:
    return replace(request, headers={**request.headers, **headers})


def refusal_of(request: HttpRequest, now: float = NOON) -> str:
    with pytest.raises(ApiError) as caught:
        verify(request, KEYS, now)
    return caught.value.code


def test_the_published_example_yields_the_published_signature() -> None:
    body = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
    headers = {"content-type": "application/json; charset=utf-8", "host": "cvm.tencentcloudapi.com"}
    request = HttpRequest(method="POST", path="/", query="", headers=headers, body=body)
    keys = Keys("AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******", "Gu5t9xGARNpq86cd98joQYCN3*******", service="cvm")

    signature = sign(request, keys, 1551113065, SIGNED)

    assert signature == "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c"


def test_a_well_signed_request_is_accepted() -> None:
    verify(a_request(), KEYS, NOON)


@pytest.mark.parametrize("skew_seconds", [-300, 300])
def test_five_minutes_of_skew_are_accepted(skew_seconds: int) -> None:
    verify(a_request(), KEYS, NOON + skew_seconds)


@pytest.mark.parametrize("skew_seconds", [-301, 301])
def test_more_than_five_minutes_of_skew_are_refused(skew_seconds: int) -> None:
    assert refusal_of(a_request(), NOON + skew_seconds) == "AuthFailure.SignatureExpire"


def test_a_tampered_body_is_refused() -> None:
    tampered = replace(a_request(), body=b'{"LoadBalancerId": "lb-tke0"}')

    assert refusal_of(tampered) == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize(
    "tampered",
    [
        {"host": "127.0.0.1:9999"},
        {"content-type": "application/json; charset=utf-8"},
        {"x-tc-timestamp": str(NOON + 1)},
        {"x-tc-content-sha256": "UNSIGNED-PAYLOAD"},
    ],
)
def test_a_tampered_header_that_is_bound_in_is_refused(tampered: dict[str, str]) -> None:
    assert refusal_of(with_headers(a_request(), **tampered)) == "AuthFailure.SignatureFailure"


def test_a_wrong_key_is_refused() -> None:
    assert refusal_of(a_request(keys=Keys("AKIDlab", "guess"))) == "AuthFailure.SignatureFailure"


def test_an_unknown_id_is_refused_before_its_signature_is_looked_at() -> None:
    assert refusal_of(a_request(keys=Keys("AKIDnobody", "guess"))) == "AuthFailure.SecretIdNotFound"


def test_a_scope_of_another_day_is_refused() -> None:
    assert refusal_of(a_request(date="2026-09-20")) == "AuthFailure.SignatureFailure"


def test_a_scope_of_another_service_is_refused() -> None:
    assert refusal_of(a_request(keys=replace(KEYS, service="cvm"))) == "AuthFailure.InvalidAuthorization"


def test_an_unsigned_payload_is_accepted_when_declared() -> None:
    verify(a_request(x_tc_content_sha256="UNSIGNED-PAYLOAD"), KEYS, NOON)


def test_a_session_token_nobody_issued_is_refused() -> None:
    assert refusal_of(a_request(x_tc_token="stolen")) == "AuthFailure.TokenFailure"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "SKIP",
        "Basic bGFi",
        "TC3-HMAC-SHA256 Credential=AKIDlab/2026-09-21/clb/tc3_request",
        f"TC3-HMAC-SHA256 Credential=AKIDlab/2026-09-21/clb/tc3_request, SignedHeaders=host, Signature={NIL}",
        f"TC3-HMAC-SHA256 Credential=AKIDlab/2026-09-21/clb/tc3_request, SignedHeaders={SIGNED}, Signature=short",
        f"TC3-HMAC-SHA256 Credential=AKIDlab/2026-09-21/clb/tc3_request, SignedHeaders=content-type;a, Signature={NIL}",
    ],
)
def test_a_malformed_authorization_is_refused(authorization: str) -> None:
    assert refusal_of(with_headers(a_request(), authorization=authorization)) == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize(
    ("timestamp", "code"),
    [("", "MissingParameter"), ("noon", "InvalidParameterValue"), ("9" * 12, "InvalidParameterValue")],
)
def test_a_timestamp_that_is_none_is_refused(timestamp: str, code: str) -> None:
    assert refusal_of(with_headers(a_request(), **{"x-tc-timestamp": timestamp})) == code


def test_the_sdk_signs_as_we_verify(make_sdk: Callable[..., ClbClient]) -> None:
    response = make_sdk().call_json("DescribeLoadBalancers", {"LoadBalancerName": "灰度"})

    assert response["Response"]["TotalCount"] == 0


def test_the_sdk_may_leave_its_payload_unsigned(make_sdk: Callable[..., ClbClient]) -> None:
    response = make_sdk(unsignedPayload=True).call_json("DescribeLoadBalancers", {})

    assert response["Response"]["TotalCount"] == 4


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        ({"secret_key": "guess"}, "AuthFailure.SignatureFailure"),
        ({"secret_id": "AKIDnobody"}, "AuthFailure.SecretIdNotFound"),
        ({"region": ""}, "MissingParameter"),
        ({"region": "mars-1"}, "UnsupportedRegion"),
        ({"signMethod": "HmacSHA256"}, "UnsupportedProtocol"),
    ],
)
def test_a_wrong_identity_is_what_the_sdk_reports(
    make_sdk: Callable[..., ClbClient], identity: dict[str, str], code: str
) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        make_sdk(**identity).call_json("DescribeLoadBalancers", {})

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "InvalidParameter", "The body is not JSON."),
        (b"[" * 100_000, "InvalidParameter", "The body is not JSON."),
        (b"[]", "InvalidParameter", "The body is not a JSON object."),
        (b" " * (MAX_BODY_BYTES + 1), "RequestSizeLimitExceeded", f"A request is at most {MAX_BODY_BYTES} bytes."),
    ],
    ids=["nothing", "too deep", "a list", "too long"],
)
def test_a_well_signed_body_that_is_none_is_refused(
    emulator: Emulator, clock: Callable[[], float], body: bytes, code: str, said: str
) -> None:
    at = int(clock())
    date = datetime.fromtimestamp(at, UTC).date().isoformat()
    told = {"x_tc_action": "DescribeTargets", "x_tc_version": "2018-03-17", "x_tc_region": "ap-guangzhou"}
    answer = emulator.admit(a_request(keys=KEYS, timestamp=at, date=date, body=body, **told))

    assert isinstance(answer, Reply)
    assert json.loads(answer.body)["Response"]["Error"] == {"Code": code, "Message": said}


def test_a_stopped_clock_locks_every_sdk_out(sdk: ClbClient, advance: Callable[[float], None]) -> None:
    advance(400)

    with pytest.raises(TencentCloudSDKException) as caught:
        sdk.call_json("DescribeLoadBalancers", {})

    assert caught.value.code == "AuthFailure.SignatureExpire"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_methods_get_an_envelope_too(port: int, method: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        response = session.request(method, f"http://127.0.0.1:{port}/", timeout=5)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["Response"]["Error"]["Code"] == "UnsupportedProtocol"


def test_an_unsigned_call_is_refused_with_an_envelope(port: int) -> None:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"X-TC-Action": "DescribeLoadBalancers", "X-TC-Version": "2018-03-17", "X-TC-Timestamp": "1"}
        response = session.post(f"http://127.0.0.1:{port}/", json={}, headers=headers, timeout=5)

    assert response.status_code == 200
    assert response.json()["Response"]["Error"]["Code"] == "AuthFailure.InvalidAuthorization"
    assert response.json()["Response"]["RequestId"]
