"""What a re-pushed message says of itself: one header, a JSON object of these members, in this order.

One and not seven, because librdkafka takes longer over each header than over a message without any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from pipeline.arrivals import Arrival

HEADER: Final = "sluice-replay"

MEMBERS: Final = {
    "replay": "The replay that sent the message.",
    "sequence": "Its place in the replay, from 0.",
    "count": "How many times the transaction was re-pushed, this time included.",
    "replaces": "The message whose row it takes the place of: topic/partition/offset.",
    "time": "The event time that the transaction had before; null where it had none.",
    "snapshot": "The version of the table that it was taken from, as text.",
    "sha256": "Of the message as it would be without a changed time, in hexadecimal.",
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
    """None for an ordinary message, and for a header that somebody else made up and that makes no sense."""
    if not headers:
        return None
    try:
        told = orjson.loads(dict(headers)[HEADER] or b"")
        return Repushed(str(told["replay"]), int(told["count"]), Arrival.parse(told["replaces"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
