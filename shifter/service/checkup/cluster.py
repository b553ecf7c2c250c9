"""The store in a cluster: whether it can be reached and used, who may what, who leads, and what has come to a stop.

Each question is an errand of its own, so that a slow history hides nobody's lease, and none is waited for longer than a
person at three in the morning would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from shifter.ports.clusters import ClusterProbe, HeldLease, KeptShift, Right
from shifter.service.checkup import clocks
from shifter.service.checkup.contents import (
    ANSWERED_WITHIN,
    DEAD,
    Contents,
    Past,
    judge,
    judge_past,
    read_contents,
    read_past,
)
from shifter.service.checkup.doors import Context, Kept
from shifter.service.checkup.findings import Finding, Group, Level, Notes, few
from shifter.service.checkup.gathering import Errand, Outcome, Unanswered
from shifter.service.checkup.rights import LOOKING, SERVING, grant, is_account, viewing

T = TypeVar("T")

WITHIN_SECONDS: Final = 10.0
"""How long one answer is waited for: all are asked at the same time, so a server that hangs costs no more."""

MOST_WAITING: Final = 20
"""So many records, and so many answers, a status can hold: with so many nothing more can be saved."""

_FULL, _FILLING = 1.0, 0.8
_MOST_SINGLY: Final = 4
_REPORT: Final = "report it with `shifter bundle`"
_PODS: Final = "kubectl get pods -n {namespace} -l app.kubernetes.io/name=shifter"


class ClusterDoor:
    """A store in a cluster.

    Args:
        probe: how it is looked at; closed when the process ends, since who hangs in it is left behind.
        now: the wall clock, an aware time.
    """

    def __init__(self, probe: ClusterProbe, now: Callable[[], datetime]) -> None:
        self._probe = probe
        self._now = now

    @property
    def file(self) -> None:
        """Nothing of it is on this machine."""
        return None

    def survey(self, *, offline: bool) -> ClusterSurvey:
        """Return a look to be taken."""
        return ClusterSurvey(self._probe, self._now, offline=offline)


class ClusterSurvey:
    """One look at a store in a cluster."""

    def __init__(self, probe: ClusterProbe, now: Callable[[], datetime], *, offline: bool) -> None:
        self._probe = probe
        self._offline = offline
        self._who = _asked(probe.who)
        self._clock = _asked(lambda: clocks.measure(probe, lambda: now().timestamp()))
        self._definitions = _asked(probe.definitions)
        self._admission = _asked(probe.admission)
        self._denied = _asked(lambda: probe.denied((*SERVING, *LOOKING)))
        self._there = _asked(partial(_is_there, probe))
        self._lease = _asked(probe.lease)
        self._shifts = _asked(probe.shifts)
        self._strange = _asked(probe.strange_orders)
        self._contents = _asked(partial(_with_store, probe, read_contents))
        self._past = _asked(partial(_with_store, probe, read_past))

    @property
    def errands(self) -> Sequence[Errand[Any]]:
        """What there is to find out, first what everything else rests on."""
        if self._offline:
            return ()
        first = (self._who, self._there, self._definitions, self._lease, self._shifts, self._contents)
        return (*first, self._denied, self._admission, self._strange, self._clock, self._past)

    def kept(self) -> Kept:
        """Return what others are judged by, as far as it could be seen."""
        contents, past = self._contents.answer, self._past.answer
        return Kept(
            past.last_write if isinstance(past, Past) else None,
            contents.written if isinstance(contents, Contents) else frozenset(),
        )

    def findings(self, context: Context) -> Sequence[Finding]:
        """Return what is wrong with the store, with who may what, and with the clocks."""
        store = Notes(Group.STORE)
        if self._offline:
            store.untried("API server", "--offline: nobody was asked")
            return store.found
        who = self._who.answer
        if isinstance(who, Unanswered):
            self._unreached(store, who)
            return store.found
        store.ok("API server", f"{self._probe.server} answers and knows you as {who}")
        self._definition(store)
        self._guard(store)
        right = self._leader(store, context)
        self._objects(store, context.now)
        self._inside(store, context, right)
        return [*store.found, *self._rights(who), *clocks.of_cluster(self._clock.answer)]

    def _unreached(self, notes: Notes, who: Unanswered) -> None:
        """Tell that nobody could be asked: once, and not once for every question."""
        text = f"{self._probe.server}: {who.why}"
        see = who.remedy or "kubectl cluster-info; see the network to it, --kubeconfig and --context"
        if who.outcome is Outcome.REFUSED:
            notes.problem("API server", text, see)
        else:
            _unseen(notes, "API server", Unanswered(text, who.outcome), see)

    def _definition(self, notes: Notes) -> None:
        found = self._definitions.answer
        if isinstance(found, Unanswered):
            _unseen(notes, "definitions", found, "kubectl get crd -l app.kubernetes.io/part-of=shifter")
            return
        for each in found:
            if each.trouble:
                notes.problem("definitions", each.trouble, each.remedy)
        if not any(each.trouble for each in found):
            more = [f"{each.name} {few(each.more)}" for each in found if each.more]
            later = f"; of a later shifter, which does no harm: {', '.join(more)}" if more else ""
            notes.ok("definitions", f"all {len(found)} keep everything that this shifter writes{later}")

    def _guard(self, notes: Notes) -> None:
        found = self._admission.answer
        if isinstance(found, Unanswered):
            name = f"orders.{self._probe.namespace}.shifter.io"
            kinds = "validatingadmissionpolicy,validatingadmissionpolicybinding"
            _unseen(notes, "admission", found, f"ask an administrator for: kubectl get {kinds} {name}")
        elif found.trouble:
            text = f"{found.trouble}: orders can be given in another's name, and past RBAC"
            notes.problem("admission", text, found.remedy)
        else:
            notes.ok("admission", f"{found.name} is in force: orders are in the name of who gives them")

    def _leader(self, notes: Notes, context: Context) -> str:
        """Tell who leads; return what gives the right to that, empty if nobody has it."""
        lease, place = self._lease.answer, f"{self._probe.namespace}/shifter"
        pods = _PODS.format(namespace=self._probe.namespace)
        if isinstance(lease, Unanswered):
            _unseen(notes, "service", lease, pods)
            return ""
        if lease is None and self._shifts.answer == ():
            self._nothing(notes, pods)
            return ""
        if lease is None or not lease.holder:
            why = "let go of, or made by nobody" if lease else "not there: no replica has ever led here"
            text = f"nobody leads, the lease {place} is {why}: nothing climbs, and nothing goes back by itself"
            notes.warning("service", text, f"{pods}; {DEAD}")
            return ""
        _shared(notes, lease, place, context)
        if lease.renewed is None:
            notes.unknown("service", f"{lease.holder} holds the lease {place}, renewed nobody knows when", pods)
            return ""
        age = max(0.0, (context.now - lease.renewed).total_seconds())
        said = f"{lease.holder} holds the lease {place} in epoch {lease.epoch}, renewed {age:.0f} s ago by its clock"
        if age > lease.duration_seconds:
            text = f"{said}, of {lease.duration_seconds:g} s that it is good for: it is dead or cut off, nobody leads"
            notes.problem("service", text, f"{pods}; {DEAD}")
            return ""
        notes.ok("service", said)
        return "lease"

    def _nothing(self, notes: Notes, pods: str) -> None:
        """Tell that nothing of shifter's was ever where it was looked for: most likely that is the wrong place."""
        namespace, where = self._probe.namespace, "where is it? kubectl get shiftfleets --all-namespaces; then say -n"
        if self._there.answer is False:
            notes.problem("service", f"there is no namespace {namespace}: shifter is not installed there", where)
        else:
            text = f"nothing of shifter's is in namespace {namespace}, not even a lease: no replica has ever led here"
            notes.warning("service", text, f"{where}; if it is the right one: {pods}; {DEAD}")

    def _objects(self, notes: Notes, now: datetime) -> None:
        found = self._shifts.answer
        if isinstance(found, Unanswered):
            _unseen(notes, "objects", found, f"kubectl get shifts -n {self._probe.namespace}")
        else:
            for each in found:
                _object(notes, each, now, self._probe.namespace)
            fullest = max(found, key=_fullness, default=None)
            if fullest is not None and _fullness(fullest) < _FILLING:
                field, _, _ = fullest.fullest
                text = (
                    f"{len(found)} looked at; the fullest, {field} of {fullest.name}, is {_fullness(fullest):.0%} full"
                )
                notes.ok("objects", text)
        strange = self._strange.answer
        if not isinstance(strange, Unanswered) and strange:
            text = f"not understood, and so never answered: {few(strange)}"
            fix = f"give them again with this version; kubectl delete shiftorder NAME -n {self._probe.namespace}"
            notes.problem("orders", text, fix)

    def _inside(self, notes: Notes, context: Context, right: str) -> None:
        contents, past = self._contents.answer, self._past.answer
        if isinstance(contents, Unanswered):
            _unseen(notes, "contents", contents, "run the version that wrote it, or restore a backup")
        else:
            judge(notes, contents, context, right)
        if isinstance(past, Unanswered):
            _unseen(notes, "history", past, "shifter history --verify takes the time that it needs")
        else:
            judge_past(notes, past, "shifter history --verify tells more; keep a copy: shifter store copy")

    def _rights(self, who: str) -> Sequence[Finding]:
        notes, denied, namespace = Notes(Group.PERMISSIONS), self._denied.answer, self._probe.namespace
        if isinstance(denied, Unanswered):
            _unseen(notes, "rights", denied, f"kubectl auth can-i --list -n {namespace}")
            return notes.found
        serving = [each for each in SERVING if each in denied]
        if is_account(who):
            _of_service(notes, who, serving, namespace)
            return notes.found
        looking = [each for each in LOOKING if each in denied]
        if looking:
            doubt = ": is it the right one?" if len(looking) == len(LOOKING) else ""
            text = f"{who} may not {', '.join(map(str, looking))} in namespace {namespace}{doubt}"
            lines = [viewing(who, namespace)] if looking[1:] else grant(who, looking[0], namespace)
            notes.problem("rights", text, " && ".join(lines))
        _of_person(notes, who, [str(each) for each in serving], namespace)
        return notes.found


