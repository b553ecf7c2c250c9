from __future__ import annotations

import re
from pathlib import Path

from shifter.core.documents.leasing import LeaseTiming, Leasing
from shifter.core.documents.schema import show_duration


def test_the_documented_timing_of_the_lease_is_the_default_one(root: Path) -> None:
    text = (root / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))

    leasing = Leasing()

    assert rows == {
        str(field.alias): show_duration(getattr(leasing, name)) for name, field in Leasing.model_fields.items()
    }
    assert f"**{LeaseTiming().hand_over_seconds:g} s**" in text


def test_every_command_names_the_namespace_that_the_chart_is_installed_into(root: Path) -> None:
    text = (root / "docs" / "operations.md").read_text(encoding="utf-8")
    named = re.findall(r"kubectl (?:-n|create namespace|label namespace) ([a-z-]+)", text)

    assert set(named) == {"shifter-system"}
