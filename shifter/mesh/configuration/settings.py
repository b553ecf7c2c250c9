"""What TCM keeps for a mesh outside the cluster, and how Istio is told the same.

Access logs, tracing, retries, DNS and the sidecars' size are in no object that an export could find: they are in the
answer to DescribeMesh (service `tcm`, 2021-04-13, structure `MeshConfig`). Where Istio has the same setting it is
proposed as `meshConfig` and `values` for the mesh file. Where it has none, or a person has to decide, that is a note.
Nothing is proposed that TCM does not say: a field that is missing or null leaves Istio's own default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shifter.core.redaction import redacted
from shifter.core.text import plain
from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.yaml_text import yaml_text

NAME: Final = "mesh-settings.yaml"
"""The file of an export that has them. It is no object, and never applied."""

_STDOUT: Final = "/dev/stdout"
_HEAD: Final = (
    "What TCM keeps for this mesh outside the cluster, as a mesh file says it. Copy below `spec:` what should stay.",
)


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """Parts of a mesh file, and in words what could not be put there."""

    mesh_config: Mapping[str, Any] = field(hash=False)
    values: Mapping[str, Any] = field(hash=False)
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """As a file: the notes as comments, then what may be copied."""
        parts = {"meshConfig": self.mesh_config, "values": self.values}
        said = yaml_text({key: part for key, part in parts.items() if part})
        return "".join(f"# {plain(line)}\n" for line in (*_HEAD, *self.notes)) + said


def settings_of(described: Mapping[str, Any]) -> MeshSettings:
    """Return the settings of a mesh.

    Args:
        described: `Mesh` of the answer to DescribeMesh, as JSON.
    """
    config = mapping(described.get("Config"))
    istio, inject = mapping(config.get("Istio")), mapping(config.get("Inject"))
    mesh_config: dict[str, Any] = {}
    proxy: dict[str, Any] = {}
    if isinstance(mode := istio.get("OutboundTrafficPolicy"), str) and mode:
        mesh_config["outboundTrafficPolicy"] = {"mode": mode}
    if istio.get("DisableHTTPRetry") is True:
        mesh_config["defaultHttpRetryPolicy"] = {"attempts": 0}
    if inject.get("HoldApplicationUntilProxyStarts") is True:
        proxy["holdApplicationUntilProxyStarts"] = True
    if dns := _dns(mapping(istio.get("SmartDNS"))):
        proxy["proxyMetadata"] = dns
    mesh_config |= _access_log(mapping(config.get("AccessLog")))
    tracing = mapping(config.get("Tracing"))
    if tracing.get("Enable") is True:
        mesh_config["enableTracing"] = True
        proxy["tracing"] = _tracing(tracing)
    if proxy:
        mesh_config["defaultConfig"] = proxy
    return MeshSettings(mesh_config, _values(config), tuple(_notes(config)))


def _dns(smart: Mapping[str, Any]) -> dict[str, str]:
    names = {
        "IstioMetaDNSCapture": "ISTIO_META_DNS_CAPTURE",
        "IstioMetaDNSAutoAllocate": "ISTIO_META_DNS_AUTO_ALLOCATE",
    }
    return {name: "true" for key, name in names.items() if smart.get(key) is True}


def _access_log(log: Mapping[str, Any]) -> dict[str, Any]:
    if log.get("Enable") is not True or log.get("EnableStdout") is not True:
        return {}
    said = {"accessLogEncoding": log.get("Encoding"), "accessLogFormat": log.get("Format")}
    return {"accessLogFile": _STDOUT, **{key: each for key, each in said.items() if isinstance(each, str) and each}}


def _tracing(tracing: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    sampling = tracing.get("Sampling")
    if isinstance(sampling, int | float) and not isinstance(sampling, bool):
        said["sampling"] = sampling  # percent, in both
    address = mapping(tracing.get("Zipkin")).get("Address")
    if isinstance(address, str) and address:
        said["zipkin"] = {"address": address}
    return said


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    proxy: dict[str, Any] = {}
    if ranges := [
        each for each in sequence(mapping(config.get("Inject")).get("ExcludeIPRanges")) if isinstance(each, str)
    ]:
        proxy["excludeIPRanges"] = ",".join(ranges)
    amounts = mapping(config.get("SidecarResources"))
    resources = {key.lower(): _amounts(amounts.get(key)) for key in ("Requests", "Limits")}
    if any(resources.values()):
        proxy["resources"] = {key: each for key, each in resources.items() if each}
    if proxy:
        values["global"] = {"proxy": proxy}
    if mapping(config.get("Istio")).get("EnablePilotHTTP") is True:
        values["pilot"] = {"env": {"PILOT_HTTP10": "1"}}
    return values


def _amounts(listed: object) -> dict[str, str]:
    each = [mapping(entry) for entry in sequence(listed)]
    return {str(entry["Name"]): str(entry["Quantity"]) for entry in each if entry.get("Name") and entry.get("Quantity")}


def _notes(config: Mapping[str, Any]) -> Iterator[str]:
    log, tracing = mapping(config.get("AccessLog")), mapping(config.get("Tracing"))
    if log.get("Enable") is True:
        if mapping(log.get("SelectedRange")).get("All") is False:
            yield "TCM writes access logs for some namespaces and gateways only; Istio says that by Telemetry objects."
        if mapping(log.get("CLS")).get("Enable") is True:
            topic = str(mapping(log.get("CLS")).get("Topic") or "of this mesh")
            yield f"TCM sends access logs to the CLS topic {topic}; the new clusters need a collection of theirs."
        if log.get("EnableServer") is True:
            address = redacted(str(log.get("Address") or ""))
            yield f"TCM sends access logs to the gRPC server {address}; Istio needs it as an extension provider."
    if tracing.get("Enable") is True and mapping(tracing.get("APM")).get("Enable") is True:
        yield "TCM sends traces to Tencent's APM; Istio needs its address and token as an extension provider."
    if mapping(config.get("Inject")).get("HoldProxyUntilApplicationEnds") is True:
        yield (
            "TCM keeps a sidecar until its application has ended; Istio has EXIT_ON_ZERO_ACTIVE_CONNECTIONS in"
            " proxyMetadata, which waits for connections instead."
        )
    if mapping(config.get("Prometheus")):
        yield "TCM's Prometheus scrapes its own clusters; the new mesh must be scraped, too, before the first step."
