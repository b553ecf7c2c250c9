"""Ports for the lab's processes, kept from other labs on the same machine.

Asking the kernel for port 0 and closing the socket loses the port to the next outgoing connection, and a lab that
restarts its Prometheus needs the same port a minute later. So ports are taken from below the ephemeral range, where
no outgoing connection lands, and each is marked by a Linux abstract socket name for as long as the lab lives; the
kernel drops the marks when the process dies, however it dies.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import random
    from types import TracebackType

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 12_000
HIGHEST_PORT = 29_999  # below Kubernetes' NodePorts and Linux' ephemeral range
TRIES_PER_PORT = 200


class NoFreePortError(RuntimeError):
    """Too many of the ports that were tried are in use."""


class PortReservation:
    """Some TCP ports on 127.0.0.1 that no other lab takes until `close`."""

    def __init__(self, ports: tuple[int, ...], marks: ExitStack) -> None:
        self.ports = ports
        self._marks = marks

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the ports back. May be called twice."""
        self._marks.close()


def reserve_ports(count: int, rng: random.Random) -> PortReservation:
    """Reserve free ports.

    Args:
        count: how many, at least 1.
        rng: where to start looking; any seed is correct, equal seeds only make collisions likelier.

    Raises:
        NoFreePortError: `TRIES_PER_PORT` tries a port were not enough.
    """
    with ExitStack() as marks:
        ports: list[int] = []
        for _ in range(count * TRIES_PER_PORT):
            if len(ports) == count:
                break
            port = rng.randint(LOWEST_PORT, HIGHEST_PORT)
            if _mark(port, marks) and _is_free(port):
                ports.append(port)
        if len(ports) < count:
            raise NoFreePortError(f"found {len(ports)} of {count} free ports in {LOWEST_PORT}-{HIGHEST_PORT}")
        return PortReservation(tuple(ports), marks.pop_all())


def _mark(port: int, marks: ExitStack) -> bool:
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mark.bind(f"\0shifter-lab-port-{port}")
    except OSError as error:
        mark.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    marks.callback(mark.close)
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As every server here does: a port whose last owner left connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
