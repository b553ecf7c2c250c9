"""What looks like a secret goes, in whatever it is wrapped; what helps stays; names go consistently if asked for."""

from __future__ import annotations

import json
import time

import pytest

from shifter.service.redaction import Aliases, redacted, redacted_log, redacted_value, redacted_yaml

SECRET = "Gu5t9xGARNpq86cd98joQYCN3"


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2",
        "password = hunter2 hunter2",
        "PASSWORD=hunter2",
        '{"dbPassword": "hunter2"}',
        '{"secretKey": "a\\"hunter2"}',
        "{'api_key': 'hunter2'}",
        '"event": "said {\\"token\\": \\"hunter2\\"}"',
        "Authorization: Bearer hunter2",
        "curl -H 'authorization: basic hunter2' x",
        "got bearer hunter2 from them",
        "X-TC-Token: hunter2",
        "Cookie: session=hunter2; a=hunter2",
        "http://ann:hunter2@prometheus.example.com/x",
        "https://prometheus.example.com/x?key=hunter2&b=hunter2",
        "https://prometheus.example.com/x#hunter2",
        "Credential=AKIDhunter2/2026-11-21/clb/tc3_request, SignedHeaders=host, Signature=hunter2",
        "AKIDhunter2hunter2",
        "Key AKIDhunter2.",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
        "eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2",
        "secretKeyFile: hunter2",
        f"said {SECRET}hunter2 and left",
        "aHVudGVyMmh1bnRlcjI=hunter2ABCdef12345",
        "abcdef0123456789abcdef0123456789hunter2",
        "ab/CD12ef/GH34ij/KL56mn/OPhunter2",
    ],
)
def test_a_secret_goes_in_whatever_it_is_wrapped(text: str) -> None:
    assert "hunter2" not in redacted(text)
    assert "hunter2" not in redacted_yaml(text)
    assert "hunter2" not in redacted_log(text)
    assert "hunter2" not in json.dumps(redacted_value({"said": [text]}))


@pytest.mark.parametrize(
    "text",
    [
        "secretKeyFile: /etc/shifter/tencent/secret-key",
        "istio-ingressgateway-7d9f8b6c5d-x2x4z: 3/3 healthy",
        "lb-front0001/lbl-https443/shop.example.com/",
        "FailedOperation (request 5f0c7c0e-1d2e-4f5a-8b1c-0a0b0c0d0e0f)",
        "http://prometheus.tcm.example.com:9090/api/v1/query",
        "istio_request_duration_milliseconds_bucket BatchModifyTargetWeight",
        "2026-11-20T12:00:00.000Z soaking at tcm 75 · istio 25: 180 of 300 s",
        "/usr/lib/python3.11/site-packages/prometheus_api_client/prometheus_connect.py",
        "the token expired",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text) == text


def test_yaml_values_that_go_on_below_a_telling_key_go_with_it() -> None:
    text = """
a: 1
token: |
  hunter2

  hunter2
"password": >-
    hunter2
passwords:
- hunter2
- hunter2
nested:
  - secret: "hunter2
      hunter2"
    kept: 2
flow: {password: hunter2, kept: 3}
# old password: hunter2
kept: 4
""".lstrip()
    shown = redacted_yaml(text)

    assert "hunter2" not in shown
    assert len(shown.splitlines()) == len(text.splitlines())
    assert [line.strip() for line in shown.splitlines() if "kept" in line] == [
        "kept: 2",
        "flow: {password: ***, kept: 3}",
        "kept: 4",
    ]


def test_whatever_a_telling_key_holds_in_a_document_goes() -> None:
    shown = redacted_value({"tokens": ["a", {"b": "c"}], "password": 7, "secret": None, "tokenFile": "/etc/t", "n": 1})

    assert shown == {"tokens": "***", "password": "***", "secret": None, "tokenFile": "/etc/t", "n": 1}


def test_a_log_line_that_is_json_is_taken_apart_and_stays_json() -> None:
    line = json.dumps(
        {"event": "x", "password": "multi\nline hunter2", "reason": "soaking", "deep": {"Token": ["hunter2"]}}
    )
    shown = redacted_log(f"{line}\n{{broken password=hunter2\n")

    assert json.loads(shown.splitlines()[0]) == {
        "event": "x",
        "password": "***",
        "reason": "soaking",
        "deep": {"Token": "***"},
    }
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "secret" * 30_000, "a.b-" * 50_000, "://" * 60_000, "-----BEGIN A-----" * 9_000]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.monotonic()
    redacted(text)
    Aliases({"name": ["shop"]}).apply(text)

    assert time.monotonic() - began < 10


def test_a_name_has_one_alias_everywhere_and_another_name_another() -> None:
    aliases = Aliases({"name": ["shop", "pay"], "host": ["desk"], "user": ["ann"]})
    text = "shop: ann@desk asked; pay/shop-7d9f at 10.0.0.1:80, 10.0.0.2:80 and 10.0.0.1; shop.yaml, workshop"

    assert aliases.apply(text) == (
        "name-2: user-1@host-1 asked; name-1/name-2-7d9f at ip-1:80, ip-2:80 and ip-1; name-2.yaml, workshop"
    )
    assert aliases.apply("bob@elsewhere shop") == "user-2@elsewhere name-2"


def test_hosts_addresses_and_ids_are_known_by_their_form() -> None:
    aliases = Aliases({})
    text = "http://prom:9090/x shop.example.com fe80::1 lb-front0001/lbl-https443 ins-old00001 eni-00000001"

    assert aliases.apply(text) == "http://host-1:9090/x host-2 ip-1 lb-1/lbl-1 ins-1 eni-1"


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T12:00:00.000Z", "12:00:00", "spec.traffic.clb.routes.0.domain", "shifter.io/v1alpha1", "3.11.7"],
)
def test_times_places_in_files_and_versions_are_no_names(text: str) -> None:
    assert Aliases({}).apply(text) == text


def test_to_alias_twice_changes_nothing_more() -> None:
    aliases = Aliases({"name": ["shop"]})
    once = aliases.apply("shop at 10.0.0.1 on lb-front0001 http://a.example.com/ ann@desk")

    assert aliases.apply(once) == once
