"""Does the runbook serve whoever has kubectl alone? What it copies out is what is installed, and is understood."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
import yaml

from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.news import LEASE_NAME
from shifter.adapters.kube.objects import order_from
from tests.docs.test_docs import COMMAND_LINES, ROOT
from tests.kube_schemas import broken_rules, problems, read_schemas

DOCS = ("docs/runbook.md", "docs/operations.md")
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
KUBECTL = [(doc, words) for doc, words in COMMAND_LINES if doc in DOCS and words[0] == "kubectl"]
RAW_ORDERS = [words[-1] for _, words in KUBECTL if "<<<" in words]
CHAPTERS = dict(re.findall(r"^##+ (.+)\n((?:(?!^##).*\n?)*)", RUNBOOK, re.MULTILINE))
OF_A_FILE = re.compile(
    r"sqlite3|systemctl|\.lock\b|shifter\.db\b|lock file|state file|restart the service|service's machine"
)
"""What there is on a machine with a file only."""


@pytest.fixture(scope="module")
def installed() -> Sequence[Mapping[str, Any]]:
    text = (ROOT / "deploy/install.yaml").read_text(encoding="utf-8")
    return [found for found in yaml.safe_load_all(text) if found]


def test_stopping_and_going_back_can_be_ordered_without_the_command_line() -> None:
    verbs = {json.loads(order)["spec"]["verb"] for order in RAW_ORDERS}

    assert verbs == {"rollback", "pause", "freeze"}


@pytest.mark.parametrize("text", RAW_ORDERS)
def test_an_order_to_copy_is_taken_by_the_definition_and_understood(text: str) -> None:
    body = json.loads(text)
    schema = read_schemas()["shifter.io", "shiftorders"]
    kept = {**body, "metadata": {"resourceVersion": "7", "creationTimestamp": "2026-03-01T12:00:00Z"}}

    assert (body["apiVersion"], body["kind"]) == (SHIFT_ORDERS.api_version, SHIFT_ORDERS.name)
    assert [*problems(schema, body, None), *broken_rules(schema, body, None)] == []
    assert str(order_from(kept).request.verb) == body["spec"]["verb"]


def test_what_kubectl_is_told_to_look_at_is_installed(installed: Sequence[Mapping[str, Any]]) -> None:
    (deployment,) = (each for each in installed if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]
    volumes = {each["configMap"]["name"] for each in pod["spec"]["volumes"] if "configMap" in each}
    volumes |= {each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each}
    names = set(re.findall(r"(?:ConfigMap|Secret) `([\w-]+)`|configmap ([\w-]+) ", RUNBOOK))
    labels = {label for _, words in KUBECTL for flag, label in pairwise(words) if flag == "-l"}

    assert {name for pair in names for name in pair if name} == volumes
    assert labels == {"app.kubernetes.io/name=shifter"}
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "shifter"
    assert set(re.findall(r"deployment/([\w-]+)", RUNBOOK)) == {deployment["metadata"]["name"]}
    assert set(re.findall(r"(?:get lease|the Lease) `?([\w-]+)", RUNBOOK)) - {"while"} == {LEASE_NAME}
    assert set(re.findall(r"--replicas=(\d)", RUNBOOK)) == {"0", str(deployment["spec"]["replicas"])}


def test_every_kind_that_holds_what_a_file_holds_is_kept_for_the_report() -> None:
    (kept,) = (words for _, words in KUBECTL if words[-1] == "shifter-state.yaml")
    kinds = {SHIFTS.plural, SHIFT_FLEETS.plural, SHIFT_RECORDS.plural}

    assert set(kept[kept.index("get") + 1].split(",")) == kinds


def test_a_chapter_about_what_a_file_has_says_what_a_cluster_has() -> None:
    about_a_file = {name for name, text in CHAPTERS.items() if OF_A_FILE.search(text)}
    silent = {name for name in about_a_file if not re.search("cluster", CHAPTERS[name], re.IGNORECASE)}

    assert {"Hold: lease", "Hold: unreadable", "Hold: bug", "The store", "Hold: restored"} <= about_a_file
    # What has a heading of its own beside one for a cluster needs no more.
    assert silent == {"With a file"}


def test_the_chapter_of_a_lease_restarts_nothing_that_another_one_leads() -> None:
    in_a_cluster = CHAPTERS["Hold: lease"].partition("**In a cluster**")[2]

    assert "| a pod that runs, renewed less than 30 s ago (UTC) | nothing: " in in_a_cluster
    assert "put the file back" not in in_a_cluster


def test_what_a_restored_shift_may_not_do_is_not_advised() -> None:
    rows = re.findall(r"^\| `(Completed|RolledBack)` \|.*\| (.+?) \|$", CHAPTERS["Hold: restored"], re.MULTILINE)

    assert [phase for phase, _ in rows] == ["Completed", "RolledBack"]
    assert not any("--adopt" in advice for _, advice in rows)
    assert all(re.search(r"`shifter rollback shop`.*`shifter retry shop`", advice) for _, advice in rows)
