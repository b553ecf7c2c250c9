"""What every API server tells a watch, and what it does not promise to tell."""

from __future__ import annotations

import threading
import time

import pytest

from shifter.adapters.kube.kinds import SHIFTS
from shifter.ports.kube import LEASES, Failing
from tests.contract.kube_subjects import (
    PATIENCE_SECONDS,
    InMemory,
    Subject,
    a_lease,
    a_shift,
    refused,
    seen,
    version,
)


class WatchRules:
    """Run by a subclass that has a fixture `kube`."""

    # -- watching ------------------------------------------------------------------------------------------------

    def test_a_watch_tells_all_that_happened_since_a_list(self, kube: Subject) -> None:
        kube.api.create(LEASES, kube.namespace, a_lease("before"))
        since = kube.api.list(LEASES, kube.namespace).resource_version
        created = kube.other.create(LEASES, kube.namespace, a_lease())
        kube.other.replace(LEASES, kube.namespace, created | {"spec": {"holderIdentity": "b"}})
        kube.other.create(LEASES, kube.second, a_lease("elsewhere"))
        kube.other.create(SHIFTS, kube.namespace, a_shift("other"))
        kube.other.delete(LEASES, kube.namespace, "one")

        changes = list(kube.api.watch(LEASES, kube.namespace, since, seconds=1))

        told = [change for change in changes if change.type != "BOOKMARK"]
        assert seen(iter(changes)) == [("ADDED", "one", "a"), ("MODIFIED", "one", "b"), ("DELETED", "one", "b")]
        versions = [version(change.body) for change in told]
        assert versions == sorted(set(versions))
        assert versions[0] == version(created)

    def test_a_watch_sees_what_happens_while_it_waits(self, kube: Subject) -> None:
        since = kube.api.list(LEASES, kube.namespace).resource_version
        changes = kube.api.watch(LEASES, kube.namespace, since, seconds=PATIENCE_SECONDS)
        writer = threading.Timer(0.2, lambda: kube.other.create(LEASES, kube.namespace, a_lease()))
        began_at = time.monotonic()
        writer.start()

        first = next(changes)
        took_seconds = time.monotonic() - began_at
        writer.join()

        assert (first.type, first.body["metadata"]["name"]) == ("ADDED", "one")
        assert took_seconds < PATIENCE_SECONDS / 2

    def test_a_watch_goes_on_where_another_ended(self, kube: Subject) -> None:
        since = kube.api.list(LEASES, kube.namespace).resource_version
        first = kube.api.create(LEASES, kube.namespace, a_lease("one"))
        kube.api.create(LEASES, kube.namespace, a_lease("two"))

        resumed = kube.api.watch(LEASES, kube.namespace, first["metadata"]["resourceVersion"], seconds=1)

        assert int(since) < version(first)
        assert seen(resumed) == [("ADDED", "two", "a")]

    def test_a_watch_by_labels_tells_what_comes_to_have_them_and_what_no_longer_has(self, kube: Subject) -> None:
        since = kube.api.list(LEASES, kube.namespace).resource_version
        body = kube.api.create(LEASES, kube.namespace, a_lease(app="other"))
        for holder, labels in (("b", {"app": "shifter"}), ("c", {"app": "shifter", "x": "y"}), ("d", {"app": "other"})):
            body["metadata"]["labels"] = labels
            body = kube.api.replace(LEASES, kube.namespace, body | {"spec": {"holderIdentity": holder}})

        told = list(kube.api.watch(LEASES, kube.namespace, since, seconds=1, labels={"app": "shifter"}))

        assert [(kind, name) for kind, name, _ in seen(iter(told))] == [
            ("ADDED", "one"),
            ("MODIFIED", "one"),
            ("DELETED", "one"),
        ]

    def test_a_watch_sees_a_status(self, kube: Subject) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())
        kube.api.replace(SHIFTS, kube.namespace, body | {"status": {"version": 4}}, status=True)

        changes = kube.api.watch(SHIFTS, kube.namespace, body["metadata"]["resourceVersion"], seconds=1)

        told = next(changes)
        assert (told.type, told.body["status"]) == ("MODIFIED", {"version": 4})

    def test_a_watch_ends_in_time_and_bookmarks_say_how_far_it_came(self, kube: Subject) -> None:
        since = kube.api.list(SHIFTS, kube.namespace).resource_version
        elsewhere = kube.api.create(SHIFTS, kube.second, a_shift())
        began_at = time.monotonic()

        told = list(kube.api.watch(SHIFTS, kube.namespace, since, seconds=5))

        assert 1 < time.monotonic() - began_at < 5 + PATIENCE_SECONDS
        assert {change.type for change in told} <= {"BOOKMARK"}
        assert all(version(change.body) >= version(elsewhere) for change in told)

    def test_a_watch_of_what_is_never_written_need_not_say_anything(self, kube: Subject) -> None:
        since = kube.api.list(SHIFTS, kube.namespace).resource_version
        kube.api.create(LEASES, kube.second, a_lease())

        assert not seen(kube.api.watch(SHIFTS, kube.namespace, since, seconds=4))

    def test_a_watch_from_the_future_says_nothing(self, kube: Subject) -> None:
        changes = kube.api.watch(SHIFTS, kube.namespace, "99999999", seconds=1)
        kube.api.create(SHIFTS, kube.namespace, a_shift())

        assert not list(changes)

    @pytest.mark.parametrize("since", ["", "0"])
    def test_a_watch_from_nowhere_begins_with_what_there_is(self, kube: Subject, since: str) -> None:
        kube.api.create(LEASES, kube.namespace, a_lease())

        assert seen(kube.api.watch(LEASES, kube.namespace, since, seconds=1)) == [("ADDED", "one", "a")]

    def test_a_watch_from_too_long_ago_is_refused(self, kube: Subject) -> None:
        error = refused(lambda: list(kube.api.watch(SHIFTS, kube.namespace, "1", seconds=1)))

        assert (error.failing, error.status) == (Failing.EXPIRED, 410)
        assert "too old resource version" in str(error)

    def test_a_watch_from_what_is_no_version_is_refused(self, kube: Subject) -> None:
        error = refused(lambda: list(kube.api.watch(LEASES, kube.namespace, "yesterday", seconds=1)))

        assert (error.failing, error.status) == (Failing.UNAVAILABLE, 500)


class TestMemoryWatches(InMemory, WatchRules):
    pass
