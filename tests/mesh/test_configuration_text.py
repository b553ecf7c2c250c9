"""Objects become text and objects again, and nothing is lost or changed on the way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.mesh.configuration.reading import MAX_BYTES, read_yaml
from shifter.mesh.yaml_text import MAX_DEPTH, yaml_text
from tests.mesh.configurations import JSON, TEXTS

LUA = "function envoy_on_request(handle)\n  handle:logInfo('- a: b #')\n\n  return\nend\n"


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXTS, JSON, max_size=3))
def test_every_reader_of_yaml_finds_the_object_that_was_written(body: dict[str, Any]) -> None:
    text = yaml_text(body)

    assert yaml.safe_load(text) == body
    assert read_yaml("x.yaml", text.encode()).value == body


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXTS, JSON, max_size=4))
def test_the_order_in_which_keys_came_leaves_no_trace(body: dict[str, Any]) -> None:
    assert yaml_text(dict(reversed(body.items()))) == yaml_text(body)


def test_the_text_is_the_same_in_another_process() -> None:
    body = {"b": {"z": [1, 2.5, {"k": LUA}], "a": "ü"}, "a": None}
    code = f"import sys; from shifter.mesh.yaml_text import yaml_text; sys.stdout.write(yaml_text({body!r}))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"},
        timeout=30,
    )

    assert other.stdout.decode() == yaml_text(body)


def test_text_reads_as_kubectl_writes_it() -> None:
    body = {"kind": "Gateway", "apiVersion": "v1", "spec": {"servers": [{"hosts": ["*"], "port": {"number": 80}}]}}

    assert yaml_text(body, ("apiVersion", "kind")) == (
        'apiVersion: v1\nkind: Gateway\nspec:\n  servers:\n  - hosts:\n    - "*"\n    port:\n      number: 80\n'
    )


def test_a_program_in_an_object_stays_one_that_a_person_can_edit() -> None:
    text = yaml_text({"inlineCode": LUA})

    assert text == "inlineCode: |\n" + "".join(f"  {line}\n" if line else "\n" for line in LUA.splitlines())


@pytest.mark.parametrize("word", ["yes", "on", "null", "~", "010", "1:30", "1e3", "2020-01-01", "v1: x", "*", ""])
def test_a_word_that_somebody_may_take_for_something_else_is_quoted(word: str) -> None:
    assert yaml_text({"a": word}) == f'a: "{word}"\n'


@pytest.mark.parametrize("word", ["3s", "shop/front", "cart.shop.svc.cluster.local", "v1beta1", "a:80"])
def test_plain_words_stand_without_quotes(word: str) -> None:
    assert yaml_text({"a": word}) == f"a: {word}\n"


def nested(levels: int, kinds: str = "ml") -> dict[str, Any]:
    """Return so many mappings (m) and lists (l) in one another, in turns; outermost a mapping."""
    body: object = 1
    for level in range(levels):
        body = {"a": body} if kinds[level % len(kinds)] == "m" else [body, 2]
    return {"a": body}


@pytest.mark.parametrize("kinds", ["m", "l", "ml", "lm", "mml", "mll"])
@pytest.mark.parametrize("levels", range(MAX_DEPTH - 3, MAX_DEPTH + 3))
def test_what_is_written_is_never_too_deep_to_be_read(kinds: str, levels: int) -> None:
    body = nested(levels, kinds)
    try:
        text = yaml_text(body)
    except ValueError:
        text = ""

    assert read_yaml("x", text.encode()).value == (body if text else None)
    assert bool(text) == (levels < MAX_DEPTH)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (nested(200, "m"), f"is nested deeper than {MAX_DEPTH} levels"),
        (nested(200, "l"), f"is nested deeper than {MAX_DEPTH} levels"),
        (nested(200), f"is nested deeper than {MAX_DEPTH} levels"),
        (nested(50_000), f"is nested deeper than {MAX_DEPTH} levels"),
        ({"a": "\ud800"}, "has half a character: its text is no valid Unicode"),
        ({"a": float("inf")}, "has a number that is none: infinite"),
        ({1: "a", "b": {2: "a"}}, "has a key that is no text: 1"),
        ({"a": {1, 2}}, "has a set, which JSON does not have"),
    ],
)
def test_what_yaml_cannot_say_is_refused(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        yaml_text(body)


def test_an_object_without_anything_is_an_empty_mapping() -> None:
    assert yaml_text({}) == "{}\n"


@pytest.mark.parametrize(
    ("text", "told", "at"),
    [
        ("a: 1\na: 2\n", "a second 'a'", (2, 1)),
        ("a: &x 1\nb: *x\n", "an alias is refused", (2, 4)),
        ("a: !!python/name:os.system x\n", "a tag is refused", (1, 4)),
        ("a: !!map {}\n", "a tag is refused", (1, 4)),
        ("<<: {a: 1}\n", "merge keys are refused", (1, 1)),
        ("{{ name }}: x\n", "a key must be a word", (1, 1)),
        ("a: yes\n", "'yes' means different things to different readers", (1, 4)),
        ("a: 1:30\n", "'1:30' means different things to different readers", (1, 4)),
        ("data:\n  k: 0x10\n", "this means different things to different readers", (2, 6)),
        ("a: 1e999\n", "the number is too large", (1, 4)),
        ("a: 1\n---\nb: 2\n", "a second document", (2, 1)),
        ("- a\n", "is no object of Kubernetes", (0, 0)),
        ("", "is no object of Kubernetes", (0, 0)),
        ("a: [1, 2\n", "while parsing a flow sequence", (2, 1)),
        ("a: \x01\n", "a character or directive that YAML does not allow", (0, 0)),
        (f"a: {'[' * 100}{']' * 100}\n", f"nested deeper than {MAX_DEPTH} levels", None),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels", None),
    ],
)
def test_what_may_be_read_in_two_ways_or_none_is_told_with_its_place(
    text: str, told: str, at: tuple[int, int] | None
) -> None:
    read = read_yaml("x.yaml", text.encode())

    assert read.value is None
    assert [told in problem.message for problem in read.problems] == [True]
    assert at is None or (read.problems[0].line, read.problems[0].column) == at


def test_a_file_that_is_no_text_is_told() -> None:
    assert [each.message for each in read_yaml("x", b"a: \xff\n").problems] == ["not UTF-8 text"]


def test_a_file_of_unreasonable_size_is_not_read() -> None:
    read = read_yaml("x", b"a" * (MAX_BYTES + 1))

    assert [each.message for each in read.problems] == [f"larger than {MAX_BYTES} bytes"]


def test_a_problem_below_a_secret_shows_no_line_of_it() -> None:
    read = read_yaml("x", b"data:\n  tls.key: 0x7777\n")

    assert "7777" not in str(read.problems) + read.problems[0].source_line


def test_every_part_of_an_object_has_its_line() -> None:
    read = read_yaml("x", b"spec:\n  servers:\n  - port:\n      name: http\n")

    assert read.place(("spec", "servers", 0, "port", "name")) == (4, 13)
    assert read.place(("spec", "servers", 0, "tls", "mode")) == read.place(("spec", "servers", 0))
    assert read.line(4) == "      name: http"
    assert read.line(99) == ""
