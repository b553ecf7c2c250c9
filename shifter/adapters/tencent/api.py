"""One call to the Tencent Cloud API: paced, bounded in time, and its outcome said in shifter's words.

What matters after a failed write is a single question: may it have been carried out? `_CODES` answers it for the
codes that say so themselves. Everything else (transport errors, garbage, codes nobody has seen) counts as *may
have been*: reading back once too often is cheap, repeating a write blindly is not. For a read the same
uncertainty is only "no answer". Nothing here retries; that is for whoever keeps the journal.

What mends a refusal follows from its code as well (`_REMEDIES`): nobody beyond this adapter reads codes.

Codes: `tencentcloud/clb/v20180317/errorcodes.py` and the common ones of product document 1140/51177.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from shifter.adapters.outside import LONGEST_FOREIGN_TEXT, BoundedCalls, CrowdedError, OverdueError, cause_of
from shifter.adapters.tencent.clb_decoding import WRONG_BALANCER
from shifter.adapters.tencent.credentials import FileCredentials
from shifter.core.documents.fleet import Tencent
from shifter.core.text import plain
from shifter.errors import AmbiguousWriteError, ProviderRefusedError, ProviderUnavailableError, ShifterError

if TYPE_CHECKING:
    from shifter.adapters.tencent.sdk import Client

Json: TypeAlias = Mapping[str, Any]

QUOTA_PER_SECOND = 20.0
"""What Tencent allows per action (product document 214/33789); a bucket's burst and rate stay below it together."""

_MAX_MESSAGE_CHARACTERS = 300

_PATIENCE_SECONDS = 6.0
"""So long a read waits for its turn; a write no longer than its `timeout`, since its lease may run out."""

WRITE_ACTION = "BatchModifyTargetWeight"
STATUS_ACTION = "DescribeTaskStatus"

_CLIENT_NETWORK_ERROR = "ClientNetworkError"
"""What the SDK calls any exception of its HTTP library."""

_SERVER_NETWORK_ERROR = "ServerNetworkError"
"""What the SDK calls any answer that is not HTTP 200; its message is the body."""


class Kind(StrEnum):
    """What a failed call means for whoever made it."""

    REFUSED = "refused"
    """Not carried out, and repeating changes nothing."""
    NOT_DONE = "not done"
    """Not carried out; a later try may succeed."""
    UNKNOWN = "unknown"
    """May have been carried out."""


_CODES: Mapping[str, Kind] = {
    "ActionOffline": Kind.REFUSED,
    "AuthFailure": Kind.REFUSED,
    "DryRunOperation": Kind.REFUSED,
    "FailedOperation": Kind.UNKNOWN,
    "FailedOperation.EipTrafficCheckRisk": Kind.REFUSED,
    "FailedOperation.FrequencyCheckRisk": Kind.REFUSED,
    "FailedOperation.InsufficientBalance": Kind.REFUSED,
    "FailedOperation.InvalidLBStatus": Kind.NOT_DONE,
    "FailedOperation.RateLimitExceeded": Kind.NOT_DONE,
    "FailedOperation.ResourceInCloning": Kind.NOT_DONE,
    "FailedOperation.ResourceInOperating": Kind.NOT_DONE,
    "FailedOperation.TargetNumCheckRisk": Kind.REFUSED,
    "FailedOperation.TrafficCheckRisk": Kind.REFUSED,
    "InternalError": Kind.UNKNOWN,
    "InvalidAction": Kind.REFUSED,
    "InvalidParameter": Kind.REFUSED,
    "InvalidParameterCombination": Kind.REFUSED,
    "InvalidParameterValue": Kind.REFUSED,
    "InvalidRequest": Kind.REFUSED,
    "IpInBlacklist": Kind.REFUSED,
    "IpNotInWhitelist": Kind.REFUSED,
    # A quota of the account, not a rate: waiting does not help.
    "LimitExceeded": Kind.REFUSED,
    "MissingParameter": Kind.REFUSED,
    "NoSuchProduct": Kind.REFUSED,
    "NoSuchVersion": Kind.REFUSED,
    "OperationDenied": Kind.REFUSED,
    "RequestLimitExceeded": Kind.NOT_DONE,
    "RequestSizeLimitExceeded": Kind.REFUSED,
    "ResourceInUse": Kind.NOT_DONE,
    "ResourceInsufficient": Kind.NOT_DONE,
    "ResourceNotFound": Kind.REFUSED,
    "ResourceUnavailable": Kind.NOT_DONE,
    "ResourcesSoldOut": Kind.REFUSED,
    "UnauthorizedOperation": Kind.REFUSED,
    "UnknownParameter": Kind.REFUSED,
    "UnsupportedOperation": Kind.REFUSED,
    "UnsupportedProtocol": Kind.REFUSED,
    "UnsupportedRegion": Kind.REFUSED,
    # Raised by the SDK before anything is sent.
    "ClientError": Kind.REFUSED,
    "ClientParamsError": Kind.REFUSED,
    "InvalidCredential": Kind.REFUSED,
}


