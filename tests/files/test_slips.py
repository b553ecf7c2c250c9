"""What tired people, other tools and strangers put into files: told briefly, at its place, and in no time."""

from __future__ import annotations

import time

import pytest

from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import ConfigError, Problem
from shifter.files.documents import value_of
from shifter.files.located_yaml import MAX_BYTES, MAX_PROBLEMS, document_of, hidden
from shifter.files.rules import RULES, Rule
from shifter.files.scalars import lookalike

POLICY = """\
kind: ShiftPolicy
metadata: {name: shop}
spec:
  namespace: shop
  traffic:
    clb:
      region: ap-guangzhou
      loadBalancer: lb-1
      routes: [{listener: lbl-1, domain: shop.example.com, url: /}]
      source: {port: 30080}
      target: {port: 31080}
  steps: [10, 100]
  soak: 5m
"""

_ROOM = MAX_BYTES - 100
_BOMB = "a: &a [x,x]\n" + "".join(f"k{n}: &k{n} [{'*a,' * 200}]\n" for n in range(60))


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        value_of(document_of("p.yaml", text.encode()), ShiftPolicy)
    return caught.value.problems


@pytest.mark.fault(
    on="policy files",
    fault="a file made to burst its reader: alias bomb, 5,000 levels, endless lines",
    does="refused after at most 100 problems; other files hold",
    sees="each problem as `file:line:column path message`",
    safe_within="one tick",
)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_BOMB, id="alias bomb"),
        pytest.param("a: " + "[" * 5000 + "]" * 5000, id="5000 lists deep"),
        pytest.param("a: " + "{a: " * 5000 + "1" + "}" * 5000, id="5000 mappings deep"),
        pytest.param("- " * 5000, id="5000 dashes deep"),
        pytest.param("b: !t " + "a" * _ROOM, id="a line of a million letters"),
        pytest.param("b: *x # " + "secret" * (_ROOM // 6), id="a line of secrets"),
        pytest.param("b: *x # " + "//" * (_ROOM // 2), id="a line of slashes"),
        pytest.param("? " + "k" * _ROOM + "\n: 1", id="a key of a million letters"),
        pytest.param("".join(f"key{n}: 1\n" for n in range(9000)), id="9000 unknown keys"),
        pytest.param("kind: ShiftPolicy\nspec:\n steps: [" + "a," * 19_000 + "]", id="19000 bad steps"),
        pytest.param("a: 1\n" * 9000, id="one key 9000 times"),
        pytest.param("a: " + "9" * _ROOM, id="a number of a million digits"),
    ],
)
def test_no_file_takes_long_or_is_answered_at_length(text: str) -> None:
    begun = time.process_time()
    problems = _problems(text)
    took = time.process_time() - begun

    assert took < 10  # seconds; what this is about took minutes or never ended
    assert len(problems) <= MAX_PROBLEMS + 1
    assert max(len(f"{each}{each.source_line}") for each in problems) < 1000


def test_a_file_with_too_many_problems_says_that_there_are_more() -> None:
    told = [each.message for each in (*_problems(_BOMB), *_problems("".join(f"key{n}: 1\n" for n in range(300))))]

    assert f"more than {MAX_PROBLEMS} problems; the rest is not read" in told
    assert f"303 problems; only the first {MAX_PROBLEMS} are told" in told


def test_a_long_key_is_cut_in_the_path_and_in_the_message() -> None:
    key = "k" * 500
    problems = _problems(f"{POLICY}  {key}: 1\n  {key}: 2\n")

    assert len(problems) == 2
    assert all(len(str(each)) < 300 for each in problems)


@pytest.mark.parametrize("char", ["\u200b", "\u00a0", "\u3000", "\u2060", "\ufeff", "\u202e"])
def test_what_nobody_can_see_is_refused_in_values_and_keys(char: str) -> None:
    in_value = _problems(POLICY.replace("namespace: shop", f"namespace: sh{char}op"))
    in_key = _problems(f"{POLICY}  so{char}ak: 5m\n")

    assert [(each.path, each.rule) for each in in_value] == [("spec.namespace", Rule.CHARACTER)]
    assert [each.rule for each in in_key] == [Rule.CHARACTER]
    assert f"U+{ord(char):04X}" in in_value[0].message


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("soak\uff1a5m", "\uff1a (U+FF1A) is not the plain :"),
        ("soak\uff1a 5m", "\uff1a (U+FF1A) is not the plain :"),
        ("soak:5m  # 五分钟\uff1a", 'a key is followed by ": ", colon and space'),
    ],
)
def test_a_colon_of_an_input_method_is_named_and_one_in_a_comment_is_not(typed: str, hint: str) -> None:
    (problem,) = _problems(POLICY.replace("soak: 5m", typed))

    assert (problem.line, problem.message, problem.hint) == (13, "this line is no key: value", hint)


