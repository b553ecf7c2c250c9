"""One shift's turn: add what was counted, decide, journal, send, and say what happened.

Every change of a shift's state goes through `Turner.turn`, and every save through its journal, so that a crash
anywhere leaves either the place before or the place after, never something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial

from shifter.core.balancing.splits import RouteView, shown
from shifter.core.deciding import journal
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import Sighting, counted
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision, Write
from shifter.core.deciding.gathering import no_histogram, still_lacking
from shifter.core.deciding.holds import forbids
from shifter.core.deciding.journal import Move, Step
from shifter.core.deciding.orders import OBSERVING, Answer, Order, OrderAnswer
from shifter.core.deciding.pinning import concerned
from shifter.core.deciding.retreat import STALE_TICKS
from shifter.core.documents.fleet import Fleet
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction, Freeze, Intent, Pin, Report
from shifter.ports import Leadership
from shifter.service.act import Courier, Place, StateWriter
from shifter.service.gathering import Gathering, terms_of
from shifter.service.observe import Counted, IntentCalls
from shifter.service.reporting import (
    evidence_of,
    record_of_adoption,
    record_of_intent,
    record_of_phase,
    records_of_change,
    records_of_orders,
    report,
    way_back_of,
)
from shifter.service.telemetry import Telemetry
from shifter.service.workload import Capacity


@dataclass(slots=True)
class Shift:
    """One shift as this process knows it: its place, and what it has seen.

    `bug` says which one of ours struck in one of its turns; empty if none did. `leaving` says that somebody is deleting
    what is saved of it; empty if nobody is. `source` is what is believed of what the
    source has. `seen_since`: its routes were first seen then, since it was loaded; `looked`: for so long by now that no
    read is from before that.
    """

    place: Place
    seen: Gathering = field(default_factory=Gathering)
    source: Sighting = field(default_factory=Sighting)
    policy_problem: str = ""
    bug: str = ""
    leaving: str = ""
    told: Report | None = None
    seen_since: datetime | None = None
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What this tick saw of one shift, and who holds all shifts.

    `counted` is None in a tick that only follows up orders and intents. `capacity` is what runs in the
    clusters, and `pins` are those of the other shifts.
    """

    views: dict[str, RouteView] | None
    provider_problem: str
    calls: IntentCalls | None
    counted: Counted | None
    signal_problem: str
    target_unseen: bool
    freezes: Sequence[Freeze] = ()
    capacity: Capacity = field(default_factory=Capacity)
    pins: Mapping[str, Sequence[Pin]] = field(default_factory=dict)


