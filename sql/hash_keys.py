"""The key of keyed hashes for Trino: a table that expressions look it up in, so that no text of SQL holds it.

Trino's EXPLAIN, its query's JSON and its events show mask expressions. They show this sub-query, and never what it
finds. Nobody may select from the table but the identity that masks are evaluated as; Sluice itself has no name for it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pyarrow as pa
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError
from sqlglot import exp

from catalog.lake import Lake
from infra.keys import Keys

NAMESPACE: Final = "sluice"  # one of `catalog.resources.RESERVED_NAMESPACES`
TABLE: Final = "hash_keys"
# What the hash of one query alone would need besides the key can't be told to Trino for all pages of an answer.
WITHHELD: Final = frozenset({"sha-256-query-local"})
_SCHEMA: Final = pa.schema([("key", pa.binary())])


def publish(lake: Lake, keys: Keys) -> None:
    """Puts the key where Trino finds it, if it is not there yet."""
    try:
        table = lake.iceberg.load_table(f"{NAMESPACE}.{TABLE}")
    except NoSuchTableError:
        with suppress(NamespaceAlreadyExistsError):
            lake.iceberg.create_namespace(NAMESPACE)
        table = lake.iceberg.create_table(f"{NAMESPACE}.{TABLE}", _SCHEMA)
    found = table.scan().to_arrow().column("key").to_pylist()
    if found != [keys.masks]:
        (table.overwrite if found else table.append)(pa.table({"key": [keys.masks]}, schema=_SCHEMA))


def with_keys(tree: exp.Expr) -> exp.Expr:
    """A tree in which Trino can work out the keyed hashes."""
    return tree.transform(_keyed)


def _keyed(node: exp.Expr) -> exp.Expr:
    if not isinstance(node, exp.Anonymous) or node.name.lower() != "sluice_keyed_hash":
        return node
    table = exp.table_(TABLE, db=NAMESPACE, catalog="lake", quoted=True)
    key = exp.select(exp.column("key", quoted=True)).from_(table).subquery()
    hashed = _call("hmac_sha256", _call("to_utf8", node.expressions[0]), key)
    return exp.Lower(this=_call("to_hex", hashed))


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))
