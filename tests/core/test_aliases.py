"""Names go consistently, so that who reads can still tell them apart; what is no name stays."""

from __future__ import annotations

import time

import pytest

from shifter.core.aliases import Aliases


def test_a_name_has_one_alias_everywhere_and_another_name_another() -> None:
    aliases = Aliases({"name": ["shop", "pay"], "host": ["desk"], "user": ["ann"]})
    text = "shop: ann@desk asked; pay/shop-7d9f at 10.0.0.1:80, 10.0.0.2:80 and 10.0.0.1; shop.yaml, workshop"

    assert aliases.apply(text) == (
        "name-2: user-1@host-1 asked; name-1/name-2-7d9f at ip-1:80, ip-2:80 and ip-1; name-2.yaml, workshop"
    )
    assert aliases.apply("bob@elsewhere shop") == "user-2@elsewhere name-2"


def test_hosts_addresses_and_ids_are_known_by_their_form() -> None:
    aliases = Aliases({})
    text = "http://prom:9090/x shop.example.com fe80::1 lb-front0001/lbl-https443 ins-old00001 eni-00000001"

    assert aliases.apply(text) == "http://host-1:9090/x host-2 ip-1 lb-1/lbl-1 ins-1 eni-1"


def test_of_names_that_begin_alike_the_longest_is_meant() -> None:
    assert Aliases({"name": ["shop", "shop-eu"]}).apply("shop-eu shop") == "name-2 name-1"


def test_two_ids_of_one_kind_are_told_apart() -> None:
    assert Aliases({}).apply("lb-front0001 lb-front0002 lb-front0001") == "lb-1 lb-2 lb-1"


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T12:00:00.000Z", "12:00:00", "spec.traffic.clb.routes.0.domain", "shifter.io/v1alpha1", "3.11.7"],
)
def test_times_places_in_files_and_versions_are_no_names(text: str) -> None:
    assert Aliases({}).apply(text) == text


def test_to_alias_twice_changes_nothing_more() -> None:
    aliases = Aliases({"name": ["shop"]})
    once = aliases.apply("shop at 10.0.0.1 on lb-front0001 http://a.example.com/ ann@desk")

    assert aliases.apply(once) == once


@pytest.mark.parametrize("text", ["a" * 200_000, "a.b-" * 50_000, "://" * 60_000, "1." * 90_000])
def test_no_text_takes_long(text: str) -> None:
    began = time.monotonic()
    Aliases({"name": ["shop"]}).apply(text)

    assert time.monotonic() - began < 10
