"""Names of what the lake holds: a kind and a name, written `kind:name`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from infra.errors import Invalid, NotFound

# One row a kind: what it is. A grant names one of these.
KINDS: Final[dict[str, str]] = {
    "table": "An Iceberg table, `table:namespace.name`.",
    "file": "A file in the lake's folder, `file:path/in/the/lake`.",
    "topic": "A Kafka topic, `topic:name`.",
    "index": "A search index, `index:name`.",
    "model": "A registered model, `model:name`.",
    "server": "Sluice itself: `server:users`, `server:roles`, `server:audit`.",
}

# Names are data in SQL, paths, topics and indexes: the narrow alphabet is safe in each of them.
TABLE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}")
RESERVED_NAMESPACES: Final = frozenset({"files", "information_schema", "sluice", "system"})
_FILE_NAME_LIMIT = 240


class BadResource(Invalid):
    code, title = "bad-resource", "That is no name of a resource"


class ResourceNotFound(NotFound):
    """Absent, or not for the caller to know of: the answer is the same bytes for every resource."""

    code, title = "resource-not-found", "No such resource"

    def __init__(self) -> None:
        super().__init__(
            "There is no such resource, or it is not yours to know of.",
            hint="GET /v1/resources lists what you may discover.",
        )


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """One thing in the lake.

    Args:
        kind: a key of `KINDS`.
        name: the name within the kind; for a file its path in the lake, with `/`, never absolute.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def table(cls, name: str) -> Resource:
        """Raises BadResource where the name can't be a table's."""
        if not TABLE_NAME.fullmatch(name) or name.partition(".")[0] in RESERVED_NAMESPACES:
            raise BadResource(
                f"{clip(name)} can't be a table's name.",
                hint="Write namespace.name in lower-case letters, digits and _, for example raw.transactions.",
            )
        return cls("table", name)

    @classmethod
    def file(cls, path: str) -> Resource:
        """Raises BadResource where the path could mean anything but one place inside the lake."""
        parts = path.split("/")
        if (
            not path
            or len(path.encode(errors="surrogatepass")) > _FILE_NAME_LIMIT
            or any(part in {"", ".", ".."} or part.startswith(".") for part in parts)
            or any(ord(c) < 32 or ord(c) == 127 or c in "\\:*?[]" or 0xD800 <= ord(c) <= 0xDFFF for c in path)
        ):
            raise BadResource(
                f"{clip(path)} can't be a file's path in the lake.",
                hint="Write the path from the lake's folder with /, for example landing/2026-11-24.csv.",
            )
        return cls("file", path)


# A table of Sluice's own, which no list shows: see `sql.canaries`.
CANARY: Final = Resource("table", "canary.rows")


def clip(text: str, limit: int = 80) -> str:
    """A caller's text made safe to repeat in a message: quoted, printable, short."""
    shown = "".join(c if c.isprintable() else "�" for c in text[:limit])
    return f"'{shown}{'…' if len(text) > limit else ''}'"
