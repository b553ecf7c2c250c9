"""What every API server does with what is created, asked for and listed: in memory here, really in `tests/cluster/`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import pytest

from shifter.adapters.kube.kinds import OUR_GROUP, SHIFTS
from shifter.ports.kube import ACCESS_REVIEWS, LEASES, SELF_REVIEWS, Body, Failing, Kind, KubeError
from tests.contract.kube_subjects import (
    FINALIZER,
    PATIENCE_SECONDS,
    UNKNOWN,
    InMemory,
    Subject,
    a_lease,
    a_shift,
    named,
    refused,
    version,
)


class ApiRules:
    """Run by a subclass that has a fixture `kube`."""

    # -- creating and reading ------------------------------------------------------------------------------------

    def test_a_created_object_comes_back_as_the_server_keeps_it(self, kube: Subject) -> None:
        created = kube.api.create(LEASES, kube.namespace, a_lease(app="shifter"))

        assert kube.other.get(LEASES, kube.namespace, "one") == created
        metadata = created["metadata"]
        assert metadata["uid"]
        assert metadata["namespace"] == kube.namespace
        assert metadata["labels"] == {"app": "shifter"}
        assert time.strptime(metadata["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
        assert version(created) > 1
        assert created["spec"] == a_lease()["spec"]

    def test_a_created_object_has_no_status(self, kube: Subject) -> None:
        created = kube.api.create(SHIFTS, kube.namespace, a_shift() | {"status": {"version": 7}})

        assert "status" not in created
        assert created["metadata"]["generation"] == 1

    def test_objects_are_copies(self, kube: Subject) -> None:
        sent = a_lease()
        created = kube.api.create(LEASES, kube.namespace, sent)
        sent["spec"]["holderIdentity"] = created["spec"]["holderIdentity"] = "scribble"

        assert kube.api.get(LEASES, kube.namespace, "one")["spec"]["holderIdentity"] == "a"

    def test_a_whole_number_comes_back_without_a_fraction(self, kube: Subject) -> None:
        created = kube.api.create(SHIFTS, kube.namespace, a_shift() | {"spec": {"steps": [5.0, 12.5]}})

        assert repr(created["spec"]["steps"]) == "[5, 12.5]"

    def test_a_name_is_taken_once(self, kube: Subject) -> None:
        kube.api.create(LEASES, kube.namespace, a_lease(holder="a"))

        error = refused(lambda: kube.other.create(LEASES, kube.namespace, a_lease(holder="b")))

        assert (error.failing, error.status, error.reason) == (Failing.EXISTS, 409, "AlreadyExists")
        assert 'leases.coordination.k8s.io "one" already exists' in str(error)
        assert kube.api.get(LEASES, kube.namespace, "one")["spec"]["holderIdentity"] == "a"

    def test_a_name_in_another_namespace_is_another_name(self, kube: Subject) -> None:
        kube.api.create(LEASES, kube.namespace, a_lease(holder="a"))
        kube.api.create(LEASES, kube.second, a_lease(holder="b"))

        assert kube.api.get(LEASES, kube.second, "one")["spec"]["holderIdentity"] == "b"

    def test_generated_names_differ(self, kube: Subject) -> None:
        body = a_lease() | {"metadata": {"generateName": "pause-"}}

        names = {kube.api.create(LEASES, kube.namespace, body)["metadata"]["name"] for _ in range(5)}

        assert len(names) == 5
        assert all(name.startswith("pause-") and len(name) == len("pause-") + 5 for name in names)

    @pytest.mark.parametrize("prefix", ["Shop-", "shop.", "-"])
    def test_a_name_cannot_be_generated_from_everything(self, kube: Subject, prefix: str) -> None:
        body = a_lease() | {"metadata": {"generateName": prefix}}

        error = refused(lambda: kube.api.create(LEASES, kube.namespace, body))

        assert (error.failing, error.status) == (Failing.INVALID, 422)

    @pytest.mark.parametrize("name", ["", "Shop", "a_b", "-a", "x" * 254])
    def test_a_name_that_is_none_is_refused(self, kube: Subject, name: str) -> None:
        error = refused(lambda: kube.api.create(SHIFTS, kube.namespace, a_shift(name)))

        assert (error.failing, error.status) == (Failing.INVALID, 422)

    def test_an_object_for_another_namespace_is_refused(self, kube: Subject) -> None:
        body = a_lease()
        body["metadata"]["namespace"] = kube.second

        error = refused(lambda: kube.api.create(LEASES, kube.namespace, body))

        assert (error.failing, error.status) == (Failing.INVALID, 400)
        assert "namespace of the provided object does not match" in str(error)

    def test_an_object_of_another_kind_is_refused(self, kube: Subject) -> None:
        error = refused(lambda: kube.api.create(SHIFTS, kube.namespace, a_shift() | {"kind": "ShiftFleet"}))

        assert (error.failing, error.status) == (Failing.INVALID, 422)
        assert "must be Shift" in str(error)

    @pytest.mark.parametrize("key", ["kind", "apiVersion"])
    def test_an_object_of_ours_must_say_what_it_is(self, kube: Subject, key: str) -> None:
        body = {name: part for name, part in a_shift().items() if name != key}

        error = refused(lambda: kube.api.create(SHIFTS, kube.namespace, body))

        assert (error.failing, error.status) == (Failing.INVALID, 400)

    def test_half_a_character_is_kept_as_none(self, kube: Subject) -> None:
        created = kube.api.create(LEASES, kube.namespace, a_lease(holder="gr\u00f6\u00df\ud800er\u0000"))

        assert created["spec"]["holderIdentity"] == "gr\u00f6\u00df\ufffder\u0000"

    def test_a_label_that_is_none_is_refused(self, kube: Subject) -> None:
        for value in ("a b", "-a", "x" * 64):
            error = refused(partial(kube.api.create, LEASES, kube.namespace, a_lease(app=value)))

            assert (error.failing, error.status) == (Failing.INVALID, 422)
            assert "metadata.labels" in str(error)

    def test_what_is_too_large_is_not_kept(self, kube: Subject) -> None:
        for length, failing, status in ((1_600_000, Failing.AMBIGUOUS, 500), (3_200_000, Failing.INVALID, 413)):
            body = a_lease(holder="x" * length)
            error = refused(partial(kube.api.create, LEASES, kube.namespace, body))

            assert (error.failing, error.status) == (failing, status)
        assert not kube.api.list(LEASES, kube.namespace).items

    # -- where there is nothing ----------------------------------------------------------------------------------

    def test_a_new_object_with_a_resource_version_is_refused(self, kube: Subject) -> None:
        created = kube.api.create(LEASES, kube.namespace, a_lease())
        body = a_lease("two")
        body["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]

        error = refused(lambda: kube.api.create(LEASES, kube.namespace, body))

        assert "resourceVersion should not be set on objects to be created" in str(error)
        assert [each["metadata"]["name"] for each in kube.api.list(LEASES, kube.namespace).items] == ["one"]

    def test_what_is_not_there_is_missing(self, kube: Subject) -> None:
        calls: Sequence[Callable[[], object]] = [
            lambda: kube.api.get(SHIFTS, kube.namespace, "one"),
            lambda: kube.api.delete(SHIFTS, kube.namespace, "one"),
        ]
        for call in calls:
            error = refused(call)

            assert (error.failing, error.status, error.reason) == (Failing.MISSING, 404, "NotFound")
            assert 'shifts.shifter.io "one" not found' in str(error)

    def test_an_unknown_kind_is_missing(self, kube: Subject) -> None:
        calls: Sequence[Callable[[], object]] = [
            lambda: kube.api.get(UNKNOWN, kube.namespace, "one"),
            lambda: kube.api.list(UNKNOWN, kube.namespace),
            lambda: kube.api.create(UNKNOWN, kube.namespace, named(UNKNOWN, "one", {}, {})),
            lambda: list(kube.api.watch(UNKNOWN, kube.namespace, "1", seconds=1)),
        ]
        for call in calls:
            error = refused(call)

            assert (error.failing, error.status) == (Failing.MISSING, 404)

    def test_nothing_is_created_where_there_is_no_namespace(self, kube: Subject) -> None:
        error = refused(lambda: kube.api.create(LEASES, "nowhere", a_lease()))

        assert (error.failing, error.status) == (Failing.MISSING, 404)
        assert 'namespaces "nowhere" not found' in str(error)
        assert not kube.api.list(LEASES, "nowhere").items

    @pytest.mark.parametrize("kind", [LEASES, SHIFTS])
    def test_a_namespace_on_its_way_out_takes_changes_but_nothing_new(self, kube: Subject, kind: Kind) -> None:
        body = a_lease() if kind == LEASES else a_shift()
        body["metadata"]["finalizers"] = [FINALIZER]
        created = kube.api.create(kind, kube.second, body)
        kube.terminate(kube.second)
        made = a_lease("two") if kind == LEASES else a_shift("two")

        error = refused(lambda: kube.api.create(kind, kube.second, made))

        assert (error.failing, error.status, error.reason) == (Failing.DENIED, 403, "Forbidden")
        assert "because it is being terminated" in str(error)
        held = kube.api.get(kind, kube.second, "one")
        held["metadata"] |= {"labels": {"still": "here"}}
        if held["metadata"]["uid"] == created["metadata"]["uid"]:
            self._release(kube, kind, held)

    def _release(self, kube: Subject, kind: Kind, body: Body) -> None:
        """Write it without its finalizer, whatever the namespace's controller does to it meanwhile."""
        for _ in range(5):
            body["metadata"]["finalizers"] = []
            try:
                assert kube.api.replace(kind, kube.second, body)["metadata"]["labels"] == {"still": "here"}
            except KubeError as error:
                assert error.failing is Failing.CONFLICT, error  # noqa: PT017 - any other is a failure
                body = kube.api.get(kind, kube.second, "one")
                body["metadata"] |= {"labels": {"still": "here"}}
            else:
                return
        pytest.fail("somebody writes it all the time")

    # -- listing -------------------------------------------------------------------------------------------------

    def test_a_list_has_all_of_a_kind_by_name(self, kube: Subject) -> None:
        for name in ("b", "a", "a.1"):
            kube.api.create(LEASES, kube.namespace, a_lease(name))
        kube.api.create(LEASES, kube.second, a_lease("elsewhere"))

        listed = kube.other.list(LEASES, kube.namespace)
        everywhere = kube.api.list(LEASES, "")

        assert [body["metadata"]["name"] for body in listed.items] == ["a", "a.1", "b"]
        assert {"a", "elsewhere"} <= {body["metadata"]["name"] for body in everywhere.items}
        assert int(listed.resource_version) >= max(map(version, listed.items))

    def test_a_list_by_labels_has_those_with_all_of_them(self, kube: Subject) -> None:
        kube.api.create(LEASES, kube.namespace, a_lease("one", app="shifter", tier="a"))
        kube.api.create(LEASES, kube.namespace, a_lease("two", app="shifter", tier="b"))
        kube.api.create(LEASES, kube.namespace, a_lease("three"))

        listed = kube.api.list(LEASES, kube.namespace, labels={"app": "shifter", "tier": "b"})

        assert [body["metadata"]["name"] for body in listed.items] == ["two"]

    def test_a_list_sees_every_write_before_it(self, kube: Subject) -> None:
        for number in range(20):
            (kube.api if number % 2 else kube.other).create(LEASES, kube.namespace, a_lease(f"{number}"))

            assert len(kube.api.list(LEASES, kube.namespace).items) == number + 1

    # -- who asks ------------------------------------------------------------------------------------------------

    def test_the_server_says_who_asks(self, kube: Subject) -> None:
        body = {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.name}

        review = kube.api.create(SELF_REVIEWS, "", body)

        assert review["status"]["userInfo"]["username"] == kube.user

    def test_the_server_says_what_is_allowed(self, kube: Subject) -> None:
        asked = {"namespace": kube.namespace, "verb": "pause", "group": OUR_GROUP, "resource": "shifts", "name": "one"}
        body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.name}

        review = kube.api.create(ACCESS_REVIEWS, "", body | {"spec": {"resourceAttributes": asked}})

        assert review["status"]["allowed"] is True

    def test_a_client_that_is_closed_asks_nothing_any_more(self, kube: Subject) -> None:
        kube.other.close()
        kube.other.close()

        error = refused(lambda: kube.other.list(LEASES, kube.namespace))

        assert error.failing is Failing.UNAVAILABLE

    def test_closing_ends_a_watch_that_waits(self, kube: Subject) -> None:
        since = kube.api.list(LEASES, kube.namespace).resource_version
        changes = kube.other.watch(LEASES, kube.namespace, since, seconds=PATIENCE_SECONDS)
        kube.api.create(LEASES, kube.namespace, a_lease())
        assert next(changes).type == "ADDED"
        closer = threading.Timer(0.2, kube.other.close)
        began_at = time.monotonic()
        closer.start()

        with suppress(KubeError):
            list(changes)
        closer.join()

        assert time.monotonic() - began_at < PATIENCE_SECONDS / 2


class TestMemoryApi(InMemory, ApiRules):
    pass
