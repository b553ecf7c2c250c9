"""What every API server does with what is replaced and deleted: nobody writes over what another wrote unseen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shifter.adapters.kube.kinds import SHIFT_RECORDS, SHIFTS
from shifter.ports.kube import LEASES, Failing, Kind, KubeError
from tests.contract.kube_subjects import (
    FINALIZER,
    InMemory,
    Subject,
    a_lease,
    a_record,
    a_shift,
    refused,
    seen,
    version,
)


class WriteRules:
    """Run by a subclass that has a fixture `kube`."""

    # -- replacing -----------------------------------------------------------------------------------------------

    def test_a_replace_with_the_current_version_is_kept(self, kube: Subject) -> None:
        created = kube.api.create(LEASES, kube.namespace, a_lease(app="shifter"))
        body = a_lease(holder="b")
        body["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]

        replaced = kube.api.replace(LEASES, kube.namespace, body)

        assert kube.other.get(LEASES, kube.namespace, "one") == replaced
        assert replaced["spec"]["holderIdentity"] == "b"
        assert version(replaced) > version(created)
        assert "labels" not in replaced["metadata"]
        for key in ("uid", "creationTimestamp", "namespace"):
            assert replaced["metadata"][key] == created["metadata"][key]

    @pytest.mark.parametrize("status", [False, True])
    def test_a_replace_with_another_version_is_a_conflict(
        self,
        kube: Subject,
        status: bool,  # noqa: FBT001 - a test's parameter
    ) -> None:
        old = kube.api.create(SHIFTS, kube.namespace, a_shift())
        new = kube.api.replace(SHIFTS, kube.namespace, old | {"spec": {"namespaces": ["new"]}})
        stale = old | {"spec": {"namespaces": ["stale"]}, "status": {"version": 9}}

        error = refused(lambda: kube.api.replace(SHIFTS, kube.namespace, stale, status=status))

        assert (error.failing, error.status, error.reason) == (Failing.CONFLICT, 409, "Conflict")
        assert "the object has been modified" in str(error)
        assert kube.api.get(SHIFTS, kube.namespace, "one") == new

    @pytest.mark.parametrize("kind", [LEASES, SHIFTS])
    def test_a_replace_must_name_a_version(self, kube: Subject, kind: Kind) -> None:
        body = a_lease() if kind == LEASES else a_shift()
        created = kube.api.create(kind, kube.namespace, body)

        error = refused(lambda: kube.api.replace(kind, kube.namespace, body | {"spec": {}}))

        assert (error.failing, error.status) == (Failing.INVALID, 422)
        assert "metadata.resourceVersion" in str(error)
        assert kube.api.get(kind, kube.namespace, "one") == created

    @pytest.mark.parametrize("kind", [LEASES, SHIFTS])
    def test_a_replace_that_changes_nothing_keeps_the_version(self, kube: Subject, kind: Kind) -> None:
        created = kube.api.create(kind, kube.namespace, a_lease() if kind == LEASES else a_shift())

        assert kube.api.replace(kind, kube.namespace, created) == created
        assert kube.api.get(kind, kube.namespace, "one") == created

    def test_a_status_that_changes_nothing_keeps_the_version(self, kube: Subject) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())
        first = kube.api.replace(SHIFTS, kube.namespace, body | {"status": {"version": 1}}, status=True)

        assert kube.api.replace(SHIFTS, kube.namespace, first, status=True) == first

    def test_a_replace_of_an_object_that_was_made_anew_is_a_conflict(self, kube: Subject) -> None:
        old = kube.api.create(SHIFTS, kube.namespace, a_shift())
        kube.api.delete(SHIFTS, kube.namespace, "one")
        new = kube.api.create(SHIFTS, kube.namespace, a_shift())
        old["metadata"]["resourceVersion"] = new["metadata"]["resourceVersion"]

        error = refused(lambda: kube.api.replace(SHIFTS, kube.namespace, old))

        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        assert (error.failing, error.status) == (Failing.CONFLICT, 409)

    def test_replacing_a_missing_object_of_ours_does_not_make_it(self, kube: Subject) -> None:
        gone = kube.api.create(SHIFTS, kube.namespace, a_shift())
        kube.api.delete(SHIFTS, kube.namespace, "one")
        del gone["metadata"]["uid"]

        assert refused(lambda: kube.api.replace(SHIFTS, kube.namespace, gone)).failing is Failing.MISSING
        assert refused(lambda: kube.api.replace(SHIFTS, kube.namespace, gone, status=True)).failing is Failing.MISSING

    def test_replacing_a_missing_lease_makes_it_unless_its_uid_is_named(self, kube: Subject) -> None:
        gone = kube.api.create(LEASES, kube.namespace, a_lease())
        kube.api.delete(LEASES, kube.namespace, "one")

        error = refused(lambda: kube.api.replace(LEASES, kube.namespace, gone))
        assert (error.failing, error.status) == (Failing.CONFLICT, 409)

        uid = gone["metadata"].pop("uid")
        made = kube.api.replace(LEASES, kube.namespace, gone)
        assert made["metadata"]["uid"] != uid
        assert version(made) > version(gone)

    def test_a_replace_leaves_the_status_alone(self, kube: Subject) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())
        body = kube.api.replace(SHIFTS, kube.namespace, body | {"status": {"version": 3}}, status=True)
        without = {key: value for key, value in body.items() if key != "status"}

        for sent in (without | {"spec": {"steps": [50]}}, body | {"spec": {"steps": [60]}, "status": {"version": 9}}):
            sent["metadata"] |= {"resourceVersion": body["metadata"]["resourceVersion"]}
            body = kube.api.replace(SHIFTS, kube.namespace, sent)

            assert body["status"] == {"version": 3}
            assert body["spec"] == sent["spec"]

    def test_a_status_is_written_alone(self, kube: Subject) -> None:
        created = kube.api.create(SHIFTS, kube.namespace, a_shift("one", app="shifter"))
        sent = created | {"spec": {"steps": [50]}, "status": {"version": 1}}
        sent["metadata"] = {**created["metadata"], "labels": {"no": "no"}, "finalizers": [FINALIZER]}

        replaced = kube.api.replace(SHIFTS, kube.namespace, sent, status=True)

        assert replaced["status"] == {"version": 1}
        assert replaced["spec"] == created["spec"]
        assert replaced["metadata"]["labels"] == {"app": "shifter"}
        assert "finalizers" not in replaced["metadata"]
        assert version(replaced) > version(created)

    def test_the_generation_counts_changes_of_the_spec(self, kube: Subject) -> None:
        body = kube.api.create(SHIFTS, kube.namespace, a_shift())

        body = kube.api.replace(SHIFTS, kube.namespace, body | {"status": {"version": 1}}, status=True)
        assert body["metadata"]["generation"] == 1
        body["metadata"]["labels"] = {"app": "shifter"}
        body = kube.api.replace(SHIFTS, kube.namespace, body)
        assert body["metadata"]["generation"] == 1
        body = kube.api.replace(SHIFTS, kube.namespace, body | {"spec": {"steps": [50]}})
        assert body["metadata"]["generation"] == 2

    def test_of_two_writers_of_one_version_one_wins(self, kube: Subject) -> None:
        created = kube.api.create(LEASES, kube.namespace, a_lease())

        def write(number: int) -> bool:
            api = kube.api if number % 2 else kube.other
            try:
                api.replace(LEASES, kube.namespace, created | {"spec": {"holderIdentity": f"writer {number}"}})
            except KubeError as error:
                return error.failing is not Failing.CONFLICT
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(write, range(8)))

        assert won.count(True) == 1
        assert kube.api.get(LEASES, kube.namespace, "one")["spec"]["holderIdentity"] == f"writer {won.index(True)}"

    def test_versions_grow_over_all_kinds(self, kube: Subject) -> None:
        bodies = [
            kube.api.create(SHIFTS, kube.namespace, a_shift()),
            kube.other.create(LEASES, kube.second, a_lease()),
            kube.api.create(SHIFT_RECORDS, kube.namespace, a_record()),
        ]

        versions = [version(body) for body in bodies]
        assert versions == sorted(set(versions))

    def test_a_record_is_never_changed(self, kube: Subject) -> None:
        record = kube.api.create(SHIFT_RECORDS, kube.namespace, a_record())
        changed = record | {"spec": record["spec"] | {"reason": "another"}}

        error = refused(lambda: kube.api.replace(SHIFT_RECORDS, kube.namespace, changed))

        assert (error.failing, error.status, error.reason) == (Failing.INVALID, 422, "Invalid")
        assert kube.api.get(SHIFT_RECORDS, kube.namespace, "one.1") == record

    @pytest.mark.parametrize(
        "moment", ["2026-03-04T05:06:07Z", "2026-03-04T05:06:07.123Z", "2026-03-04 05:06:07.123456Z"]
    )
    def test_a_lease_takes_moments_with_six_digits_only(self, kube: Subject, moment: str) -> None:
        right = a_lease("right")
        right["spec"]["renewTime"] = "2026-03-04T05:06:07.000000Z"
        wrong = a_lease("wrong")
        wrong["spec"]["renewTime"] = moment

        kept = kube.api.create(LEASES, kube.namespace, right)
        error = refused(lambda: kube.api.create(LEASES, kube.namespace, wrong))

        assert kept["spec"]["renewTime"] == right["spec"]["renewTime"]
        assert (error.failing, error.status) == (Failing.INVALID, 400)

    def test_a_lease_of_no_duration_is_refused(self, kube: Subject) -> None:
        body = a_lease()
        body["spec"]["leaseDurationSeconds"] = 0

        error = refused(lambda: kube.api.create(LEASES, kube.namespace, body))

        assert (error.failing, error.status) == (Failing.INVALID, 422)

    # -- deleting ------------------------------------------------------------------------------------------------

    def test_what_is_deleted_is_gone(self, kube: Subject) -> None:
        kube.api.create(LEASES, kube.namespace, a_lease())

        kube.api.delete(LEASES, kube.namespace, "one")

        assert refused(lambda: kube.api.get(LEASES, kube.namespace, "one")).failing is Failing.MISSING
        assert not kube.api.list(LEASES, kube.namespace).items

    def test_another_object_by_that_name_is_left_alone(self, kube: Subject) -> None:
        created = kube.api.create(LEASES, kube.namespace, a_lease())

        error = refused(lambda: kube.api.delete(LEASES, kube.namespace, "one", uid="another"))

        assert (error.failing, error.status, error.reason) == (Failing.CONFLICT, 409, "Conflict")
        kube.api.delete(LEASES, kube.namespace, "one", uid=created["metadata"]["uid"])
        assert not kube.api.list(LEASES, kube.namespace).items

    def test_a_finalizer_holds_an_object_until_it_is_taken_away(self, kube: Subject) -> None:
        body = a_shift()
        body["metadata"]["finalizers"] = [FINALIZER]
        kube.api.create(SHIFTS, kube.namespace, body)
        since = kube.api.list(SHIFTS, kube.namespace).resource_version

        kube.api.delete(SHIFTS, kube.namespace, "one")
        held = kube.api.get(SHIFTS, kube.namespace, "one")
        kube.api.delete(SHIFTS, kube.namespace, "one")

        assert held["metadata"]["deletionTimestamp"]
        assert kube.api.get(SHIFTS, kube.namespace, "one") == held
        held = kube.api.replace(SHIFTS, kube.namespace, held | {"status": {"version": 2}}, status=True)
        more = held | {"metadata": held["metadata"] | {"finalizers": [FINALIZER, "shifter.io/more"]}}
        assert refused(lambda: kube.api.replace(SHIFTS, kube.namespace, more)).failing is Failing.INVALID
        held["metadata"]["finalizers"] = []
        kube.api.replace(SHIFTS, kube.namespace, held)
        assert refused(lambda: kube.api.get(SHIFTS, kube.namespace, "one")).failing is Failing.MISSING
        types = [each[0] for each in seen(kube.api.watch(SHIFTS, kube.namespace, since, seconds=1))]
        assert types == ["MODIFIED", "MODIFIED", "DELETED"]


class TestMemoryWrites(InMemory, WriteRules):
    pass
