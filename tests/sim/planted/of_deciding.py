"""Bugs of what is decided: climbs too early, without evidence, past a person, and retreats that are not made."""

from __future__ import annotations

from typing import Final

from shifter.lab.checker import back, climbs, looking, people, routes, stops, users, writes
from tests.sim.planted.bug import Bug, Edit

_DECIDE: Final = "shifter/core/deciding/decide.py"
_HOLDS: Final = "shifter/core/deciding/holds.py"
_STATE: Final = "shifter/core/state.py"

_STAYS: Final = (
    Edit(
        "shifter/core/deciding/retreat.py",
        "    if assessment.verdict is Verdict.FAIL and _exposed(state, evidence) > 0:\n",
        "    if assessment.verdict is Verdict.FAIL and _exposed(state, evidence) > 1000:\n",
    ),
)

OF_DECIDING: Final = (
    Bug(
        "the soak is counted from the beginning of the phase",
        (
            Edit(
                _DECIDE,
                "        soaked = soaked_seconds(evidence.ledger, evidence.settled_at)\n",
                "        soaked = (now - state.since).total_seconds()\n",
            ),
        ),
        (climbs.SOAKED,),
    ),
    Bug(
        "seconds that two ticks reach over are soaked twice",
        (
            Edit(
                "shifter/core/deciding/settling.py",
                "        since = max(before, settled_at) if before <= tick.at else settled_at\n",
                "        since = settled_at\n",
            ),
        ),
        (climbs.SOAKED,),
        stage="pods-unseen",
    ),
    Bug(
        "a pause stands in the way of a rollback",
        (
            Edit(
                _DECIDE,
                "    if ordered.paused is not None and ordered.paused.hands_off(now):\n",
                "    if ordered.paused is not None:\n",
            ),
        ),
        (people.STUCK, users.WENT_BACK),
        stage="paused",
    ),
    Bug(
        "a promotion passes a freeze",
        (
            Edit(
                _HOLDS,
                "        HoldKind.FREEZE: HoldRule(pages=False),\n",
                "        HoldKind.FREEZE: HoldRule(pages=False, promoting=True),\n",
            ),
        ),
        (climbs.FROZEN,),
        stage="frozen",
    ),
    Bug(
        "drift is written over",
        (
            Edit(
                _HOLDS,
                "        HoldKind.DRIFT: HoldRule(restoring=True, keeping=Keeping.NOTHING, of_completed=True),\n",
                "        HoldKind.DRIFT: HoldRule(restoring=True, keeping=Keeping.ANYTHING, of_completed=True),\n",
            ),
        ),
        (looking.OVER,),
        stage="edited",
    ),
    Bug(
        "new members get the next step at once",
        (
            Edit(
                _DECIDE,
                "    kept = write_share(decision, direction, state.share, rose or fell",
                "    kept = write_share(decision, direction, state.next_step or state.share, rose or fell",
            ),
        ),
        (climbs.SOAKED, climbs.VERDICT, writes.DOWN),
        stage="churn",
    ),
    Bug(
        "weights are rounded up",
        (
            Edit(
                "shifter/core/balancing/apportion.py",
                "        target_total = int(source_total * ratio / (1 - ratio) + 1e-9)\n",
                "        target_total = int(source_total * ratio / (1 - ratio) + 1)\n",
            ),
        ),
        (writes.RAISES, looking.VERIFIED),
    ),
    Bug(
        "a promotion passes a failing verdict",
        (
            Edit(
                "shifter/core/deciding/wishes.py",
                "_gate(decision, step) + _ceiling(decision, step) + _failing(decision)",
                "_gate(decision, step) + _ceiling(decision, step)",
            ),
            Edit(
                _HOLDS,
                "        HoldKind.FAILING: HoldRule(overriding=True),\n",
                "        HoldKind.FAILING: HoldRule(promoting=True, overriding=True),\n",
            ),
        ),
        (climbs.VERDICT,),
        stage="promoted-failing",
    ),
    Bug(
        "what a fresh pod fails is put down to its start",
        (
            Edit(
                "shifter/core/counts/counters.py",
                "        return _Step(now, pod.counters, max(pod.started_at, before.read_at))\n",
                '        good = {each: n for each, n in pod.counters.items() if "503" not in str(each.answer)}\n'
                "        return _Step(now, good, max(pod.started_at, before.read_at))\n",
            ),
        ),
        (climbs.USERS, users.WENT_BACK),
        stage="fails-on-fresh-pods",
    ),
    Bug(
        "failing answers are not counted",
        (
            Edit(
                "shifter/core/counts/answers.py",
                "def is_bad(answer: Answer, rules: BadAnswers) -> bool:\n",
                "def is_bad(answer: Answer, rules: BadAnswers) -> bool:\n    return False\n\n\n"
                "def _was_bad(answer: Answer, rules: BadAnswers) -> bool:\n",
            ),
        ),
        (climbs.USERS, users.WENT_BACK),
        stage="fails",
    ),
    Bug(
        "slow answers are not counted",
        (
            Edit(
                "shifter/core/analysis/measures.py",
                "return None if upto is None else (total, max(0.0, total - upto))",
                "return None if upto is None else (total, 0.0)",
            ),
        ),
        (climbs.USERS, users.WENT_BACK),
        stage="takes-too-long",
    ),
    Bug(
        "an edited policy raises the share",
        (
            Edit(
                "shifter/service/adoption.py",
                "        # Patience alone is another: the evidence is what it was.\n"
                '        place.state = state.model_copy(update={"policy": policy})\n',
                "        higher = next((step for step in policy.spec.ladder if step > state.share), state.share)\n"
                '        moved = {"share": higher if state.share > 0 else state.share, "policy": policy}\n'
                "        place.state = state.model_copy(update=moved)\n",
            ),
        ),
        (climbs.FROM, climbs.SOAKED, climbs.VERDICT),
        stage="edited-policy",
    ),
    Bug(
        "an edited soak is not asked for",
        (
            Edit(
                _DECIDE,
                "        soak = state.policy.spec.soak.total_seconds()\n",
                "        soak = min(2.0, state.policy.spec.soak.total_seconds())\n",
            ),
        ),
        (climbs.SOAKED,),
    ),
    Bug(
        "a file that is broken or gone holds nothing",
        (
            Edit(
                "shifter/service/adoption.py",
                "            shifts[name].policy_problem = _stale_reason(found, name)\n",
                '            shifts[name].policy_problem = ""\n',
            ),
            Edit(
                "shifter/service/adoption.py",
                '.policy_problem = "its policy file is gone; restore it, or roll the shift back"\n',
                '.policy_problem = ""\n',
            ),
        ),
        (climbs.FILE,),
        stage="without-a-file",
    ),
    Bug(
        "a gate needs no approval",
        (
            Edit(
                _HOLDS,
                "    if state.phase not in {Phase.WAITING, Phase.SHIFTING} or step is None"
                " or (gate := state.gate(step)) is None:\n",
                "    gate = 0.0\n    if state.phase is not None:\n",
            ),
        ),
        (climbs.APPROVED,),
        stage="gated",
    ),
    Bug(
        "hands off are not kept off",
        (
            Edit(
                _DECIDE,
                "    if ordered.paused is not None and ordered.paused.hands_off(now):\n",
                "    if False:\n",
            ),
        ),
        (stops.HANDS_OFF,),
        stage="hands-off",
    ),
    Bug(
        "a step is left out",
        (
            Edit(
                _STATE,
                "        return next((step for step in self.policy.spec.ladder if step > self.share), None)\n",
                "        higher = [step for step in self.policy.spec.ladder if step > self.share]\n"
                "        return (higher[1] if len(higher) > 1 else higher[0]) if higher else None\n",
            ),
        ),
        (climbs.STEP,),
    ),
    Bug(
        "a share that failed is forgotten",
        (
            Edit(
                _HOLDS,
                "    if ceiling is None or state.phase is not Phase.SHIFTING or step is None",
                "    if True or ceiling is None or state.phase is not Phase.SHIFTING or step is None",
            ),
        ),
        (back.CEILING,),
        stage="fails-for-a-moment",
    ),
    Bug(
        "a step back goes below the first rung that it comes to",
        (
            Edit(
                _STATE,
                "        return max((step for step in self.policy.spec.ladder if step < share), default=0.0)\n",
                "        return min((step for step in self.policy.spec.ladder if step < share), default=0.0)\n",
            ),
        ),
        (back.RUNG,),
        stage="fails-for-a-moment",
    ),
    Bug(
        "a failing target stays",
        _STAYS,
        (users.WENT_BACK,),
        stage="fails",
    ),
    Bug("a failing target stays, on a day on which much else goes wrong", _STAYS, (users.WENT_BACK,), 120),
    Bug(
        "it goes to the middle and no further, and calls for help",
        (
            Edit(
                _DECIDE,
                "    step = decision.assessment.step or state.next_step\n    if step is None:",
                "    step = decision.assessment.step or state.next_step\n    if state.share >= 50:\n"
                "        return replace(decision, reason='waiting')\n    if step is None:",
            ),
            Edit(
                _HOLDS,
                "    if state.phase is Phase.COMPLETED:\n        return bool(holds) or",
                "    if state.share == 50:\n        return True\n"
                "    if state.phase is Phase.COMPLETED:\n        return bool(holds) or",
            ),
        ),
        (people.STUCK,),
        10,
    ),
    Bug(
        "a pause holds nothing",
        (Edit(_HOLDS, "        (HoldKind.PAUSE, _paused(state, now)),\n", '        (HoldKind.PAUSE, ""),\n'),),
        (climbs.PAUSED,),
        stage="without-metrics",
    ),
    Bug(
        "drift holds nothing and is left as it is",
        (
            Edit(
                _HOLDS,
                "    elif not matches(state.weights, views):\n        found.append(_changed(",
                "    elif not matches(state.weights, views) and landed_late(state, views, now):\n"
                "        found.append(_changed(",
            ),
            Edit(_DECIDE, "    if kept is not decision:\n        return kept\n    if waiting", "    if waiting"),
        ),
        (routes.MENDED,),
        stage="edited",
    ),
    Bug(
        "a rolled back shift starts over by itself",
        (
            Edit(
                _DECIDE,
                "    elif ordered.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:\n",
                "    elif ordered.phase is Phase.ROLLED_BACK and evidence.views is not None and not ordered.paused:\n"
                '        again = ordered.model_copy(update={"phase": Phase.WAITING, "failure": None})\n'
                '        decided = replace(decision, state=again, reason="again")\n'
                "    elif ordered.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:\n",
            ),
        ),
        (people.ASKED, climbs.BACK),
        stage="fails",
    ),
)