_WRONG_KEYS = "compare with CAM's list of keys; is it enabled? then write secretIdFile and secretKeyFile again"
_WRONG_ADDRESS = "allow this machine's address to the account, in the console's access settings"
_TOO_MANY_CALLS = "somebody else uses up the account's calls: lower spec.provider.tencent.requestsPerSecond, look again"
_REMEDIES: Mapping[str, str] = {
    "AuthFailure": _WRONG_KEYS,
    "AuthFailure.SignatureExpire": "set this machine's clock by NTP: timedatectl set-ntp true",
    "AuthFailure.TokenFailure": "renew the temporary key: id, key and token belong together (tokenFile)",
    "FailedOperation.RateLimitExceeded": _TOO_MANY_CALLS,
    "InvalidCredential": _WRONG_KEYS,
    "InvalidParameter.LBIdNotFound": WRONG_BALANCER,
    "IpInBlacklist": _WRONG_ADDRESS,
    "IpNotInWhitelist": _WRONG_ADDRESS,
    "RequestLimitExceeded": _TOO_MANY_CALLS,
    "ResourceNotFound": WRONG_BALANCER,
    "UnsupportedRegion": WRONG_BALANCER,
}
"""What mends a refusal, by its code or the code's family; what depends on the action as well is in `remedy_of`."""


def permission_for(action: str) -> str:
    """Return what grants a key the permission to call an action: the statement of a CAM policy."""
    return f'allow it to this key in CAM: {{"effect": "allow", "action": ["clb:{action}"], "resource": ["*"]}}'


def remedy_of(action: str, code: str) -> str:
    """Return what mends a refusal of an action; empty if that is not known.

    That there is no such task is no mistake in a policy.
    """
    family = code.split(".", 1)[0]
    if "UnauthorizedOperation" in code:
        return permission_for(action)
    if action == STATUS_ACTION and family == "ResourceNotFound":
        return ""
    return _REMEDIES.get(code, _REMEDIES.get(family, ""))


def kind_of(code: str) -> Kind:
    """Return what an error code means; a code with a suffix nobody listed means what its family means."""
    family = code.split(".", 1)[0]
    return _CODES.get(code, _CODES.get(family, Kind.UNKNOWN))


