"""Which lake files a table was registered from, as properties of tables and summaries of snapshots tell."""

from __future__ import annotations

import json
from collections.abc import Mapping


def source_files(properties: Mapping[str, str]) -> list[str]:
    """Paths in the lake, in order, each once."""
    try:
        paths = json.loads(properties.get("sluice.sources", "[]"))
    except ValueError:  # another writer's property of that name
        return []
    return sorted({path for path in paths if isinstance(path, str)}) if isinstance(paths, list) else []
