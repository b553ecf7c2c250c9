"""An export is written as a whole or not at all, and tells afterwards what a person did to it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shifter.errors import ConfigError, RefusedError
from shifter.mesh.configuration import archive
from shifter.mesh.configuration import manifest as manifests
from shifter.mesh.configuration.archive import Page, write_export
from shifter.mesh.configuration.kinds import DESTINATION_RULE, GATEWAY, SECRET, VIRTUAL_SERVICE, WASM_PLUGIN
from shifter.mesh.configuration.manifest import Manifest, Source
from shifter.mesh.configuration.opening import State, changes_of, open_export
from shifter.mesh.configuration.settings import settings_of
from tests.mesh.configurations import a_page, an_object, asked, exported

CART = an_object(VIRTUAL_SERVICE, "cart", {"hosts": ["cart"], "http": [{"route": [{"destination": {"host": "cart"}}]}]})
FRONT = an_object(
    GATEWAY, "front", {"servers": [{"tls": {"mode": "SIMPLE", "credentialName": "shop-tls"}, "hosts": ["a"]}]}
)
ROUTES = a_page(CART, kind=VIRTUAL_SERVICE)
GATEWAYS = a_page(FRONT, kind=GATEWAY)
TLS = an_object(SECRET, "shop-tls") | {"type": "kubernetes.io/tls", "data": {"tls.key": "c2VjcmV0LWtleQ=="}}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_has_one_clean_file_per_object_and_a_manifest(tmp_path: Path) -> None:
    exported(tmp_path / "data", ROUTES, GATEWAYS)
    found = contents(tmp_path / "data")

    assert sorted(found) == ["manifest.json", "shop/gateways/front.yaml", "shop/virtualservices/cart.yaml"]
    assert found["shop/virtualservices/cart.yaml"].decode() == (
        "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata:\n  name: cart\n  namespace: shop\n"
        "spec:\n  hosts:\n  - cart\n  http:\n  - route:\n    - destination:\n        host: cart\n"
    )


def test_the_manifest_has_checksums_counts_and_where_all_of_it_comes_from(tmp_path: Path) -> None:
    manifest = exported(tmp_path / "data", ROUTES, GATEWAYS)
    found = contents(tmp_path / "data")
    told = json.loads(found["manifest.json"])

    assert [(each.path, each.sha256) for each in manifest.files] == [
        (path, hashlib.sha256(found[path]).hexdigest()) for path in sorted(found) if path != "manifest.json"
    ]
    assert told["counts"] == {"gateways": 1, "virtualservices": 1}
    assert (told["shifter"], told["exportedAt"]) == ("1.2.3", "2026-11-22T20:00:00Z")
    assert told["source"]["cluster"] == "cls-old"
    assert (told["apiVersion"], told["kind"]) == ("shifter.io/v1alpha1", "MeshExport")


def test_the_same_objects_give_the_same_bytes_in_whatever_order_they_come(tmp_path: Path) -> None:
    other = a_page({key: CART[key] for key in reversed(CART)}, kind=VIRTUAL_SERVICE)
    exported(tmp_path / "one", ROUTES, GATEWAYS)
    exported(tmp_path / "two", GATEWAYS, other)

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_files_are_readable_for_their_owner_alone(tmp_path: Path) -> None:
    exported(tmp_path / "data", ROUTES)
    modes = {
        stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [tmp_path / "data", *(tmp_path / "data").rglob("*.*")]
    }

    assert modes == {0}


def test_what_stays_behind_is_told_with_its_reason(tmp_path: Path) -> None:
    dying = an_object(VIRTUAL_SERVICE, "old", deletionTimestamp="2026-01-01T00:00:00Z")
    odd = an_object(VIRTUAL_SERVICE, "odd", {"weight": float("nan")})
    vast = an_object(VIRTUAL_SERVICE, "vast", {"hosts": ["a" * (5 << 20)]})
    missing = Page(WASM_PLUGIN, "v1alpha1", missing="the old cluster has no such kind")
    manifest = exported(tmp_path / "data", a_page(dying, odd, CART, vast, kind=VIRTUAL_SERVICE), missing)

    assert [(each.kind, each.name, each.why) for each in manifest.left_out] == [
        (
            "virtualservices",
            "odd",
            "cannot be written as YAML: has a number that is none: infinite, or the result of nothing",
        ),
        ("virtualservices", "old", "is being deleted"),
        ("virtualservices", "vast", "would be a file of more than 4194304 bytes"),
        ("wasmplugins", "", "the old cluster has no such kind"),
    ]
    assert [each.name for each in manifest.files] == ["cart"]


def test_secrets_are_told_by_name_and_never_written_unasked(tmp_path: Path) -> None:
    manifest = exported(tmp_path / "data", GATEWAYS, a_page(TLS, kind=SECRET))

    assert [(each.name, each.namespace, each.by, each.at) for each in manifest.needed_secrets] == [
        ("shop-tls", "", "shop/gateways/front.yaml", "spec.servers.0.tls.credentialName")
    ]
    assert b"c2VjcmV0" not in b"".join(contents(tmp_path / "data").values())
    assert [each.why for each in manifest.left_out] == ["a Secret, and nobody asked for Secrets to be written"]


def test_secrets_are_written_for_who_asks(tmp_path: Path) -> None:
    manifest = exported(tmp_path / "data", a_page(TLS, kind=SECRET), secrets=True)

    assert manifest.secrets
    assert b'tls.key: "c2VjcmV0LWtleQ=="' in contents(tmp_path / "data")["shop/secrets/shop-tls.yaml"]


def test_who_made_an_object_is_remembered(tmp_path: Path) -> None:
    made = an_object(VIRTUAL_SERVICE, ownerReferences=[{"kind": "Canary", "name": "cart", "controller": True}])

    assert [each.owner for each in exported(tmp_path / "data", a_page(made, kind=VIRTUAL_SERVICE)).files] == [
        "Canary/cart"
    ]


def test_an_object_that_a_list_has_twice_is_one_file(tmp_path: Path) -> None:
    manifest = exported(tmp_path / "data", ROUTES, ROUTES)

    assert manifest.counts == {"virtualservices": 1}
    assert changes_of(tmp_path / "data") == ()


class Tracked(dict[str, Any]):
    """A body of which one can tell whether anybody still holds it."""


def test_no_page_is_held_once_the_one_after_the_next_is_there(tmp_path: Path) -> None:
    held: list[int] = []

    def pages() -> Iterator[Page]:
        seen: list[weakref.ref[Tracked]] = []
        for number in range(6):
            body = Tracked(an_object(VIRTUAL_SERVICE, f"n{number}", {"hosts": ["a"]}))
            seen.append(weakref.ref(body))
            page = a_page(body, kind=VIRTUAL_SERVICE)
            del body
            yield page
            del page
            held.append(sum(each() is not None for each in seen))

    write_export(tmp_path / "data", pages(), asked())

    assert max(held) <= 1


def test_what_tcm_keeps_outside_the_cluster_is_written_beside_the_objects(tmp_path: Path) -> None:
    settings = settings_of(
        {"Config": {"Istio": {"OutboundTrafficPolicy": "REGISTRY_ONLY"}, "Prometheus": {"Region": "a"}}}
    )
    exported(tmp_path / "data", ROUTES, settings=settings)
    file = tmp_path / "data/mesh-settings.yaml"

    assert yaml.safe_load(file.read_text()) == {"meshConfig": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}
    assert open_export(tmp_path / "data").paths == ("shop/virtualservices/cart.yaml",)
    assert changes_of(tmp_path / "data") == ()
    file.write_text("meshConfig: {}\n")
    assert changes_of(tmp_path / "data") == ("mesh-settings.yaml",)
    file.unlink()
    assert changes_of(tmp_path / "data") == ("mesh-settings.yaml",)


def test_progress_is_told_page_by_page(tmp_path: Path) -> None:
    told: list[int] = []
    write_export(tmp_path / "data", [ROUTES, Page(WASM_PLUGIN, "v1alpha1"), GATEWAYS], asked(), told.append)

    assert told == [1, 1, 2]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pages() -> Iterator[Page]:
        yield ROUTES
        raise RefusedError("the cluster went away")

    with pytest.raises(RefusedError, match="the cluster went away"):
        write_export(tmp_path / "data", pages(), asked())

    assert list(tmp_path.iterdir()) == []


def test_an_export_that_was_killed_is_recognised(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys
from tests.mesh.test_configuration_archive import ROUTES
from tests.mesh.configurations import asked
from shifter.mesh.configuration.archive import write_export
def pages():
    yield ROUTES
    os._exit(9)
write_export(pathlib.Path(sys.argv[1]), pages(), asked())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "."},
    )
    (left,) = tmp_path.iterdir()

    assert done.returncode == 9
    assert left.name.startswith(".data.unfinished-")
    with pytest.raises(ConfigError, match="is an export that was never finished; run the export again"):
        open_export(left)
    with pytest.raises(RefusedError, match="what is in it is no export"):
        exported(left, ROUTES)
    exported(tmp_path / "data", ROUTES)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(RefusedError, match="is not empty, and what is in it is no export; name a folder"):
        exported(tmp_path, ROUTES)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to(path.parent)])
def test_a_file_or_a_link_is_no_folder_to_export_into(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "data")

    with pytest.raises(RefusedError, match="is no folder; an export is written into one of its own"):
        exported(tmp_path / "data", ROUTES)


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    exported(tmp_path / "data", ROUTES)

    assert len(open_export(tmp_path / "data").paths) == 1


def test_an_export_that_nobody_touched_is_replaced_as_a_whole(tmp_path: Path) -> None:
    exported(tmp_path / "data", ROUTES)
    exported(tmp_path / "data", GATEWAYS)

    assert sorted(contents(tmp_path / "data")) == ["manifest.json", "shop/gateways/front.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("change", ["edited", "extra", "missing"])
def test_what_a_person_did_to_an_export_is_not_thrown_away_unasked(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "data"
    exported(folder, ROUTES, GATEWAYS)
    changed = {
        "edited": folder / "shop/virtualservices/cart.yaml",
        "extra": folder / "shop/virtualservices/mine.yaml",
        "missing": folder / "shop/gateways/front.yaml",
    }[change]
    if change == "missing":
        changed.unlink()
    else:
        changed.write_text(f"# {change}\n")
    before = contents(folder)

    with pytest.raises(
        RefusedError, match=rf"was changed by hand \({changed.relative_to(folder)}\); export into another"
    ):
        exported(folder, ROUTES)
    assert contents(folder) == before
    exported(folder, ROUTES, discard_changes=True)
    assert changes_of(folder) == ()


def test_without_a_place_to_write_the_old_export_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exported(tmp_path / "nowhere" / "data", ROUTES)


def test_a_list_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    def pages() -> Iterator[Page]:
        for number in itertools.count():
            yield a_page(an_object(VIRTUAL_SERVICE, f"n{number}"), kind=VIRTUAL_SERVICE)

    with pytest.raises(RefusedError, match="more than 20 objects; export some namespaces at a time"):
        write_export(tmp_path / "data", pages(), asked(most_objects=20))


def test_when_the_new_export_cannot_take_the_name_the_old_one_keeps_it(tmp_path: Path) -> None:
    exported(tmp_path / "data", ROUTES)
    before = contents(tmp_path)

    with pytest.raises(FileNotFoundError):
        archive._take_the_name(tmp_path / "gone", tmp_path / "data")  # the last step alone: nothing else can fail it

    assert contents(tmp_path) == before


def states(folder: Path) -> dict[str, str]:
    """Return what became of each file of an export."""
    return {each.path: each.state.value for each in open_export(folder).objects()}


def test_an_export_that_nobody_touched_is_read_as_it_was_written(tmp_path: Path) -> None:
    exported(tmp_path, ROUTES, GATEWAYS)
    found = list(open_export(tmp_path).objects())

    assert [each.state for each in found] == [State.UNTOUCHED] * 2
    assert [str(each.identity) for each in found] == ["Gateway shop/front", "VirtualService shop/cart"]
    assert found[1].read.value is not None
    assert found[1].read.value["spec"] == CART["spec"]


def test_what_was_edited_added_and_taken_away_is_told(tmp_path: Path) -> None:
    exported(tmp_path, ROUTES, GATEWAYS)
    cart, mine = tmp_path / "shop/virtualservices/cart.yaml", tmp_path / "shop/virtualservices/mine.yml"
    mine.write_text(cart.read_text().replace("name: cart", "name: mine"))
    cart.write_text(cart.read_text().replace("host: cart", "host: basket"))
    (tmp_path / "shop/gateways/front.yaml").unlink()
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config.yaml").write_text("no: object\n")
    export = open_export(tmp_path)

    assert states(tmp_path) == {"shop/virtualservices/cart.yaml": "edited", "shop/virtualservices/mine.yml": "extra"}
    assert export.missing == ("shop/gateways/front.yaml",)
    assert changes_of(tmp_path) == (
        *("shop/gateways/front.yaml", "shop/virtualservices/cart.yaml", "shop/virtualservices/mine.yml"),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no object of Kubernetes"),
        ("kind: Gateway\n", "does not say which object it is"),
        ("a: [\n", "while parsing a flow"),
    ],
)
def test_a_file_that_is_no_object_any_more_is_a_problem_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    exported(tmp_path, ROUTES)
    (tmp_path / "shop/virtualservices/cart.yaml").write_text(text)
    (found,) = open_export(tmp_path).objects()

    assert found.identity is None
    assert [(each.file, told in each.message) for each in found.read.problems] == [
        ("shop/virtualservices/cart.yaml", True)
    ]


def test_one_object_in_two_files_is_a_problem(tmp_path: Path) -> None:
    exported(tmp_path, ROUTES)
    copy = tmp_path / "shop/virtualservices/zcopy.yaml"
    copy.write_bytes((tmp_path / "shop/virtualservices/cart.yaml").read_bytes().replace(b"v1beta1", b"v1alpha3"))
    first, second = open_export(tmp_path).objects()

    assert (first.identity is not None, second.identity) == (True, None)
    assert str(second.read.problems[0]) == (
        "shop/virtualservices/zcopy.yaml:4:9 metadata.name"
        " is the same object as shop/virtualservices/cart.yaml (remove one)"
    )


@pytest.mark.parametrize("lead", ["link", "pipe"])
def test_what_is_no_file_of_its_own_is_not_opened(tmp_path: Path, lead: str) -> None:
    exported(tmp_path / "data", ROUTES)
    other = tmp_path / "data/shop/virtualservices/other.yaml"
    if lead == "link":
        other.symlink_to("/etc/passwd")
    else:
        os.mkfifo(other)
    found = open_export(tmp_path / "data").object("shop/virtualservices/other.yaml")

    assert [each.message for each in found.read.problems] == ["is no file of its own"]


def manifest_with(tmp_path: Path, **changes: object) -> Path:
    """Return the folder of an export whose manifest was changed."""
    exported(tmp_path / "data", ROUTES)
    file = tmp_path / "data/manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return tmp_path / "data"


def entry(path: str) -> dict[str, str]:
    """Return an entry of a manifest."""
    return {"path": path, "sha256": "0" * 64, "apiVersion": "v1", "kind": "X", "namespace": "", "name": "x"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"files": [entry("../../etc/cron.d/x.yaml")]}, "names a file outside its folder"),
        ({"files": [entry("/etc/x.yaml")]}, "names a file outside its folder"),
        ({"kind": "Policy"}, "is a Policy of shifter.io/v1alpha1, not a MeshExport"),
        ({"apiVersion": "shifter.io/v2"}, "not a MeshExport of shifter.io/v1alpha1"),
        ({"surprise": 1}, "is no manifest that this version can read: surprise: Extra inputs"),
        ({"counts": "many"}, "is no manifest that this version can read: counts"),
    ],
)
def test_a_manifest_that_this_version_does_not_understand_is_refused(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    folder = manifest_with(tmp_path, **changes)

    with pytest.raises(ConfigError, match=told):
        open_export(folder)


def test_a_manifest_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")

    with pytest.raises(ConfigError, match="can read: the text: Invalid JSON"):
        open_export(tmp_path)


def test_a_manifest_of_unreasonable_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate((200 << 20) + 1)

    with pytest.raises(ConfigError, match="is too large for a manifest"):
        open_export(tmp_path)


def test_a_folder_that_cannot_be_looked_at_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        open_export(Path("x" * 300))


def test_a_folder_without_a_manifest_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no export: it has no manifest\.json; run the export again"):
        open_export(tmp_path)


def test_a_manifest_survives_its_text() -> None:
    manifest = Manifest.model_validate(
        {"shifter": "1", "exportedAt": "now", "source": Source().model_dump(by_alias=True), "counts": {}, "files": ()}
    )

    assert manifests.manifest_of("m", manifests.manifest_text(manifest).encode()) == manifest


def test_lists_are_written_in_the_version_that_was_asked_for(tmp_path: Path) -> None:
    rule = an_object(DESTINATION_RULE) | {"apiVersion": "networking.istio.io/v1alpha3"}
    manifest = exported(tmp_path, a_page(rule, kind=DESTINATION_RULE, version="v1"))

    assert [each.api_version for each in manifest.files] == ["networking.istio.io/v1"]
