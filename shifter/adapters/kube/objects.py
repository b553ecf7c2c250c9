"""How shifter's objects look in a cluster: names, labels, and what is a record, an order or an answer in them.

Pure: values in, plain objects out, and back. What a person reads in `kubectl get` is in `shown.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shifter.adapters.bounds import kept_text
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.saved_form import plain
from shifter.core.chain import Link
from shifter.core.deciding.orders import FLEET, Answer, Order, OrderAnswer, OrderRequest, Verb
from shifter.errors import InvariantError
from shifter.ports.kube import Body, Kind

CHAIN_LABEL: Final = "shifter.io/chain"
SHIFT_LABEL: Final = "shifter.io/shift"
"""Labels of records: in whose chain they are, and what they are about."""

MANAGED: Final = {"app.kubernetes.io/managed-by": "shifter", "app.kubernetes.io/name": "shifter"}
"""Labels of everything that the service makes."""

IN_FLIGHT: Final = "shifter.io/in-flight"
"""The finalizer that keeps a Shift until the service lets it go."""

FLEET_OBJECT: Final = "fleet"
"""The name of the one ShiftFleet."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ALL: Final = "ALL"
"""The label of all shifts together; no shift can have this name."""

_LINK_TEXTS: Final = ("at", "shift", "what", "by", "reason", "sequence", "epoch", "evidence", "hash")


def check_name(chain: str) -> None:
    """Check that an object can be called like a shift.

    Raises:
        InvariantError: it cannot; a policy of that name would not have been accepted.
    """
    if chain != FLEET and not _LABEL.fullmatch(chain):
        raise InvariantError(f"no object in a cluster can be called {plain(chain)!r}")


def kind_of(chain: str) -> Kind:
    """Return the kind of the object that keeps the state of a shift, or of all shifts together."""
    return SHIFT_FLEETS if chain == FLEET else SHIFTS


def object_name(chain: str) -> str:
    """Return the name of that object."""
    return FLEET_OBJECT if chain == FLEET else chain


def label(text: str) -> str:
    """Return a text as a label's value; one that cannot be a value, as a digest of it."""
    if text == FLEET:
        return _ALL
    return text if _LABEL.fullmatch(text) else f"x-{hashlib.sha256(plain(text).encode()).hexdigest()[:32]}"


def record_name(chain: str, number: int) -> str:
    """Return the name of a record's object: its chain and its number in it, so that there can be only one."""
    return f"{'fleet' if chain == FLEET else f'shift-{chain}'}.{number:010d}"


def link_entry(link: Link) -> Body:
    """Return a record as it is kept in a status."""
    return {"id": link.id, **{field: getattr(link, field) for field in _LINK_TEXTS}}


def link_from(entry: Mapping[str, Any]) -> Link:
    """Return a record from a status, or from a record's spec; of whatever is there, its text."""
    number = entry.get("id")
    texts = {field: str(entry.get(field, "")) for field in _LINK_TEXTS}
    return Link(number if isinstance(number, int) else 0, **texts)


def record_body(chain: str, link: Link) -> Body:
    """Return the object that keeps a record for good."""
    labels = {**MANAGED, CHAIN_LABEL: label(chain), SHIFT_LABEL: label(link.shift)}
    metadata = {"name": record_name(chain, link.id), "labels": labels}
    return SHIFT_RECORDS.body(metadata=metadata, spec={"chain": chain, **link_entry(link)})


def order_body(name: str, request: OrderRequest) -> Body:
    """Return the object by which a person asks; only what was asked is in it."""
    spec: Body = {"shift": request.shift, "verb": str(request.verb), "by": request.by, "reason": request.reason}
    flags = {"full": request.full, "override": request.override, "adopt": request.adopt}
    spec |= {flag: True for flag, given in flags.items() if given}
    if request.share is not None:
        spec["share"] = request.share
    if request.hands_off is not None:
        spec["handsOffSeconds"] = request.hands_off.total_seconds()
    metadata = {"name": name, "labels": {SHIFT_LABEL: label(request.shift)}}
    return SHIFT_ORDERS.body(metadata=metadata, spec=spec)


def order_from(body: Body) -> Order:
    """Return an order from its object.

    Its id is the resource version that it was created with: those grow with every write to the cluster, and nobody
    may change an order, so it is the object's own until the answer is written, and in the status from then on.

    Raises:
        ValueError: it is not one that this version understands (KeyError and TypeError too).
    """
    spec, status = body["spec"], body.get("status") or {}
    share, seconds = spec.get("share"), spec.get("handsOffSeconds")
    request = OrderRequest(
        str(spec["shift"]),
        Verb(spec["verb"]),
        str(spec["by"]),
        str(spec.get("reason", "")),
        full=bool(spec.get("full", False)),
        override=bool(spec.get("override", False)),
        share=None if share is None else float(share),
        hands_off=None if seconds is None else timedelta(seconds=float(seconds)),
        adopt=bool(spec.get("adopt", False)),
    )
    metadata = body["metadata"]
    at = datetime.fromisoformat(metadata["creationTimestamp"]).astimezone(UTC)
    if "answer" not in status:
        return Order(int(metadata["resourceVersion"]), at, request)
    return Order(int(status["id"]), at, request, Answer(status["answer"]), str(status.get("text", "")))


def answer_entry(order: str, answer: OrderAnswer) -> Body:
    """Return an answer as it is kept in the status of who gave it, until the order itself has it."""
    return {
        "order": order,
        "id": answer.order_id,
        "answer": str(answer.answer),
        "text": kept_text(plain(answer.text)),
        "at": moment(answer.at),
    }


def moment(at: datetime) -> str:
    """Return a moment as the API server wants it: RFC 3339 in UTC, always with six digits of a second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def status_of(body: Body) -> Body:
    """Return an object's status; empty if it has none yet."""
    status = body.get("status")
    return status if isinstance(status, dict) else {}
