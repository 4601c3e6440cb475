"""Sample answers for the OpenAPI document, put together field by field: a name means the same in every answer."""

from __future__ import annotations

from typing import Any, Final

_TIME: Final = "2026-11-24T09:30:00Z"
_TABLE: Final = "table:raw.transactions"
_SNAPSHOT: Final = "5937117119577207079"
_GRANT: Final = "6f1d0c5be2a94c7d8b3a1f20"
# For fields that have no example of their own: first by model and name, then by name alone.
_BY_MODEL: Final[dict[str, Any]] = {
    "AuditedOut.masks": {_TABLE: ["email"]},
    "AuditedOut.row_filters": {_TABLE: ["country = 'FR'"]},
    "ColumnOut.masked": False,
    "ColumnOut.name": "amount",
    "ExplainOut.masks": {"email": ["mask-alphanum"]},
    "MetricOut.columns": {"currency": "What was paid in.", "spent": "The sum of amounts."},
    "MetricOut.description": "What was paid for completed purchases.",
    "MetricOut.url": "/v1/metrics/spend",
    "MetricParameterOut.description": "How far back to look.",
    "MetricParameterOut.name": "window",
    "NewTokenOut.id": "Xk3v9QpL2a",
    "NodeOut.kind": "file",
    "NodeOut.name": "landing/2026-11-24.ndjson",
    "OperationOut.result": {"table": _TABLE},
    "OperationOut.state": "succeeded",
    "RoleOut.name": "analyst",
    "SnapshotRef.id": _SNAPSHOT,
    "TableOut.id": _TABLE,
    "UserOut.name": "alice",
}
_BY_NAME: Final[dict[str, Any]] = {
    "actions": ["discover", "read"],
    "allowed": True,
    "action": "read",
    "attributes": {"country": "FR"},
    "authenticated_by": "token",
    "body": None,
    "checks": {"database": "ok", "audit": "ok", "lake": "ok"},
    "code": None,
    "columns": ["transaction_id", "amount"],
    "default": "5m",
    "description": "Reads French transactions.",
    "door": "rows",
    "effect": "allow",
    "expires_at": "2027-02-22T09:30:00Z",
    "format": "iceberg",
    "from": "snapshot:" + _SNAPSHOT,
    "grant": None,
    "grant_id": _GRANT,
    "granted_by": "user:admin",
    "grants": [_GRANT],
    "hidden_rows": [],
    "how": "append",
    "id": _GRANT,
    "key": ["transaction_id"],
    "kind": "table",
    "label": "nightly report",
    "limit": 100,
    "masked": [],
    "masks": {"email": "mask-alphanum"},
    "members": ["user:alice"],
    "method": "GET",
    "metric": "spend",
    "name": "raw.transactions",
    "next": None,
    "next_cursor": None,
    "note": "",
    "operation": "append",
    "parameters": {"window": "5m"},
    "policy_version": 12,
    "principal": "user:alice",
    "problem": None,
    "reason": "The French campaign, until it ends.",
    "request_id": "5f0c9b1e7a3d4c2b8e6f1a90",
    "resource": _TABLE,
    "resources": [_TABLE],
    "revoke": [],
    "revoked_at": None,
    "row_count": 21480,
    "row_filter": "country = 'FR'",
    "row_filters": ["country = 'FR'"],
    "scope": None,
    "size_bytes": 1834020,
    "snapshot_id": _SNAPSHOT,
    "snapshots": {_TABLE: _SNAPSHOT},
    "sql_asked": None,
    "sql_run": "SELECT …",
    "status": 200,
    "summary": "user:alice has read on table:raw.transactions, for a part of it.",
    "table": _TABLE,
    "tag": "month-end-2026-11",
    "tags": ["month-end-2026-11"],
    "title": "Money spent",
    "to": _TABLE,
    "token": "slc_Xk3v9QpL2a_…",
    "total": None,
    "trace": None,
    "type": "duration",
    "has_password": True,
    "url": "/v1/tables/raw.transactions/rows?limit=10",
    "user": "alice",
    "version": 12,
    "versioned": True,
}


def sample(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 - one branch a form of schema
    """A value that fits a schema.

    Args:
        schema: of the value.
        schemas: those that `$ref` names.

    Raises:
        LookupError: a text has no example, so that its sample would say nothing.
    """
    if "$ref" in schema:
        return sample(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for name in ("example", "const"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    if "anyOf" in schema:
        return sample(next(each for each in schema["anyOf"] if each.get("type") != "null"), schemas)
    match schema.get("type"):
        case "object" if "properties" in schema:
            model = schema.get("title", "")
            return {name: _field(model, name, field, schemas) for name, field in schema["properties"].items()}
        case "object":
            return {}
        case "array":
            return [sample(schema["items"], schemas)]
        case "boolean":
            return False
        case "integer" | "number":
            return 1
        case "null":
            return None
        case "string" if schema.get("format") == "date-time":
            return _TIME
    raise LookupError(f"no example: {schema.get('title') or schema}")


def _field(model: str, name: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if f"{model}.{name}" in _BY_MODEL:
        return _BY_MODEL[f"{model}.{name}"]
    if name not in _BY_NAME or schema.get("examples") or "enum" in schema or "const" in schema or _has_models(schema):
        return sample(schema, schemas)
    return _BY_NAME[name]


def _has_models(schema: dict[str, Any]) -> bool:
    """Whether it is made of things that have fields of their own."""
    return "$ref" in schema or "$ref" in schema.get("items", {})
