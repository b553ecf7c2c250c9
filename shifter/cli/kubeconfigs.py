"""The names in a kubeconfig, for a shell that completes `--context`: read from the files, the cluster is not asked.

Connecting is the adapter's matter and knows much more of these files. This wants nothing but names, and at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

_LARGEST: Final = 10_000_000
"""Bytes of a file that are looked at; a kubeconfig with the certificates of a hundred clusters has a tenth of it."""


def names(kind: str, kubeconfig: str | None, environment: Mapping[str, str]) -> Sequence[str]:
    """Return the names of all contexts, clusters or users; none of a file that cannot be read.

    Args:
        kind: `context`, `cluster` or `user`.
        kubeconfig: the file that was typed; None for those of KUBECONFIG, else `~/.kube/config`.
        environment: for KUBECONFIG and HOME.
    """
    found: dict[str, None] = {}
    for path in _paths(kubeconfig, environment):
        entries = _entries(path, f"{kind}s")
        found |= {str(each["name"]): None for each in entries if isinstance(each, dict) and "name" in each}
    return tuple(found)


def _paths(kubeconfig: str | None, environment: Mapping[str, str]) -> Sequence[Path]:
    if kubeconfig:
        return [Path(kubeconfig)]
    listed = [Path(each) for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    return listed or [Path(environment.get("HOME", "/")) / ".kube" / "config"]


def _entries(path: Path, section: str) -> Sequence[Any]:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return []
        document = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []
    entries = document.get(section) if isinstance(document, dict) else None
    return entries if isinstance(entries, list) else []