class Pacer:
    """A token bucket: lets `per_second` calls through on average, and as many at once as the quota leaves room for.

    Whoever comes too early is given a place in line and sleeps; the line is no longer than `patience_seconds`.
    """

    def __init__(
        self,
        per_second: float,
        patience_seconds: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._per_second = per_second
        self._patience_seconds = patience_seconds
        self._monotonic = monotonic
        self._sleep = sleep
        # In any second at most burst + rate calls pass, which must not exceed the quota.
        self._burst = max(1.0, min(per_second, QUOTA_PER_SECOND - per_second))
        self._tokens = self._burst
        self._filled_at = monotonic()
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Return when it is the caller's turn, and for how many seconds it was not.

        Raises:
            ProviderUnavailableError: the turn would come too late; the line is as it was.
        """
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            wait_seconds = max(0.0, (1 - self._tokens) / self._per_second)
            if wait_seconds > self._patience_seconds:
                raise ProviderUnavailableError(
                    f"more than {self._per_second:g} calls per second are waiting; this one would wait "
                    f"{wait_seconds:.1f} s"
                )
            self._tokens -= 1
        if wait_seconds > 0:
            self._sleep(wait_seconds)
        return wait_seconds


class ClbApi:
    """The CLB API of one account, all regions. Safe to use from several threads.

    Every call is made in a thread of its own, which is left behind if the call does not end in time.

    Args:
        settings: where the keys are, endpoint, timeout and pace.
        monotonic: seconds that only grow.
        sleep: waits that many seconds; only ever called to keep the pace.
    """

    def __init__(
        self,
        settings: Tencent,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._sleep = sleep
        self._credentials = FileCredentials(settings.secret_id_file, settings.secret_key_file, settings.token_file)
        self._clients: dict[str, Client] = {}
        self._pacers: dict[str, Pacer] = {}
        self._lock = threading.Lock()
        # Apart, so that reads which never end take no place of the write that goes back.
        self._reads, self._writes = BoundedCalls(), BoundedCalls()
        self._call_seconds = settings.longest_call.total_seconds()

    def read(self, region: str, action: str, request: Json, required: Sequence[str]) -> Json:
        """Ask something and return the answer's `Response` object.

        Args:
            region: where to ask, such as `ap-guangzhou`.
            action: the API's name for it.
            request: its parameters, exactly as the API spells them.
            required: fields that every real answer has; without one it is not believed.

        Raises:
            ProviderUnavailableError: no answer, throttled, or an answer that cannot be right.
            ProviderRefusedError: credentials, or a request that repeating will not make right.
        """
        return self._call(region, action, request, required, ProviderUnavailableError)

    def write(self, region: str, action: str, request: Json, required: Sequence[str]) -> Json:
        """Change something and return the answer's `Response` object; arguments as for `read`.

        Raises:
            ProviderUnavailableError: certainly not carried out; a later try may succeed.
            ProviderRefusedError: certainly not carried out, and repeating will not help.
            AmbiguousWriteError: may have been carried out.
        """
        return self._call(region, action, request, required, AmbiguousWriteError)

    def _call(
        self, region: str, action: str, request: Json, required: Sequence[str], unknown: type[ShifterError]
    ) -> Json:
        self._credentials.refresh()
        client = self._client(region)
        waited_seconds = self._pacer(action).wait()
        try:
            if unknown is ProviderUnavailableError:
                calls, seconds = self._reads, self._call_seconds
            else:
                # All of a write ends in time: another replica may lead after that.
                calls, seconds = self._writes, self._call_seconds - waited_seconds
            body = calls.run(lambda: client.call_json(action, dict(request)), seconds)
        except CrowdedError as error:
            raise ProviderUnavailableError(f"{action}: {error}") from error
        except OverdueError as error:
            raise unknown(f"{action}: {error}") from error
        except Exception as error:
            raise self._translated(action, error, unknown) from error
        response = body.get("Response") if isinstance(body, dict) else None
        if not isinstance(response, dict):
            raise unknown(f"{action}: the answer is not one of the API's")
        # The SDK looks for errors only if the Content-Type is the one it expects.
        if "Error" in response:
            raise self._refusal(action, response, unknown)
        if missing := [name for name in required if response.get(name) is None]:
            raise unknown(f"{action}: the answer lacks {', '.join(missing)}")
        return response

    def _translated(self, action: str, error: Exception, unknown: type[ShifterError]) -> ShifterError:
        """Say what an exception of the SDK means; also blacks out the secrets in its own message."""
        from shifter.adapters.tencent.sdk import never_sent  # noqa: PLC0415 - the SDK is imported already

        code = getattr(error, "code", None)
        if not isinstance(code, str):
            return unknown(f"{action}: {type(error).__name__}")
        longest = LONGEST_FOREIGN_TEXT if code == _SERVER_NETWORK_ERROR else _MAX_MESSAGE_CHARACTERS
        message = self._readable(getattr(error, "message", ""), longest)
        error.message = message  # type: ignore[attr-defined] # a traceback prints it
        if code == _CLIENT_NETWORK_ERROR and error.__context__ is not None:
            why = self._readable(cause_of(error.__context__, self._settings.timeout.total_seconds()))
            if never_sent(error):
                text = f"{action}: cannot connect to {self._settings.endpoint}: {why}"
                return ProviderUnavailableError(text, remedy=reach(self._settings))
            return unknown(f"{action}: {self._settings.endpoint}: {why}")
        request_id = getattr(error, "requestId", None)
        return _error_of(action, code, message, request_id, unknown)

    def _refusal(self, action: str, response: Json, unknown: type[ShifterError]) -> ShifterError:
        error = response["Error"] if isinstance(response["Error"], dict) else {}
        code, message = str(error.get("Code", "")), self._readable(error.get("Message", ""))
        return _error_of(action, code, message, response.get("RequestId"), unknown)

    def _readable(self, message: object, longest: int = _MAX_MESSAGE_CHARACTERS) -> str:
        """Return a message that may be shown: text, one line, short, no secrets."""
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        return plain(self._credentials.hide(text), longest)

    def _client(self, region: str) -> Client:
        with self._lock:
            if region not in self._clients:
                from shifter.adapters.tencent.sdk import new_client  # noqa: PLC0415 - half a second, see sdk.py

                self._clients[region] = new_client(self._settings, region, self._credentials)
            return self._clients[region]

    def _pacer(self, action: str) -> Pacer:
        with self._lock:
            if action not in self._pacers:
                timeout_seconds = self._settings.timeout.total_seconds()
                is_write = action == WRITE_ACTION
                self._pacers[action] = Pacer(
                    self._settings.requests_per_second,
                    timeout_seconds if is_write else max(timeout_seconds, _PATIENCE_SECONDS),
                    self._monotonic,
                    self._sleep,
                )
            return self._pacers[action]


def reach(settings: Tencent) -> str:
    """Return what tells whether this machine reaches the API at all."""
    return f"see whether this machine reaches the endpoint: curl -sI {settings.scheme}://{settings.endpoint}"


def _error_of(action: str, code: str, message: str, request_id: object, unknown: type[ShifterError]) -> ShifterError:
    asked = f" (request {request_id})" if request_id else ""
    text = f"{action}: {code}: {message}{asked}"
    match kind_of(code):
        case Kind.REFUSED:
            return ProviderRefusedError(text, remedy=remedy_of(action, code))
        case Kind.NOT_DONE:
            return ProviderUnavailableError(text, remedy=remedy_of(action, code))
        case Kind.UNKNOWN:
            return unknown(text)
