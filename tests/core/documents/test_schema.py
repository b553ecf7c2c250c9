"""What every file has in common: durations with units, names, strictness, keys that come later."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from shifter.core.documents.schema import (
    Duration,
    Metadata,
    Name,
    Retired,
    StrictModel,
    Unsupported,
    distinct,
    parse_duration,
    second_of_its_kind,
    show_duration,
)


class _Sample(StrictModel):
    some_span: Duration = timedelta(seconds=1)
    namespace: Name = "shop"
    count: int = 1
    ratio: float = 1.0
    later: Unsupported
    earlier: Retired


def _kinds(json: str) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        _Sample.model_validate_json(json)
    return [error["type"] for error in caught.value.errors()]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("2d", 172800), ("3650d", 315360000)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "-5m", "m", "1:30", "5M", "5mm", "٣m", "5m\n", 5, 5.0, True, None, []]
)
def test_anything_else_is_not_a_duration(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0.1ms", "3651d", "9" * 400 + "d", timedelta(0), timedelta(days=-1)])
def test_a_duration_is_never_zero_and_never_absurd(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="at least 1ms and at most 3650d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(days=180), "180d"),
        (timedelta(milliseconds=1500), "1.5s"),
        (timedelta(0), "0s"),
    ],
)
def test_a_duration_is_shown_the_way_files_write_it(span: timedelta, text: str) -> None:
    assert show_duration(span) == text


@given(st.integers(1, 3650 * 86_400_000))
def test_what_is_shown_is_read_back_as_the_same(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)

    assert parse_duration(show_duration(span)) == span
    assert parse_duration(f"{milliseconds}ms") == span


def test_a_duration_in_python_is_taken_as_it_is_and_dumped_as_written() -> None:
    sample = _Sample(someSpan=timedelta(minutes=5))

    assert sample.some_span == timedelta(minutes=5)
    assert sample.model_dump(mode="json", by_alias=True)["someSpan"] == "5m"


def test_keys_are_camel_case_outside_and_nothing_else() -> None:
    assert _Sample.model_validate_json('{"someSpan": "5m"}').some_span == timedelta(minutes=5)
    assert _kinds('{"some_span": "5m"}') == ["extra_forbidden"]


def test_an_unknown_key_is_an_error() -> None:
    assert _kinds('{"cuont": 1}') == ["extra_forbidden"]


@pytest.mark.parametrize("value", ['"1"', "true", "1.0"])
def test_a_whole_number_is_never_made_of_something_else(value: str) -> None:
    assert len(_kinds(f'{{"count": {value}}}')) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", '"1"'])
def test_a_number_is_finite_and_never_made_of_something_else(value: str) -> None:
    assert len(_kinds(f'{{"ratio": {value}}}')) == 1


def test_the_first_value_that_was_there_before_is_the_second_of_its_kind() -> None:
    assert second_of_its_kind("abcba") == 3
    assert second_of_its_kind("abc") is None


def test_a_list_in_which_something_stands_twice_is_refused_where_it_does() -> None:
    listed = TypeAdapter[tuple[str, ...]](Annotated[tuple[str, ...], distinct("a namespace")])

    with pytest.raises(ValidationError, match="a namespace is listed twice") as caught:
        listed.validate_python(("shop", "cart", "shop"))

    assert caught.value.errors()[0]["type"] == "twice"
    assert caught.value.errors()[0]["ctx"]["at"] == (2,)
    assert listed.validate_python(("shop", "cart")) == ("shop", "cart")


def test_values_are_frozen() -> None:
    sample = _Sample()

    with pytest.raises(ValidationError, match="frozen"):
        sample.count = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ["a", "shop", "shop-2", "0", "a" * 63])
def test_a_name_is_a_dns_label(name: str) -> None:
    assert Metadata(name=name).name == name


@pytest.mark.parametrize("name", ["", "Shop", "shop_1", "-a", "a-", "a.b", "a" * 64, "a\n", "é"])
def test_any_other_text_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError, match="not a Kubernetes name"):
        Metadata(name=name)


@pytest.mark.parametrize("value", ["null", "1", "[]", "{}"])
def test_a_key_that_is_not_enforced_is_refused_whatever_its_value(value: str) -> None:
    assert _kinds(f'{{"later": {value}}}') == ["unsupported"]


def test_a_key_that_is_not_enforced_may_be_absent_and_is_never_dumped() -> None:
    assert "later" not in _Sample().model_dump()


@pytest.mark.parametrize("value", ["null", "1", '"1m"', "{}"])
def test_a_key_of_an_earlier_version_is_refused_whatever_its_value_and_the_reason_is_given(value: str) -> None:
    assert _kinds(f'{{"earlier": {value}}}') == ["retired"]
    with pytest.raises(ValidationError, match="not used any more: evidence is weighed"):
        _Sample.model_validate_json(f'{{"earlier": {value}}}')


def test_a_key_of_an_earlier_version_may_be_absent_and_is_never_dumped() -> None:
    assert "earlier" not in _Sample().model_dump()
