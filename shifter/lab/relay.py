"""A pipe for bytes between two ports of this machine, as a process of its own: what is frozen to freeze the emulator.

The emulator lives in the lab's own process, which must go on to count and to thaw. Whoever stops this one (SIGSTOP)
sees what a frozen server shows: connections are taken by the kernel, calls arrive in buffers, and nobody answers. When
it goes on, what waits is carried out late, also for clients that have left; that is the point of it.
"""

from __future__ import annotations

import asyncio
import sys

from shifter.lab.free_ports import LOOPBACK

_CHUNK_BYTES = 65_536


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side has ended; then the other is told."""
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        writer.close()


async def _relay(port: int, to_port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection(LOOPBACK, to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))
        to_writer.close()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_relay(int(sys.argv[1]), int(sys.argv[2])))
