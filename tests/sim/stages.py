"""Stages: quiet days on which one thing is set up so that it hurts, with as much chance as is left in its moment.

Random days show what nobody thought of. What somebody did think of is set up here: the store fails in the very save of
a climb, a process stands still while two calls wait in one lane. On a stage nothing else goes wrong, so that a rule
that is broken there was broken by that. Each is drawn from a seed, as a random day is, and is a mode of its own:
`python -m tests.sim --mode unsaved --seeds 1..20`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from tests.sim.calls import Ambush, Fate
from tests.sim.cloud import Ending
from tests.sim.dice import Dice
from tests.sim.plan import CLUSTER, MACHINES, SHIFTS, Layout, Mishap, Plan, What

_FAULTS_SECONDS: Final = 30.0
_CALM_SECONDS: Final = 90.0
_STEPS_SECONDS: Final = (3.0, 9.0, 14.0)
"""On a quiet day the three steps are taken a second or so after these."""

_AT_A_STEP_SECONDS: Final = (6.5, 13.0)
"""In between, a shift is at 10 or 50 %."""

_HARD: Final = 0.9

_WAITED_SECONDS: Final = 4.0
"""So long the first leader waits in a cluster."""

Stage = Callable[[Plan, Dice], Plan]
"""Sets something up on a quiet day."""


def plan_of(name: str, seed: int) -> Plan:
    """Return the plan of a stage and a seed. Raises `KeyError` if there is no such stage."""
    dice = Dice(seed, f"stage {name}")
    quiet = Plan(
        seed=seed,
        machines=2,
        layout=dice.one_of(list(Layout)),
        calm_at=_FAULTS_SECONDS,
        ends_at=_FAULTS_SECONDS + _CALM_SECONDS,
    )
    return STAGES[name](quiet, dice)


def _struck(plan: Plan, dice: Dice, port: str, word: str, fate: Fate) -> Plan:
    """One call around one of the steps meets its fate; what has to stop in the middle can."""
    return replace(plan, ambushes=(Ambush(dice.one_of(_STEPS_SECONDS), port, word, fate),), stoppable=1.0)


def _happens(plan: Plan, *mishaps: Mishap, on_failure: str = "rollback") -> Plan:
    in_order = tuple(sorted(mishaps, key=lambda each: (each.at, each.what, each.whom)))
    return replace(plan, mishaps=in_order, on_failure=on_failure)


def _for(plan: Plan, seconds: float) -> Plan:
    """Let faults go on for longer than usual."""
    return replace(plan, calm_at=seconds, ends_at=seconds + _CALM_SECONDS)


def _moment(dice: Dice) -> float:
    return dice.between(*_AT_A_STEP_SECONDS)


def _failing(at: float, shift: str, seconds: float) -> Mishap:
    return Mishap(at, What.FAILING, shift, seconds, _HARD)


def _ordered(at: float, shift: str, word: str, seconds: float = 0.0) -> Mishap:
    return Mishap(at, What.ORDER, shift, seconds, 0.0, word)


# -- how a write is saved and sent -----------------------------------------------------------------------------------


def _unsaved(plan: Plan, dice: Dice) -> Plan:
    """The store does not take a climb, and right after that it is there again."""
    return _struck(plan, dice, "store.save", " intent ", Fate.ERROR_BEFORE)


def _lost(plan: Plan, dice: Dice) -> Plan:
    """A call never arrives, and nobody knows that."""
    return _struck(plan, dice, "provider.submit", "", Fate.LOST)


def _unanswered(plan: Plan, dice: Dice) -> Plan:
    """A call arrives, and its answer does not, or both much later."""
    return _struck(plan, dice, "provider.submit", "", dice.one_of((Fate.LATE, Fate.HANG_AFTER)))


def _killed_sending(plan: Plan, dice: Dice) -> Plan:
    """The process dies right after a call that the cloud takes long to carry out."""
    slow = replace(plan, weather=(0.0, 0.0, 0.0, 9.0))
    return _struck(slow, dice, "provider.submit", "", Fate.CRASH_AFTER)


def _lease_lost(plan: Plan, dice: Dice) -> Plan:
    """The lease goes while a climb waits in its lane, and the tick that would notice hangs."""
    waiting = _waiting_in_a_lane(plan, Ambush(_STEPS_SECONDS[0], "store.report", "shop Shifting", Fate.HANG_BEFORE))
    return _happens(waiting, Mishap(_meanwhile(dice), What.STOLEN, MACHINES[0]))


def _waiting_in_a_lane(plan: Plan, *more: Ambush) -> Plan:
    """The call of the one shift's first step is not answered, so that the other's waits behind it."""
    hanging = Ambush(_STEPS_SECONDS[0], "provider.submit", "", Fate.HANG_BEFORE)
    return replace(plan, layout=Layout.SHARED, stoppable=1.0, ambushes=(hanging, *more))


def _meanwhile(dice: Dice) -> float:
    """While a call of the first step hangs."""
    return dice.between(4.0, 6.0)


def _stopped_saving(plan: Plan, dice: Dice) -> Plan:
    """The process stands still right before it saves a climb."""
    return _struck(plan, dice, "store.save", " intent ", Fate.PAUSE_BEFORE)


def _lost_going_back(plan: Plan, dice: Dice) -> Plan:
    """A call that was to bring a share down never arrives."""
    at = _moment(dice)
    ambushes = tuple(Ambush(at, "provider.submit", "", Fate.LOST) for _ in SHIFTS)
    return replace(_happens(plan, *(_ordered(at, shift, "rollback") for shift in SHIFTS)), ambushes=ambushes)


def _unread(plan: Plan, dice: Dice) -> Plan:
    """Nothing can be read for longer than a soak, but what is sent arrives."""
    at = _moment(dice)
    return replace(plan, ambushes=tuple(Ambush(at, "provider.observe", "", Fate.ERROR_BEFORE) for _ in range(24)))


def _slow(plan: Plan, _: Dice) -> Plan:
    """The cloud takes so long that some writes land when they were given up."""
    return replace(plan, weather=(0.0, 0.0, 0.0, 11.0))


def _half(plan: Plan, _: Dice) -> Plan:
    """The cloud carries out a part of what it is told, and may say that it was all."""
    return replace(plan, endings={Ending.HALF: 0.25, Ending.HALF_LIES: 0.25})


def _killed(plan: Plan, dice: Dice) -> Plan:
    """Both processes die in the middle of the way."""
    at = _moment(dice)
    return _happens(plan, *(Mishap(at, What.CRASH, name) for name in MACHINES[: plan.machines]))


# -- how a cluster keeps it --------------------------------------------------------------------------------------------


def _in_a_cluster(plan: Plan, *ambushes: Ambush) -> Plan:
    """The same in a cluster, where the first leader has to wait for a lease's length."""
    return replace(_for(plan, 45.0), store=CLUSTER, ambushes=ambushes, stoppable=1.0)


