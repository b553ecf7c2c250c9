"""An object as it is remembered between two writes: packed, since a service has one for each shift and rarely looks.

Unpacked, a thousand objects of 30 kB take 40 MB, and twice that where one letter of a text is beyond Latin; packed they
take a tenth. To unpack one takes a fraction of what it takes to write it.
"""

from __future__ import annotations

import json
import zlib
from typing import Final

from shifter.ports.kube import Body

_QUICK: Final = 1


class Remembered:
    """An object, or that it is not known."""

    __slots__ = ("_leaving", "_packed")

    def __init__(self) -> None:
        self._packed = b""
        self._leaving = False

    @property
    def body(self) -> Body | None:
        """A copy of it; None if it is not known."""
        if not self._packed:
            return None
        body: Body = json.loads(zlib.decompress(self._packed))
        return body

    @property
    def leaving(self) -> bool:
        """Whether somebody is deleting it, as far as it is known."""
        return self._leaving

    def keep(self, body: Body | None) -> None:
        """Remember an object instead of the one so far, without the server's notes on who wrote which field."""
        self._packed, self._leaving = b"", False
        if body is not None:
            metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
            self._packed = zlib.compress(json.dumps({**body, "metadata": metadata}).encode(), _QUICK)
            self._leaving = "deletionTimestamp" in metadata
