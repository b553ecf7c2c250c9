"""Whichever way somebody comes to a store, and whatever is in its place: every door says the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore, is_held
from shifter.adapters.sqlite.lock import lease_facts
from shifter.adapters.sqlite.look import LookingStore, store_facts
from shifter.adapters.sqlite.names import shift_names
from shifter.adapters.sqlite.place import absence
from shifter.adapters.sqlite.schema import FILE_VERSION
from shifter.errors import StoreUnavailableError
from tests.adapters.sqlite import filled


def _versions(door: type[SqliteStore], path: Path) -> dict[str, int]:
    with closing(door(path)) as store:
        return {name: saved.version for name, saved in store.load().items()}


DOORS: dict[str, tuple[Callable[[Path], object], object]] = {
    "a command": (lambda path: _versions(SqliteStore, path), {"shop": 1}),
    "a look": (lambda path: _versions(LookingStore, path), {"shop": 1}),
    "the facts": (lambda path: (store_facts(path).schema_version, store_facts(path).damage), (FILE_VERSION, "")),
    "the names": (shift_names, ("shop",)),
    "who holds it": (lambda path: lease_facts(path).pid, str(os.getpid())),
    "whether it is held": (is_held, True),
    "whether there is one": (absence, ""),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_store_in_use_answers_by_a_symbolic_link_as_by_its_own_name(
    store: SqliteStore, path: Path, tmp_path: Path, door: str
) -> None:
    ask, answer = DOORS[door]
    filled(store)
    lease = SqliteLease(path)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)

    assert (ask(path), ask(link)) == (answer, answer)
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]
    lease.release()


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({}, "there is no store at {}"),
        ({"": 0}, "{} is empty: no service has written it"),
        ({"": 0, "-wal": 0}, "{} is empty: no service has written it"),
        ({"": 0, "-wal": 4096}, ""),
        ({"": 4096}, ""),
    ],
)
def test_there_is_a_store_once_something_was_written(path: Path, sizes: dict[str, int], says: str) -> None:
    for ending, size in sizes.items():
        path.with_name(f"{path.name}{ending}").write_bytes(bytes(size))

    assert absence(path) == says.format(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Path.mkdir, "{} is a directory, not a store"),
        (os.mkfifo, "{} is no regular file, and so no store"),
        (lambda path: path.symlink_to(path.name), "the store at {}: Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_a_store_is_told_as_what_it_is(path: Path, make: Callable[[Path], object], says: str) -> None:
    make(path)

    with pytest.raises(StoreUnavailableError) as told:
        absence(path)
    assert str(told.value) == says.format(path)


def test_a_path_that_cannot_be_is_told() -> None:
    with pytest.raises(StoreUnavailableError, match=r"the store at shifter\x00\.db: embedded null byte"):
        absence(Path("shifter\0.db"))
