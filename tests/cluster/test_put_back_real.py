"""Does a store on a real API server know what was put back by the commands of docs/operations.md?"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.store import KubeStore
from tests.cluster.plane import ControlPlane
from tests.contract.stores import a_fleet, a_record, a_state, examined

KINDS = "shiftfleets,shifts,shiftrecords"
GIVEN_BY_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


class Restored:
    """A namespace of which a backup is made, which is emptied, and into which it is put back."""

    def __init__(self, plane: ControlPlane, api: KubeClient, namespace: str, path: Path) -> None:
        self._plane = plane
        self._api = api
        self._namespace = namespace
        self._path = path
        self._numbers = count()

    def store(self) -> KubeStore:
        return KubeStore(self._api, self._namespace, f"writer-{next(self._numbers)}", lambda: f"n{next(self._numbers)}")

    def looked(self) -> str:
        """What whoever starts now is told."""
        store = self.store()
        store.load_fleet()
        store.load()
        return store.put_back()

    def back_up(self) -> None:
        told: dict[str, Any] = json.loads(self._kubectl("get", KINDS, "-o", "json"))
        for item in told["items"]:
            for field in GIVEN_BY_THE_SERVER:
                item["metadata"].pop(field, None)
        self._path.write_text(json.dumps(told))

    def delete_all(self) -> None:
        self._kubectl("patch", "shift", "shop", "--type=merge", '--patch={"metadata":{"finalizers":null}}')
        self._kubectl("delete", KINDS, "--all")

    def put_back(self, *, with_status: bool = True) -> None:
        self._kubectl("create", "-f", str(self._path))
        if with_status:
            # Records have no status, and `replace` says so.
            self._kubectl("replace", "--subresource=status", "-f", str(self._path), check=False)

    def _kubectl(self, *words: str, check: bool = True) -> str:
        return self._plane.kubectl("root", "-n", self._namespace, *words, check=check).stdout


@pytest.fixture
def restored(plane: ControlPlane, admin_api: KubeClient, namespace: str, kinds: None, tmp_path: Path) -> Restored:
    del kinds
    made = Restored(plane, admin_api, namespace, tmp_path / "shifter.json")
    store = made.store()
    store.save_fleet(a_fleet(), 0, [a_record("frozen", shift="*")])
    store.save(a_state(share=5), 0, [a_record("one")])
    made.back_up()
    return made


def test_what_was_never_put_back_is_not_suspected(restored: Restored) -> None:
    assert restored.looked() == ""


def test_a_backup_of_everything_is_known_until_it_is_believed_and_goes_on(restored: Restored) -> None:
    restored.delete_all()
    restored.put_back()

    told = restored.looked()
    store = restored.store()
    fleet, found = store.load_fleet(), store.load()["shop"]
    store.believe()
    store.save(found.state, found.version, [a_record("two")])

    assert "what is saved of all shifts together was written for another object" in told
    assert "what is saved of shop was written for another object" in told
    assert (fleet.state, found.state.share) == (a_fleet(), 5)
    assert restored.looked() == ""
    assert (examined(store, "shop").count, examined(store, "shop").findings) == (2, ())


def test_a_backup_without_statuses_is_no_new_installation(restored: Restored) -> None:
    restored.delete_all()
    restored.put_back(with_status=False)

    told = restored.looked()
    restored_store = restored.store()
    restored_store.load_fleet()
    restored_store.load()
    restored_store.believe()

    assert "nothing is saved any more of all shifts together, though there is history" in told
    assert "nothing is saved any more of shop, though there is history" in told
    assert restored.looked() == ""
