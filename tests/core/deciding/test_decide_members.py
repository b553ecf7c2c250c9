"""What is to be done about a shift? Members that come, go, die and recover: the share is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.balancing.splits import Health, Member
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision
from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.state import Direction, Pause
from tests.core.shifts import (
    BOTH_BAD,
    DEAD,
    NOON,
    PAUSED,
    POLICY,
    A,
    B,
    a_shift,
    counted,
    kinds,
    live,
    new,
    old,
    seen,
    weights,
    written,
)


def after_change(
    a: tuple[Member, ...], b: int | tuple[Member, ...] = 25, share: int = 25, paused: Pause | None = None
) -> Decision:
    """Decide about a shift whose first route has other members by now."""
    evidence = replace(seen(share), views=live(a, b), settled_at=None)
    return decide(a_shift(share=share, paused=paused), evidence, NOON)


MORE_TARGET = (old(75), new(25), new(25, key="new2"))
LESS_TARGET = (old(75), old(75, key="old2"), new(25))


@pytest.mark.parametrize(
    ("members", "direction"),
    [(MORE_TARGET, Direction.RETREAT), (LESS_TARGET, Direction.KEEP)],
    ids=["rose", "fell"],
)
def test_a_share_that_members_changed_is_written_again(members: tuple[Member, ...], direction: Direction) -> None:
    decision = after_change(members)

    assert written(decision) == (direction, 25)
    assert decision.reason == "members changed: keeping the share"
    assert decision.state.phase is Phase.SHIFTING


def test_routes_that_are_right_keep_their_weights() -> None:
    write = after_change(MORE_TARGET).write

    assert write is not None
    assert write.before == {A.id: {"old": 75, "new": 25, "new2": 25}}
    assert write.weights == {A.id: {"old": 99, "new": 17, "new2": 16}}


def test_a_share_within_the_tolerance_is_left_alone() -> None:
    decision = after_change((old(75), old(1, key="old2"), new(25)))

    assert written(decision) is None
    assert decision.reason.startswith("settling at")


def test_the_least_share_is_left_alone_within_the_tolerance_and_held_beyond_it() -> None:
    near, dead = (old(75), old(75, key="old2"), new(1)), (old(99), new(1, DEAD))
    close = decide(
        a_shift(share=1, weights={route: view.weights for route, view in live(near).items()}),
        replace(seen(1), views=live(near)),
        NOON,
    )
    gone = decide(a_shift(share=1), replace(seen(1), views=live(dead)), NOON)

    assert written(close) != (Direction.KEEP, 1)
    assert kinds(gone) == {HoldKind.PREFLIGHT}


def test_a_share_that_fell_by_exactly_the_tolerance_is_left_alone() -> None:
    members = (old(75), old(76, key="old2"), new(25), new(24, key="new2"))

    assert live(members)[A.id].share == 24.5
    assert written(after_change(members)) is None


def test_a_strangers_weight_that_shrinks_the_share_is_not_written_against_for_ever() -> None:
    views = live((old(99), new(33), Member("stranger", None, 50, Health.ALIVE)))
    state = a_shift(weights={route: view.weights for route, view in views.items()})
    decision = decide(state, replace(seen(), views=views), NOON)

    assert written(decision) != (Direction.KEEP, 25)


@pytest.mark.parametrize("share", [0, 100])
def test_0_and_100_mean_exactly_that(share: int) -> None:
    stray = new(1, key="stray") if share == 0 else old(1, key="stray")
    members = tuple(old(100, key=f"old{n}") if share == 0 else new(100, key=f"new{n}") for n in range(3))
    decision = after_change((*members, stray), share, share)

    assert written(decision) == (Direction.RETREAT if share == 0 else Direction.KEEP, share)


@pytest.mark.parametrize("barrier", ["pause", "no signal", "incident", "policy"])
def test_a_share_that_rose_is_brought_down_whatever_else_holds(barrier: str) -> None:
    evidence = replace(seen(), views=live(MORE_TARGET, 25), settled_at=None)
    changes: dict[str, dict[str, object]] = {
        "no signal": {"signal_problem": "no answer"},
        "incident": counted(BOTH_BAD),
        "policy": {"policy_problem": "gone"},
    }
    held = replace(evidence, **changes.get(barrier, {}))  # type: ignore[arg-type]
    decision = decide(a_shift(paused=PAUSED if barrier == "pause" else None), held, NOON)

    assert written(decision) == (Direction.RETREAT, 25)
    assert kinds(decision) == {HoldKind(barrier)}


def test_a_share_that_fell_is_not_raised_while_something_holds() -> None:
    decision = after_change(LESS_TARGET, paused=PAUSED)

    assert written(decision) is None
    assert decision.reason == "holding: pause: paused by ann: lunch"


def test_while_something_holds_only_the_routes_that_rose_are_written() -> None:
    write = after_change(MORE_TARGET, LESS_TARGET, paused=PAUSED).write

    assert write is not None
    assert set(write.weights) == {A.id}
    assert write.weights[A.id] != write.before[A.id]


@pytest.mark.parametrize("barrier", ["drift", "preflight", "lease", "provider"])
def test_nothing_is_written_where_shifter_must_not_write_at_all(barrier: str) -> None:
    refused = {route: replace(view, refusal="no") for route, view in live(MORE_TARGET).items()}
    changes: dict[str, dict[str, object]] = {
        "drift": {"views": live((old(10), new(25), new(25, key="new2")))},
        "preflight": {"views": refused},
        "lease": {"leader": False, "views": live(MORE_TARGET)},
        "provider": {"provider_problem": "not fresh", "views": live(MORE_TARGET)},
    }
    decision = decide(a_shift(), replace(seen(), **changes[barrier]), NOON)  # type: ignore[arg-type]

    assert written(decision) is None
    assert kinds(decision) == {HoldKind(barrier)}


def test_a_share_that_cannot_be_kept_holds_and_does_not_climb() -> None:
    decision = decide(a_shift(), replace(seen(), views=live((old(75), new(25, DEAD)))), NOON)

    assert written(decision) is None
    assert kinds(decision) == {HoldKind.PREFLIGHT}
    assert decision.reason == "tcm 75 · istio 25 refused: the target side has no healthy member to send traffic to"


def test_a_share_that_other_weights_would_not_mend_is_not_written_for_ever() -> None:
    nearest = (old(100), new(1), old(100, key="old2"), old(100, key="old3"))
    policy = POLICY.model_copy(update={"spec": POLICY.spec.model_copy(update={"steps": (1.0, 100.0)})})
    state = a_shift(policy=policy, share=1, weights={})
    views = live(nearest)
    state = state.model_copy(update={"weights": {route: view.weights for route, view in views.items()}})
    first = decide(state, replace(seen(1), views=views, settled_at=None), NOON)
    assert first.write is not None
    mended = {
        route: replace(view, members=tuple(replace(m, weight=first.write.weights[route][m.key]) for m in view.members))
        for route, view in views.items()
    }
    state = state.model_copy(update={"weights": first.write.weights})
    second = decide(state, replace(seen(1), views=mended, settled_at=None), NOON)

    assert second.write is None


def test_drift_names_a_few_of_the_members_that_were_changed() -> None:
    many = tuple(old(96, key=f"old{number}") for number in range(5))
    verified = {A.id: {member.key: 75 for member in many} | {"new": 25}, B.id: weights(25)[B.id]}

    decision = decide(a_shift(weights=verified), replace(seen(), views=live((*many, new(25)))), NOON)

    assert "(old0 75→96, old1 75→96, old2 75→96, old3 75→96 and 1 more)" in decision.reason
