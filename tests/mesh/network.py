"""The network that an API server sees inside its cluster: who answers at a Service's address.

Without nodes nobody answers there, yet an admission webhook is called by its Service. API servers can be told to reach
the cluster through a proxy (an egress selector, as konnectivity is used); this is that proxy. It listens on a socket in
the file system, is asked `CONNECT 10.0.0.12:443`, and leads to a process on 127.0.0.1 that stands for the address, or
nowhere.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from shifter.lab.free_ports import LOOPBACK

_CONNECT_SECONDS: Final = 2.0
_LONGEST_HEAD_BYTES: Final = 4_096
_PIECE_BYTES: Final = 64 * 1024


class Network:
    """Runs inside a `with` block. `leads` says at every call where an address leads; change it by `lead`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "network.sock"
        self._leads: dict[tuple[str, int], int] = {}
        self._asked: list[tuple[str, int]] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._listener.bind(str(self._path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    @property
    def selector(self) -> Path:
        """The file that tells an API server to go through here, for its flag `--egress-selector-config-file`."""
        place = self._folder / "egress.json"
        through = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(self._path)}}}
        body = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [
                {"name": "cluster", "connection": through},
                {"name": "controlplane", "connection": {"proxyProtocol": "Direct"}},
                {"name": "etcd", "connection": {"proxyProtocol": "Direct"}},
            ],
        }
        place.write_text(json.dumps(body), encoding="utf-8")
        return place

    def lead(self, leads: Mapping[tuple[str, int], int]) -> None:
        """Let these addresses, and no others, lead to these ports of 127.0.0.1."""
        with self._lock:
            self._leads = dict(leads)

    def asked(self) -> list[tuple[str, int]]:
        """Every address that was asked for so far."""
        with self._lock:
            return list(self._asked)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            address = _address(near)
            with self._lock:
                port = self._leads.get(address)
                self._asked.append(address)
            if port is None:
                near.sendall(b"HTTP/1.1 503 Nobody Is There\r\n\r\n")
                return
            with socket.create_connection((LOOPBACK, port), timeout=_CONNECT_SECONDS) as far:
                far.settimeout(None)
                near.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
                back = threading.Thread(target=_carry, args=(far, near), daemon=True)
                back.start()
                _carry(near, far)
                back.join()


def _address(near: socket.socket) -> tuple[str, int]:
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < _LONGEST_HEAD_BYTES:
        # Byte by byte: what comes after the head is already what the two say to each other.
        piece = near.recv(1)
        if not piece:
            raise ConnectionError("hung up before asking")
        head += piece
    host, _, port = head.split()[1].decode().rpartition(":")
    return host, int(port)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
