from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shifter.adapters import saved_form
from shifter.adapters.kube import kinds
from shifter.adapters.kube.ledger import MOST_UNFILED, Ledger
from shifter.adapters.kube.objects import answer_entry, link_entry, order_body, record_body
from shifter.adapters.kube.probe import LONGEST
from shifter.core.chain import Link
from shifter.core.deciding.orders import FLEET, FLEET_VERBS, Answer, OrderAnswer, OrderRequest, Verb

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LINK = Link(1, "2026-03-01T12:00:00.000000+00:00", "shop", "order", "ann", "why", "0", "1", "{}", "a" * 64)
KINDS = (kinds.SHIFTS, kinds.SHIFT_FLEETS, kinds.SHIFT_ORDERS, kinds.SHIFT_RECORDS)

Definitions = Mapping[str, Mapping[str, Any]]

OF_RULES = frozenset({"has", "size", "all", "exists", "exists_one", "map", "filter", "isSorted"})
"""CEL's own and the list library, as of Kubernetes 1.25, below which the chart refuses."""

OF_CONDITIONS = OF_RULES | {"group", "resource", "namespace", "name", "check", "allowed"}
"""The authorizer library, too, which is as old as admission policies."""


def _version(definitions: Definitions, plural: str) -> Mapping[str, Any]:
    [version] = definitions[plural]["spec"]["versions"]
    return version  # type: ignore[no-any-return]


def _schema(definitions: Definitions, plural: str, *way: str) -> dict[str, Any]:
    found: dict[str, Any] = _version(definitions, plural)["schema"]["openAPIV3Schema"]
    for key in way:
        found = found["items"] if key == "[]" else found["properties"][key]
    return found


