"""The controls under `/lab/`: what a person orders of the emulator's other actors, as JSON objects. No HTTP here.

Each control is a row of `CONTROLS`: its fields with what each must be, and what is done with them. An order that
makes no sense is refused with a sentence and changes nothing.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from shifter.lab.emulator.balancers import DEFAULT_WEIGHT, Health, RuleKey, Target, TargetKey, TargetKind
from shifter.lab.emulator.faults import Fault, FaultKind

Json: TypeAlias = Mapping[str, Any]
_MAX_PORT = 65_535


class Hands(Protocol):
    """What the controls move."""

    def inject(self, fault: Fault) -> None:
        """As `Emulator.inject`."""

    def clear_faults(self) -> None:
        """As `Emulator.clear_faults`."""

    def edit_weights(
        self, lb_id: str, listener_id: str, location_id: str | None, weights: Mapping[TargetKey, int]
    ) -> None:
        """As `Emulator.edit_weights`."""

    def set_health(
        self, lb_id: str, listener_id: str, location_id: str | None, target: TargetKey, health: Health
    ) -> None:
        """As `Emulator.set_health`."""

    def set_side_health(
        self, lb_id: str, listener_id: str, location_id: str | None, health: Health, *, port: int | None = None
    ) -> None:
        """As `Emulator.set_side_health`."""

    def add_target(self, lb_id: str, listener_id: str, location_id: str | None, target: Target) -> None:
        """As `Emulator.add_target`."""

    def remove_target(self, lb_id: str, listener_id: str, location_id: str | None, target: TargetKey) -> None:
        """As `Emulator.remove_target`."""

    def hold_lock(self, lb_id: str, seconds: float) -> None:
        """As `Emulator.hold_lock`."""

    def release_lock(self, lb_id: str) -> None:
        """As `Emulator.release_lock`."""

    def declare(
        self,
        lb_id: str,
        key: RuleKey,
        weights: Mapping[TargetKey, int] | None = None,
        *,
        every_seconds: float | None = None,
        members: bool = False,
    ) -> None:
        """As `Emulator.declare`."""

    def resync(self, lb_id: str) -> None:
        """As `Emulator.resync`."""

    def withdraw(self, lb_id: str) -> None:
        """As `Emulator.withdraw`."""


@dataclass(frozen=True, slots=True)
class _Control:
    """One row: what it does in words, what it needs and takes, and who carries it out."""

    does: str
    carry_out: Callable[[Hands, Json], object]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


def control(hands: Hands, name: str, order: object) -> Json:
    """Carry out one order and say what was done.

    Args:
        hands: what to move.
        name: which control.
        order: its fields, as JSON.

    Raises:
        LookupError: there is no such control.
        ValueError: the order makes no sense; nothing was changed.
    """
    row = CONTROLS.get(name)
    if row is None:
        raise LookupError(f"there is no control {name!r}; there are {', '.join(CONTROLS)}")
    if not isinstance(order, Mapping):
        raise ValueError(f"give a JSON object, such as {_example(row)}")  # noqa: TRY004 - one error for all orders
    allowed = {*row.needs, *row.takes}
    if lost := [field for field in row.needs if field not in order]:
        raise ValueError(f"{name} needs {', '.join(lost)}")
    if strange := sorted(order.keys() - allowed):
        raise ValueError(f"{name} knows no {', '.join(strange)}; it takes {', '.join((*row.needs, *row.takes))}")
    fields = {field: _FIELDS[field](field, value) for field, value in order.items()}
    try:
        row.carry_out(hands, fields)
    except KeyError as error:
        # A KeyError shows its sentence in quotes.
        raise ValueError(str(error.args[0])) from error
    return {"done": row.does}


def listing() -> Json:
    """Return every control: what it does, what it needs, what it takes."""
    return {
        f"/lab/{name}": {"does": row.does, "needs": list(row.needs), "takes": list(row.takes)}
        for name, row in CONTROLS.items()
    }


def _example(row: _Control) -> str:
    return json.dumps(dict.fromkeys((*row.needs, *row.takes), "..."))


# -- fields ----------------------------------------------------------------------------------------------------------


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a string, not {value!r}")
    return value


def _optional_text(name: str, value: object) -> str | None:
    return None if value is None else _text(name, value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, not {value!r}")  # noqa: TRY004 - one error for all orders
    return value


def _port(name: str, value: object) -> int:
    port = _whole(name, value)
    if not 1 <= port <= _MAX_PORT:
        raise ValueError(f"{name} must be 1..{_MAX_PORT}, not {port}")
    return port


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {value!r}")
    return float(value)


def _optional_seconds(name: str, value: object) -> float | None:
    return None if value is None else _seconds(name, value)


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")  # noqa: TRY004 - one error for all orders
    return value


def _key(name: str, value: object) -> TargetKey:
    address, _, port = _text(name, value).rpartition(":")
    if not address or not port.isdecimal():
        raise ValueError(f"{name} must be an instance id or address with a port, such as ins-1:30080, not {value!r}")
    return TargetKey(address, _port(name, int(port)))


def _weights(name: str, value: object) -> Mapping[TargetKey, int]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{name} must be an object of weights by target, not {value!r}")
    return {_key(name, key): _whole(f"{name}.{key}", weight) for key, weight in value.items()}


def _fault_kind(name: str, value: object) -> FaultKind:
    return FaultKind(_one_of(name, value, [kind.value for kind in FaultKind]))


def _target_kind(name: str, value: object) -> TargetKind:
    return TargetKind(_one_of(name, value, [kind.value for kind in TargetKind]))


def _health(name: str, value: object) -> Health:
    return Health(_one_of(name, value, [health.value for health in Health]))


def _one_of(name: str, value: object, known: list[str]) -> str:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    return str(value)


_FIELDS: Mapping[str, Callable[[str, object], Any]] = MappingProxyType(
    {
        "action": _text,
        "every_seconds": _optional_seconds,
        "health": _health,
        "instance_id": _text,
        "ip": _text,
        "kind": _fault_kind,
        "bound_as": _target_kind,
        "lasts_seconds": _optional_seconds,
        "lb_id": _optional_text,
        "listener_id": _text,
        "location_id": _optional_text,
        "members": _truth,
        "port": _port,
        "seconds": _seconds,
        "target": _key,
        "times": _whole,
        "weight": _whole,
        "weights": _weights,
    }
)

# -- what is done ----------------------------------------------------------------------------------------------------

_RULE = ("lb_id", "listener_id")


def _place(order: Json) -> tuple[str, str, str | None]:
    return order["lb_id"], order["listener_id"], order.get("location_id")


def _set_health(hands: Hands, order: Json) -> None:
    if "target" in order and "port" in order:
        raise ValueError("give a target, or the port of a side, or neither for all targets")
    if "target" in order:
        hands.set_health(*_place(order), order["target"], order["health"])
    else:
        hands.set_side_health(*_place(order), order["health"], port=order.get("port"))


def _add_target(hands: Hands, order: Json) -> None:
    target = Target(
        kind=order.get("bound_as", TargetKind.ENI),
        ip=order["ip"],
        port=order["port"],
        instance_id=order.get("instance_id", ""),
        weight=order.get("weight", DEFAULT_WEIGHT),
        health=order.get("health", Health.ALIVE),
    )
    hands.add_target(*_place(order), target)


def _declare(hands: Hands, order: Json) -> None:
    lb_id, listener_id, location_id = _place(order)
    hands.declare(
        lb_id,
        RuleKey(listener_id, location_id),
        order.get("weights"),
        every_seconds=order.get("every_seconds"),
        members=order.get("members", False),
    )


CONTROLS: Mapping[str, _Control] = MappingProxyType(
    {
        "faults": _Control(
            "let a fault wait for its calls",
            lambda hands, order: hands.inject(Fault(**order)),
            ("action", "kind"),
            ("times", "lb_id", "seconds", "lasts_seconds"),
        ),
        "clear-faults": _Control("forget every waiting fault", lambda hands, _: hands.clear_faults()),
        "weights": _Control(
            "set weights at once and past any lock, as a person in the console would",
            lambda hands, order: hands.edit_weights(*_place(order), order["weights"]),
            (*_RULE, "weights"),
            ("location_id",),
        ),
        "health": _Control(
            "let the health check find one target, those on a port, or all of a rule Alive, Dead or Unknown",
            _set_health,
            (*_RULE, "health"),
            ("location_id", "target", "port"),
        ),
        "add-target": _Control(
            "bind one more target, as an autoscaler would",
            _add_target,
            (*_RULE, "ip", "port"),
            ("location_id", "bound_as", "instance_id", "weight", "health"),
        ),
        "remove-target": _Control(
            "unbind a target",
            lambda hands, order: hands.remove_target(*_place(order), order["target"]),
            (*_RULE, "target"),
            ("location_id",),
        ),
        "lock": _Control(
            "keep a balancer busy, as another actor's operation would",
            lambda hands, order: hands.hold_lock(order["lb_id"], order["seconds"]),
            ("lb_id", "seconds"),
        ),
        "release": _Control(
            "end the lock of another actor, or of a task that never ends",
            lambda hands, order: hands.release_lock(order["lb_id"]),
            ("lb_id",),
        ),
        "declare": _Control(
            "let TKE hold weights for the truth: those given, or the present ones",
            _declare,
            _RULE,
            ("location_id", "weights", "every_seconds", "members"),
        ),
        "resync": _Control(
            "let TKE write back what was declared, now or when the balancer is free",
            lambda hands, order: hands.resync(order["lb_id"]),
            ("lb_id",),
        ),
        "withdraw": _Control(
            "end what was declared about a balancer",
            lambda hands, order: hands.withdraw(order["lb_id"]),
            ("lb_id",),
        ),
    }
)