def _late_steps(dice: Dice) -> float:
    return dice.one_of(_STEPS_SECONDS) + _WAITED_SECONDS


def _unanswered_save(plan: Plan, dice: Dice) -> Plan:
    """A climb is saved, and nobody can tell; or it is saved much later, when something else has been decided."""
    at, fate = _late_steps(dice), dice.one_of((Fate.ERROR_AFTER, Fate.LATE))
    blind = [Ambush(at, "kube.get", "shifts", Fate.ERROR_BEFORE) for _ in range(dice.whole(1, 2))]
    asked = [_ordered(at + dice.between(0.2, 2.5), shift, "pause") for shift in SHIFTS]
    resumed = [_ordered(at + 8.0, shift, "resume") for shift in SHIFTS]
    paused = _happens(plan, *asked, *resumed) if dice.hits(0.4) else plan
    return _in_a_cluster(paused, Ambush(at, "kube.replace_status", " intent ", fate), *blind)


def _killed_saving(plan: Plan, dice: Dice) -> Plan:
    """The process dies between what it saved and the records that are to be filed of it."""
    fate = dice.one_of((Fate.CRASH_BEFORE, Fate.CRASH_AFTER))
    return _in_a_cluster(plan, Ambush(_late_steps(dice), "kube.create", "shiftrecords", fate))


def _unrenewed(plan: Plan, dice: Dice) -> Plan:
    """Who leads is answered everything but its renewals; who takes over stands still when it has just begun."""
    at, (first, second) = _late_steps(dice) - dice.between(0.0, 3.0), MACHINES[:2]
    stopped = _happens(plan, Mishap(at + dice.between(5.0, 7.0), What.STOP, second, dice.between(8.0, 12.0)))
    refused = (Ambush(at, "election.replace", "", Fate.ERROR_BEFORE, first) for _ in range(dice.whole(40, 80)))
    return _in_a_cluster(stopped, *refused)


