"""What is found out about this machine: files of keys, the store's place, limits, versions; and reports that stop."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shifter.core.documents.fleet import Fleet
from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.ports import LeaseFacts
from shifter.service.checkup.contents import Contents
from shifter.service.checkup.doors import Context
from shifter.service.checkup.findings import Finding, Level, few
from shifter.service.checkup.machine import Machine, findings
from shifter.service.checkup.store import StoreLook
from shifter.service.checkup.store import findings as told_of_store
from shifter.service.checkup.versions import Dependency, Versions, fits, installed
from shifter.service.checkup.versions import findings as told_of_versions
from tests.reports import a_report

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LOCAL_DISK = "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
WELL = Machine(mounts=lambda: LOCAL_DISK, free_bytes=lambda _: 2**33, open_files=lambda: 4096)


def a_fleet(directory: Path, **source: str) -> Fleet:
    datasource = {"matchers": {"app": "x"}, "podMatchers": {"app": "x"}}
    document = {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "lab"},
        "spec": {
            "datasources": {
                "source": {"url": "http://a.invalid", **datasource, **source},
                "target": {"url": "http://b.invalid", **datasource},
            },
            "provider": {"tencent": {"secretIdFile": str(directory / "id"), "secretKeyFile": str(directory / "key")}},
        },
    }
    return Fleet.model_validate(document)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("id", "key", "shifter.db"):
        (tmp_path / name).write_text("word", encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def looked(place: Path, machine: Machine = WELL, **source: str) -> dict[str, Finding]:
    found = findings(a_fleet(place, **source), place / "shifter.db", machine)
    return {each.subject: each for each in found}


def bad(found: dict[str, Finding]) -> dict[str, Level]:
    return {subject: each.level for subject, each in found.items() if each.level is not Level.OK}


def test_files_for_this_user_alone_on_a_disk_of_its_own_are_all_right(place: Path) -> None:
    assert bad(looked(place)) == {}


@pytest.mark.parametrize(("mode", "level"), [(0o640, Level.WARNING), (0o604, Level.PROBLEM), (0o602, Level.PROBLEM)])
def test_a_key_that_others_may_read_is_told_with_the_command_that_ends_it(place: Path, mode: int, level: Level) -> None:
    (place / "key").chmod(mode)
    found = looked(place)

    assert bad(found) == {"secretKeyFile": level}
    assert found["secretKeyFile"].fix == f"chmod 600 {place / 'key'}"


def test_files_of_keys_are_never_opened(place: Path) -> None:
    (place / "key").unlink()
    os.mkfifo(place / "key")  # to open it would wait for ever
    found = looked(place)

    assert found["secretKeyFile"].text == f"{place / 'key'}: not a regular file"


def test_missing_empty_relative_and_unreadable_files_are_told_apart(place: Path) -> None:
    (place / "id").unlink()
    (place / "key").write_text("", encoding="utf-8")
    (place / "token").write_text("word", encoding="utf-8")
    nobody = Machine(
        may=lambda path, _: path.name != "token",
        mounts=WELL.mounts,
        free_bytes=WELL.free_bytes,
        open_files=WELL.open_files,
    )
    found = looked(place, nobody, bearerTokenFile=str(place / "token"), caFile=os.path.relpath(place / "shifter.db"))

    assert found["secretIdFile"].text.endswith("id: No such file or directory")
    assert found["secretKeyFile"].text.endswith("key: is empty")
    assert found["source bearerTokenFile"].text.endswith("token: this user may not read it")
    assert found["source bearerTokenFile"].fix.startswith(f"chown {os.getuid()} ")
    assert found["source caFile"].level is Level.WARNING
    assert "depends on where the service is started" in found["source caFile"].text


def test_a_certificate_authority_may_be_read_by_everybody(place: Path) -> None:
    (place / "ca").write_text("word", encoding="utf-8")
    (place / "ca").chmod(0o644)

    assert bad(looked(place, caFile=str(place / "ca"))) == {}


def test_a_store_that_others_may_write_is_a_warning_since_orders_come_from_there(place: Path) -> None:
    (place / "shifter.db").chmod(0o660)
    found = looked(place)

    assert bad(found) == {"store file": Level.WARNING}
    assert "can give orders" in found["store file"].text


def test_a_store_or_directory_that_may_not_be_written_is_a_problem(place: Path) -> None:
    machine = Machine(
        may=lambda _, how: how == os.R_OK,
        mounts=WELL.mounts,
        free_bytes=WELL.free_bytes,
        open_files=WELL.open_files,
    )

    assert bad(looked(place, machine)) == {"store directory": Level.PROBLEM, "store file": Level.PROBLEM}


def test_a_directory_that_is_not_there_is_a_warning(place: Path) -> None:
    found = findings(None, place / "none" / "shifter.db", WELL)

    assert [(each.subject, each.level) for each in found] == [
        ("store directory", Level.WARNING),
        ("open files", Level.OK),
    ]


def _full(_: Path) -> int:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(("free", "level"), [(2**30, Level.OK), (100 * 2**20, Level.WARNING), (2**20, Level.PROBLEM)])
def test_little_room_is_told_before_it_is_gone(place: Path, free: int, level: Level) -> None:
    machine = Machine(mounts=WELL.mounts, free_bytes=lambda _: free, open_files=WELL.open_files)

    assert looked(place, machine)["disk"].level is level


def test_room_that_cannot_be_told_is_unknown(place: Path) -> None:
    machine = Machine(mounts=WELL.mounts, free_bytes=_full, open_files=WELL.open_files)

    assert looked(place, machine)["disk"].level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("kind", "level"),
    [("ext4", Level.OK), ("overlay", Level.OK), ("nfs4", Level.WARNING), ("fuse.sshfs", Level.WARNING)],
)
def test_a_network_filesystem_is_a_warning(place: Path, kind: str, level: Level) -> None:
    mounts = f"{LOCAL_DISK}2 1 0:5 / {place} rw shared:1 - {kind} server:/x rw\nrubbish\n"
    machine = Machine(mounts=lambda: mounts, free_bytes=WELL.free_bytes, open_files=WELL.open_files)

    assert looked(place, machine)["filesystem"].level is level


def test_a_filesystem_of_unknown_kind_is_unknown(place: Path) -> None:
    machine = Machine(mounts=lambda: "", free_bytes=WELL.free_bytes, open_files=WELL.open_files)

    assert looked(place, machine)["filesystem"].level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("files", "level"),
    [(1024, Level.OK), (resource.RLIM_INFINITY, Level.OK), (512, Level.WARNING), (64, Level.PROBLEM)],
)
def test_few_open_files_are_told(place: Path, files: int, level: Level) -> None:
    machine = Machine(mounts=WELL.mounts, free_bytes=WELL.free_bytes, open_files=lambda: files)

    assert looked(place, machine)["open files"].level is level


def test_what_the_system_really_says_is_understood(place: Path) -> None:
    found = looked(place, Machine())

    assert found["disk"].level is not Level.UNKNOWN
    assert found["filesystem"].level is not Level.UNKNOWN


# --- versions


def test_this_installation_fits_its_own_ranges() -> None:
    here = installed()
    found = {each.subject: each for each in told_of_versions(here)}

    assert bad(found) == {}
    assert found["dependencies"].text == f"all {len(here.dependencies)} within their ranges"
    assert {"click", "pydantic"} <= {each.name for each in here.dependencies}
    assert "aiohttp" not in {each.name for each in here.dependencies}  # the lab's, not the service's


def test_what_is_too_old_or_missing_is_a_problem_with_the_command_that_mends_it() -> None:
    wrong = (Dependency("click", ">=8.3,<9", "8.1.7"), Dependency("rich", ">=14", None), Dependency("x", "", "1"))
    found = {each.subject: each for each in told_of_versions(Versions("3.10.2", ">=3.11", "0.1.0", "3.36.0", wrong))}

    assert bad(found) == dict.fromkeys(("python", "sqlite", "click", "rich"), Level.PROBLEM)
    assert found["click"].fix == "pip install 'click>=8.3,<9'"
    assert found["rich"].text == "nothing is installed, shifter needs >=14"
    assert found["python"].text == "3.10.2, shifter needs >=3.11"
    assert "knows no STRICT tables" in found["sqlite"].text


def test_without_a_package_nothing_says_what_is_needed() -> None:
    found = {each.subject: each for each in told_of_versions(Versions("3.11.7", "", "0.1.0", "3.40.1", ()))}

    assert bad(found) == {"dependencies": Level.UNKNOWN}


@pytest.mark.parametrize(
    ("version", "limits", "does"),
    [
        ("2.0", ">=2", True),
        ("2.0rc1", ">=2.0,<3", True),
        ("3.0.0", "<3", False),
        ("1.2.3", "==1.2.3,!=1.2.4", True),
        ("1.2.4", "!=1.2.4", False),
        ("10.0", ">9.9,<=10", True),
        ("1", "~=odd", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, limits: str, *, does: bool) -> None:
    assert fits(version, limits) is does


# --- what the service tells


def reported(name: str, age_seconds: float, mode: str = "act") -> Report:
    at = NOW - timedelta(seconds=age_seconds)
    return a_report(
        at, name, mode=mode, phase=Phase.WAITING, since=NOW, step=0, steps=(100.0,), wanted=0.0, written=0.0
    )


def of_store(place: Path, *reports: Report, trouble: str = "") -> dict[str, Finding]:
    held = LeaseFacts(held=True, pid="1")
    contents = Contents({each.name: each for each in reports})
    look = StoreLook(place, exists=True, lease=held, contents=contents, trouble=trouble)
    found: Sequence[Finding] = told_of_store(look, Context(a_fleet(place), None, NOW))
    return {each.subject: each for each in found}


def test_a_service_that_holds_the_lock_and_tells_nothing_hangs(place: Path) -> None:
    found = of_store(place, reported("shop", 300), reported("pay", 200))

    assert found["service"].level is Level.PROBLEM
    assert found["service"].text == "the service holds the lock and has told nothing for 200 s: it hangs"


def test_one_shift_that_is_not_looked_at_any_more_is_a_warning(place: Path) -> None:
    assert of_store(place, reported("shop", 300), reported("pay", 5))["shifts"].text == "not looked at lately: shop"


def test_a_service_in_another_mode_than_the_file_says_is_told(place: Path) -> None:
    found = of_store(place, reported("shop", 5, mode="observe"))

    assert found["mode"].text == "the service runs in mode observe, the fleet file says act"


def test_contents_that_this_version_does_not_understand_are_a_problem(place: Path) -> None:
    assert of_store(place, trouble="shop was written by a later version")["contents"].level is Level.PROBLEM


def test_of_many_names_only_some_are_shown() -> None:
    assert few("hgfedcba") == "a, b, c, d, e and 3 more"
