"""Turns a wanted share into integer weights of N members, or says why it cannot.

With nA source members whose weights add up to A and nB target members adding up to B, the target receives
B / (A + B) of the traffic. Weights are integers 0..100 per member, so A is at most 100 nA. The search below
therefore looks for two totals and deals each out as evenly as possible. Five rules make it safe:

* the share achieved never exceeds the share wanted, so rounding never enlarges the blast radius;
* the source's weights stay as high as they can, so a usual step of which only a part is in force hardly overshoots;
* 0 and 100 are exact, and nothing strictly between is ever rounded to either;
* only members that serve count, and a side is never left without weight unless the wanted share says so;
* strictly between, a dead member of the target gets weight 0 (its recovery must not raise the share), a dead
  member of the source keeps the weight of its peers (its recovery may only lower the share).

What integers cannot do: a side whose total is below its number of members leaves some of them without weight,
and if one that has some dies, the share moves until the next tick writes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shifter.core.balancing.splits import FULL_PERCENT, MAX_WEIGHT, Health, Member, Side
from shifter.errors import RefusedError

MAX_ERROR_PERCENT = 0.5
"""The largest shortfall of the achieved share, in percentage points, that still counts as expressed."""

_NEAR_ENOUGH_PERCENT = 0.02
"""Shortfalls below this are equal; the larger total of the source wins."""


@dataclass(frozen=True, slots=True)
class Apportionment:
    """Weights by member key, and the share (percent, 0..100) that they amount to."""

    weights: Mapping[str, int]
    achieved: float


def apportion(members: Sequence[Member], wanted: float) -> Apportionment:
    """Return the weights that make `wanted` percent of the traffic go to the target side.

    Args:
        members: all members of one route; those on neither side must not be among them.
        wanted: share of the target in percent, 0..100.

    Raises:
        RefusedError: a side that should get traffic has no serving member, or integer weights cannot
            come within `MAX_ERROR_PERCENT` of the wanted share from below.
    """
    if not 0 <= wanted <= FULL_PERCENT:
        raise RefusedError(f"a share of {wanted:g} % does not exist; it must be between 0 and 100")
    if strangers := [member.key for member in members if member.side is None]:
        raise RefusedError(f"{', '.join(strangers)} belong to neither side; the policy's selectors must cover them")
    source, target = (
        tuple(member for member in members if member.side is side and member.health is not Health.DEAD) for side in Side
    )
    # If all are dead the balancer sends to all of them again: going back must stay possible then.
    all_dead = not source and not target and any(member.side is Side.SOURCE for member in members)
    _refuse_empty("source", source, wanted < FULL_PERCENT and not (all_dead and wanted == 0))
    _refuse_empty("target", target, wanted > 0)
    if wanted in {0, FULL_PERCENT}:
        return Apportionment(_whole(members, Side.TARGET if wanted else Side.SOURCE), wanted)
    source_total, target_total = _totals(len(source), len(target), wanted)
    achieved = FULL_PERCENT * target_total / (source_total + target_total)
    dealt = _deal(source, source_total) | _deal(target, target_total)
    resting = {member.key: _resting(member, dealt, source) for member in members if member.key not in dealt}
    return Apportionment(dealt | resting, achieved)


def _refuse_empty(name: str, serving: Sequence[Member], needed: bool) -> None:  # noqa: FBT001 - one private caller
    if needed and not serving:
        raise RefusedError(f"the {name} side has no healthy member to send traffic to")


def _whole(members: Sequence[Member], side: Side) -> dict[str, int]:
    return {member.key: MAX_WEIGHT if member.side is side else 0 for member in members}


def _resting(member: Member, dealt: Mapping[str, int], source: Sequence[Member]) -> int:
    """The weight of a dead member: none on the target, its peers' on the source (see the module's rules)."""
    if member.side is Side.TARGET:
        return 0
    return max(dealt[peer.key] for peer in source)


def _totals(source_count: int, target_count: int, wanted: float) -> tuple[int, int]:
    """Search the totals (source, target) whose share is nearest below `wanted`, preferring a large source."""
    ratio = wanted / FULL_PERCENT
    best: tuple[float, int] | None = None
    chosen = (0, 0)
    for source_total in range(1, MAX_WEIGHT * source_count + 1):
        # Largest target total whose share does not exceed the wanted one; the epsilon absorbs float noise.
        target_total = int(source_total * ratio / (1 - ratio) + 1e-9)
        if not 1 <= target_total <= MAX_WEIGHT * target_count:
            continue
        shortfall = wanted - FULL_PERCENT * target_total / (source_total + target_total)
        # The largest source total: from step to step its weights then hardly rise, so that a step of which only a part
        # is in force does not overshoot.
        rank = (max(shortfall, _NEAR_ENOUGH_PERCENT), -source_total)
        if best is None or rank < best:
            best, chosen = rank, (source_total, target_total)
    # A share near 100 needs the target at its maximum: the loop above may find nothing when the source is small.
    if best is None or best[0] > MAX_ERROR_PERCENT:
        chosen = _saturated(source_count, target_count, wanted)
    return chosen


def _saturated(source_count: int, target_count: int, wanted: float) -> tuple[int, int]:
    """Return the extreme totals if they are near enough below `wanted`, else refuse with what is possible."""
    lowest = FULL_PERCENT / (1 + MAX_WEIGHT * source_count)
    highest = FULL_PERCENT * MAX_WEIGHT * target_count / (1 + MAX_WEIGHT * target_count)
    if wanted >= highest and wanted - highest <= MAX_ERROR_PERCENT:
        return 1, MAX_WEIGHT * target_count
    raise RefusedError(
        f"{wanted:g} % cannot be expressed with {source_count} source and {target_count} target members: "
        f"weights 0..{MAX_WEIGHT} reach from {lowest:.3g} % to {highest:.4g} %"
    )


def _deal(members: Sequence[Member], total: int) -> dict[str, int]:
    each, extra = divmod(total, len(members))
    ordered = sorted(members, key=lambda member: member.key)
    return {member.key: each + (index < extra) for index, member in enumerate(ordered)}
