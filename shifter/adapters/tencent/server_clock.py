"""Tencent's clock, read off the Date of any answer: needs no key, changes nothing, and works if ours is wrong.

A signed call would say only that a clock is too far off (AuthFailure.SignatureExpire), not by how much, and only
once it is too late. So this asks without a signature: the refusal carries the time just as well.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError, cause_of
from shifter.adapters.tencent.api import reach
from shifter.core.documents.fleet import Tencent
from shifter.errors import ProviderUnavailableError

SIGNATURE_SECONDS: Final = 300.0
"""A call whose time is further off is refused (product document 1140/51177)."""

_HALF_A_SECOND: Final = 0.5
"""A Date says whole seconds, cut off; half of one later it is right on average."""

_ASK_TIMEOUTS: Final = 3


class TencentClock:
    """The clock behind the API's endpoint (implements `ports.ProviderClock`)."""

    tolerance_seconds: Final = SIGNATURE_SECONDS

    def __init__(self, settings: Tencent) -> None:
        self._settings = settings
        self._calls = BoundedCalls()

    def server_time(self) -> float:
        """Return the API's time, in seconds since the epoch, good to half a second.

        Raises:
            ProviderUnavailableError: no answer, or none with a Date.
        """
        timeout_seconds = self._settings.timeout.total_seconds()
        try:
            date = self._calls.run(lambda: self._date(timeout_seconds), _ASK_TIMEOUTS * timeout_seconds)
            return parsedate_to_datetime(date).timestamp() + _HALF_A_SECOND
        except (OSError, HTTPError) as error:  # requests' errors are OSErrors
            raise self._silent(cause_of(error, timeout_seconds)) from error
        except (OverdueError, CrowdedError) as error:
            raise self._silent(str(error)) from error
        except (ValueError, OverflowError) as error:
            text = f"{self._settings.endpoint} answers without a readable Date"
            raise ProviderUnavailableError(text, remedy=reach(self._settings)) from error

    def _silent(self, why: str) -> ProviderUnavailableError:
        return ProviderUnavailableError(f"the clock of {self._settings.endpoint}: {why}", remedy=reach(self._settings))

    def _date(self, timeout_seconds: float) -> str:
        with requests.Session() as session:
            session.trust_env = False
            address = f"{self._settings.scheme}://{self._settings.endpoint}/"
            timeout = (timeout_seconds, timeout_seconds)
            # Streamed: the body is of no interest, and of any size.
            with session.get(address, timeout=timeout, allow_redirects=False, stream=True) as response:
                return response.headers.get("Date", "")
