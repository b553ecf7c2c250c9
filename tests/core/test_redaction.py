"""What looks like a secret goes, in whatever it is wrapped; what helps stays."""

from __future__ import annotations

import json

import pytest

from shifter.core.redaction import (
    CUT,
    LONGEST_LINE,
    gives_away,
    is_telling,
    redacted,
    redacted_log,
    redacted_value,
    without_values,
)

SECRET = "Gu5t9xGARNpq86cd98joQYCN3"


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2",
        "passwort: hunter2",
        "pwd: hunter2",
        "tls.key: hunter2",
        "credentials: hunter2",
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
        "url: http://prom:Sl/hunter2@127.0.0.1:9090",
        "url: http://prom:a b/c@hunter2@127.0.0.1:9090",
        "url: prom:hunter2@127.0.0.1:9090",
        f"http://prom:{'long-' * 1000}hunter2@127.0.0.1:9090",
        "mysql --password hunter2",
        "login -token hunter2",
        "--password\nhunter2",
        "args:\n- --password\n- hunter2",
        'x ["--password", "hunter2"]',
        '["--password", "hunter2"]',
        "pass=hunter2",
        "PASS: hunter2",
        "DB_PASS=hunter2",
        "密码: hunter2",
        "密码\uff1ahunter2",
        "<password>hunter2</password>",
        '<password of="ann">hunter2</password>',
        "<password>\nhunter2\n</password>",
        "<name>DB_PASSWORD</name><value>hunter2</value>",
        "- name: DB_PASSWORD\n  value: hunter2",
        "- name: DB_PASSWORD # the database's\n  # as agreed\n  value: hunter2",
        "- name: DB_PASSWORD\n  value: |\n    hunter2",
        "- value: hunter2\n  name: DB_PASSWORD",
        "key: DB_PASSWORD\nvalue: hunter2",
        "{name: DB_PASSWORD, value: hunter2}",
        "{value: hunter2, name: DB_PASSWORD}",
        '{"name":"password","value":"hunter2"}',
        'x {"name":"password","value":"hunter2"}',
        '"name": "password",\n"value": "hunter2"',
        'Authorization: Digest username="ann", response="hunter2"',
        'sent Digest username="ann", response="hunter2"',
        "password=a,hunter2",
        "{secretKey:\nhunter2}",
        '"secretKey":\n\n"hunter2"',
        'password: "a\n\\"\nhunter2"',
        "secretKey: [\na,\nhunter2\n]",
        '"secret\\x4bey": hunter2',
        '"p\\u0061ss": hunter2',
        f"secret{'_x' * 100}: hunter2",
        "password:\u2028hunter2",
    ],
)
def test_a_secret_goes_in_whatever_it_is_wrapped(text: str) -> None:
    assert "hunter2" not in redacted(text)
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
flow: {password: hunter2, other: 3}
# old password: hunter2
kept: 4
""".lstrip()
    shown = redacted(text)

    assert "hunter2" not in shown
    assert len(shown.splitlines()) == len(text.splitlines())
    assert [line.strip() for line in shown.splitlines() if "kept" in line] == [
        "kept: 2",
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


@pytest.mark.parametrize("unit", ["http://", "secret", "a.b-", "eyJ-", "//a@", "-----BEGIN A-----", "x "])
def test_of_a_long_line_only_the_beginning_is_looked_at(unit: str) -> None:
    assert len(redacted(unit * 20_000)) <= LONGEST_LINE + len(CUT)
    assert len(redacted_log(unit * 20_000)) <= LONGEST_LINE + len(CUT)


def test_a_long_line_is_cut_where_that_can_be_seen() -> None:
    assert redacted("x " * LONGEST_LINE) == "x " * (LONGEST_LINE // 2) + CUT
    assert redacted_log(json.dumps({"said": "x " * LONGEST_LINE})).endswith(CUT)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("- name: DB_PASSWORD\n  value: x\n- name: kept", "- name: DB_PASSWORD\n  ***\n- name: kept"),
        ("metadata:\n  name: token-shop\nspec: 1", "metadata:\n  name: token-shop\nspec: 1"),
        ("  - value: kept\n- name: PASSWORD", "  - value: kept\n- name: PASSWORD"),
        ("<password>\n  x\n</password>\nkept", "<password>***\n  ***\n</password>\nkept"),
        ("{secretKey:\nx}\nkept", "{secretKey: ***\n***\nkept"),
        ("secretKey: [x,\n]\nkept", "secretKey: ***\n***\nkept"),
        ("- --password\n- x\n- kept", "- --password\n***\n- kept"),
        ("kind: Secret\nkept", "kind: Secret\nkept"),
        ("http://prom:x/y@host:9090/kept", "http://***@host:9090/kept"),
        ("--token x", "--token ***"),
        ("token=x", "token=***"),
        ('token: "x"\nkept', "token: ***\nkept"),
        ('token: ""\nx\nkept', "token: ***\n***\nkept"),
        ("{value: kept, token: x}", "{value: kept, token: ***"),
        ("//prom:x@host:9090/kept", "//***@host:9090/kept"),
        ("-----BEGIN KEY-----\nx\n-----END KEY-----\nkept", "***\n***\n***\nkept"),
    ],
)
def test_what_is_hidden_ends_where_the_value_does(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("args: [token, x]", "args: [token, ***"),
        ("[token, x]", "[token, ***"),
        ("said=token, x", "said=token, ***"),
        ("said=token", "said=token"),
        ("of the token, kept", "of the token, kept"),
        (">a token, kept", ">a token, kept"),
    ],
)
def test_what_follows_a_telling_word_is_its_value_in_a_list_and_not_in_a_sentence(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("word", "hidden"),
    [
        ("x" * 31, False),
        ("x" * 32, True),
        ("of-abcdefghijklmnop123", False),
        ("of-abcdefghijklmnop1234", True),
        ("/etc/Shifter1/tls/Certs", False),
        ("/etc/aB3dE6gH9jK2mN5pQ8s", False),
        ("shifter-Gateway2-pod-x", False),
        ("gate-Way2-po-d-s-text", True),
        ("AB1-CD2-EF3-GH4-IJ5-kl6", True),
        ("ab1-cd2-ef3-gh4-ij5-Kl6", True),
    ],
)
def test_a_long_word_is_a_key_if_it_is_not_made_of_names(word: str, *, hidden: bool) -> None:
    assert redacted(word) == ("***" if hidden else word)


def test_a_line_of_the_longest_length_is_shown_to_its_end() -> None:
    line = "x " * (LONGEST_LINE // 2)
    event = json.dumps({"said": "x" * (LONGEST_LINE - len(json.dumps({"token": 1, "said": ""}))), "token": 1})

    assert redacted(line) == line
    assert len(event) == LONGEST_LINE
    assert redacted_log(event) == json.dumps({"said": "***", "token": "***"})


def test_a_log_line_in_chinese_can_still_be_read() -> None:
    assert redacted_log('{"said": "\u6743\u91cd"}') == '{"said": "权重"}'


def test_a_log_line_below_an_open_value_is_hidden_even_if_it_is_json() -> None:
    assert redacted_log('password:\n["hunter2"]\n{"kept": 1}') == 'password: ***\n***\n{"kept": 1}'


def test_in_a_document_a_value_beside_its_name_goes() -> None:
    shown = redacted_value([{"Name": "DB_PASSWORD", "Value": 7, "kept": 1}, {"name": "shop", "value": 2}])

    assert shown == [{"Name": "DB_PASSWORD", "Value": "***", "kept": 1}, {"name": "shop", "value": 2}]


@pytest.mark.parametrize(
    "key",
    [
        *(
            "password",
            "Passwort",
            "dbPasswd",
            "pwd",
            "secret_id",
            "X-TC-Token",
            "credentials",
            "Authorization",
            "cookie",
        ),
        *("apiKey", "api_key", "key", "tls.key", "sessionId", "signature", "passphrase", "bearer"),
    ],
)
def test_a_key_that_sounds_like_a_secret_is_telling(key: str) -> None:
    assert is_telling(key)
    assert gives_away(key, "/etc/key")


@pytest.mark.parametrize("key", ["domain", "loadBalancer", "keys", "keyed", "namespace", "", "user"])
def test_other_keys_are_not(key: str) -> None:
    assert not is_telling(key)
    assert not gives_away(key, "hunter2")


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("/etc/shifter/key", False),
        ("./key", False),
        ("hunter2", True),
        ("/etc/Gu5t9xGARNpq86cd98joQYCN3", True),
        ("", True),
    ],
)
def test_only_a_path_is_the_name_of_a_secrets_file(value: str, *, secret: bool) -> None:
    assert gives_away("secretKeyFile", value) is secret


def test_lines_of_a_value_go_one_for_one_and_the_first_key_after_it_stays() -> None:
    lines = ["pwd: |", "  hunter2", "", "  hunter2", "kept: 1", "- token:", "    hunter2", "secretFile: /etc/x"]

    assert list(without_values(lines)) == [
        *("pwd: ***", "  ***", "", "  ***", "kept: 1", "- token: ***", "    ***", "secretFile: /etc/x"),
    ]


def test_values_that_are_no_texts_stay_what_they_are_unless_their_key_tells() -> None:
    shown = redacted_value([1, None, (True, 2.5), {3: "x"}])

    assert shown == [1, None, [True, 2.5], {"3": "x"}]
