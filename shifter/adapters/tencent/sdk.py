"""The official SDK, tamed: everything it does by default that a service must not do is switched off here.

Imported lazily by `api.py`: loading the SDK's models costs half a second and 30 MB, which commands that never
call the cloud should not pay. The generated methods (`DescribeTargets` ...) are passed over for `call_json` of
the same client: it signs and sends identically, but hands back the answer as JSON. The generated ones turn an
error whose Content-Type they do not expect into a success full of None, and warn about fields they do not know.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import requests
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from shifter.adapters.tencent.credentials import FileCredentials
from shifter.core.documents.fleet import Tencent

SDK_LOGGER = "tencentcloud_sdk_common"


class Client(Protocol):
    """What is used of an SDK client. `request` leads to its HTTP session."""

    request: Any

    def call_json(self, action: str, params: dict[str, Any]) -> dict[str, Any]:
        """Sign, send, and return the parsed body; raises the SDK's exception or whatever broke below it."""


def new_client(settings: Tencent, region: str, credentials: FileCredentials) -> Client:
    """Return a client for one region; several threads may share it.

    The timeout bounds the connection attempt and every wait for bytes. Proxies and certificates from the
    environment are ignored: the SDK and `requests` disagree about NO_PROXY, so what would be used is luck.
    """
    # At DEBUG this logger prints the Authorization header and the session token.
    logging.getLogger(SDK_LOGGER).setLevel(logging.WARNING)
    http = HttpProfile(
        protocol=settings.scheme,
        endpoint=settings.endpoint,
        reqTimeout=settings.timeout.total_seconds(),
        keepAlive=True,
    )
    # The SDK's StandardRetryer repeats a call that succeeded, and its region breaker swallows exceptions.
    profile = ClientProfile(httpProfile=http, language="en-US", retryer=None, disable_region_breaker=True)
    client = ClbClient(credentials, region, profile)
    connection = client.request.conn
    connection.proxy = None
    # The SDK offers no door to its session; `_session` is where it has been since keep-alive was added.
    connection._session.trust_env = False  # noqa: SLF001 - see above
    # A signed write must not wander: a redirect becomes an error.
    connection._session.max_redirects = 0  # noqa: SLF001 - see above
    return client  # type: ignore[no-any-return] # the SDK ships no types


def never_sent(error: BaseException) -> bool:
    """Return whether the request certainly did not leave this machine: no connection could be opened.

    The SDK calls every transport error ClientNetworkError; the one that `requests` raised is still its context.
    """
    cause = error.__context__
    if isinstance(cause, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(cause, requests.exceptions.ConnectionError) or not cause.args:
        return False
    reason = cause.args[0]
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)
