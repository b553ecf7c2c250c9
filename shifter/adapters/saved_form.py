"""How states, reports, records and orders are written as text, and what no store takes.

Both stores, SQLite and memory, go through here, so that a test against the one means something for the other.
Two rules: what could not be read back is never written (a `NaN` becomes `null` in JSON, and a state lost that
way is a place lost), and what cannot be understood is never written over: a key of a later version is a
reason to stop, not something to drop.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from shifter.adapters.bounds import LARGEST_REPORT_BYTES, in_brief
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.deciding.orders import STOPPING_VERBS, Order, OrderRequest
from shifter.core.state import FleetState, Report, ShiftState
from shifter.errors import ConflictError, InvariantError, NotFoundError, RefusedError
from shifter.ports import WHOLE, Saved, Shelf

Value = TypeVar("Value", bound=BaseModel)
Kept = TypeVar("Kept")

NAME_LENGTH: Final = 253
"""Most characters in a shift's name (what Kubernetes allows an object) and in who gives an order."""

REASON_LENGTH: Final = 1000
"""Most characters in the reason of an order: a few sentences, not a pasted log."""

LONGEST_SPAN: Final = timedelta(days=366)
"""The longest span that an order may name. What a span means is not the store's matter; this is a slip of the hand."""

OPEN_ORDERS_PER_SHIFT: Final = 500
"""Orders of one shift that may wait unanswered; more means that nobody is there to answer."""


_SEAL: Final = re.compile(r'\s*\{\s*"sha256"\s*:\s*"([0-9a-f]*)"\s*,')
"""How the text of a saved state begins: the digest of the rest of it."""


def state_text(state: ShiftState) -> str:
    """Return the JSON that is saved of a state.

    Raises:
        InvariantError: it could not be read back (a share that is not a number, text that is not Unicode).
    """
    return _sealed(_text_of(state, f"state of {plain(state.name)}"))


def read_state(name: str, text: str) -> ShiftState:
    """Return a state from its saved JSON.

    Raises:
        RefusedError: a later version wrote it, it has unknown keys, or it is damaged.
    """
    what = f"saved state of {name}"
    return _read(ShiftState, _unsealed(ShiftState, text, what), what)


def saved_from(name: str, text: str, version: int) -> Saved:
    """Return a state and its version from its row; raises as `read_state`."""
    return Saved(read_state(name, text), version)


def fleet_text(fleet: FleetState) -> str:
    """Return the JSON that is saved of all shifts together.

    Raises:
        InvariantError: it could not be read back.
    """
    return _sealed(_text_of(fleet, "state of all shifts together"))


def read_fleet(text: str) -> FleetState:
    """Return what is saved of all shifts together from its JSON.

    Raises:
        RefusedError: a later version wrote it, it has unknown keys, or it is damaged.
    """
    what = "saved state of all shifts together"
    return _read(FleetState, _unsealed(FleetState, text, what), what)


def report_text(report: Report) -> str:
    """Return the JSON that is kept of a report; of a very large one, of a part of it.

    Raises:
        InvariantError: it could not be read back.
    """
    what = f"report of {plain(report.name)}"
    text = _text_of(report, what)
    return text if len(text.encode()) <= LARGEST_REPORT_BYTES else _text_of(in_brief(report), what)


def read_report(name: str, text: str) -> Report:
    """Return a report from its kept JSON.

    Raises:
        RefusedError: a later version wrote it, or it is damaged. Nothing rests on it, and the next one replaces it.
    """
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        raise RefusedError(
            f"report of {name} is not understood: {_first_line(error)}; the service's next one replaces it; if"
            " there is no such shift any more, delete its row in the table `reports`"
        ) from error


def shelf(rows: Iterable[tuple[str, Callable[[], Kept]]]) -> Shelf[Kept]:
    """Return what is kept by name, each read by its own call: one that cannot be hides no other."""
    readable: dict[str, Kept] = {}
    unreadable: dict[str, str] = {}
    for name, read in rows:
        try:
            readable[name] = read()
        except RefusedError as error:
            unreadable[name] = str(error)
    return Shelf(readable, unreadable)


def stamp(at: datetime) -> str:
    """Return a moment in UTC as text of fixed width, so that earlier sorts first.

    Raises:
        InvariantError: it has no time zone and could mean any of 24 hours.
    """
    if at.tzinfo is None:
        raise InvariantError(f"a moment without a time zone cannot be remembered: {at.isoformat()}")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def plain(text: str) -> str:
    r"""Return text with what is not Unicode (half of a surrogate pair) spelled out as `\udc80`.

    Sentences quote clouds and command lines; one odd byte there must not cost the record.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn a value that this version does not know, met while reading `what`, into a refusal.

    Raises:
        RefusedError: a later version wrote it, or it is damaged.
    """
    try:
        yield
    except ValueError as error:
        raise RefusedError(f"{what} was written by a later shifter or is damaged: {error}") from error


def check_request(request: OrderRequest) -> None:
    """Check what an order holds before it is kept.

    Raises:
        RefusedError: nobody gives it, a text is too long or not Unicode, or a number means nothing.
    """
    if not request.by.strip():
        raise RefusedError("an order needs a name: nobody is given as the one who asks")
    limits = (("shift", request.shift, NAME_LENGTH), ("by", request.by, NAME_LENGTH))
    for what, text, longest in (*limits, ("reason", request.reason, REASON_LENGTH)):
        if len(text) > longest:
            raise RefusedError(f"the order's {what} has {len(text)} characters; at most {longest} are kept")
        if text != plain(text):
            raise RefusedError(f"the order's {what} is not Unicode text: {plain(text)}")
    if request.share is not None and not 0 < request.share <= FULL_PERCENT:  # false for what is no number, too
        raise RefusedError(f"the order's share is {request.share:g}; it must be above 0 and at most {FULL_PERCENT:g} %")
    if request.hands_off is not None and not timedelta(0) < request.hands_off <= LONGEST_SPAN:
        raise RefusedError(
            f"the order's hands_off is {request.hands_off}; it must be above 0 and at most {LONGEST_SPAN.days} days"
        )


