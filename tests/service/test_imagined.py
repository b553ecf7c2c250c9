"""A place and routes for decisions about what never was."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.service.imagined import place_at, routes_at
from tests.service.conftest import policy

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
GATED = ShiftPolicy.model_validate_json(json.dumps(policy("shop", "lb-1", approvals=[{"before": 50}])))


@pytest.mark.parametrize("share", [0, 0.2, 1, 4.4, 33.333, 50, 66.6, 99.1, 99.8, 100])
def test_routes_are_at_the_share_that_is_asked(share: float) -> None:
    (view,) = routes_at(GATED, share).values()

    assert view.share == pytest.approx(share, abs=0.13)
    assert (view.share == 0, view.share == 100) == (share == 0, share == 100)


def test_shift_at_a_share_has_begun_and_every_gate_is_open() -> None:
    state = place_at(GATED, 25, routes_at(GATED, 25), BEGIN)

    assert (state.phase, state.share, state.verified_at) == (Phase.SHIFTING, 25, BEGIN)
    assert state.gate(100) is None


def test_shift_at_0_has_not_begun() -> None:
    state = place_at(GATED, 0, routes_at(GATED, 0), BEGIN)

    assert (state.phase, state.verified_at, state.weights) == (Phase.WAITING, None, {})
