"""The configuration of a Trino that asks Sluice: ready files, for its `etc` folder."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from infra.errors import InvalidSettings
from infra.keys import Keys
from infra.settings import Settings

_ACCESS: Final = """\
# Trino asks Sluice what each user may see. The secret opens nothing but these addresses; keep the file from others.
access-control.name=opa
opa.policy.uri={url}/opa/allow?secret={secret}
opa.policy.batched-uri={url}/opa/batch?secret={secret}
opa.policy.row-filters-uri={url}/opa/row-filters?secret={secret}
opa.policy.batch-column-masking-uri={url}/opa/column-masks?secret={secret}
opa.allow-permission-management-operations=false
"""
_EVENTS: Final = """\
# Trino tells Sluice of each query, also of those that did not come through it.
event-listener.name=http
http-event-listener.connect-ingest-uri={url}/trino/events
http-event-listener.connect-http-headers=Authorization:Bearer {secret}
http-event-listener.log-created=true
http-event-listener.log-completed=true
http-event-listener.connect-retry-count=8
http-event-listener.connect-retry-delay=1s
"""
_CONFIG: Final = """\
# Append to etc/config.properties.
# SELECT * means the columns that one may read.
hide-inaccessible-columns=true
"""
_CATALOG: Final = """\
# The lake, under the name that it has in Sluice's SQL.
connector.name=iceberg
{catalog}
fs.hadoop.enabled=true
# SHOW STATS and EXPLAIN would tell of rows that filters hide.
iceberg.table-statistics-enabled=false
iceberg.unique-table-location=true
"""


def trino_config(settings: Settings, keys: Keys) -> dict[str, str]:
    """Each file's text, by its path in Trino's `etc` folder. `config.properties` holds only what is to be appended.

    Raises:
        InvalidSettings: Trino can't use the lake's catalog.
    """
    url = (settings.own_url or f"http://{settings.host}:{settings.port}").rstrip("/")
    return {
        "access-control.properties": _ACCESS.format(url=url, secret=keys.opa.hex()),
        "event-listener.properties": _EVENTS.format(url=url, secret=keys.events.hex()),
        "config.properties": _CONFIG,
        "catalog/lake.properties": _CATALOG.format(catalog="\n".join(_catalog(settings))),
    }


def _catalog(settings: Settings) -> list[str]:
    uri = settings.catalog_uri or ""
    parts = urlsplit(uri)
    if settings.catalog == "hive":
        return ["iceberg.catalog.type=hive_metastore", f"hive.metastore.uri={uri}"]
    if settings.catalog == "rest":
        return ["iceberg.catalog.type=rest", f"iceberg.rest-catalog.uri={uri}"]
    if parts.scheme.startswith("postgresql"):
        return [
            "iceberg.catalog.type=jdbc",
            "iceberg.jdbc-catalog.catalog-name=lake",
            "iceberg.jdbc-catalog.driver-class=org.postgresql.Driver",
            f"iceberg.jdbc-catalog.connection-url=jdbc:postgresql://{parts.hostname}:{parts.port or 5432}{parts.path}",
            f"iceberg.jdbc-catalog.connection-user={parts.username or ''}",
            f"iceberg.jdbc-catalog.connection-password={parts.password or ''}",
            "iceberg.jdbc-catalog.schema-version=V0",
            f"iceberg.jdbc-catalog.default-warehouse-dir=file://{settings.warehouse}",
        ]
    raise InvalidSettings(
        "Trino can't use this catalog: SQLite is for one process on one machine.",
        hint="Set SLUICE_CATALOG=hive and SLUICE_CATALOG_URI=thrift://HOST:9083, or a PostgreSQL URL.",
    )
