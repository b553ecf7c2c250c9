"""What a failed call to the API server means, and that what is said to mend it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shifter.adapters.kube.answers import refusal
from shifter.adapters.kube.failures import DEFINE, ROLES, store_error, store_errors
from shifter.errors import ConflictError, NotFoundError, RefusedError, ShifterError, StoreUnavailableError
from shifter.ports.kube import Failing, KubeError

DOCS = Path(__file__).parents[2] / "docs"
RBAC = 'shifts.shifter.io is forbidden: User "quota-bot" cannot list resource "shifts" in API group "shifter.io"'
POLICY = (
    "shiftorders.shifter.io \"pause-1\" is forbidden: ValidatingAdmissionPolicy 'orders.x' with binding 'orders.x'"
    " denied request: ann may not pause shift shop: that needs the verb pause on shifts.shifter.io in namespace x"
)
NAMESPACE_GOES = (
    'shiftorders.shifter.io "pause-1" is forbidden: unable to create new content in namespace x because it is being'
    " terminated"
)
DEFINITION_GOES = "create not allowed while custom resource definition is terminating"
QUOTA = (
    'shiftorders.shifter.io "pause-1" is forbidden: exceeded quota: small, requested: count/shiftorders.shifter.io=1,'
    " used: count/shiftorders.shifter.io=5, limited: count/shiftorders.shifter.io=5"
)
WEBHOOK = 'admission webhook "guard.example.com" denied the request: not today'
AUTHORS = "ValidatingAdmissionPolicy 'orders.x' with binding 'orders.x' denied request: spec.by must be who gives it"
ABSENT = "the server could not find the requested resource"


def _error(status: int, message: str, reason: str = "") -> KubeError:
    """Return what the client makes of a Status as an API server sends it."""
    body = f'{{"kind": "Status", "code": {status}, "reason": "{reason}", "message": "{_quoted(message)}"}}'
    return refusal(status, body.encode(), writes=True)


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (_error(403, RBAC, "Forbidden"), RefusedError, ROLES),
        (_error(403, POLICY, "Forbidden"), RefusedError, ROLES),
        (_error(403, NAMESPACE_GOES, "Forbidden"), RefusedError, "the namespace is being deleted, and nothing new"),
        (
            _error(403, f"x is forbidden: {DEFINITION_GOES}", "Forbidden"),
            RefusedError,
            "the definition is being deleted",
        ),
        (_error(405, DEFINITION_GOES, "MethodNotAllowed"), RefusedError, "the definition is being deleted"),
        (_error(403, QUOTA, "Forbidden"), RefusedError, "`kubectl describe quota` in that namespace"),
        (_error(403, WEBHOOK, "Forbidden"), RefusedError, "whoever runs that webhook"),
        (_error(404, ABSENT, "NotFound"), RefusedError, DEFINE),
        (_error(404, 'namespaces "x" not found', "NotFound"), NotFoundError, "-n names the namespace"),
        (_error(422, "spec.verb: Unsupported value", "Invalid"), RefusedError, DEFINE),
        (
            _error(401, "Unauthorized", "Unauthorized"),
            StoreUnavailableError,
            "log in again, until `kubectl auth whoami`",
        ),
        (_error(409, "already exists", "AlreadyExists"), ConflictError, ""),
    ],
)
def test_each_refusal_is_told_with_what_mends_it(error: KubeError, kind: type[ShifterError], remedy: str) -> None:
    found = store_error("pause of shop cannot be ordered", error)

    assert type(found) is kind
    assert str(found).startswith("pause of shop cannot be ordered: ")
    assert found.remedy.startswith(remedy)
    assert bool(found.remedy) == bool(remedy)


def test_what_an_admission_policy_wants_is_said_alone() -> None:
    found = store_error("pause of shop cannot be ordered", _error(422, AUTHORS, "Invalid"))

    assert (type(found), found.remedy) == (RefusedError, "")
    assert str(found).endswith("spec.by must be who gives it")


def test_no_role_is_asked_for_where_none_helps() -> None:
    for error in (
        _error(403, NAMESPACE_GOES, "Forbidden"),
        _error(403, f"x is forbidden: {DEFINITION_GOES}", "Forbidden"),
    ):
        found = store_error("rollback of shop cannot be ordered", error)

        assert "role" not in found.remedy
        assert found.remedy.endswith("going back is by hand: docs/runbook.md, 'shifter is dead'")


@pytest.mark.parametrize(
    "error",
    [
        KubeError(Failing.UNAVAILABLE, "the API server https://x does not answer (connection refused)"),
        KubeError(Failing.AMBIGUOUS, "the API server https://x does not answer (no answer within 10 s)"),
        _error(500, "etcdserver: request timed out", "InternalError"),
        _error(503, "the server is currently unable to handle the request", "ServiceUnavailable"),
    ],
)
def test_a_server_that_is_away_is_told_with_what_goes_on_without_it(error: KubeError) -> None:
    with pytest.raises(StoreUnavailableError) as caught, store_errors("who asks cannot be told"):
        raise error

    assert "shifter still goes back by itself, for 15 minutes even if" in caught.value.remedy
    assert caught.value.remedy.endswith("by hand: docs/runbook.md, 'shifter is dead'")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            KubeError(Failing.UNAVAILABLE, "... does not answer ([SSL: CERTIFICATE_VERIFY_FAILED] ...)"),
            "is that the kubeco",
        ),
        (KubeError(Failing.UNAVAILABLE, "the API server https://x was not asked: the plugin failed"), ""),
        (_error(429, "too many requests", "TooManyRequests"), ""),
    ],
)
def test_who_answers_or_was_not_asked_is_not_called_away(error: KubeError, remedy: str) -> None:
    found = store_error("shifts cannot be listed", error)

    assert type(found) is StoreUnavailableError
    assert (found.remedy[: len(remedy)], bool(found.remedy)) == (remedy, bool(remedy))


def test_every_section_that_a_hint_names_is_there() -> None:
    errors = [
        _error(403, RBAC),
        _error(403, NAMESPACE_GOES),
        _error(405, DEFINITION_GOES),
        KubeError(Failing.AMBIGUOUS, ""),
    ]
    hints = " ".join(store_error("it failed", error).remedy for error in errors)
    named = re.findall(r"docs/(\w+\.md), '([^']+)'", hints)

    assert {page for page, _ in named} == {"operations.md", "runbook.md"}
    for page, section in named:
        assert re.search(rf"^#+ {re.escape(section)}", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE), section
