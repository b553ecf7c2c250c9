"""What only a raw socket can do to a client: a reset, and an answer that ends in the middle.

The web framework has no word for either, so each connection of `CuttableProtocol` carries its transport in the
state of its requests, where `cut` finds it. One class of uvicorn's is built upon here, and nowhere else.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from shifter.lab.emulator.envelope import Ending, Reply

_TRANSPORT = "transport"
_NO_LINGER = struct.pack("ii", 1, 0)
"""Linger for 0 s: closing then sends a reset at once and drops what was not sent."""


class CuttableProtocol(H11Protocol):
    """HTTP/1.1 whose connections can be cut."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Remember the transport for the requests that come over it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


async def cut(scope: Mapping[str, Any], reply: Reply) -> None:
    """End a request's connection without an answer, or in the middle of one.

    Args:
        scope: the request's, received through `CuttableProtocol`.
        reply: ends `RESET`, or `TRUNCATED` after half of its body.
    """
    transport: asyncio.Transport = scope["state"][_TRANSPORT]
    if reply.ending is Ending.RESET:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    else:
        length = len(reply.body)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {reply.content_type}\r\ncontent-length: {length}\r\n\r\n"
        transport.write(head.encode() + reply.body[: length // 2])
        transport.close()
    # The loop tells the protocol, so that what the framework still answers goes nowhere.
    await asyncio.sleep(0)
