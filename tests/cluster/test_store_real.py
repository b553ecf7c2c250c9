"""The store's contract on a real API server with the chart's definitions, through the client that goes to production.

The very tests of `tests/contract`, with another store under them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.ports import Store
from tests.contract.stores import Subject, kube_subject
from tests.contract.test_store_chain import *  # noqa: F403 - every rule of it
from tests.contract.test_store_fleet import *  # noqa: F403 - as above
from tests.contract.test_store_history import *  # noqa: F403 - as above
from tests.contract.test_store_orders import *  # noqa: F403 - as above
from tests.contract.test_store_state import *  # noqa: F403 - as above

# Five hundred objects for each case: minutes, and nothing that the server decides.
del test_orders_that_nobody_answers_are_bounded_for_each_shift  # noqa: F821 - imported above
del test_an_order_that_stops_something_finds_room_when_others_do_not  # noqa: F821 - as above


@pytest.fixture
def subject(admin_api: KubeClient, namespace: str, kinds: None) -> Iterator[Subject]:
    del kinds
    made = kube_subject(admin_api, namespace)
    yield made
    made.store.close()


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
