"""Every store, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter.ports import Store
from tests.contract.stores import (
    Subject,
    kube_subject,
    memory_subject,
    sqlite_subject,
)
from tests.kube import MemoryApi
from tests.kube_cluster import MemoryCluster


@pytest.fixture(params=["sqlite", "memory", "kube"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "kube":
        made = kube_subject(MemoryApi(MemoryCluster()), "shifter-system")
    else:
        made = sqlite_subject(tmp_path / "shifter.db") if request.param == "sqlite" else memory_subject()
    yield made
    made.store.close()


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
