"""Do commands that only look leave everything as it is?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import World

READS = {"load", "load_fleet", "reports", "order", "open_orders", "history", "chain", "chains"}
POLICY = Path(__file__).parents[2] / "policies"


class Watched:
    """A store that notes what is asked of it."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the store's own
        self.asked.add(name)
        return getattr(self._store, name)


@pytest.mark.parametrize(
    "command",
    [
        ("get",),
        ("get", "-o", "json"),
        ("describe", "shop"),
        ("status",),
        ("history",),
        ("history", "--verify"),
        ("plan", "shop"),
        ("watch", "--for", "1s"),
    ],
    ids=" ".join,
)
def test_a_command_that_looks_asks_the_store_for_nothing_but_what_it_shows(
    world: World, command: tuple[str, ...]
) -> None:
    world.state()
    world.shift()
    store: Any = Watched(world.store)
    world.store = store
    ran = world.run(*command)

    assert ran.exit_code == 0, ran.output
    assert store.asked
    assert store.asked <= READS


def test_lint_opens_no_store_and_leaves_the_files_as_they_are(world: World) -> None:
    before = {path: path.read_bytes() for path in POLICY.iterdir() if path.is_file()}
    ran = world.run("policy", "lint", str(POLICY))

    assert ran.exit_code == 0, ran.output
    assert world.opened == []
    assert {path: path.read_bytes() for path in POLICY.iterdir() if path.is_file()} == before
