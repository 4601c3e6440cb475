"""The JSON answer with rows, for the OpenAPI document; rows themselves are never validated again on their way out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class ColumnOut(BaseModel):
    """A column of the answer."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its type, as Trino writes it.", examples=["decimal(12,2)"])
    masked: bool = Field(description="Whether some rows don't show it clear.")


class RowsPage(BaseModel):
    """Where this page ends."""

    limit: int = Field(description="Most rows on this page.")
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")
    next: str | None = Field(description="Path and query of the next page; null on the last one.")
    total: int | None = Field(None, description="Rows on all pages, where a count was asked for.")


class SnapshotRef(BaseModel):
    """The version that was read."""

    id: str = Field(description="Iceberg's snapshot id, as text.")
    committed_at: datetime = Field(description="When it was committed.")


class PolicyOut(BaseModel):
    """The policy that shaped the answer."""

    version: int = Field(description="The policy version that decided.")
    row_filtered: bool = Field(description="Whether rows may be left out.")
    masked: list[str] = Field(description="Columns of the answer that are not clear on every row.")


class RowsOut(BaseModel):
    """A page of rows."""

    data: list[dict[str, Any]] = Field(description="The rows: an object each, by column.")
    columns: list[ColumnOut] = Field(description="The columns, in order.")
    page: RowsPage = Field(description="How to go on.")
    snapshot: SnapshotRef | None = Field(description="The version that was read; null for what has none.")
    policy: PolicyOut = Field(description="The policy that shaped the answer.")


ROWS_EXAMPLE = {
    "data": [{"transaction_id": "tx-00000042", "amount": "129.90"}],
    "columns": [
        {"name": "transaction_id", "type": "varchar", "masked": False},
        {"name": "amount", "type": "decimal(12,2)", "masked": False},
    ],
    "page": {
        "limit": 1,
        "next_cursor": "Zm9…",
        "next": "/v1/tables/raw.transactions/rows?select=transaction_id%2Camount&limit=1&cursor=Zm9…",
    },
    "snapshot": {"id": "5937117119577207079", "committed_at": "2026-11-24T09:30:00Z"},
    "policy": {"version": 12, "row_filtered": True, "masked": []},
}
