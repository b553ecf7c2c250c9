"""Bugs of how a write is saved, sent, followed and read back, and of who may write at all."""

from __future__ import annotations

from typing import Final

from shifter.lab.checker import chain, climbs, journal, looking, people, stops, terms, users, writes
from tests.sim.planted.bug import Bug, Edit

_TURN: Final = "shifter/service/turn.py"
_ACT: Final = "shifter/service/act.py"
_TICK: Final = "shifter/service/tick.py"
_OBSERVE: Final = "shifter/service/observe.py"
_JOURNAL: Final = "shifter/core/deciding/journal.py"

OF_WRITING: Final = (
    Bug(
        "a climb is sent before it is saved",
        (
            Edit(
                _TURN,
                """        self._writer.save(place, may_wait=may_wait)
        self._telemetry.write(intent.direction, "begun")
        self._courier.forget(place.state.name, intent.sequence)
        self._courier.send(place.state.name, intent, place.state.policy.routes)
""",
                """        self._courier.forget(place.state.name, intent.sequence)
        self._courier.send(place.state.name, intent, place.state.policy.routes)
        self._writer.save(place, may_wait=may_wait)
        self._telemetry.write(intent.direction, "begun")
""",
            ),
        ),
        (writes.RAISES,),
    ),
    Bug(
        "a climb is sent though it could not be saved",
        (
            Edit(
                _TURN,
                "self._writer.save(place, may_wait=may_wait)",
                "self._writer.save(place, may_wait=True)",
            ),
        ),
        (writes.RAISES,),
        stage="unsaved",
    ),
    Bug(
        "done is believed from the task's answer",
        (
            Edit(
                _JOURNAL,
                "    missing = _domains_not_yet(intent, views)\n",
                "    finished = bool(calls) and all(call.delivery is Delivery.FINISHED for call in calls.values())\n"
                "    missing = () if finished else _domains_not_yet(intent, views)\n",
            ),
        ),
        (looking.VERIFIED,),
    ),
    Bug(
        "a write whose answer never came is called done",
        (
            Edit(
                _JOURNAL,
                '        return Move(Step.WAIT, f"it is not known',
                '        return Move(Step.DONE, f"it is not known',
            ),
        ),
        (looking.VERIFIED,),
        stage="lost",
    ),
    Bug(
        "a write whose answer never came is sent again",
        (
            Edit(
                _JOURNAL,
                "    if Delivery.UNKNOWN in states:\n",
                "    if Delivery.UNKNOWN in states:\n"
                '        return Move(Step.SEND, "again", tuple(sorted(calls)))\n'
                "    if Delivery.UNKNOWN in states:\n",
            ),
        ),
        (looking.AGAIN,),
        stage="unanswered",
    ),
    Bug(
        "a restart sends again what may be on its way",
        (
            Edit(
                _ACT,
                '            return _Errand(call=Call(Delivery.UNKNOWN, "shifter stopped in the middle of it"))\n',
                "            return _Errand()\n",
            ),
        ),
        (looking.AGAIN, people.STUCK),
        stage="killed-sending",
    ),
    Bug(
        "the lease is not looked at before a call",
        (
            Edit(
                _ACT,
                '        return "" if self._leadership.valid() else "the lease was lost"\n',
                '        return ""\n',
            ),
        ),
        (terms.LEADS,),
        stage="lease-lost",
    ),
    Bug(
        "the lease is looked at nowhere",
        (
            Edit(
                _ACT,
                '        return "" if self._leadership.valid() else "the lease was lost"\n',
                '        return ""\n',
            ),
            Edit(_TURN, "            leader=self._leadership.valid(),\n", "            leader=True,\n"),
        ),
        (terms.LEADS,),
        stage="lease-lost",
    ),
    Bug(
        "what was half applied is left as it is",
        (
            Edit(
                _JOURNAL,
                "    repair = intent.direction is Direction.CLIMB and _is_mixture(intent, views)\n",
                "    repair = False\n",
            ),
            Edit(
                _JOURNAL,
                "(matches(abandoned.weights, views) or _is_mixture(abandoned, views))\n",
                "matches(abandoned.weights, views)\n",
            ),
        ),
        (people.STUCK,),
        stage="half",
    ),
    Bug(
        "a write that was given up is not watched",
        (
            Edit(
                _JOURNAL,
                "    if not move.never_sent:\n",
                "    if move.never_sent:\n",
            ),
        ),
        (people.STUCK,),
        stage="slow",
    ),
    Bug(
        "an outage of the metrics is no problem",
        (
            Edit(
                _TICK,
                "            self._signal_problem = counted.problem\n",
                '            self._signal_problem = ""\n',
            ),
            Edit(
                "shifter/core/analysis/assess.py",
                "    if age > situation.max_age:\n",
                "    if age > situation.max_age * 1000:\n",
            ),
        ),
        (climbs.BLIND,),
        stage="without-metrics",
    ),
    Bug(
        "an order is lost when somebody else saved",
        (
            Edit(
                _TICK,
                "        self._loaded = False\n",
                "        self._loaded = False\n        self._obeyed: dict[str, int] = {}\n",
            ),
            Edit(
                _TICK,
                "            self._turn(due[name], views, counted, mine, now)\n",
                "            mine = [order for order in mine if order.id > self._obeyed.get(name, 0)]\n"
                "            self._obeyed |= {name: order.id for order in mine}\n"
                "            self._turn(due[name], views, counted, mine, now)\n",
            ),
        ),
        (people.ANSWERED, people.STUCK),
        stage="order-unsaved",
    ),
    Bug(
        "an order that the store has not closed is obeyed again",
        (
            Edit(
                _TICK,
                " if order.request.shift == name and order.id > obeyed]\n",
                " if order.request.shift == name and order.id > 0 * obeyed]\n",
            ),
            Edit(
                "shifter/adapters/saved_form.py",
                '        raise ConflictError(f"order {order_id} was {order.answer} already: {order.answer_text}")\n',
                "        return order\n",
            ),
        ),
        (people.ANSWERED,),
        stage="order-unsaved",
    ),
    Bug(
        "no epoch is stamped on an intent",
        (
            Edit(
                _TURN,
                "write.intent(state.sequence + 1, self._leadership.epoch, now,",
                "write.intent(state.sequence + 1, 0, now,",
            ),
        ),
        (journal.EPOCHS,),
        5,
    ),
    Bug(
        "the epoch of the first term stays",
        (
            Edit(
                _TURN,
                "write.intent(state.sequence + 1, self._leadership.epoch, now,",
                "write.intent(state.sequence + 1, min(1, self._leadership.epoch), now,",
            ),
        ),
        (journal.EPOCHS,),
        stage="killed",
    ),
    Bug(
        "the sequence does not grow",
        (
            Edit(
                _TURN,
                '        place.state = state.model_copy(update={"intent": intent, "sequence": intent.sequence})\n',
                '        place.state = state.model_copy(update={"intent": intent})\n',
            ),
        ),
        (journal.SEQUENCES, journal.ENDS),
        5,
    ),
    Bug(
        "whoever saves last wins",
        (
            Edit(
                "shifter/adapters/memory_store.py",
                '            if version != expected_version:\n                raise ConflictError(f"{state.name} is',
                '            if False:\n                raise ConflictError(f"{state.name} is',
            ),
        ),
        (journal.SEQUENCES, journal.ENDS, climbs.FROM, terms.GROWS, people.MOVES, terms.COMMITS),
        stage="stopped-saving",
    ),
    Bug(
        "a retreat waits for the store",
        (
            Edit(
                _TURN,
                "self._writer.save(place, may_wait=may_wait)",
                "self._writer.save(place, may_wait=False)",
            ),
        ),
        (users.WENT_BACK,),
        stage="fails-unsaved",
    ),
    Bug(
        "orders are not read again before a call",
        (
            Edit(
                _ACT,
                "        if stopping:\n            return f",
                "        if not mine and stopping:\n            return f",
            ),
        ),
        (stops.WAITING,),
        stage="order-sending",
    ),
    Bug(
        "a climb that waits in its lane is not withheld",
        (Edit(_TURN, "        self._withhold(decision, now)\n        try:\n", "        try:\n"),),
        (stops.FLYING,),
        stage="order-waiting",
    ),
    Bug(
        "an intent that is replaced is not ended",
        (
            Edit(
                _TURN,
                "record_of_intent(state.name, What.FAILED, state.intent, said, now)",
                "record_of_intent(state.name, What.HOLDS, state.intent, said, now)",
            ),
        ),
        (journal.ENDS,),
    ),
    Bug(
        "what the store does not take is forgotten",
        (Edit(_ACT, "            _bound(place.records)\n", "            place.records.clear()\n"),),
        (people.ANSWERED,),
        stage="order-unsaved",
    ),
    Bug(
        "what cannot be read is taken to be as it was",
        (
            Edit(
                _OBSERVE,
                "        self._late: frozenset[str] = frozenset()\n",
                "        self._late: frozenset[str] = frozenset()\n        self._before: dict[str, Views] = {}\n",
            ),
            Edit(
                _OBSERVE,
                "            return Views(None, plain(str(error)))\n",
                "            return self._before.get(domain, Views(None, plain(str(error))))\n",
            ),
            Edit(
                _OBSERVE,
                "        told = {route: _readable(views[route]) for route in wanted}\n",
                "        told = {route: _readable(views[route]) for route in wanted}\n"
                "        self._before[domain] = Views(told, calls=calls)\n",
            ),
        ),
        (looking.LOOKED,),
        stage="unread",
    ),
    Bug(
        "a member that went is looked up",
        (
            Edit(
                _JOURNAL,
                "        all(live[key] == weight for key, weight in wanted.items() if key in live)\n",
                "        all(live[key] == weight for key, weight in wanted.items())\n",
            ),
        ),
        (people.CALM,),
        stage="churn",
    ),
    Bug(
        "a record is not chained to the last one",
        (
            Edit(
                "shifter/adapters/memory_store.py",
                "            self._head = Seal(link.id, link.hash)\n",
                "            self._head = Seal(link.id, self._head.hash)\n",
            ),
        ),
        (chain.CHAINED,),
        5,
    ),
    Bug(
        "an intent has no deadline",
        (Edit(_JOURNAL, "    late = now >= intent.deadline\n", "    late = False\n"),),
        (people.STUCK,),
        stage="lost",
    ),
    Bug(
        "a retreat is sent once only",
        (
            Edit(
                _JOURNAL,
                '        return Move(Step.SEND, "lowering the share", missing)\n',
                '        return Move(Step.WAIT, "lowering the share")\n',
            ),
        ),
        (people.STUCK, users.WENT_BACK),
        stage="lost-going-back",
    ),
)
