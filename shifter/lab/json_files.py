"""How the lab writes JSON that somebody else may read at the same moment: Envoy, another process, a person.

Such a file appears whole, by rename: Envoy watches for moves, the lab reads the load's snapshot while it is renewed,
and a report that was cut short would look like a broken lab.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


def write_json(path: Path, content: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Write a file that readers see whole or not at all.

    Args:
        path: replaced if it is there; its folder must exist.
        content: JSON values.
        indent: spaces per level for files that people read; None means one line.

    Raises:
        OSError: it cannot be written; what was at `path` is still there, and nothing else is left behind.
    """
    # Named by its writer, so that two of them never share a scratch file.
    scratch = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        scratch.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