def _unleased(plan: Plan, dice: Dice) -> Plan:
    """Whoever leads dies, and meanwhile its Lease is deleted."""
    at = _moment(dice) + _WAITED_SECONDS
    killed = [Mishap(at, What.CRASH, name) for name in MACHINES[: plan.machines]]
    return _in_a_cluster(_happens(plan, *killed, Mishap(at, What.STOLEN, MACHINES[0])))


# -- what people order -----------------------------------------------------------------------------------------------


def _order_unsaved(plan: Plan, dice: Dice) -> Plan:
    """The store does not take the answer to an order, or somebody else saved a moment before."""
    at = _moment(dice)
    asked = [_ordered(at + 4 * number, shift, word) for number, word in enumerate(("pause", "resume"))
             for shift in SHIFTS]  # fmt: skip
    fate = dice.one_of((Fate.ERROR_BEFORE, Fate.CONFLICT))
    return replace(_happens(plan, *asked), ambushes=(Ambush(at, "store.save", " order ", fate),))


def _order_waiting(plan: Plan, dice: Dice) -> Plan:
    """Somebody stops a shift whose climb is saved and waits in its lane."""
    return _happens(_waiting_in_a_lane(plan), _stop(dice))


def _order_sending(plan: Plan, dice: Dice) -> Plan:
    """The same, while the tick that would read the order hangs."""
    hanging = Ambush(_STEPS_SECONDS[0], "store.report", "shop Shifting", Fate.HANG_BEFORE)
    return _happens(_waiting_in_a_lane(plan, hanging), _stop(dice))


def _stop(dice: Dice) -> Mishap:
    return _ordered(_meanwhile(dice), "shop", dice.one_of(("pause", "rollback", "freeze")))


def _frozen(plan: Plan, dice: Dice) -> Plan:
    """Somebody promotes what somebody else froze."""
    at = dice.between(*_AT_A_STEP_SECONDS)
    words = ("promote", "promote", "promote full")
    asked = [_ordered(at + dice.between(1.0, 6.0), shift, word) for shift in SHIFTS for word in words]
    return _happens(plan, _ordered(at, "", "freeze"), *asked)


def _promoted_failing(plan: Plan, dice: Dice) -> Plan:
    """Somebody promotes what fails, and is not sent back by itself."""
    at = _moment(dice)
    asked = [_ordered(at + dice.between(2.0, 16.0), shift, "promote") for shift in SHIFTS for _ in range(4)]
    return _happens(plan, *(_failing(at, shift, 22.0) for shift in SHIFTS), *asked, on_failure="hold")


def _gated(plan: Plan, _: Dice) -> Plan:
    """One of the steps wants an approval that nobody gives."""
    return replace(plan, gates=(50.0,))


def _hands_off(plan: Plan, dice: Dice) -> Plan:
    """It fails while nothing at all may be written."""
    at = _moment(dice)
    off = [_ordered(at, shift, "hands off", 12.0) for shift in SHIFTS]
    return _happens(plan, *off, *(_failing(at + 1.0, shift, 20.0) for shift in SHIFTS))


def _paused(plan: Plan, dice: Dice) -> Plan:
    """It fails while it is paused."""
    at = _moment(dice)
    paused = [_ordered(at, shift, "pause") for shift in SHIFTS]
    return _for(_happens(plan, *paused, *(_failing(at + 2.0, shift, 30.0) for shift in SHIFTS)), 45.0)


def _edited(plan: Plan, dice: Dice) -> Plan:
    """Somebody sets weights by hand, and then members come and go."""
    at, shift = _moment(dice), dice.one_of(SHIFTS)
    edit = Mishap(at, What.EDIT, shift, 0.0, dice.between(0.0, 0.6))
    bound = Mishap(at + dice.between(4.0, 6.0), What.BOUND, shift, 0.0, dice.between(0.0, 1.0))
    dead = Mishap(at + dice.between(6.0, 9.0), What.DEAD, shift, 12.0, dice.between(0.0, 1.0))
    return _happens(plan, edit, bound, dead)


def _churn(plan: Plan, dice: Dice) -> Plan:
    """Members come and go while a shift is on its way."""
    what = (What.BOUND, What.UNBOUND)
    return _happens(
        plan, *(Mishap(_moment(dice), each, shift, 0.0, dice.between(0.0, 1.0)) for each in what for shift in SHIFTS)
    )


def _edited_policy(plan: Plan, dice: Dice) -> Plan:
    """Somebody gives a shift that is on its way other steps and another soak."""
    return _happens(plan, *(Mishap(_moment(dice), What.POLICY, shift, 0.0, dice.between(0.0, 1.0)) for shift in SHIFTS))


