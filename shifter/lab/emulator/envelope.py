"""The outermost JSON of every answer, and the one error type that turns into it.

Success and refusal look alike on the wire: HTTP 200, a `Response` object, a `RequestId`. Only an `Error` key
inside tells them apart, and a client that does not look for it mistakes a refusal for an empty success.
That is why nothing else in this package builds an envelope.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

JSON_TYPE = "application/json"
"""Exactly this, without a charset: with one, the official SDK stops looking for `Error`."""


class ApiError(Exception):
    """A refusal as the API words it: `code` is what programs read, `message` what people read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Ending(StrEnum):
    """What becomes of an answer on its way to the client."""

    SENT = "sent"
    LOST = "lost"
    """It never comes, and the connection stays open."""
    RESET = "reset"
    """It never comes, and the connection is reset."""
    TRUNCATED = "truncated"
    """Half of it comes, then the connection is closed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, and whether the client gets to see it."""

    body: bytes
    status: int = 200
    content_type: str = JSON_TYPE
    ending: Ending = Ending.SENT


def success(fields: Mapping[str, Any], request_id: str, content_type: str = JSON_TYPE) -> Reply:
    """Wrap the fields of an action's answer."""
    return Reply(_encode({**fields, "RequestId": request_id}), content_type=content_type)


def refusal(error: ApiError, request_id: str, content_type: str = JSON_TYPE) -> Reply:
    """Wrap an error; the HTTP status stays 200, as the API does it."""
    body = _encode({"Error": {"Code": error.code, "Message": error.message}, "RequestId": request_id})
    return Reply(body, content_type=content_type)


def bad_gateway(status: int) -> Reply:
    """Answer as a broken gateway in front of the API would: HTML, and no envelope at all."""
    page = f"<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
    return Reply(page.encode(), status=status, content_type="text/html")


def _encode(response: Mapping[str, Any]) -> bytes:
    return json.dumps({"Response": response}, ensure_ascii=False).encode()