class Turner:
    """Takes turns for all shifts of a process."""

    def __init__(
        self,
        fleet: Fleet,
        mode: str,
        leadership: Leadership,
        courier: Courier,
        writer: StateWriter,
        telemetry: Telemetry,
    ) -> None:
        self._fleet = fleet
        self._timing = fleet.spec.timing
        self._mode = mode
        self._leadership = leadership
        self._courier = courier
        self._writer = writer
        self._telemetry = telemetry

    def turn(self, shift: Shift, outlook: Outlook, orders: Sequence[Order], now: datetime) -> Report:
        """Take one shift's turn and return what to tell about it.

        Raises:
            ShifterError: nothing was changed, because it could not be saved.
            ConflictError: somebody else saved this shift; load it again.
        """
        shift.seen.look_at(outlook.views)
        if outlook.counted is not None:
            named = concerned(shift.place.state.policy)
            known = {name: workload for name, workload in outlook.capacity.workloads.items() if name in named}
            shift.source = shift.source.look(counted(outlook.views, outlook.counted.source_pods, known))
        terms = terms_of(self._fleet, by_request=shift.seen.by_request)
        shift.seen.add(shift.place.state, outlook.counted, outlook.views, terms, now)
        observing = self._mode == "observe"
        evidence = self._evidence(shift, outlook, () if observing else orders)
        decision = decide(shift.place.state, evidence, now)
        if observing:
            self._refuse_orders(shift.place, orders, now)
        else:
            news = self._carry_out(shift, outlook, decision, {order.id: order for order in orders}, now)
            decision = replace(decision, state=shift.place.state, reason=news or decision.reason)
            evidence = replace(evidence, ledger=shift.seen.ledger, settled_at=shift.seen.settled_at)
        if outlook.views is not None and not outlook.provider_problem:
            shift.seen_since = shift.seen_since or now
            shift.looked = shift.looked or now >= shift.seen_since + STALE_TICKS * self._timing.tick
        told = report(decision, evidence, self._mode, self._timing, now)
        if shift.leaving and told.phase is Phase.COMPLETED:  # nothing holds it, so that nothing else would say so
            told = told.model_copy(update={"reason": f"{shift.leaving}; {told.reason}", "page": True})
        more = tuple(text for text in (shift.seen.gap, outlook.capacity.pin_problem) if text)
        return told.model_copy(update={"dropped": dict(shift.seen.dropped), "warnings": (*told.warnings, *more)})

    def _evidence(self, shift: Shift, outlook: Outlook, orders: Sequence[Order]) -> Evidence:
        return Evidence(
            views=outlook.views,
            ledger=shift.seen.ledger,
            leader=self._leadership.valid(),
            max_age=self._timing.sample_max_age,
            tick=self._timing.tick,
            provider_problem=outlook.provider_problem,
            signal_problem=outlook.signal_problem
            or no_histogram(shift.seen.standing, shift.place.state, shift.seen.ledger),
            policy_problem=shift.policy_problem,
            bug=shift.bug,
            unreadable=shift.place.refused,
            freezes=outlook.freezes,
            target_unseen=outlook.target_unseen,
            standing=shift.seen.standing,
            lacking=still_lacking(
                shift.seen.standing,
                shift.place.state,
                shift.seen.ledger,
                terms_of(self._fleet, by_request=shift.seen.by_request),
            ),
            settled_at=shift.seen.settled_at,
            settling_since=shift.seen.settling_since,
            orders=orders,
            source=shift.source.believed,
            workloads=outlook.capacity.workloads,
            workload_problem=outlook.capacity.problem,
            target_workloads=outlook.capacity.target,
            target_problem=outlook.capacity.target_problem,
            pins=outlook.pins,
            first_look=not shift.looked,
        )

    def _refuse_orders(self, place: Place, orders: Sequence[Order], now: datetime) -> None:
        """In `mode: observe` nothing is ever written, so no order can be carried out; the first save is the shift's."""
        place.answers = [OrderAnswer(order.id, Answer.REFUSED, OBSERVING, now) for order in orders]
        self._writer.save(place, may_wait=False)

    def _carry_out(
        self, shift: Shift, outlook: Outlook, decision: Decision, orders: dict[int, Order], now: datetime
    ) -> str:
        """Do what was decided; return what came of an open intent, if there is news."""
        place = shift.place
        before = place.state, len(place.records), len(place.answers), replace(shift.seen)
        # As it is now, but put into words only if a record asks for it, as few turns do.
        evidence = cache(partial(evidence_of, decision, shift.seen.ledger, shift.seen.replayable))
        place.records += records_of_orders(decision, orders) + records_of_change(place.state, decision, now, evidence)
        place.answers += decision.answers
        place.state = shift.seen.saved_with(decision.state)
        if decision.adopted_by:
            place.records.append(record_of_adoption(decision.state, decision.reason, decision.adopted_by, now))
        if decision.adopted_by or (place.state.share > 0 and place.state.attempt != before[0].attempt):
            shift.seen.forget_ticks()
        self._withhold(decision, now)
        try:
            if decision.write is not None:
                self._begin(shift, evidence, decision.write, now)
            elif place.state.intent is not None and outlook.calls is not None:
                return self._follow(shift, outlook, decision, place.state.intent, now)
            else:
                self._writer.save(place, may_wait=True)
        except Exception:
            # Nothing of what was decided is remembered, so that the next turn decides anew. A bug is no exception.
            place.state, shift.seen = before[0], before[3]
            del place.records[before[1] :], place.answers[before[2] :]
            raise
        return ""

    def _withhold(self, decision: Decision, now: datetime) -> None:
        """Stop what of an open climb still waits in a lane, as soon as anything stands against it.

        The order that does may be answered, and its hold in force, long before the lane is free again.
        """
        intent = decision.state.intent
        if intent is None or (intent.direction is Direction.RETREAT and not decision.hands_off):
            return
        why = _against(decision, intent)
        if now >= intent.deadline:
            why = why or "its deadline is over"
        if why:
            self._courier.withhold(decision.state.name, intent, why)

    def _begin(self, shift: Shift, evidence: Callable[[], Mapping[str, object]], write: Write, now: datetime) -> None:
        """Journal a new intent, then send it. An open one that it replaces is closed first.

        `evidence` is what the decision rested on: not what there is now, since a new attempt may have begun with it.
        """
        place, state = shift.place, shift.place.state
        if state.intent is not None:
            said = f"superseded: {write.reason}"
            place.records.append(record_of_intent(state.name, What.FAILED, state.intent, said, now))
            state = state.model_copy(update={"abandoned": state.intent})
        intent = write.intent(state.sequence + 1, self._leadership.epoch, now, self._timing.operation_timeout)
        place.state = state.model_copy(update={"intent": intent, "sequence": intent.sequence})
        told = {**evidence(), **way_back_of(state, intent)}
        place.records.append(record_of_intent(state.name, What.INTENT, intent, write.reason, now, told))
        # Weights for the verified share that nobody has on record would be a stranger's to the next process.
        keeps = write.direction is Direction.RETREAT and write.to_share == state.share > 0
        self._save_and_send(place, intent, may_wait=write.direction is Direction.RETREAT and not keeps)

    def _save_and_send(self, place: Place, intent: Intent, *, may_wait: bool) -> None:
        self._writer.save(place, may_wait=may_wait)
        self._telemetry.write(intent.direction, "begun")
        self._courier.forget(place.state.name, intent.sequence)
        self._courier.send(place.state.name, intent, place.state.policy.routes)

    def _follow(self, shift: Shift, outlook: Outlook, decision: Decision, intent: Intent, now: datetime) -> str:
        """Move an open intent on by one step of the journal; return the news, empty if there is none."""
        place = shift.place
        assert outlook.calls is not None  # noqa: S101 - the caller looked
        fresh = outlook.calls.sequence == intent.sequence
        forbidden = _against(decision, intent)
        move = (
            journal.next_move(intent, outlook.calls.calls, outlook.views, now, forbidden)
            if fresh
            else Move(Step.WAIT, "just sent")
        )
        if decision.hands_off and move.step is not Step.DONE:
            # Whether it failed is seen when hands are on again: what follows from that would be a write.
            move = Move(Step.WAIT, "hands off")
        if move.step is Step.DONE and outlook.views is not None:
            self._finish(shift, outlook.views, intent, now)
        elif move.step is Step.FAILED:
            self._fail(shift, intent, move, now)
            return f"the write of {shown(intent.to_share)} failed: {move.reason}"
        else:
            self._note_operations(place, intent)
        if move.step is Step.SEND and place.state.intent is not None:
            again = place.state.intent.model_copy(update={"sends": place.state.intent.sends + 1})
            place.state = place.state.model_copy(update={"intent": again})
        self._writer.save(place, may_wait=move.step is not Step.SEND or intent.direction is Direction.RETREAT)
        if move.step is Step.DONE:
            return f"{shown(intent.to_share)} is in force: {intent.reason}"
        # Before it is sent again, so that what the provider said the last time is told.
        trouble = self._courier.trouble(place.state.name, intent)
        if move.step is Step.SEND:
            routes = [route for route in place.state.policy.routes if route.domain in move.domains]
            self._courier.send(place.state.name, intent, routes)
        return f"{decision.reason}; the provider: {trouble}" if trouble else ""

    def _note_operations(self, place: Place, intent: Intent) -> None:
        """Keep the provider's operation ids in the journal, so that a restart can ask after them."""
        operations = self._courier.operations(place.state.name, intent)
        if operations != intent.operations:
            noted = intent.model_copy(update={"operations": operations})
            place.state = place.state.model_copy(update={"intent": noted})

    def _finish(self, shift: Shift, views: dict[str, RouteView], intent: Intent, now: datetime) -> None:
        place = shift.place
        state = journal.done(place.state, intent, views, now)
        written = {
            "written": {route: view.share for route, view in views.items()},
            "trouble": self._courier.trouble(state.name, intent),
        }
        place.records.append(
            record_of_intent(state.name, What.DONE, intent, f"read back: {intent.reason}", now, written)
        )
        if state.phase is not place.state.phase:
            place.records.append(record_of_phase(place.state.phase, state, intent.reason, now))
        shift.seen.forget_ticks()
        place.state = shift.seen.saved_with(state)
        self._telemetry.write(intent.direction, "done")

    def _fail(self, shift: Shift, intent: Intent, move: Move, now: datetime) -> None:
        place = shift.place
        name = place.state.name
        place.records.append(record_of_intent(name, What.FAILED, intent, move.reason, now))
        place.state = journal.failed(place.state, intent, move, self._leadership.epoch, now)
        self._telemetry.write(intent.direction, "failed")
        repair = place.state.intent
        if repair is None:
            self._writer.save(place, may_wait=True)
            return
        place.records.append(record_of_intent(name, What.INTENT, repair, repair.reason, now))
        self._save_and_send(place, repair, may_wait=True)


def _against(decision: Decision, intent: Intent) -> str:
    """Return why a climb must not be sent any more; empty if nothing stands against it."""
    # Also while nothing can be written back, and of a shift whose holds somebody overrode.
    going_back = decision.reason if decision.state.phase is Phase.ROLLING_BACK else ""
    return forbids(decision.holds, intent, decision.state) or going_back
