"""What every API server refuses or drops of our own kinds, by the definitions in the chart."""

from __future__ import annotations

from functools import partial

import pytest

from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFTS
from shifter.ports.kube import EVENTS, Body, Failing
from tests.contract.kube_subjects import (
    InMemory,
    Subject,
    a_shift,
    refused,
)
from tests.kube_schemas import TWINS, read_schemas, rules_of


def an_event(namespace: str) -> Body:
    return EVENTS.body(
        metadata={"name": "one.1"},
        eventTime="2026-03-04T05:06:07.000000Z",
        type="Normal",
        reason="WriteDone",
        action="WriteDone",
        reportingController="shifter.io/shifter",
        reportingInstance="one",
        regarding={"apiVersion": SHIFTS.api_version, "kind": SHIFTS.name, "name": "one", "namespace": namespace},
        note="x" * 1024,
    )


class DefinitionRules:
    """Run by a subclass that has a fixture `kube`."""

    # -- what our definitions say --------------------------------------------------------------------------------

    def test_a_field_that_a_definition_does_not_know_is_dropped(self, kube: Subject) -> None:
        body = a_shift() | {"more": 1}
        body["spec"] |= {"more": {"deep": 1}}

        created = kube.api.create(SHIFTS, kube.namespace, body)

        assert "more" not in created
        assert created["spec"] == a_shift()["spec"]

    def test_null_is_kept_only_where_it_means_something(self, kube: Subject) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())
        status = {"version": 1, "share": None, "message": None, "holds": None}

        kept = kube.api.replace(SHIFTS, kube.namespace, body | {"status": status}, status=True)

        assert kept["status"] == {"version": 1, "share": None}

    @pytest.mark.parametrize(
        "status",
        [
            {"version": 0},
            {"version": 2.5},
            {"version": 7.0, "state": "x"},
            {"version": 2**63},
            {"version": "1"},
            {"state": "a state without a version"},
            {"share": 100.5},
            {"holds": [None]},
            {"holds": ["x"] * 65},
            {"verdict": "x" * 65},
            {"conditions": [{"type": "Ready"}]},
            {"history": {"head": {"id": 1}, "anchor": {"id": 0, "hash": ""}}},
            {"history": {"head": {"id": 1, "hash": ""}, "anchor": {"id": 2, "hash": ""}}},
        ],
    )
    def test_a_status_that_breaks_the_definition_is_refused(self, kube: Subject, status: Body) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())

        error = refused(lambda: kube.api.replace(SHIFTS, kube.namespace, body | {"status": status}, status=True))

        assert (error.failing, error.status, error.reason) == (Failing.INVALID, 422, "Invalid")
        assert kube.api.get(SHIFTS, kube.namespace, "one") == body

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            ({"version": 4, "state": "x"}, "version never decreases"),
            ({"state": "x"}, "version never decreases"),
            ({"version": 5}, "the state is never taken away"),
            (None, "the status holds the state and is never taken away"),
        ],
    )
    def test_a_state_is_never_taken_away(self, kube: Subject, status: Body | None, said: str) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())
        body = kube.api.replace(SHIFTS, kube.namespace, body | {"status": {"version": 5, "state": "y"}}, status=True)

        error = refused(lambda: kube.api.replace(SHIFTS, kube.namespace, body | {"status": status}, status=True))

        assert error.failing is Failing.INVALID
        assert said in str(error)

    @pytest.mark.parametrize(
        "spec",
        [
            {},
            {"verb": "explode"},
            {"by": ""},
            {"shift": "*"},
            {"verb": "freeze"},
            {"full": True},
            {"override": True},
            {"adopt": True},
            {"share": 5},
            {"verb": "promote", "share": 0},
            {"verb": "promote", "share": True},
            {"verb": "promote", "handsOffSeconds": 60},
        ],
    )
    def test_an_order_that_breaks_the_definition_is_refused(self, kube: Subject, spec: Body) -> None:
        asked = {"shift": "one", "verb": "resume", "by": kube.user, **spec} if spec else {}
        body = SHIFT_ORDERS.body(metadata={"name": "one"}, spec=asked)

        error = refused(lambda: kube.api.create(SHIFT_ORDERS, kube.namespace, body))

        assert (error.failing, error.status) == (Failing.INVALID, 422)

    def test_an_order_is_answered_once_and_never_changed(self, kube: Subject) -> None:
        asked = {"shift": "one", "verb": "pause", "by": kube.user}
        body = SHIFT_ORDERS.body(metadata={"name": "one"}, spec=asked)
        order = kube.api.create(SHIFT_ORDERS, kube.namespace, body)
        answer = {"id": 1, "answer": "accepted", "text": "done", "at": "now"}
        order = kube.api.replace(SHIFT_ORDERS, kube.namespace, order | {"status": answer}, status=True)

        other = order | {"status": answer | {"text": "other"}}
        resumed = order | {"spec": asked | {"verb": "resume"}}
        for call in (
            lambda: kube.api.replace(SHIFT_ORDERS, kube.namespace, other, status=True),
            lambda: kube.api.replace(SHIFT_ORDERS, kube.namespace, order | {"status": None}, status=True),
            lambda: kube.api.replace(SHIFT_ORDERS, kube.namespace, resumed),
        ):
            error = refused(call)

            assert error.failing is Failing.INVALID
            assert "once and never changed" in str(error)
        assert kube.api.get(SHIFT_ORDERS, kube.namespace, "one") == order

    def test_there_is_one_fleet(self, kube: Subject) -> None:
        error = refused(
            lambda: kube.api.create(SHIFT_FLEETS, kube.namespace, SHIFT_FLEETS.body(metadata={"name": "b"}, spec={}))
        )

        assert "its name is fleet" in str(error)
        kube.api.create(SHIFT_FLEETS, kube.namespace, SHIFT_FLEETS.body(metadata={"name": "fleet"}, spec={}))

    def test_steps_go_up(self, kube: Subject) -> None:
        for steps in ([50, 5], [5, 5]):
            body = a_shift() | {"spec": {"steps": steps}}
            error = refused(partial(kube.api.create, SHIFTS, kube.namespace, body))

            assert "every step is above the one before" in str(error)

    def test_an_event_is_kept(self, kube: Subject) -> None:
        event = an_event(kube.namespace)

        kept = kube.api.create(EVENTS, kube.namespace, event)

        assert {key: kept[key] for key in event if key != "metadata"} == {
            key: part for key, part in event.items() if key != "metadata"
        }

    @pytest.mark.parametrize(
        ("changed", "status"),
        [
            ({"eventTime": None}, 422),
            ({"eventTime": "2026-03-04T05:06:07Z"}, 400),
            ({"type": "Error"}, 422),
            ({"action": ""}, 422),
            ({"reason": ""}, 422),
            ({"reportingController": "shifter shifter"}, 422),
            ({"reportingInstance": ""}, 422),
            ({"note": "x" * 1025}, 422),
            ({"note": "\u4e2d" * 342}, 422),
            ({"regarding": {"name": "one"}}, 422),
        ],
    )
    def test_an_event_that_says_too_little_or_too_much_is_refused(
        self, kube: Subject, changed: Body, status: int
    ) -> None:
        error = refused(lambda: kube.api.create(EVENTS, kube.namespace, an_event(kube.namespace) | changed))

        assert (error.failing, error.status) == (Failing.INVALID, status)


class TestMemoryDefinitions(InMemory, DefinitionRules):
    def test_every_rule_of_our_definitions_has_its_twin(self) -> None:
        rules = {rule for schema in read_schemas().values() for rule in rules_of(schema)}

        assert rules == set(TWINS)
