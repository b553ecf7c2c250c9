"""Every store, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter.ports import Store
from tests.contract.stores import (
    Subject,
    memory_subject,
    sqlite_subject,
)


@pytest.fixture(params=["sqlite", "memory"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    made = sqlite_subject(tmp_path / "shifter.db") if request.param == "sqlite" else memory_subject()
    yield made
    made.store.close()


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
