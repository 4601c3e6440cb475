"""The session that a client of Trino's carries in its headers, and what an answer changes in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus, unquote_plus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.datastructures import Headers

from catalog.resources import clip
from infra.errors import BadRequest, Forbidden, Invalid
from policies.principal import Principal
from sql.listings import SESSION_PROPERTIES
from sql.query import Session

_OFFSET: Final = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST: Final = 100  # prepared statements and properties that one request may carry


class BadSession(BadRequest):
    code, title = "bad-session", "A header of the Trino protocol can't be understood"


class UnknownSessionProperty(Invalid):
    code, title = "unknown-session-property", "There is no such session property"


class BadTimeZone(Invalid):
    code, title = "bad-time-zone", "There is no such time zone"


class Impersonation(Forbidden):
    code, title = "impersonation-not-allowed", "The token is another user's"


@dataclass(frozen=True, slots=True)
class ClientSession:
    """What a request's headers say.

    Args:
        names: what a query leaves open: catalog, schema, time zone.
        properties: set by `SET SESSION`.
        prepared: prepared statements by name.
        parametric: whether the client knows times of more than three digits.
    """

    names: Session
    properties: dict[str, str]
    prepared: dict[str, str]
    parametric: bool

    @property
    def seconds(self) -> float | None:
        """The time limit that the session asks for."""
        text = self.properties.get("query_max_run_time")
        return None if text is None else _seconds(text)


def client_session(headers: Headers, principal: Principal) -> ClientSession:
    """Reads `X-Trino-…`.

    Raises:
        BadSession, UnknownSessionProperty, BadTimeZone: a header holds what it can't.
        Impersonation: `X-Trino-User` names somebody else than the token.
    """
    user = headers.get("x-trino-user", principal.name)
    if user != principal.name:
        raise Impersonation(
            f"The token is not {clip(user)}'s.", hint=f"Connect as the user {principal.name}, whose token it is."
        )
    properties = _pairs(headers, "x-trino-session")
    for name, value in properties.items():
        check_property(name, value)
    zone = properties.get("time_zone_id") or headers.get("x-trino-time-zone") or "UTC"
    check_time_zone(zone)
    return ClientSession(
        names=Session(
            catalog=(headers.get("x-trino-catalog") or "lake").lower(),
            schema=headers.get("x-trino-schema", "").lower() or None,
            zone=zone,
        ),
        properties=properties,
        prepared=_pairs(headers, "x-trino-prepared-statement"),
        parametric="PARAMETRIC_DATETIME" in headers.get("x-trino-client-capabilities", "").split(","),
    )


def check_property(name: str, value: str) -> None:
    """Raises UnknownSessionProperty for one that there is not, and BadSession for a value that does not fit."""
    if name not in SESSION_PROPERTIES:
        raise UnknownSessionProperty(
            f"Session property {clip(name)} does not exist.", hint=f"There are {', '.join(sorted(SESSION_PROPERTIES))}."
        )
    if name == "query_max_run_time":
        _seconds(value)
    else:
        check_time_zone(value)


def check_time_zone(zone: str) -> None:
    """Raises BadTimeZone for one that the IANA database and the offsets lack."""
    try:
        known = bool(_OFFSET.fullmatch(zone)) or ZoneInfo(zone) is not None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        raise BadTimeZone(f"{clip(zone)} is no time zone.", hint="Write Europe/Paris, or an offset such as +02:00.")


def pair(name: str, value: str) -> str:
    """`name=value` as a header carries it."""
    return f"{quote_plus(name)}={quote_plus(value)}"


def _pairs(headers: Headers, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in headers.getlist(name):
        for part in line.split(","):
            key, equal, value = part.strip().partition("=")
            if not part.strip():
                continue
            if not equal or len(found) >= _MOST:
                raise BadSession(
                    f"The header {name} can't be understood.", hint="It holds name=value, separated by ','."
                )
            found[unquote_plus(key).lower()] = unquote_plus(value)
    return found


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise BadSession(f"{clip(text)} is no duration.", hint="Write a number and ms, s, m, h or d, for example 30s.")
    return float(found[1]) * _SECONDS[found[2]]
