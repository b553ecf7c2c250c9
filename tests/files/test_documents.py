"""Reading files people write: what YAML may mean here, and that every mistake is found at its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.mesh import Mesh
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import StrictModel
from shifter.errors import ConfigError, Problem
from shifter.files.documents import load_fleet, load_mesh, load_policy, read_document, value_of
from shifter.files.located_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, Document, document_of
from shifter.files.problems import known_keys

EXAMPLES = Path(__file__).parents[2] / "policies"

POLICY = """\
apiVersion: shifter.io/v1alpha1
kind: ShiftPolicy
metadata: {name: shop}
spec:
  namespace: shop
  traffic:
    clb:
      region: ap-guangzhou
      loadBalancer: lb-1
      routes:
        - {listener: lbl-1, domain: shop.example.com, url: /}
      source: {port: 30080}
      target: {port: 31080}
  steps: [10, 100]
  soak: 5m
"""

FLEET = (EXAMPLES / "fleet.yaml").read_text(encoding="utf-8")


class _Inner(StrictModel):
    size: int = 0


class _Outer(StrictModel):
    by_name: dict[str, _Inner]
    in_order: tuple[_Inner, ...] = ()


def _read(text: str | bytes) -> Document:
    return document_of("p.yaml", text.encode() if isinstance(text, str) else text)


def _problems(text: str | bytes, model: type[BaseModel] = ShiftPolicy) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        value_of(_read(text), model)
    return caught.value.problems


def _only(text: str | bytes, model: type[BaseModel] = ShiftPolicy) -> Problem:
    problems = _problems(text, model)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("True", "True"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("+5", "+5"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("~", "~"),
        ("2026-01-02", "2026-01-02"),
        ("'1'", "1"),
        ("'null'", "null"),
        ("''", ""),
        ("|-\n  1", "1"),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("443", 443),
        ("0.5", 0.5),
        ("1e3", 1000.0),
    ],
)
def test_scalars_mean_what_json_would_mean_and_else_are_texts(scalar: str, value: object) -> None:
    document = _read(f"a: {scalar}\n")

    assert document.problems == ()
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


@pytest.mark.parametrize("scalar", ["", "null"])
def test_a_key_without_a_value_is_refused(scalar: str) -> None:
    problem = _only(POLICY + f"  analysis: {{latency: {scalar}}}\n")

    assert (problem.line, problem.path) == (16, "spec.analysis.latency")
    assert problem.message == "has no value; give one or remove the key"


@pytest.mark.parametrize("number", ["9" * 50, "1e999", "-1e999"])
def test_absurd_numbers_are_refused(number: str) -> None:
    assert _only(POLICY.replace("[10, 100]", f"[{number}, 100]")).message == "the number is too large"


def test_values_and_keys_know_their_place() -> None:
    document = _read("a:\n  - x\n  - b: 1\n")

    assert document.value == {"a": ["x", {"b": 1}]}
    assert document.keys == {("a",): (1, 1), ("a", 1, "b"): (3, 5)}
    assert document.places[("a", 0)] == (2, 5)
    assert document.places[("a", 1, "b")] == (3, 8)


def test_a_problem_carries_file_line_column_path_message_hint_and_source_line() -> None:
    problem = _only(POLICY.replace("loadBalancer: lb-1", "loadBalancer: lb-1\n      listnr: x"))

    assert problem == Problem(
        "p.yaml",
        10,
        7,
        "spec.traffic.clb.listnr",
        "unknown key",
        "known here: region, loadBalancer, routes, source, target",
        "      listnr: x",
    )


def test_an_unknown_key_gets_the_closest_known_one() -> None:
    problems = _problems(POLICY.replace("listener:", "listnr:"))

    assert [(each.column, each.path, each.message) for each in problems] == [
        (12, "spec.traffic.clb.routes.0.listnr", "unknown key")
    ]
    assert problems[0].hint == 'did you mean "listener"?'


def test_all_problems_of_a_file_are_reported_at_once_in_order_of_place() -> None:
    problems = _problems(
        POLICY.replace("name: shop}", "name: Shop_1}")
        .replace("namespace: shop", "namespace: 123\n  namespace: cart")
        .replace("[10, 100]", "[x, 200]")
        .replace("5m", "1:30")
    )

    assert [(each.line, each.path) for each in problems] == [
        (3, "metadata.name"),
        (5, "spec.namespace"),
        (6, "spec.namespace"),
        (15, "spec.steps.0"),
        (15, "spec.steps.1"),
        (16, "spec.soak"),
    ]


def test_a_duplicate_key_is_refused_with_both_places() -> None:
    problem = _only(POLICY.replace("  soak: 5m", "  soak: 5m\n  soak: 1s"))

    assert (problem.line, problem.column) == (16, 3)
    assert problem.message == "a second 'soak'; the first is at 15:3"


def test_an_alias_is_refused_and_causes_no_complaints_about_what_it_stands_for() -> None:
    problems = _problems(
        POLICY.replace("source: {port: 30080}", "source: &s {port: 30080}").replace("{port: 31080}", "*s")
    )

    assert [each.message for each in problems] == ["the anchor &s is refused", "the alias *s is refused"]


@pytest.mark.parametrize("tag", ["!!str", "!x", "!", "!!python/object/apply:os.system"])
def test_tags_are_refused(tag: str) -> None:
    problem = _only(POLICY.replace("namespace: shop", f"namespace: {tag} shop"))

    assert problem.path == "spec.namespace"
    assert problem.message.startswith("the tag ")


def test_merge_keys_are_refused() -> None:
    assert "merge keys are refused" in _only(POLICY.replace("spec:", "spec:\n  <<: {a: b}")).message


@pytest.mark.parametrize("key", ["[a]", "{a: b}", "*x"])
def test_a_key_that_is_no_word_is_refused(key: str) -> None:
    problems = _problems(POLICY + f"  ? {key}\n  : [x, {{y: 1}}]\n")

    assert "a key must be a plain word" in {each.message for each in problems}
    assert {each.path for each in problems} == {"spec"}


def test_bad_values_below_a_refused_key_are_still_reported() -> None:
    problems = _problems(POLICY + "  <<: {a: !x b, c: , d: {e: 1}}\n")

    assert [each.message for each in problems] == [
        "merge keys are refused",
        "the tag !x is refused",
        "has no value; give one or remove the key",
    ]


@pytest.mark.parametrize("written", ['"\\ud800"', '"a\\0b"', '"\\e[31m"', '"\\x9b"'])
def test_control_characters_and_half_characters_are_refused(written: str) -> None:
    value = _only(POLICY.replace("url: /", f"url: {written}"))
    key = _only(POLICY + f"  {written}: x\n")

    assert value.message == key.message == "control characters are refused"
    assert value.path == "spec.traffic.clb.routes.0.url"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: [1", (1, 6), "expected ',' or ']'"),
        ("a: b: c", (1, 5), "mapping values are not allowed"),
        ("a:\n  b: 1\n   c: 2", (3, 4), "indentation fits none of the lines above"),
        ("a:\n  b: 1\n c: 2", (3, 2), "indentation fits none of the lines above"),
        ("  a: 1\nb: 2", (2, 1), "indentation fits none of the lines above"),
        ("a:\n  b:1\n  # and\n\n  c: 2", (2, 3), "this line is no key: value"),
        ("a: 1\nb:1\nc: 2", (2, 1), "this line is no key: value"),
        ("a:\n  - b:1\n    c: 2", (2, 3), "this line is no key: value"),
        ('a: "x\nb: 1', (1, 4), "this quotation is never closed"),
        ("a: 1\nb: 'x\n", (2, 4), "this quotation is never closed"),
        ("a: 'x' y", (1, 8), "something stands behind a value"),
        ("a:\n\tb: 1", (2, 1), "a tab stands where YAML allows only spaces"),
        ("a:\tb", (1, 3), "a tab stands where YAML allows only spaces"),
        ("a: [", (1, 5), "a value is missing here, found '<stream end>'"),
        ("a: @b", (1, 4), "a plain text cannot begin with @"),
        ("a: *.example.com", (1, 5), "a plain text cannot begin with * or &"),
        ("a: [1,\n  2\nb: 1", (1, 4), 'this "[" is not closed before line 3'),
        ("a: {b: 1\nc: 1", (1, 4), 'this "{" is not closed before line 2'),
        ("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n", (1, 1), "an unresolved merge conflict"),
        ("a\uff1a1\nb: 2", (1, 1), "this line is no key: value"),
        (b"\xff\xfea", (1, 1), "UTF-16, not UTF-8 text"),
        ("a: \x07", (1, 4), "a character that YAML does not allow"),
        ('a: "\\UFFFFFFFF"', (1, 7), "out of range"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", (1, 9), "out of range"),
        (b"a: b\nc: \xff", (2, 4), "not UTF-8"),
        ("a: 1\n---\nb: 2", (2, 1), "a second document"),
        ("", (0, 0), "the file is empty"),
        ("# nothing\n", (0, 0), "the file is empty"),
        ("---\n", (2, 1), "has no value"),
        ("[]", (1, 1), "should be a mapping"),
        ("text", (1, 1), "should be a mapping"),
        ("- " * (MAX_DEPTH + 1), (1, 2 * MAX_DEPTH + 1), f"deeper than {MAX_DEPTH} levels"),
        ("[" + "1," * MAX_NODES, (1, 2 * MAX_NODES), f"more than {MAX_NODES} values"),
        ("#" * (MAX_BYTES + 1), (0, 0), "larger than"),
    ],
)
def test_a_file_that_cannot_be_understood_is_one_problem_at_its_place(
    text: str | bytes, place: tuple[int, int], message: str
) -> None:
    problem = _only(text)

    assert (problem.line, problem.column) == place
    assert message in problem.message


@pytest.mark.parametrize("text", ["# one\r\n# two\n", "\ufeff# one\r\n\r\n"])
def test_lines_are_counted_as_editors_count_them(text: str) -> None:
    problem = _only(text + POLICY.replace("soak: 5m", "soak: 5"))

    assert problem.line == 2 + POLICY[: POLICY.index("  soak:")].count("\n") + 1
    assert problem.source_line == "  soak: 5"


@pytest.mark.fault(
    on="policy files",
    fault="a character that ends a line for YAML and for no editor: U+2028, U+2029, U+0085, a lone carriage return",
    does="refused wherever it stands, also in a comment; nothing behind it is read",
    sees="`policy lint`: an invisible character, U+2028, ends this line for YAML and for no editor",
    safe_within="at once",
)
@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\r"])
@pytest.mark.parametrize(
    ("before", "after"), [("soak: 5m", "soak: 5m # as agreed{}  approvals: []"), ("name: shop", "name: 'sh{}op'")]
)
def test_a_break_of_a_line_that_no_editor_shows_is_refused(char: str, before: str, after: str) -> None:
    text = "# one\r\n" + POLICY.replace(before, after.format(char), 1)
    at = text.index(char, text.index("\n"))
    problem = _only(text)

    assert (problem.line, problem.column) == (text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
    assert problem.message == (f"an invisible character, U+{ord(char):04X}, ends this line for YAML and for no editor")
    assert problem.hint == "delete it, or save the file with ordinary line ends"


def test_every_hidden_break_is_told_and_a_byte_order_mark_has_no_column() -> None:
    problems = _problems("\ufeff# one\u2028two\n# three\x85\n" + POLICY)

    assert [(each.line, each.column) for each in problems] == [(1, 6), (2, 8)]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (POLICY.encode("utf-16"), "UTF-16, not UTF-8 text"),
        (POLICY.encode("utf-32"), "UTF-32, not UTF-8 text"),
        (b"\0\0\xfe\xff" + POLICY.encode("utf-32-be"), "UTF-32, not UTF-8 text"),
        ("# 密码\n".encode("gbk"), "not UTF-8 text"),
    ],
)
def test_a_file_in_another_encoding_is_told_which(raw: bytes, said: str) -> None:
    assert _only(raw).message == said


def test_long_source_lines_are_cut() -> None:
    assert len(_only(POLICY.replace("soak: 5m", f"soak: {'x' * 5000}")).source_line) < 1000


@pytest.mark.parametrize(
    ("before", "after", "path", "message", "hint"),
    [
        ("namespace: shop", "namespace: 123", "spec.namespace", "should be a text, found 123", 'quotes: "123"'),
        ("[10, 100]", "10", "spec.steps", "should be a list, found 10", "[first, second]"),
        ("[10, 100]", "[]", "spec.steps", "should have at least 1 item", ""),
        ("[10, 100]", "['10', 100]", "spec.steps.0", 'should be a number, found "10"', "without quotes"),
        ("[10, 100]", "[true, 100]", "spec.steps.0", "should be a number, found true", ""),
        ("port: 30080", "port: 030080", "spec.traffic.clb.source.port", "should be a whole number", "leading zeros"),
        ("port: 30080", "port: 70000", "spec.traffic.clb.source.port", "less than or equal to 65535", ""),
        ("{port: 30080}", "30080", "spec.traffic.clb.source", "should be a mapping", ""),
        ("kind: ShiftPolicy", "kind: Policy", "kind", "should be 'ShiftPolicy', found \"Policy\"", ""),
        ("v1alpha1", "v2", "apiVersion", "should be 'shifter.io/v1alpha1'", ""),
        ("url: /", "url: x", "spec.traffic.clb.routes.0.url", 'has not the form of "/", found "x"', ""),
        ("ap-guangzhou", "Guangzhou", "spec.traffic.clb.region", 'has not the form of "ap-guangzhou"', ""),
        ("{port: 31080}", "{ips: [10.0.0.300]}", "spec.traffic.clb.target.ips.0", "no IP address", ""),
        ("[10, 100]", "[.nan, 100]", "spec.steps.0", 'should be a number, found ".nan"', "written plainly"),
        ("[10, 100]", "[10, 150]", "spec.steps.1", "should be less than or equal to 100, found 150", ""),
        ("name: shop", "name: “shop”", "metadata.name", "not a Kubernetes name", '“ (U+201C) is not the plain "'),
        ("5m", "1:30", "spec.soak", "not a duration; write", 'did you mean "1m30s" or "1h30m"?'),
        ("5m", "300", "spec.soak", "found 300", 'did you mean "300s"?'),
        ("5m", "5 Min", "spec.soak", 'found "5 Min"', 'did you mean "5m"?'),
    ],
)
def test_models_complaints_read_as_written_for_people(
    before: str, after: str, path: str, message: str, hint: str
) -> None:
    problem = _only(POLICY.replace(before, after))

    assert problem.path == path
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("before", "after", "path", "place"),
    [
        ("[10, 100]", "[10, 5, 100]", "spec.steps.1", "5, 100]"),
        ("[10, 100]", "[10, 50]", "spec.steps.1", "50]"),
        ("31080", "30080", "spec.traffic.clb.target", "target: {port: 30080}"),
        ("{port: 31080}", "{port: 30080, tag: x}", "spec.traffic.clb.target", "target: {port: 30080, tag: x}"),
        ("namespace: shop", "namespaces: [a, b, a]", "spec.namespaces.2", "a]"),
    ],
)
def test_a_rule_between_keys_points_at_the_one_that_breaks_it(before: str, after: str, path: str, place: str) -> None:
    problem = _only(POLICY.replace(before, after))

    assert problem.path == path
    assert problem.source_line[problem.column - 1 :].startswith(place)


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("sampleMaxAge: 45s", "sampleMaxAge: 5s", "spec.timing.sampleMaxAge"),
        ("    sampleMaxAge: 45s\n", "", "spec.timing.tick"),
        ("retention: 180d", "retention: 5h", "spec.retention"),
    ],
)
def test_a_fleets_rule_between_keys_points_at_one_that_the_file_has(before: str, after: str, path: str) -> None:
    text = FLEET.replace("tick: 15s", "tick: 50s" if "timing" in path else "tick: 15s")
    with pytest.raises(ConfigError) as caught:
        value_of(document_of("fleet.yaml", text.replace(before, after).encode()), Fleet)

    (problem,) = caught.value.problems
    assert problem.path == path
    assert problem.source_line.strip().startswith(path.rsplit(".", 1)[-1])


@pytest.mark.parametrize(("kind", "text"), [(Fleet, POLICY), (ShiftPolicy, FLEET)])
def test_a_file_of_the_other_kind_is_that_one_problem(kind: type[ShiftPolicy | Fleet], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        value_of(document_of("a.yaml", text.encode()), kind)

    (problem,) = caught.value.problems
    assert problem.path == "kind"


@pytest.mark.parametrize(
    "line",
    [
        "secretKey: s3cr3t",
        "secretKey : 's3cr3t'",
        '"secret_id": "s3cr3t"',
        "Password: s3cr3t, s3cr3t",
        "x: {secretIdFile: /a, sessionToken: s3cr3t}",
        "url: http://ann:s3cr3t@prometheus",
    ],
)
def test_a_secret_written_into_a_file_is_never_shown(line: str) -> None:
    text = f"{POLICY}  {line}\n"
    with pytest.raises(ConfigError) as caught:
        value_of(document_of("shop.yaml", text.encode()), ShiftPolicy)
    broken = document_of("shop.yaml", f"{text}  - x\n".encode()).problems
    told = [*caught.value.problems, *broken]

    assert told
    assert [problem for problem in told if "s3cr3t" in f"{problem} {problem.source_line}"] == []


def test_a_value_that_is_refused_is_told_without_a_urls_password() -> None:
    text = FLEET.replace("http://prometheus.tcm.example.com:9090", "http://ann:s3cr3t@prometheus")
    with pytest.raises(ConfigError) as caught:
        value_of(document_of("fleet.yaml", text.encode()), Fleet)

    assert "spec.datasources.source.url" in str(caught.value)
    assert [each for each in caught.value.problems if "s3cr3t" in f"{each} {each.source_line}"] == []


def test_the_name_of_a_secrets_file_is_shown() -> None:
    assert _only(POLICY + "  secretKeyFile: /etc/key\n").source_line == "  secretKeyFile: /etc/key"


def test_a_key_this_version_does_not_enforce_is_refused_by_name_where_it_stands() -> None:
    problem = _only(POLICY + "  windows: [{before: 50}]\n")

    assert (problem.line, problem.column, problem.path) == (16, 3, "spec.windows")
    assert problem.message == "not supported yet by this version of shifter; remove the key"


def test_keys_that_are_not_enforced_are_never_suggested() -> None:
    assert "windows" not in known_keys(ShiftPolicy, ("spec",))
    assert "windows" not in _only(POLICY + "  window: x\n").hint


def test_a_route_without_domain_and_url_is_pointed_at_with_the_way_out() -> None:
    problem = _only(POLICY.replace("{listener: lbl-1, domain: shop.example.com, url: /}", "{listener: lbl-1}"))

    assert (problem.line, problem.path) == (11, "spec.traffic.clb.routes.0")
    assert "name the rule's domain and url" in problem.message


def test_a_list_with_bad_entries_is_not_also_called_too_short() -> None:
    problem = _only(POLICY.replace("listener: lbl-1", "listener: '!'"))

    assert problem.path == "spec.traffic.clb.routes.0.listener"


def test_known_keys_are_found_through_lists_mappings_and_options() -> None:
    assert known_keys(ShiftPolicy, ("spec", "traffic", "clb", "routes", 3)) == ("listener", "domain", "url")
    assert known_keys(ShiftPolicy, ("spec", "analysis", "latency")) == (
        "enabled",
        "quantile",
        "maxMs",
        "tolerance",
        "margin",
    )
    assert known_keys(_Outer, ("byName", "any")) == ("size",)
    assert known_keys(_Outer, ("inOrder", 0)) == ("size",)


def test_places_that_no_model_describes_have_no_known_keys() -> None:
    assert known_keys(ShiftPolicy, ("spec", "nothing", "here")) == ()
    assert known_keys(ShiftPolicy, ("spec", "steps", "x")) == ()
    assert known_keys(_Outer, ("byName",)) == ()


def test_a_refused_mapping_key_is_pointed_at() -> None:
    fleet = (EXAMPLES / "fleet.yaml").read_text()
    problem = _only(fleet.replace("reporter: source", "re-porter: source", 1), Fleet)

    assert problem.path == "spec.datasources.source.matchers.re-porter"
    assert problem.source_line.strip() == "re-porter: source"


def test_a_document_tells_its_kind_only_if_it_is_readable() -> None:
    assert _read(POLICY).kind == "ShiftPolicy"
    assert _read("kind: 3").kind is None
    assert _read("[]").kind is None


def test_a_problem_of_a_path_the_file_lacks_points_at_what_is_around_it() -> None:
    problem = _read(POLICY).problem(("spec", "windows", 0), "why not")

    assert (problem.line, problem.path) == (4, "spec.windows.0")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_valid(example: Path) -> None:
    kind = str(read_document(example).kind)
    loads: Mapping[str, Callable[[Path], Fleet | Mesh | ShiftPolicy]] = {
        "Fleet": load_fleet,
        "Mesh": load_mesh,
        "ShiftPolicy": load_policy,
    }

    assert loads[kind](example).kind == kind


def test_a_file_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        load_policy(tmp_path / "none.yaml")

    assert caught.value.problems[0].line == 0


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        load_policy(tmp_path)


def test_a_path_with_nul_is_a_problem() -> None:
    with pytest.raises(ConfigError):
        load_fleet(Path("a\0b"))


def test_an_error_with_many_problems_says_the_first_and_counts_the_rest() -> None:
    with pytest.raises(ConfigError, match=r"^p\.yaml:3:18 metadata\.name .*, and 1 more$"):
        value_of(_read(POLICY.replace("{name: shop}", "{name: S}").replace("5m", "5")), ShiftPolicy)


def test_values_survive_json_and_back() -> None:
    assert value_of(_read(json.dumps(_read(POLICY).value)), ShiftPolicy) == value_of(_read(POLICY), ShiftPolicy)


_PIECES = st.sampled_from(
    [
        *POLICY.split(),
        "\n",
        "  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a ",
        "!t ",
        "? ",
        "|",
        ">",
        '"',
        "'",
        "\\U",
        "%",
    ]
)


@given(st.one_of(st.binary(), st.text().map(str.encode), st.lists(_PIECES).map(lambda parts: "".join(parts).encode())))
def test_no_bytes_whatever_raise_anything_but_config_error(raw: bytes) -> None:
    document = document_of("any.yaml", raw)

    with pytest.raises(ConfigError) as caught:
        value_of(document, ShiftPolicy)
    assert caught.value.problems


@given(st.data())
def test_a_policy_with_any_part_replaced_is_valid_or_a_config_error(data: st.DataObject) -> None:
    lines = POLICY.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = data.draw(st.one_of(st.text(), st.lists(_PIECES).map("".join), st.just("")))

    try:
        value = value_of(document_of("any.yaml", "".join(lines).encode(errors="surrogatepass")), ShiftPolicy)
    except ConfigError as error:
        outcome: object = error.problems
    else:
        outcome = value.routes

    assert outcome


EVERYTHING_WRONG = """kind: ShiftPolicy
metadata: {name: shop}
spec:
  traffic:
    clb:
      region: ap-guangzhou
      loadBalancer: lb-front0001
      routes:
        - {listener: lbl-1, domain: shop.example.com, url: /}
        - {listener: lbl-1, domain: shop.example.com, url: /}
      source: {port: 30080}
      target: {port: 30080}
  steps: [5, 25, 20, 50]
  soak: 5m
  approvals: [{before: 60}, {before: 50}]
"""


def test_rules_between_keys_are_told_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        value_of(document_of("shop.yaml", EVERYTHING_WRONG.encode()), ShiftPolicy)

    said = {(problem.line, problem.message.split(",")[0]) for problem in caught.value.problems}
    assert said >= {
        (3, "give namespace or namespaces"),
        (10, "a route is listed twice"),
        (13, "step 20 % does not climb from 25 %"),
        (15, "approvals must grow from one to the next"),
    }
    assert any(problem.path == "spec.traffic.clb.target" for problem in caught.value.problems)