def _asked(ask: Callable[[], T]) -> Errand[T]:
    return Errand(ask, WITHIN_SECONDS)


def _is_there(probe: ClusterProbe) -> bool | None:
    """Ask for the namespace only where nobody leads: few may ask for one, and a lease tells as much."""
    return probe.lease() is not None or probe.is_there()


def _with_store(probe: ClusterProbe, read: Callable[..., T]) -> T:
    return read(probe.open())


def _unseen(notes: Notes, subject: str, answer: Unanswered, fix: str) -> None:
    """Note what could not be seen: nobody knows whether it is well."""
    if answer.outcome is Outcome.BROKEN:
        notes.unknown(subject, answer.why, _REPORT)
    else:
        silent = answer.outcome is Outcome.SILENT
        notes.unknown(subject, answer.why, answer.remedy or fix, unreachable=silent)


def _shared(notes: Notes, lease: HeldLease, place: str, context: Context) -> None:
    """Tell of two installations that were given one lease."""
    fleet = context.fleet
    if fleet is not None and lease.installation not in {"", fleet.metadata.name}:
        text = (
            f"{place} is held by the installation {lease.installation}, and the fleet file is {fleet.metadata.name}'s:"
            " two installations share one namespace, and one of them never leads"
        )
        notes.problem("lease", text, "give one of them a namespace of its own; is this the right fleet file?")


