"""What a re-pushed message says of itself, in headers: one row a header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.arrivals import Arrival

REPLAY: Final = "sluice-replay-id"
SEQUENCE: Final = "sluice-replay-sequence"
COUNT: Final = "sluice-replay-count"
REPLACES: Final = "sluice-original-message"
TIME: Final = "sluice-original-time"
SNAPSHOT: Final = "sluice-original-snapshot"
DIGEST: Final = "sluice-original-sha256"

HEADERS: Final = {
    REPLAY: "The replay that sent the message.",
    SEQUENCE: "Its place in the replay, from 0.",
    COUNT: "How many times the transaction was re-pushed, this time included.",
    REPLACES: "The message whose row it takes the place of: topic/partition/offset.",
    TIME: "The event time that the transaction had before; empty where it had none.",
    SNAPSHOT: "The version of the table that it was taken from.",
    DIGEST: "SHA-256 of the message as it would be without a changed time, in hexadecimal.",
}

Headers = Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Repushed:
    """What the processor has to know of a re-pushed message.

    Args:
        replay: the replay's id.
        count: how often it was re-pushed by now.
        replaces: whose place it takes.
    """

    replay: str
    count: int
    replaces: Arrival


def repushed(headers: Headers | None) -> Repushed | None:
    """None for an ordinary message, and for headers that somebody else made up and that make no sense."""
    if not headers:
        return None
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    texts = {name: value.decode(errors="replace") if isinstance(value, bytes) else value or "" for name, value in pairs}
    try:
        return Repushed(texts[REPLAY], int(texts[COUNT]), Arrival.parse(texts[REPLACES]))
    except (KeyError, ValueError):
        return None