def check_room(request: OrderRequest, waiting: int) -> None:
    """Check that one more order of a shift may wait. Those that stop something find room when others do not.

    Raises:
        RefusedError: too many wait already.
    """
    most = OPEN_ORDERS_PER_SHIFT * (2 if request.verb in STOPPING_VERBS else 1)
    if waiting >= most:
        raise RefusedError(f"{waiting} orders for {request.shift} wait unanswered already; is the service running?")


def check_whole(chain: str) -> None:
    """Check the name of a chain in a store that keeps all history in one.

    Raises:
        NotFoundError: it is another.
    """
    if chain != WHOLE:
        raise NotFoundError(f"there is no chain {chain!r} in this store: it keeps all records in one")


def check_answerable(order_id: int, order: Order | None) -> Order:
    """Return the order if it may be answered now.

    Raises:
        NotFoundError: there is none by that id.
        ConflictError: somebody else answered it.
    """
    if order is None:
        raise NotFoundError(f"there is no order {order_id} to answer")
    if order.answer is not None:
        raise ConflictError(f"order {order_id} was {order.answer} already: {order.answer_text}")
    return order


def _text_of(value: BaseModel, what: str) -> str:
    try:
        text = value.model_dump_json(by_alias=True)  # a policy is read by the names that files use
        type(value).model_validate_json(text)
    except (PydanticSerializationError, ValidationError, UnicodeError) as error:
        raise InvariantError(f"{what} could not be read back and is not written: {_first_line(error)}") from error
    return text


def _sealed(text: str) -> str:
    """Return JSON of an object with a digest of it in front.

    A share that a person or a bit of the disk made another one is a share like any other: nothing else would notice,
    and keeping it would move traffic.
    """
    return f'{{"sha256":"{_digest(text[1:])}",{text[1:]}'


def _unsealed(kind: type[BaseModel], text: str, what: str) -> str:
    """Return the JSON without its digest; one that has none, as of an earlier version, is believed.

    Raises:
        RefusedError: it is not what was saved.
    """
    seal = _SEAL.match(text)
    if seal is None:
        return text
    rest = text[seal.end() :]
    if _digest(rest) != seal[1] and _schema_version(text) <= _known_version(kind):
        raise RefusedError(
            f"{what} is not what shifter saved: somebody, or the disk, changed it. Restore a backup of the store; or,"
            " to have it believed as it is, take `sha256` out of it"
        )
    return f"{{{rest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(kind: type[Value], text: str, what: str) -> Value:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        version, known = _schema_version(text), _known_version(kind)
        if version > known:
            raise RefusedError(
                f"{what} has schema version {version}, written by a later shifter; this one knows {known}:"
                " run the later version again"
            ) from error
        if kind is ShiftState and version in _EARLIER:
            return _read(kind, _EARLIER[version](text), what)
        raise RefusedError(
            f"{what} is not understood and will not be written over: {_first_line(error)}; if it is damaged, restore a"
            " backup of the store"
        ) from error


def _from_version_1(text: str) -> str:
    """Return a state of version 1 as one of version 2: an order to promote is not remembered any more.

    As text, since only JSON is let in by the strict models inside (a list for a tuple, a word for a span).
    """
    state = json.loads(text)
    state.pop("promotion", None)
    return json.dumps(state | {"schema_version": 2})


def _from_version_2(text: str) -> str:
    """Return a state of version 2 as one of version 3: evidence is weighed, and what fixed windows need is gone.

    A limit that was in force stays one: `maxPercent`, and the quantile of the latency with its `maxMs`. Latency that
    was not read is not read. What is no policy at all is left as it is, for whoever reads it to refuse.
    """
    state = json.loads(text)
    spec = _part(_part(state, "policy"), "spec")
    analysis = _part(spec, "analysis")
    if analysis.get("latency") is None:
        analysis["latency"] = {"enabled": False}
    for retired in ("window", "minRequests"):
        analysis.pop(retired, None)
    _part(analysis, "errors").pop("overSourcePercent", None)
    _part(analysis, "latency").pop("overSourceRatio", None)
    return json.dumps(state | {"schema_version": 3})


def _from_version_3(text: str) -> str:
    """Return a state of version 3 as one of version 4: nobody recorded what the source had before the first step."""
    return json.dumps(json.loads(text) | {"schema_version": 4})


def _from_version_4(text: str) -> str:
    """Return a state of version 4 as one of version 5: no floor but the gateway's was ever raised."""
    return json.dumps(json.loads(text) | {"schema_version": 5})


def _part(whole: dict[str, Any], key: str) -> dict[str, Any]:
    """Return one part of a document, begun empty if it is absent; one that is no object is nobody's to change."""
    part = whole.setdefault(key, {})
    return part if isinstance(part, dict) else {}


_EARLIER: Final[Mapping[int, Callable[[str], str]]] = MappingProxyType(
    {1: _from_version_1, 2: _from_version_2, 3: _from_version_3, 4: _from_version_4}
)
"""How a state becomes one of the next version; read again as that, so that steps add up."""


def _known_version(kind: type[BaseModel]) -> int:
    """Return the version that this shifter writes; reports have none."""
    field = kind.model_fields.get("schema_version")
    return 0 if field is None else int(field.default)


def _schema_version(text: str) -> int:
    try:
        version = json.loads(text)["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return version if isinstance(version, int) else 0


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'document'}: {first['msg']}"
    return str(error).splitlines()[0]
