"""Objects of a mesh as an API server sends them, for the tests of what is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from shifter.mesh.configuration.archive import Asked, Page, write_export
from shifter.mesh.configuration.findings import Finding, Target
from shifter.mesh.configuration.kinds import ConfigKind
from shifter.mesh.configuration.layout import identity_of
from shifter.mesh.configuration.lint import findings_of
from shifter.mesh.configuration.manifest import Entry, Manifest, Source
from shifter.mesh.configuration.opening import State, Stored
from shifter.mesh.configuration.reading import read_yaml
from shifter.mesh.yaml_text import yaml_text

Body = dict[str, Any]

SAYABLE: Final = st.characters(exclude_categories=["Cs"])
ODD_TEXTS: Final = st.sampled_from(
    (
        *("yes", "No", "1:30", "010", "0x1f", "1e3", "2020-01-01", "<<", "=", "null", "~", ".inf", "a: b", "-", "- a"),
        *("? b", "---", "...", "1_000", " a\nb", "a\n\n", "\n", "\na", "a \n b\n", "a\n b\n\n\n", "\t\na", "  \na"),
        *("a\r\nb", "x" * 1200, "\x85", "\u2028", "\ufeffa", "\x7f", "a\n# b", "%x", "`", "1s", "10m", "y", "on"),
        "\U0001f600\n",
    )
)
TEXTS: Final = st.one_of(st.text(SAYABLE, max_size=12), ODD_TEXTS)
JSON: Final = st.recursive(
    st.one_of(
        *(TEXTS, st.none(), st.booleans(), st.integers(-(10**18), 10**18)),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=10,
)


def an_object(
    kind: ConfigKind, name: str = "one", spec: object = None, namespace: str = "shop", **metadata: object
) -> Body:
    """Return an object with what a server puts on it."""
    version = kind.served_by((9, 0))[-1]
    body: Body = {
        "apiVersion": kind.at(version).api_version,
        "kind": kind.name,
        "metadata": {
            "name": name,
            "uid": "6f1c2a0e-1111-4222-8333-944445555666",
            "resourceVersion": "1234",
            "generation": 3,
            "creationTimestamp": "2024-06-18T15:03:36Z",
            "managedFields": [{"manager": "kubectl", "operation": "Update"}],
            **({"namespace": namespace} if kind.namespaced else {}),
            **metadata,
        },
        "status": {"observedGeneration": 3},
    }
    return body | ({} if spec is None else {"spec": spec})


def a_page(*bodies: Body, kind: ConfigKind, version: str = "") -> Page:
    """Return objects of one kind as a page."""
    return Page(kind, version or kind.served_by((1, 18))[0], bodies)


def asked(**wants: Any) -> Asked:  # noqa: ANN401 - fields of several types
    """Return what whoever exports wants: plainly an export, unless told otherwise."""
    source = wants.pop("source", Source(cluster="cls-old", mesh="mesh-mn8gnn1g", release="1.18.5"))
    return Asked(source, "1.2.3", "2026-11-22T20:00:00Z", **wants)


def exported(folder: Path, *pages: Page, **wants: Any) -> Manifest:  # noqa: ANN401 - see above
    """Write an export and return its manifest."""
    return write_export(folder, pages, asked(**wants))


def stored(body: Body, owner: str = "") -> Stored:
    """Return an object as it is read from a file, by the way through its text."""
    identity = identity_of(body)
    assert identity is not None
    path = f"{identity.namespace}/{identity.kind}/{identity.name}.yaml"
    read = read_yaml(path, yaml_text(body).encode())
    values = {"path": path, "sha256": "0" * 64, "apiVersion": body["apiVersion"], "kind": body["kind"]}
    entry = Entry.model_validate(values | {"namespace": identity.namespace, "name": identity.name, "owner": owner})
    return Stored(path, State.UNTOUCHED, read, identity, entry)


def said(target: Target, *bodies: Body, owner: str = "") -> tuple[Finding, ...]:
    """Return what lint says of objects."""
    return findings_of([stored(body, owner) for body in bodies], target)
