"""Which answers count as failures: one policy's rules, applied to what the gateways counted.

Raw counts stay raw (`evidence.Answers`) until here, since two policies may see the same answer differently: a 501
is a failure of most services and the honest answer of some. The rules hold for both meshes alike.

A client that went away is nobody's failure, and nobody was answered. Envoy tells it in two ways: the response code 0
(no answer was begun), or one of the flags of a downstream that ended the request (DC: the connection, DR: the HTTP/2
stream), which stands beside whatever code the answer had begun with
(https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, RESPONSE_FLAGS). An older
Envoy knows no DR and writes DC or the code alone, so that only all three together mean the same on two meshes.

A gRPC call that fails is HTTP 200 with a status other than 0. The statuses that are the server's failure by default
are those that OpenTelemetry's conventions call errors of a server
(https://opentelemetry.io/docs/specs/semconv/rpc/grpc/): a client's mistake such as NOT_FOUND is an answer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shifter.core.counts.evidence import CLIENT_LEFT, Answer, Answers, Counts

LEFT_FLAGS = frozenset({"DC", "DR"})
"""Envoy's response flags of a client that closed its connection, or reset its stream, before the answer was over."""

_CODE_DIGITS = 3


@dataclass(frozen=True, slots=True)
class BadAnswers:
    """Which answers are failures, and which others are compared between the meshes.

    `codes` are failures and `compared` is told apart, each a response code ("503") or a class of them ("5xx").
    `flags` make an answer a failure whatever its code, and so do the gRPC statuses `grpc` (by default UNKNOWN,
    DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS).
    """

    codes: tuple[str, ...] = ("5xx",)
    flags: tuple[str, ...] = ()
    grpc: tuple[str, ...] = ("2", "4", "12", "13", "14", "15")
    compared: tuple[str, ...] = ("3xx", "401", "403", "404")


def counts_of(answers: Answers, rules: BadAnswers) -> Counts:
    """Judge raw counts by one policy's rules.

    A client that left is in `Counts.left` and nowhere else, also where a rule names its flag. The bad part of a
    custom pair is at most its total: the two are read one after the other, and a scrape may come in between.
    """
    requests = bad = left = 0.0
    kinds: dict[str, float] = {}
    for answer, number in answers.by_answer.items():
        if client_left(answer):
            left += number
            continue
        requests += number
        if is_bad(answer, rules):
            bad += number
        if number:
            for kind in rules.compared:
                if has_code(answer, kind):
                    kinds[kind] = kinds.get(kind, 0.0) + number
    pairs = tuple((name, min(part, total), total) for name, (part, total) in sorted(answers.pairs.items()))
    return Counts(requests, bad, answers.buckets, tuple(sorted(kinds.items())), pairs, left)


def client_left(answer: Answer) -> bool:
    """Say whether the client went away before the answer was over."""
    return answer.code == CLIENT_LEFT or _has_flag(answer, LEFT_FLAGS)


def is_bad(answer: Answer, rules: BadAnswers) -> bool:
    """Say whether an answer is a failure by these rules; of a client that stayed."""
    return (
        answer.grpc in rules.grpc
        or any(has_code(answer, code) for code in rules.codes)
        or _has_flag(answer, rules.flags)
    )


def has_code(answer: Answer, kind: str) -> bool:
    """Say whether an answer has the response code `kind` ("503"), or is of the class `kind` ("5xx")."""
    code = answer.code
    if kind.endswith("xx"):
        return len(code) == _CODE_DIGITS and code[0] == kind[0]
    return code == kind


def _has_flag(answer: Answer, flags: Collection[str]) -> bool:
    return bool(answer.flags) and any(flag in flags for flag in answer.flags.split(","))
