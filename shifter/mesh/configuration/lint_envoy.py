"""Rules about EnvoyFilters: changes to Envoy's own configuration, which no API promises to keep.

Facts: `match.proxy.proxyVersion` is a regular expression that is looked for in the proxy's release; a patch that does
not match is left out without a word (`pilot/pkg/model/envoyfilter.go`). Old names of filters still match, as istiod
translates them (`pkg/config/xds/deprecated.go`, the same list in 1.18 and 1.31), but an Envoy knows a filter that is
inserted by its type only. Envoy dropped version 2 of its API in 1.18, which Istio has had since 1.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.configuration.findings import FindingRule, Said, Subject, Target
from shifter.mesh.configuration.kinds import ENVOY_FILTER
from shifter.mesh.configuration.reading import At

_OLD_NAME: Final = re.compile(
    r"envoy\.(?:buffer|cors|csrf|http_dynamo_filter|ext_authz|fault|grpc_http1_bridge|grpc_json_transcoder|grpc_web"
    r"|gzip|health_check|ip_tagging|lua|rate_limit|router|squash|client_ssl_auth|http_connection_manager|mongo_proxy"
    r"|listener\.(?:http_inspector|original_dst|original_src|proxy_protocol|tls_inspector)"
    r"|ratelimit|redis_proxy|tcp_proxy)"
)
_OLD_TYPE: Final = re.compile(
    r"type\.googleapis\.com/envoy\.(?:api\.v2|config\.filter|config\.[a-z_.]+\.v2(?:alpha)?)\b.*"
)
_SIMPLE_PATTERN: Final = re.compile(r"\^?[\w.\\*+?-]{1,40}\$?")
"""Only such expressions are tried here: istiod's cannot run for ever, Python's can."""

_MOST_PLACES: Final = 2000
_TIED: Final = (
    "try it on the new mesh before traffic comes, best with TCM's own release of Istio; it is tied to Envoy's version"
)


def envoy_filter_rules(subject: Subject, target: Target) -> Iterator[Said]:
    """Yield what is to be said of an EnvoyFilter: that it is one, and of each patch what is wrong with it."""
    if subject.kind is not ENVOY_FILTER:
        return
    yield Said(FindingRule.ENVOY_FILTER, ("spec",), "changes Envoy's own configuration", _TIED)
    for index, patch in enumerate(sequence(subject.spec.get("configPatches"))):
        path: At = ("spec", "configPatches", index)
        yield from _for_another_release(mapping(patch), path, target)
        yield from _old_names(mapping(patch), path)
        yield from _old_types(mapping(mapping(patch).get("patch")).get("value"), (*path, "patch", "value"))


def _for_another_release(patch: Mapping[str, Any], path: At, target: Target) -> Iterator[Said]:
    pattern = mapping(mapping(patch.get("match")).get("proxy")).get("proxyVersion")
    if target.release is None or not isinstance(pattern, str) or not pattern:
        return
    at = (*path, "match", "proxy", "proxyVersion")
    if not _SIMPLE_PATTERN.fullmatch(pattern):
        said = "is for releases that an expression says which is not tried here"
        yield Said(
            FindingRule.OTHER_RELEASE, at, said, f"see that it matches {target.release}, or istiod leaves it out"
        )
        return
    try:
        matches = re.search(pattern, target.release) is not None
    except re.error:
        matches = False
    if not matches:
        said = f"is for proxies of {pattern[:60]} and will be left out for {target.release}, without a word"
        yield Said(FindingRule.OTHER_RELEASE, at, said, "change the expression once it was tried with the new release")


def _old_names(patch: Mapping[str, Any], path: At) -> Iterator[Said]:
    chain = mapping(mapping(mapping(patch.get("match")).get("listener")).get("filterChain"))
    outer = mapping(chain.get("filter"))
    below: At = (*path, "match", "listener", "filterChain", "filter")
    places = ((outer, below), (mapping(outer.get("subFilter")), (*below, "subFilter")))
    inserted = (mapping(mapping(patch.get("patch")).get("value")), (*path, "patch", "value"))
    for part, at in (*places, inserted):
        name = part.get("name")
        if isinstance(name, str) and _OLD_NAME.fullmatch(name):
            said = f"uses the old name {name}"
            remedy = "write the name that the new release's configuration dump shows (envoy.filters...)"
            yield Said(FindingRule.OLD_FILTER_NAME, (*at, "name"), said, remedy)


def _old_types(value: object, path: At) -> Iterator[Said]:
    """Yield every type of version 2 below a value. The object was read with a bounded depth, and is bounded in size."""
    left: list[tuple[object, At]] = [(value, path)]
    seen = 0
    while left and seen < _MOST_PLACES:
        part, at = left.pop()
        seen += 1
        if isinstance(part, Mapping):
            kind = part.get("@type")
            if isinstance(kind, str) and _OLD_TYPE.fullmatch(kind):
                said = f"is written for version 2 of Envoy's API: {kind[:120]}"
                yield Said(FindingRule.ENVOY_API_V2, (*at, "@type"), said, "write it for version 3")
            left += [(inner, (*at, key)) for key, inner in part.items() if isinstance(inner, Mapping | list)]
        elif isinstance(part, list):
            left += [(inner, (*at, index)) for index, inner in enumerate(part) if isinstance(inner, Mapping | list)]
