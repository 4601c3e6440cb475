"""Resource patterns: what a grant, or a token's scope, is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from catalog.resources import KINDS, TABLE_NAME, BadResource, Resource, clip
from infra.errors import Invalid

_NAMESPACE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MOST_STARS: Final = 4  # in one segment of a file pattern: what a match costs stays small
_LONGEST: Final = 250


class BadPattern(Invalid):
    code, title = "bad-resource-pattern", "That is no pattern of resources"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names one resource, or many: `table:raw.transactions`, `table:raw.*`, `table:*`, `file:landing/**`.

    In files `*` is any text within one segment of the path, and `**` is any number of segments. Make one with
    `parse_pattern`.

    Args:
        kind: a key of `KINDS`.
        name: what stands after the colon.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def exact(self) -> bool:
        """Whether it names one resource."""
        return "*" not in self.name

    @property
    def prefix(self) -> str:
        """Of a file pattern: the folder, with its last `/`, that everything it names is in."""
        return self.name[: self.name.partition("*")[0].rfind("/") + 1]

    def matches(self, resource: Resource) -> bool:
        """Whether it names the resource."""
        if self.kind != resource.kind:
            return False
        if self.exact:
            return self.name == resource.name
        if self.kind == "file":
            return _regex(self.name).fullmatch(resource.name) is not None
        return self.name == "*" or resource.name.startswith(self.name[:-1])

    def covers(self, other: Pattern) -> bool:
        """Whether it certainly names everything that the other names; a False may be over-careful."""
        if self.kind != other.kind:
            return False
        if self.name == other.name or other.exact:
            return self.matches(Resource(other.kind, other.name)) if other.exact else True
        if self.kind == "file":
            whole_folder = self.name == "**" or (self.name.endswith("/**") and "*" not in self.name[:-2])
            return whole_folder and other.prefix.startswith(self.prefix)
        return self.matches(Resource(other.kind, other.name))

    def overlaps(self, other: Pattern) -> bool:
        """Whether both may name the same resource; a True may be over-careful."""
        if self.kind != other.kind:
            return False
        if self.exact or other.exact or self.kind != "file":
            return self.covers(other) or other.covers(self)
        return self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)


@lru_cache(maxsize=65536)
def parse_pattern(text: str) -> Pattern:
    """A pattern from its text.

    Raises:
        BadPattern: it is none; the hint has the nearest right form.
    """
    kind, colon, name = text.partition(":")
    if not colon or kind not in KINDS:
        raise _bad(text, f"Start with a kind of resource: {', '.join(f'{kind}:' for kind in KINDS)}")
    if len(text.encode(errors="surrogatepass")) > _LONGEST:
        raise _bad(text, f"Write at most {_LONGEST} bytes")
    if kind == "table":
        namespace, dot, table = name.partition(".")
        if name != "*" and not (dot and _NAMESPACE.fullmatch(namespace) and (table == "*" or _is_table(name))):
            nearest = f"table:{namespace}.*" if _NAMESPACE.fullmatch(namespace) else "table:raw.transactions"
            raise _bad(text, f"Write {nearest}, table:namespace.name, or table:* for all tables")
    elif kind == "file":
        _check_file(text, name)
    elif name != "*" and not _PLAIN_NAME.fullmatch(name):
        raise _bad(text, f"Write {kind}:name, or {kind}:* for all of them")
    return Pattern(kind, name)


def stored_pattern(text: str) -> Pattern:
    """A pattern that was checked when it was stored: reading a hundred thousand of them again takes no second look."""
    kind, _, name = text.partition(":")
    return Pattern(kind, name)


def _is_table(name: str) -> bool:
    if not TABLE_NAME.fullmatch(name):
        return False
    try:
        Resource.table(name)
    except BadResource:
        return False
    return True


def _check_file(text: str, name: str) -> None:
    segments = name.split("/")
    if any("**" in segment and segment != "**" for segment in segments):
        raise _bad(text, "Write ** as a whole segment, for example file:landing/**")
    if any(segment.count("*") > _MOST_STARS for segment in segments) or segments.count("**") > 2:
        raise _bad(text, f"Write at most {_MOST_STARS} stars in a segment and ** at most twice")
    try:
        Resource.file("/".join(segment.replace("*", "x") for segment in segments))
    except BadResource:
        nearest = name.strip("/").replace("\\", "/")
        raise _bad(text, f"Write a path in the lake, for example file:{clip(nearest)[1:-1]}/** or file:**") from None


@lru_cache(maxsize=4096)
def _regex(name: str) -> re.Pattern[str]:
    written = ""
    segments = name.split("/")
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if segment == "**":
            written += ".+" if last else "(?:[^/]+/)*"
        else:
            written += "[^/]*".join(re.escape(part) for part in segment.split("*")) + ("" if last else "/")
    return re.compile(written, re.DOTALL)


def _bad(text: str, hint: str) -> BadPattern:
    return BadPattern(f"{clip(text)} is no pattern of resources.", hint=f"{hint}.")