def _without_a_file(plan: Plan, dice: Dice) -> Plan:
    """One shift's file is broken, and the other's is gone, for longer than a soak."""
    return _happens(
        plan, Mishap(_moment(dice), What.BROKEN, SHIFTS[0], 15.0), Mishap(_moment(dice), What.GONE, SHIFTS[1], 15.0)
    )


# -- what users suffer -----------------------------------------------------------------------------------------------


def _fails(plan: Plan, dice: Dice) -> Plan:
    """It fails, plainly and for long."""
    at = _moment(dice)
    return _for(_happens(plan, *(_failing(at, shift, 30.0) for shift in SHIFTS)), 45.0)


def _takes_too_long(plan: Plan, dice: Dice) -> Plan:
    """Its answers are right, and plainly take too long, for long."""
    slow = (Mishap(_moment(dice), What.SLOW, shift, 30.0, _HARD) for shift in SHIFTS)
    return replace(_for(_happens(plan, *slow), 45.0), timed=SHIFTS)


def _fails_unsaved(plan: Plan, dice: Dice) -> Plan:
    """It fails while nothing can be saved."""
    at = _moment(dice)
    away = Mishap(at + dice.between(0.0, 1.0), What.NO_STORE, SHIFTS[0], 25.0)
    return _for(_happens(plan, away, *(_failing(at, shift, 30.0) for shift in SHIFTS)), 45.0)


def _fails_for_a_moment(plan: Plan, dice: Dice) -> Plan:
    """It fails at one share for a moment, and is one step lower afterwards."""
    at = dice.between(11.0, 18.5)
    return _happens(plan, *(_failing(at, shift, dice.between(4.0, 8.0)) for shift in SHIFTS), on_failure="stepBack")


def _fails_on_fresh_pods(plan: Plan, dice: Dice) -> Plan:
    """It fails while its pods restart in every tick."""
    at = _moment(dice)
    pods = [Mishap(at + number, What.POD, "target", 1.0, pod) for number in range(20) for pod in (0.0, 1.0)]
    return _for(_happens(plan, *pods, *(_failing(at, shift, 30.0) for shift in SHIFTS)), 45.0)


def _pods_unseen(plan: Plan, dice: Dice) -> Plan:
    """Again and again a pod is not shown for a moment, or begins anew."""
    what, began = (What.LESS_METRICS, What.POD), dice.between(4.0, 6.0)
    odd = [
        Mishap(began + 2.3 * number, each, dice.one_of(("source", "target")), 1.2, float(number))
        for number in range(8)
        for each in what
    ]
    return _happens(plan, *odd)


def _without_metrics(plan: Plan, dice: Dice) -> Plan:
    """A paused shift has soaked, then the metrics of one mesh go away, and then it is resumed."""
    side, what = dice.one_of(("source", "target")), dice.one_of((What.NO_METRICS, What.MUTE_METRICS))
    at = dice.between(8.0, 10.0)
    paused = [_ordered(at, shift, "pause") for shift in SHIFTS]
    resumed = [_ordered(at + 12.0, shift, "resume") for shift in SHIFTS]
    return _happens(plan, *paused, Mishap(at + 6.0, what, side, 14.0), *resumed)


STAGES: Final[Mapping[str, Stage]] = MappingProxyType(
    {
        "unsaved": _unsaved,
        "lost": _lost,
        "unanswered": _unanswered,
        "killed-sending": _killed_sending,
        "lease-lost": _lease_lost,
        "stopped-saving": _stopped_saving,
        "lost-going-back": _lost_going_back,
        "slow": _slow,
        "half": _half,
        "killed": _killed,
        "unanswered-save": _unanswered_save,
        "killed-saving": _killed_saving,
        "unrenewed": _unrenewed,
        "unleased": _unleased,
        "order-unsaved": _order_unsaved,
        "order-waiting": _order_waiting,
        "order-sending": _order_sending,
        "frozen": _frozen,
        "promoted-failing": _promoted_failing,
        "gated": _gated,
        "edited": _edited,
        "edited-policy": _edited_policy,
        "churn": _churn,
        "without-a-file": _without_a_file,
        "unread": _unread,
        "hands-off": _hands_off,
        "paused": _paused,
        "fails": _fails,
        "takes-too-long": _takes_too_long,
        "fails-unsaved": _fails_unsaved,
        "fails-for-a-moment": _fails_for_a_moment,
        "fails-on-fresh-pods": _fails_on_fresh_pods,
        "pods-unseen": _pods_unseen,
        "without-metrics": _without_metrics,
    }
)
"""By the name of their mode."""
