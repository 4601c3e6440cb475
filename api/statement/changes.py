"""What `USE`, `SET SESSION`, `PREPARE` and their like change: headers that the client takes over into its session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus
from uuid import uuid4

from api.statement.session import ClientSession, check_property, check_time_zone, pair
from catalog.resources import clip
from infra.errors import Invalid
from sql.known import Known
from sql.listings import LISTINGS
from sql.statements import (
    Deallocate,
    Prepare,
    SetSession,
    SetTimeZone,
    Transaction,
    Use,
    placeholders,
    read_statement,
)

Change = Use | SetSession | SetTimeZone | Prepare | Deallocate | Transaction


class NoSuchPreparedStatement(Invalid):
    code, title = "no-such-prepared-statement", "There is no such prepared statement"


class CatalogNotFound(Invalid):
    code, title = "catalog-not-found", "There is no such catalog"


class SchemaNotFound(Invalid):
    code, title = "schema-not-found", "There is no such schema"


@dataclass(frozen=True, slots=True)
class Changed:
    """A statement that changed the session.

    Args:
        update_type: its name, as Trino's answers have it.
        headers: what the client takes over.
    """

    update_type: str
    headers: dict[str, str]


def change(  # noqa: PLR0911 - one line a kind
    statement: Change, session: ClientSession, known: Callable[[], Known]
) -> Changed:
    """Does what a statement about the session says.

    Args:
        statement: the statement.
        session: of the client, as its headers have it.
        known: what the caller may know of the lake.

    Raises:
        Problem: the session can't be changed so.
    """
    match statement:
        case Use():
            return _use(statement, session, known)
        case SetSession(name, None):
            return Changed("RESET SESSION", {"X-Trino-Clear-Session": name})
        case SetSession(name, value):
            check_property(name, value or "")
            return Changed("SET SESSION", {"X-Trino-Set-Session": pair(name, value or "")})
        case SetTimeZone(None):
            return Changed("SET TIME ZONE", {"X-Trino-Clear-Session": _ZONE})
        case SetTimeZone(zone):
            check_time_zone(zone or "")
            return Changed("SET TIME ZONE", {"X-Trino-Set-Session": pair(_ZONE, zone or "")})
        case Prepare(name, text):
            read_statement(text)
            placeholders(text)
            return Changed("PREPARE", {"X-Trino-Added-Prepare": pair(name, text)})
        case Deallocate(name):
            prepared(session, name)
            return Changed("DEALLOCATE", {"X-Trino-Deallocated-Prepare": quote_plus(name)})
        case Transaction(started=True):
            return Changed("START TRANSACTION", {"X-Trino-Started-Transaction-Id": str(uuid4())})
        case Transaction():
            return Changed("COMMIT", {"X-Trino-Clear-Transaction-Id": "true"})


def prepared(session: ClientSession, name: str) -> str:
    """The text of a prepared statement; raises NoSuchPreparedStatement."""
    text = session.prepared.get(name)
    if text is None:
        raise NoSuchPreparedStatement(f"Prepared statement not found: {clip(name)}.", hint="PREPARE it first.")
    return text


_ZONE: Final = "time_zone_id"


def _use(statement: Use, session: ClientSession, known: Callable[[], Known]) -> Changed:
    catalog = statement.catalog or session.names.catalog
    listed = {listing.schema for listing in LISTINGS.values() if listing.catalog == catalog}
    if not listed:
        raise CatalogNotFound(f"Catalog {clip(catalog)} does not exist.", hint="SHOW CATALOGS lists them.")
    if statement.schema not in listed and (catalog != "lake" or statement.schema not in known().namespaces()):
        raise SchemaNotFound(
            f"Schema does not exist, or is not yours to know of: {clip(f'{catalog}.{statement.schema}')}.",
            hint="SHOW SCHEMAS lists those that you may know of.",
        )
    headers = {"X-Trino-Set-Schema": statement.schema}
    return Changed("USE", {"X-Trino-Set-Catalog": catalog, **headers} if statement.catalog else headers)