def test_a_lookalike_in_a_key_is_named() -> None:
    assert _problems(f"{POLICY}  x\uff08: 5m\n")[0].hint == "\uff08 (U+FF08) is not the plain ("
    assert lookalike("plain text, 中文") == ""


def test_a_template_that_nobody_rendered_is_called_one() -> None:
    hints = {each.hint for each in _problems(POLICY.replace("namespace: shop", "namespace: {{ .Values.ns }}"))}

    assert "a template that nobody rendered?" in hints


@pytest.mark.parametrize("key", ["loadbalancer", "load_balancer", "LOADBALANCER", "loadBalancr"])
def test_one_misspelled_key_is_one_problem(key: str) -> None:
    (problem,) = _problems(POLICY.replace("loadBalancer", key))

    assert problem.hint == 'did you mean "loadBalancer"?'


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("on", "a boolean"),
        ("No", "a boolean"),
        ("1:30", "a number"),
        ("010", "a number"),
        ("1_000", "a number"),
        (".inf", "a number"),
        ("~", "nothing"),
        ("2026-01-02", "a date"),
    ],
)
def test_a_text_that_yaml_1_1_reads_otherwise_is_a_surprise(word: str, other: str) -> None:
    (surprise,) = document_of("p.yaml", f"a:\n  b: {word}\n".encode()).surprises

    assert (surprise.line, surprise.column, surprise.path, surprise.rule) == (2, 6, "a.b", Rule.SURPRISE)
    assert f'"{word}" is a text here, but {other} to YAML 1.1' in surprise.message
    assert surprise.hint == f'put it in quotes: "{word}"'


@pytest.mark.parametrize("word", ["'on'", '"1:30"', "shop", "5m", "true", "90", "0.5", "v1.2.3", "x" * 100, "1" * 20])
def test_what_all_readers_read_alike_is_none(word: str) -> None:
    assert document_of("p.yaml", f"a: {word}\n".encode()).surprises == ()


def test_a_password_that_is_cut_off_with_its_line_is_not_shown() -> None:
    assert "s3cr3t" not in hidden("url: http://ann:" + "s3cr3t" * 1000 + "@host")
    assert hidden("url: http://host/" + "x" * 5000).startswith("url: http://host/xxx")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("#" * (MAX_BYTES + 1), Rule.TOO_LARGE),
        ("", Rule.EMPTY),
        ("a: [", Rule.SYNTAX),
        ("a:\tb", Rule.TAB),
        ("a: \x07", Rule.CHARACTER),
        ("a: 1\n---\nb: 1", Rule.SECOND_DOCUMENT),
        ("[" * 40 + "]" * 40, Rule.TOO_DEEP),
        ("a: 1\na: 2", Rule.DUPLICATE_KEY),
        ("? [a]\n: 1", Rule.BAD_KEY),
        ("a: &b c", Rule.DECORATION),
        ("a:", Rule.NO_VALUE),
        (f"{POLICY}  stesp: 1\n", Rule.UNKNOWN_KEY),
        ("kind: ShiftPolicy", Rule.MISSING_KEY),
        (f"{POLICY}  windows: []\n", Rule.UNSUPPORTED),
        (POLICY.replace("[10, 100]", "[true, 100]"), Rule.WRONG_TYPE),
        (POLICY.replace("[10, 100]", "[10, 150]"), Rule.BAD_VALUE),
        (POLICY.replace("[10, 100]", "[50, 10, 100]"), Rule.STEPS),
        (POLICY.replace("namespace: shop", "namespace: Shop"), Rule.BAD_NAME),
        (POLICY.replace("5m", "5"), Rule.BAD_DURATION),
        (POLICY.replace("31080", "30080"), Rule.SIDES),
        (POLICY.replace("namespace: shop", "namespaces: [a, a]"), Rule.BETWEEN_KEYS),
        ("kind: Fleet", Rule.KIND),
    ],
)
def test_every_problem_has_the_name_of_its_kind(text: str, rule: Rule) -> None:
    assert rule in {each.rule for each in _problems(text)}


def test_every_kind_has_its_sentence() -> None:
    assert set(RULES) == set(Rule)
