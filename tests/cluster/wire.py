"""A way to a server that can break like a network: reset, refuse, or swallow without a word.

Swallowing is what a firewall does that forgot a connection: both ends believe that it is open, what is sent is
acknowledged by the kernel, and nothing ever arrives. Bytes are carried and never looked at, so TLS passes through.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from shifter.lab.free_ports import LOOPBACK

CONNECT_TIMEOUT_SECONDS: Final = 5.0
CHUNK_BYTES: Final = 65_536
MOST_CONNECTIONS: Final = 200


class _Connection:
    """Both halves of one connection through the wire."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client = client
        self._server = server
        self.requests_lost = False
        self.answers_lost = False

    def start(self) -> None:
        for lost, pair in (("requests", (self._client, self._server)), ("answers", (self._server, self._client))):
            threading.Thread(target=self._carry, args=(lost, *pair), daemon=True).start()

    def reset(self) -> None:
        # Whoever carries at this moment must not say goodbye instead.
        self.requests_lost = self.answers_lost = True
        for end in (self._client, self._server):
            with suppress(OSError):
                # Lingering for 0 s: a reset instead of a goodbye.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # A reading thread keeps a closed socket alive; this wakes it.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)
            end.close()

    def _carry(self, what: str, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(CHUNK_BYTES):
                if not self._lost(what):
                    other.sendall(piece)
            if not self._lost(what):
                other.shutdown(socket.SHUT_WR)
                return
        # A client that gave up on a silent connection is gone; a server that did is not told to the client. Where
        # nobody is silent, a reset at one end is one at the other.
        if what == "requests" or not self._lost(what):
            self.reset()

    def _lost(self, what: str) -> bool:
        return self.requests_lost if what == "requests" else self.answers_lost


class Wire:
    """Carries connections from a port of its own to `to_port` on this machine, inside a `with` block."""

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._new_lose = (False, False)
        self._refusing = False
        self._listening = _listen(0)
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    @property
    def taken(self) -> int:
        """How many connections were taken since the last `cut`."""
        with self._lock:
            return len(self._connections)

    def cut(self) -> None:
        """Reset every open connection; new ones get through."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.reset()

    def refuse(self) -> None:
        """Reset every open connection and refuse new ones until `mend`."""
        with self._lock:
            self._refusing = True
            # Closing alone leaves the thread in accept, and it would take one more.
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        self.cut()

    def forget(self) -> None:
        """Let every open connection be silent for ever, in both directions; new ones get through."""
        with self._lock:
            for connection in self._connections:
                connection.requests_lost = connection.answers_lost = True

    def swallow(self, *, answers_only: bool = False) -> None:
        """Let every connection, open or new, be silent until `mend`; those it touched stay silent.

        Args:
            answers_only: requests arrive and are carried out, and nobody hears of it.
        """
        with self._lock:
            self._new_lose = (not answers_only, True)
            for connection in self._connections:
                connection.requests_lost, connection.answers_lost = self._new_lose

    def mend(self) -> None:
        """Carry new connections again."""
        with self._lock:
            self._new_lose = (False, False)
            again, self._refusing = self._refusing, False
            if again:
                self._listening = _listen(self.port)
        if again:
            self._serve()

    def _serve(self) -> None:
        self._listening.listen()
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._take(client)

    def _take(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((LOOPBACK, self._to), CONNECT_TIMEOUT_SECONDS)
        except OSError:  # nobody there: as if they had called each other without this wire
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(client, server)
        with self._lock:
            connection.requests_lost, connection.answers_lost = self._new_lose
            self._connections = [*self._connections[1 - MOST_CONNECTIONS :], connection]
        connection.start()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((LOOPBACK, port))
    return listening
