"""What an index holds of a resource, as the text that is kept in the index itself, so that both change together."""

from __future__ import annotations

import base64
from array import array
from datetime import datetime

import orjson

from catalog.resources import Resource
from search.index import Indexed


def to_text(state: Indexed) -> str:
    """The text of a state."""
    return orjson.dumps(
        {
            "kind": state.resource.kind,
            "name": state.resource.name,
            "uuid": state.uuid,
            "stamp": state.stamp,
            "snapshot_id": state.snapshot_id,
            "committed_at": state.committed_at,
            "indexed_at": state.indexed_at,
            "files": base64.b64encode(array("Q", sorted(state.files)).tobytes()).decode(),
            "rows": state.rows,
            "complete": state.complete,
        }
    ).decode()


def from_text(text: str) -> Indexed:
    """The state of a text."""
    said = orjson.loads(text)
    return Indexed(
        resource=Resource(said["kind"], said["name"]),
        uuid=said["uuid"],
        stamp=said["stamp"],
        snapshot_id=said["snapshot_id"],
        committed_at=datetime.fromisoformat(said["committed_at"]),
        indexed_at=datetime.fromisoformat(said["indexed_at"]),
        files=frozenset(array("Q", base64.b64decode(said["files"]))),
        rows=said["rows"],
        complete=said["complete"],
    )
