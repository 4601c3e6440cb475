"""The tables of Sluice's own database. Migrations of them are in `migrations/`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, Integer, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, stored as UTC and read back with its zone, on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone is not a point in time")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base of every table below."""


class User(Base):
    """A person or a program that may hold tokens."""

    __tablename__ = "users"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Role(Base):
    """A named set of users; who is in it stands in `casbin_rule` (ptype `g`)."""

    __tablename__ = "roles"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Token(Base):
    """A bearer token: only its keyed hash is kept."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_name: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"), index=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str] = mapped_column(Text, default="")
    scope: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CasbinRule(Base):
    """Casbin's own table, in the shape that its SQLAlchemy adapter reads.

    `p` rules: v0 principal, v1 resource pattern, v2 action, v3 effect, v4 expiry (seconds since the epoch, or
    empty), v5 grant id. `g` rules: v0 user, v1 role.
    """

    __tablename__ = "casbin_rule"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    ptype: Mapped[str] = mapped_column(String(8))
    v0: Mapped[str | None] = mapped_column(String(255), index=True)
    v1: Mapped[str | None] = mapped_column(String(255))
    v2: Mapped[str | None] = mapped_column(String(255))
    v3: Mapped[str | None] = mapped_column(String(255))
    v4: Mapped[str | None] = mapped_column(String(255))
    v5: Mapped[str | None] = mapped_column(String(255), index=True)


class Grant(Base):
    """What a grant says beyond Casbin's rule: columns, row filter, masks, why, and by whom.

    `bindings` maps a table's uuid to {column name as granted: Iceberg field id}, so that a rename changes nothing.
    """

    __tablename__ = "grants"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    principal: Mapped[str] = mapped_column(String(160), index=True)
    resource: Mapped[str] = mapped_column(String(255), index=True)
    actions: Mapped[list[str]] = mapped_column(JSON)
    effect: Mapped[str] = mapped_column(String(8))
    columns: Mapped[list[str] | None] = mapped_column(JSON)
    row_filter: Mapped[str | None] = mapped_column(Text)
    masks: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    bindings: Mapped[dict[str, dict[str, int]]] = mapped_column(JSON, default=dict)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(Text, default="")
    granted_by: Mapped[str] = mapped_column(String(160))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PolicyVersion(Base):
    """One row: a number that grows, in the same transaction, with every change of people or rules."""

    __tablename__ = "policy_version"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    version: Mapped[int] = mapped_column(Integer)


class AuditEntry(Base):
    """The audit's index, one row a request: rebuilt from the chained log at will, never the proof itself.

    `sequence` is that of the intent's record; a request id may be the caller's and is no key. `intent` and `outcome`
    are the places in the log behind which the two records stand.
    """

    __tablename__ = "audit_entries"
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    request_id: Mapped[str] = mapped_column(String(512), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    principal: Mapped[str | None] = mapped_column(String(512))
    door: Mapped[str] = mapped_column(String(512))
    decision: Mapped[str] = mapped_column(String(512))
    intent: Mapped[dict[str, Any]] = mapped_column(JSON)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    __table_args__ = (Index("ix_audit_entries_principal_sequence", "principal", "sequence"),)


class AuditResource(Base):
    """Which resources an audited request touched: a row each."""

    __tablename__ = "audit_resources"
    resource: Mapped[str] = mapped_column(String(512), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class AuditPosition(Base):
    """One row: the place in the log up to which it is indexed, which also vouches that the log was that long."""

    __tablename__ = "audit_position"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
    segment: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int] = mapped_column(BigInteger)


class Operation(Base):
    """Long work: what was asked, how far it is, how it ended."""

    __tablename__ = "operations"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(160), index=True)
    state: Mapped[str] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int | None] = mapped_column(Integer)
    request: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    # While it waits for somebody to let it begin: what is needed for that.
    held: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    alive_at: Mapped[datetime] = mapped_column(UtcDateTime)  # when its process last said that it is at work
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Model(Base):
    """A version of a model that a training of ours has registered: one that is not here is never loaded."""

    __tablename__ = "models"
    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    version: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str] = mapped_column(String(160), index=True)
    table: Mapped[str] = mapped_column(String(255), index=True)
    made: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    __table_args__ = (Index("ix_models_name_version", "name", "version"),)


class IdempotencyKey(Base):
    """The answer that a key already got, so that a repeated request changes nothing."""

    __tablename__ = "idempotency_keys"
    principal: Mapped[str] = mapped_column(String(160), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(Integer)
    response: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ScannedBytes(Base):
    """How many bytes a user's queries read within an hour."""

    __tablename__ = "scanned_bytes"
    user_name: Mapped[str] = mapped_column(String(160), primary_key=True)
    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
