"""Which format an answer gets: `?format=` first, then `Accept`."""

from __future__ import annotations

import re
from functools import lru_cache

from api.formats import FORMATS, Format
from catalog.resources import clip
from infra.errors import NotAcceptable

_RANGE = re.compile(r"\s*([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)\s*((?:;[^,]*)?)")
_QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE)
_HINT = "Ask for one of " + ", ".join(f.media_type for f in FORMATS.values()) + ", or give ?format=KEY."


@lru_cache(maxsize=512)
def negotiate(accept: str | None, key: str | None, default: str = "json") -> Format:
    """Chooses the format.

    Args:
        accept: the `Accept` header; None and `*/*` take the default.
        key: `?format=`, a key of `FORMATS`; it wins.
        default: the key for callers that don't mind.

    Raises:
        NotAcceptable: none that the caller would take.
    """
    if key is not None:
        if key not in FORMATS:
            raise NotAcceptable(
                f"There is no format {clip(key)}.", hint=_HINT, parameter="format", expected=", ".join(FORMATS)
            )
        return FORMATS[key]
    if accept is None or not accept.strip():
        return FORMATS[default]
    ranges = _ranges(accept)
    order = [FORMATS[default], *(format_ for format_ in FORMATS.values() if format_.key != default)]
    best = max(order, key=lambda format_: _quality(format_, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable("None of the formats in Accept is offered.", hint=_HINT, expected=", ".join(FORMATS))
    return best


def _ranges(accept: str) -> dict[tuple[str, str], float]:
    ranges = {}
    for part in accept.split(","):
        found = _RANGE.fullmatch(part)
        if found:
            quality = _QUALITY.search(found[3])
            ranges[found[1].lower(), found[2].lower()] = float(quality[1]) if quality else 1.0
    return ranges


def _quality(format_: Format, ranges: dict[tuple[str, str], float]) -> float:
    """The weight that the most specific matching range gives, as RFC 9110 wants it."""

    def weigh(media_type: str) -> float:
        kind, _, subtype = media_type.partition("/")
        for candidate in ((kind, subtype), (kind, "*"), ("*", "*")):
            if candidate in ranges:
                return ranges[candidate]
        return 0.0

    return max(weigh(media_type) for media_type in format_.media_types)
