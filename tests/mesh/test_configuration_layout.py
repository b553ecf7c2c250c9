"""Which file an object is in: always inside the folder, never another one's."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shifter.mesh.configuration.kinds import API_GATEWAY, GATEWAY, GATEWAY_CLASS, SECRET, VIRTUAL_SERVICE
from shifter.mesh.configuration.layout import (
    Identity,
    identity_of,
    is_inside,
    path_of,
    path_of_body,
    segment,
)
from tests.mesh.configurations import SAYABLE, an_object

NAMES = st.one_of(
    st.text(SAYABLE, min_size=1, max_size=300),
    st.text(st.sampled_from("abAB.-/%~ 0C"), min_size=1, max_size=12),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", fullmatch=True),
    st.sampled_from(
        [".", "..", "con", "nul.txt", "COM1", "a" * 253, "a/../../etc", "_cluster", "manifest.json", "%6Eul"]
    ),
)


@given(NAMES)
@example("\0")
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    path = path_of(VIRTUAL_SERVICE, name, name)

    assert is_inside(path)
    assert len(PurePosixPath(path).parts) == 3
    assert all(len(part.encode()) <= 255 and part.isprintable() for part in PurePosixPath(path).parts)


@given(NAMES, NAMES)
@example("A", "a")
@example("nul", "%6Eul")
@example("a" * 253, "a" * 252 + "b")
def test_two_names_never_share_a_file_also_where_capitals_do_not_count(one: str, other: str) -> None:
    assert (segment(one).lower() == segment(other).lower()) == (one == other)


@given(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", fullmatch=True))
def test_a_name_of_kubernetes_stays_as_it_is(name: str) -> None:
    assert segment(name) in {name, f"%{ord(name[0]):02X}{name[1:]}"}


@pytest.mark.parametrize("name", ["con", "nul", "aux.x", "com1", "lpt9.tar.gz"])
def test_no_file_is_called_like_a_device_of_windows(name: str) -> None:
    assert segment(name).startswith("%")


def test_the_path_is_the_guides() -> None:
    assert path_of(VIRTUAL_SERVICE, "shop", "checkout") == "shop/virtualservices/checkout.yaml"
    assert path_of(SECRET, "shop", "tls") == "shop/secrets/tls.yaml"


def test_the_two_kinds_called_gateway_have_two_folders() -> None:
    assert path_of(GATEWAY, "a", "b") == "a/gateways/b.yaml"
    assert path_of(API_GATEWAY, "a", "b") == "a/gateways.gateway.networking.k8s.io/b.yaml"


def test_what_has_no_namespace_has_a_folder_that_none_can_have() -> None:
    assert path_of(GATEWAY_CLASS, "", "istio") == "_cluster/gatewayclasses.gateway.networking.k8s.io/istio.yaml"


def test_an_object_without_a_name_has_no_file() -> None:
    with pytest.raises(ValueError, match="has no name or no namespace"):
        path_of(VIRTUAL_SERVICE, "", "checkout")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../b", "a\\b", "a\0b"])
def test_paths_that_lead_elsewhere_are_recognised(path: str) -> None:
    assert not is_inside(path)


def test_an_object_says_who_it_is_whatever_its_version() -> None:
    one = an_object(GATEWAY, "front") | {"apiVersion": "networking.istio.io/v1"}

    assert identity_of(one) == Identity("shop", "networking.istio.io", "Gateway", "front")
    assert str(identity_of(one)) == "Gateway shop/front"
    assert str(identity_of(an_object(GATEWAY_CLASS, "istio"))) == "GatewayClass istio"


@pytest.mark.parametrize(
    "body", [None, [], {}, {"kind": "Gateway"}, {"apiVersion": "v1", "kind": "X", "metadata": {"name": ""}}]
)
def test_what_does_not_say_who_it_is_is_nobody(body: object) -> None:
    assert identity_of(body) is None
    assert path_of_body(body) is None


def test_a_body_is_where_it_would_be_written() -> None:
    assert path_of_body(an_object(GATEWAY, "front")) == "shop/gateways/front.yaml"
