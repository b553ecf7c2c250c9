"""What mends a foreign error, as it travels with the error: by code, by status, and by what went wrong before any."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.adapters.prometheus.probe import PrometheusProbe
from shifter.adapters.tencent.api import ClbApi, permission_for, remedy_of
from shifter.adapters.tencent.clb_decoding import balancer_refusals
from shifter.adapters.tencent.credentials import FileCredentials
from shifter.adapters.tencent.server_clock import TencentClock
from shifter.core.documents.fleet import Tencent
from shifter.errors import MetricsUnavailableError, ProviderRefusedError, ProviderUnavailableError, ShifterError
from tests.adapters.prometheus import NOW, datasource
from tests.http import replying, serving


@pytest.mark.parametrize(
    ("action", "code", "remedy"),
    [
        ("DescribeTargets", "UnauthorizedOperation", '"action": ["clb:DescribeTargets"]'),
        ("DescribeListeners", "AuthFailure.UnauthorizedOperation", '"action": ["clb:DescribeListeners"]'),
        ("DescribeTaskStatus", "UnauthorizedOperation.Cam", '"action": ["clb:DescribeTaskStatus"]'),
        ("DescribeTargets", "AuthFailure.SignatureExpire", "timedatectl set-ntp true"),
        ("DescribeTargets", "AuthFailure.TokenFailure", "renew the temporary key"),
        ("DescribeTargets", "AuthFailure.SecretIdNotFound", "compare with CAM's list of keys"),
        ("DescribeTargets", "InvalidCredential", "compare with CAM's list of keys"),
        ("DescribeTargets", "IpNotInWhitelist", "allow this machine's address"),
        ("DescribeTargets", "UnsupportedRegion", "spec.traffic.clb of the policy"),
        ("DescribeTargets", "InvalidParameter.LBIdNotFound", "spec.traffic.clb of the policy"),
        ("DescribeTargets", "ResourceNotFound", "spec.traffic.clb of the policy"),
        ("DescribeTargets", "RequestLimitExceeded.UinLimitExceeded", "lower spec.provider.tencent.requestsPerSecond"),
        ("DescribeTargets", "FailedOperation.RateLimitExceeded", "lower spec.provider.tencent.requestsPerSecond"),
    ],
)
def test_a_code_has_its_remedy_or_that_of_its_family(action: str, code: str, remedy: str) -> None:
    assert remedy in remedy_of(action, code)


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("DescribeTargets", "MissingParameter"),
        ("DescribeTargets", "InvalidParameter.ListenerIdNotFound"),
        ("DescribeTargets", ""),
        ("DescribeTaskStatus", "ResourceNotFound"),
        ("DescribeTaskStatus", "InvalidParameter"),
    ],
)
def test_where_nothing_is_known_to_help_no_remedy_is_made_up(action: str, code: str) -> None:
    assert remedy_of(action, code) == ""


def test_a_permission_is_the_statement_that_grants_it() -> None:
    assert permission_for("X") == (
        'allow it to this key in CAM: {"effect": "allow", "action": ["clb:X"], "resource": ["*"]}'
    )


@pytest.fixture
def closed() -> Iterator[int]:
    """A port of the loopback that nobody listens on, and nobody else is given."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def tencent(place: Path, port: int) -> Tencent:
    for name in ("id", "key"):
        (place / name).write_text("word", encoding="utf-8")
    files = {"secretIdFile": str(place / "id"), "secretKeyFile": str(place / "key")}
    return Tencent.model_validate({**files, "scheme": "http", "endpoint": f"127.0.0.1:{port}"})


def test_an_endpoint_that_is_not_there_comes_with_the_command_that_shows_it(tmp_path: Path, closed: int) -> None:
    settings = tencent(tmp_path, closed)
    with pytest.raises(ProviderUnavailableError) as call:
        ClbApi(settings).read("ap-guangzhou", "DescribeTargets", {}, [])
    with pytest.raises(ProviderUnavailableError) as clock:
        TencentClock(settings).server_time()

    for caught in (call, clock):
        assert caught.value.remedy.endswith(f"curl -sI http://127.0.0.1:{closed}")


def _undated(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_an_endpoint_that_says_no_time_comes_with_the_command_that_shows_it(tmp_path: Path) -> None:
    with serving(_undated) as url:
        clock = TencentClock(tencent(tmp_path, int(url.rpartition(":")[2])))
        with pytest.raises(ProviderUnavailableError, match="without a readable Date") as caught:
            clock.server_time()

    assert caught.value.remedy.endswith(f"curl -sI {url}")


def test_tencent_tolerates_five_minutes(tmp_path: Path) -> None:
    assert TencentClock(tencent(tmp_path, 1)).tolerance_seconds == 300


@pytest.mark.parametrize("text", [None, b"", b"two words", b"\xff"])
def test_a_credential_file_that_cannot_be_used_says_what_belongs_into_it(tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "id"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ProviderRefusedError) as caught:
        FileCredentials(str(path), str(path)).refresh()

    assert caught.value.remedy.startswith("write one word into the file")


def test_a_balancer_that_is_not_there_is_a_mistake_of_the_policy() -> None:
    with pytest.raises(ProviderRefusedError) as caught:
        balancer_refusals({"LoadBalancerSet": []}, "lb-1")

    assert caught.value.remedy.startswith("edit spec.traffic.clb of the policy")


def _refused(url: str, **settings: object) -> ShifterError:
    with pytest.raises(MetricsUnavailableError) as caught:
        PrometheusMetrics(datasource(url, **settings), 45, "tcm").read(NOW, ())
    with pytest.raises(MetricsUnavailableError) as probed:
        PrometheusProbe(datasource(url, **settings), "tcm").server_time()
    assert probed.value.remedy == caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "give it a token that this Prometheus accepts: bearerTokenFile"),
        (403, "give it a token that this Prometheus accepts: bearerTokenFile"),
        (404, "write the address of a Prometheus: url"),
        (503, ""),
    ],
)
def test_a_status_of_prometheus_comes_with_the_key_to_mend(status: int, remedy: str) -> None:
    with serving(replying(status, b"no")) as url:
        assert _refused(url).remedy == remedy


def test_a_prometheus_that_is_not_there_has_no_remedy(closed: int) -> None:
    assert _refused(f"http://127.0.0.1:{closed}").remedy == ""


def test_a_certificate_that_cannot_be_proven_names_its_key(tmp_path: Path, closed: int) -> None:
    authority: Mapping[str, object] = {"caFile": str(tmp_path / "none.pem")}
    with serving(replying(200, b"{}")) as url:
        plain = _refused(url.replace("http:", "https:"))

    assert _refused(f"https://127.0.0.1:{closed}", **authority).remedy.startswith(
        "name the authority of its certificate"
    )
    assert plain.remedy.startswith("name the authority of its certificate: caFile; or is it plain http?")


@pytest.mark.parametrize("text", [None, "", "two\nlines"])
def test_a_token_file_that_cannot_be_used_says_what_belongs_into_it(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    assert _refused("http://127.0.0.1:1", bearerTokenFile=str(path)).remedy.startswith("write one token into the file")
