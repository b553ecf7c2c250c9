"""What is in `deploy/`, as objects. Nothing is rendered here: that what is committed is current is tested with helm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def chart() -> Path:
    return ROOT / "deploy" / "chart"


@pytest.fixture(scope="session")
def installed() -> Sequence[Mapping[str, Any]]:
    """Everything that `kubectl apply -f deploy/install.yaml` sends."""
    text = (ROOT / "deploy" / "install.yaml").read_text(encoding="utf-8")
    return [found for found in yaml.safe_load_all(text) if found]


@pytest.fixture(scope="session")
def definitions(chart: Path) -> Mapping[str, Mapping[str, Any]]:
    """The custom resource definitions, by plural."""
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((chart / "crds").glob("*.yaml"))]
    return {each["spec"]["names"]["plural"]: each for each in found}
