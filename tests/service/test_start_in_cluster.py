"""A replica at its start: what could only fail is refused, and what cannot be told now is waited for."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shifter.adapters.kube.kinds import SHIFTS
from shifter.adapters.kube.store import KubeStore
from shifter.core.state import ShiftState
from shifter.errors import ConfigError, RefusedError
from shifter.service.policy_files import PolicyFolder, refuse_unusable
from shifter.wiring.serving import refuse_to_stand_by
from tests.documents import a_policy, policy_document
from tests.kube import Fault, MemoryApi, MemoryCluster

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NAMESPACE = "shifter-system"
Start = Callable[[MemoryApi], list[str]]


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(MemoryCluster())


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "shop.yaml").write_text(json.dumps(policy_document()), encoding="utf-8")
    return folder


@pytest.fixture
def start(policies: Path) -> Start:
    """Starts a replica; returns what it told."""

    def started(api: MemoryApi) -> list[str]:
        told: list[str] = []
        refuse_to_stand_by(api, NAMESPACE, PolicyFolder(policies), told.append)
        return told

    return started


def remember_a_shift(api: MemoryApi) -> None:
    store = KubeStore(MemoryApi(api.cluster), NAMESPACE, "tests", lambda: "n1")
    store.save(ShiftState.model_validate({"name": "shop", "policy": a_policy("shop"), "since": NOON}), 0)


def forget_a_field(api: MemoryApi) -> None:
    schema: Any = copy.deepcopy(api.cluster.schemas[SHIFTS.group, SHIFTS.plural])
    del schema["properties"]["status"]["properties"]["savedBy"]
    api.cluster.schemas[SHIFTS.group, SHIFTS.plural] = schema


def spoil_absent(policies: Path) -> None:
    policies.rename(policies.with_name("elsewhere"))


def spoil_file(policies: Path) -> None:
    spoil_absent(policies)
    policies.write_text("no folder", encoding="utf-8")


def spoil_empty(policies: Path) -> None:
    (policies / "shop.yaml").unlink()


SPOILT = {"absent": spoil_absent, "no folder": spoil_file, "empty": spoil_empty}
SAID = {
    "absent": "cannot be listed",
    "no folder": "cannot be listed",
    "empty": "has no *.yaml or *.yml file",
}


def test_a_replica_starts_where_all_is_well(api: MemoryApi, start: Start) -> None:
    assert start(api) == []


@pytest.mark.fault(
    on="Kubernetes",
    fault="has definitions of an earlier shifter when a replica starts",
    does="refuses to start: what it saved would be dropped",
    sees="`error: shifts.shifter.io is defined without status.savedBy: ...` and the command that mends it, exit code 4",
    safe_within="at once",
)
def test_definitions_of_an_earlier_shifter_stop_the_start(api: MemoryApi, start: Start) -> None:
    forget_a_field(api)

    with pytest.raises(RefusedError, match=r"shifts\.shifter\.io is defined without status\.savedBy") as refused:
        start(api)
    assert refused.value.remedy == "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"


def test_definitions_that_are_missing_stop_the_start(api: MemoryApi, start: Start) -> None:
    api.cluster.withdraw(SHIFTS)

    with pytest.raises(RefusedError, match=r"shifts\.shifter\.io is not defined in this cluster"):
        start(api)


def test_definitions_that_may_not_be_looked_at_stop_nothing(api: MemoryApi, start: Start) -> None:
    api.fail(Fault.DENIED, "get", times=None)
    (told,) = start(api)

    assert told.startswith("whether the definitions are those of this version cannot be told: ")


@pytest.mark.fault(
    on="Kubernetes",
    fault="does not answer when a replica starts",
    does="the replica stands by until it does",
    sees="log: `whether the definitions are those of this version cannot be told: ...`",
    safe_within="at once",
)
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_replica_starts_without_the_api_server_whatever_its_policies(
    api: MemoryApi, start: Start, policies: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(policies)
    api.set(down=True)
    told = start(api)

    assert told == [
        "whether the definitions are those of this version cannot be told: connection refused",
        "whether a shift is under way cannot be told: connection refused",
    ]


@pytest.mark.fault(
    on="policy files",
    fault="the folder is missing, none or empty when a replica starts, and there is no shift yet",
    does="refuses to start, as with a store in a file",
    sees="`error: ... cannot be listed: ...`, exit code 2",
    safe_within="at once",
)
@pytest.mark.parametrize(("spoil", "said"), [(SPOILT[each], SAID[each]) for each in SPOILT], ids=SPOILT)
def test_a_wrong_policy_folder_stops_the_start_where_nothing_is_under_way(
    api: MemoryApi, start: Start, policies: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(policies)

    with pytest.raises(ConfigError) as refused:
        start(api)
    assert said in str(refused.value)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_wrong_policy_folder_stops_no_start_in_the_middle_of_a_shift(
    api: MemoryApi, start: Start, policies: Path, spoil: Callable[[Path], None]
) -> None:
    remember_a_shift(api)
    spoil(policies)

    assert start(api) == []


def test_a_folder_that_can_be_used_asks_nobody_what_is_under_way(policies: Path) -> None:
    asked: list[bool] = []

    def is_under_way() -> bool:
        asked.append(True)
        return False

    refuse_unusable(PolicyFolder(policies), is_under_way)

    assert asked == []