def _nodes(schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield place, schema
    for key, below in schema.get("properties", {}).items():
        yield from _nodes(below, f"{place}.{key}")
    if "items" in schema:
        yield from _nodes(schema["items"], f"{place}[]")


def test_every_kind_that_is_asked_for_is_defined_and_no_other(definitions: Definitions) -> None:
    found = {
        (each["spec"]["group"], _version(definitions, plural)["name"], plural, each["spec"]["names"]["kind"])
        for plural, each in definitions.items()
    }

    assert found == {(kind.group, kind.version, kind.plural, kind.name) for kind in KINDS}
    assert all(each["metadata"]["name"] == f"{plural}.{kinds.OUR_GROUP}" for plural, each in definitions.items())
    assert all(each["spec"]["scope"] == "Namespaced" for each in definitions.values())


@pytest.mark.parametrize("plural", [kind.plural for kind in KINDS])
def test_every_text_and_every_list_is_bounded(definitions: Definitions, plural: str) -> None:
    nodes = dict(_nodes(_schema(definitions, plural)))
    unbounded = [
        place
        for place, node in nodes.items()
        if (node.get("type") == "string" and "maxLength" not in node)
        or (node.get("type") == "array" and ("maxItems" not in node or "x-kubernetes-list-type" not in node))
    ]

    assert not unbounded
    assert all("type" in node for node in nodes.values())


@pytest.mark.parametrize("plural", [kind.plural for kind in KINDS])
def test_nothing_that_is_not_in_the_schema_is_kept(definitions: Definitions, plural: str) -> None:
    nodes = dict(_nodes(_schema(definitions, plural)))
    loose = [
        place
        for place, node in nodes.items()
        if "x-kubernetes-preserve-unknown-fields" in node or "additionalProperties" in node
    ]

    assert not loose
    assert "preserveUnknownFields" not in definitions[plural]["spec"]


def test_what_the_service_writes_by_itself_is_a_subresource(definitions: Definitions) -> None:
    with_status = {
        plural for plural in definitions if "status" in _version(definitions, plural).get("subresources", {})
    }

    assert with_status == {"shifts", "shiftfleets", "shiftorders"}


def test_the_short_names_are_those_of_the_runbook(definitions: Definitions) -> None:
    found = {plural: each["spec"]["names"]["shortNames"] for plural, each in definitions.items()}

    assert found == {"shifts": ["sh"], "shiftfleets": ["sf"], "shiftorders": ["so"], "shiftrecords": ["sr"]}


def test_what_kubectl_shows_of_a_shift_is_what_shifter_shows(definitions: Definitions) -> None:
    columns = _version(definitions, "shifts")["additionalPrinterColumns"]

    assert [each["name"] for each in columns if not each.get("priority")] == [
        *("Phase", "Istio%", "Step", "Verdict", "Hold", "Age"),
    ]
    assert [each["name"] for each in columns if each.get("priority")] == ["Wanted", "Written", "Observed", "Reason"]


@pytest.mark.parametrize("plural", [kind.plural for kind in KINDS])
def test_every_column_shows_a_field_of_the_schema(definitions: Definitions, plural: str) -> None:
    known = {place.replace("[]", "[0]") for place, _ in _nodes(_schema(definitions, plural))}
    shown = {each["jsonPath"] for each in _version(definitions, plural)["additionalPrinterColumns"]}

    assert shown - {".metadata.creationTimestamp"} <= known


def test_an_order_may_hold_what_the_stores_take_and_no_more(definitions: Definitions) -> None:
    spec = _schema(definitions, "shiftorders", "spec")["properties"]

    assert spec["by"]["maxLength"] == spec["shift"]["maxLength"] == saved_form.NAME_LENGTH
    assert spec["reason"]["maxLength"] == saved_form.REASON_LENGTH
    assert timedelta(seconds=spec["handsOffSeconds"]["maximum"]) == saved_form.LONGEST_SPAN
    assert spec["verb"]["enum"] == [str(verb) for verb in Verb]
    assert _schema(definitions, "shiftorders", "status", "answer")["enum"] == [str(answer) for answer in Answer]


def test_the_verbs_for_all_shifts_together_are_those_of_the_core(definitions: Definitions) -> None:
    [rule] = [
        each["rule"]
        for each in _schema(definitions, "shiftorders", "spec")["x-kubernetes-validations"]
        if f"'{FLEET}'" in each["rule"]
    ]

    assert set(re.findall(r"'([a-z]+)'", rule)) == {str(verb) for verb in FLEET_VERBS}


@pytest.mark.parametrize("plural", ["shifts", "shiftfleets"])
def test_the_history_in_a_status_has_every_field_that_is_written(definitions: Definitions, plural: str) -> None:
    history = _schema(definitions, plural, "status", "history")
    written = Ledger().appended([LINK]).entry()
    unflushed = history["properties"]["unflushed"]

    assert written.keys() == history["properties"].keys()
    assert link_entry(LINK).keys() == unflushed["items"]["properties"].keys() == set(unflushed["items"]["required"])
    assert unflushed["maxItems"] == MOST_UNFILED


@pytest.mark.parametrize("plural", ["shifts", "shiftfleets"])
def test_the_answers_in_a_status_have_every_field_that_is_written(definitions: Definitions, plural: str) -> None:
    answers = _schema(definitions, plural, "status", "answers")
    written = answer_entry("pause-1", OrderAnswer(7, Answer.ACCEPTED, "paused", NOW))

    assert written.keys() == answers["items"]["properties"].keys() == set(answers["items"]["required"])
    assert answers["maxItems"] == MOST_UNFILED


def test_no_rule_asks_for_more_than_the_oldest_cluster_that_is_promised_knows(
    definitions: Definitions, installed: Sequence[Mapping[str, Any]]
) -> None:
    """What the API server knows since when: "Common Expression Language in Kubernetes", and the CRD reference."""
    rules = [
        rule
        for plural in definitions
        for _, node in _nodes(_schema(definitions, plural))
        for rule in node.get("x-kubernetes-validations", ())
    ]
    [policy] = [each["spec"] for each in installed if each["kind"] == "ValidatingAdmissionPolicy"]
    conditions = [text for each in (*policy["variables"], *policy["validations"]) for text in _expressions(each)]

    # messageExpression came with 1.27, reason and fieldPath with 1.28, optionalOldSelf with 1.29.
    assert {key for rule in rules for key in rule} == {"rule", "message"}
    assert {name for rule in rules for name in _called(rule["rule"])} <= OF_RULES
    assert {name for text in conditions for name in _called(text)} <= OF_CONDITIONS
    # Beside these, selectableFields came with 1.30, switched off.
    known = {"name", "served", "storage", "schema", "subresources", "additionalPrinterColumns"}
    assert {key for plural in definitions for key in _version(definitions, plural)} == known


def _expressions(part: Mapping[str, str]) -> list[str]:
    return [text for key, text in part.items() if key in {"expression", "messageExpression"}]


def _called(expression: str) -> set[str]:
    unquoted = re.sub(r"'[^']*'", "''", expression)
    return set(re.findall(r"([A-Za-z_]+)\(", unquoted))


def test_both_kinds_that_keep_a_state_keep_their_history_alike(definitions: Definitions) -> None:
    shift, fleet = (_schema(definitions, plural, "status")["properties"] for plural in ("shifts", "shiftfleets"))

    assert all(shift[key] == fleet[key] for key in ("version", "savedBy", "state", "history", "answers", "conditions"))
    assert (
        _schema(definitions, "shifts", "status")["x-kubernetes-validations"]
        == _schema(definitions, "shiftfleets", "status")["x-kubernetes-validations"]
    )


def test_a_record_has_every_field_that_is_written(definitions: Definitions) -> None:
    spec = _schema(definitions, "shiftrecords", "spec")

    assert record_body("shop", LINK)["spec"].keys() == spec["properties"].keys() == set(spec["required"])


def test_an_order_has_every_field_that_is_written(definitions: Definitions) -> None:
    spec = _schema(definitions, "shiftorders", "spec")
    everything = OrderRequest(
        "shop", Verb.PAUSE, "ann", "why", full=True, override=True, share=5.0, hands_off=timedelta(1), adopt=True
    )

    assert order_body("pause-1", everything)["spec"].keys() == spec["properties"].keys()


def test_the_doctor_judges_a_status_by_what_the_definitions_take(definitions: Definitions) -> None:
    taken = {field: _schema(definitions, "shifts", "status", field)["maxLength"] for field in LONGEST}

    assert taken == LONGEST