def _object(notes: Notes, shift: KeptShift, now: datetime, namespace: str) -> None:
    name = shift.name
    if shift.deleting_since is not None:
        since = f"{shift.deleting_since:%Y-%m-%d %H:%M:%S} UTC"
        text = f"{name} is being deleted since {since}, its finalizer keeps it, and it holds"
        notes.problem("objects", text, "decide what becomes of it: docs/operations.md, 'A Shift does not go away'")
    if shift.edits:
        text = f"{name}: somebody else than shifter wrote its status: {'; '.join(shift.edits)}"
        told = f"kubectl get {shift.address} -n {namespace} -o yaml --show-managed-fields"
        notes.warning(
            "objects", text, f"what counts is the saved state; unless it was restored, ask who did it: {told}"
        )
    _fill(notes, shift)
    full = max(shift.unfiled, shift.undelivered) >= MOST_WAITING
    late = shift.unfiled_since is not None and now - shift.unfiled_since > ANSWERED_WITHIN
    if full or late:
        text = f"{name}: {shift.unfiled} records and {shift.undelivered} answers wait in its status"
        fix = "the leader's log says why they cannot be written: rights, definitions, a quota?"
        if full:
            notes.problem("objects", f"{text}: nothing more can be saved of it", fix)
        else:
            notes.warning("objects", f"{text}, for more than a minute", fix)


def _fill(notes: Notes, shift: KeptShift) -> None:
    fullness = _fullness(shift)
    if fullness >= _FILLING:
        field, length, most = shift.fullest
        text = f"{field} of {shift.name} is {length:,} long, of {most:,} that are kept"
        level = Level.PROBLEM if fullness >= _FULL else Level.WARNING
        notes.judged(level, "objects", f"{text}; beyond that nothing of it can be saved", _REPORT)


def _fullness(shift: KeptShift) -> float:
    _, length, most = shift.fullest
    return length / most


def _of_service(notes: Notes, who: str, denied: Sequence[Right], namespace: str) -> None:
    """Tell what the service's account lacks: a few rights each with its line."""
    for each in denied[:_MOST_SINGLY]:
        text = f"{who} may not {each} in namespace {namespace}"
        notes.problem("rights", text, " && ".join(grant(who, each, namespace)))
    if rest := denied[_MOST_SINGLY:]:
        text = f"nor may {who} {', '.join(map(str, rest))}"
        notes.problem("rights", text, "bind the chart's Role shifter to it: docs/operations.md, 'Who may do what'")
    if not denied:
        notes.ok("rights", f"{who} may do everything that the service does in namespace {namespace}")


def _of_person(notes: Notes, who: str, denied: Sequence[str], namespace: str) -> None:
    """Tell what a person may not of what the service does: that is as it should be, and says nothing of the service."""
    if not [each for each in notes.found if each.level is Level.PROBLEM]:
        notes.ok("rights", f"{who} may look at everything in namespace {namespace}")
    lacks = f"; {who} may not {', '.join(denied)}" if denied else ""
    text = f"not those of the service's account, but of {who}, were looked at{lacks}"
    notes.untried("service's rights", text, f"shifter doctor --as system:serviceaccount:{namespace}:shifter")
