"""The one way to data: decide, rewrite, record, run."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

from catalog.lake import Lake
from catalog.lru import Lru
from catalog.relations import Relation
from catalog.resources import Resource, ResourceNotFound
from catalog.scan import Bound
from infra.errors import Forbidden
from infra.keys import Keys
from policies.decide import decide
from policies.decision import Decision
from policies.index import PolicyIndex
from sql.access import Access, reading_of
from sql.bounds import question_bounds, row_filter_bounds
from sql.cursors import Cursor, Cursors, OutdatedCursor, digest
from sql.engines import Engine, Run
from sql.estimate import Estimate, ScanLimits, TableScan
from sql.governed import Governed, GovernedRelation, RelationKey, relation_key
from sql.known import Known
from sql.paging import after, cut
from sql.parse import output
from sql.prepared import PreparedSql, identity, shown_by
from sql.query import RowsQuestion, SqlQuestion, Version
from sql.resolve import Rows, parameters_of, resolve, shape_of
from sql.result import OutputColumn, Page, Result
from sql.rewrite import govern
from sql.rows import count_tree, rows_tree, table_of
from sql.values import Value


class NotAllowed(Forbidden):
    code, title = "not-allowed", "You may know of it, but not do this"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A governed question, without its values."""

    rows: Governed
    count: Governed | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query that was looked up, allowed and rewritten."""

    engine: Engine
    governed: Governed
    values: Mapping[str, Value | None]
    bounds: Mapping[RelationKey, Sequence[Bound]]


class Policies(Protocol):
    """Where the policy in force comes from."""

    def current(self) -> PolicyIndex:
        """The policy of this very moment."""


class Door:
    """Every way to data goes through here.

    Args:
        lake, policies, engine: what is asked.
        keys: for cursors and entity tags.
        limits: of what queries may scan; None for none.
        embedded: reads what no other engine can: raw files, lists that are given with a query, rows by their places.
            The same engine where there is one only.
    """

    def __init__(
        self,
        lake: Lake,
        policies: Policies,
        engine: Engine,
        keys: Keys,
        limits: ScanLimits | None = None,
        *,
        embedded: Engine | None = None,
    ) -> None:
        self._lake, self._policies, self._engine, self._keys = lake, policies, engine, keys
        self._limits = limits
        self.embedded = embedded or engine
        self._cursors = Cursors(keys.cursors)
        self._prepared: Lru[tuple[object, ...], _Prepared] = Lru(1024)
        self._sql = PreparedSql()

    def decide(self, access: Access, action: str, resource: Resource, relation: Relation | None = None) -> Decision:
        """The decision, noted in the audit.

        Raises:
            ResourceNotFound: the principal may not know of it: the same as for one that does not exist.
            NotAllowed: it may be known, but not this.
        """
        with access.timed("policy"):
            index = self._policies.current()
        return self._decided(access, index, action, resource, relation)

    def _decided(
        self, access: Access, index: PolicyIndex, action: str, resource: Resource, relation: Relation | None = None
    ) -> Decision:
        with access.timed("policy"):
            decision = decide(index, access.principal, action, resource, relation, now=datetime.now(UTC))
        access.trail.decided(decision)
        if not decision.known:
            raise ResourceNotFound()
        if not decision.allowed:
            raise NotAllowed(
                f"You may not {action} {resource}.",
                hint=f"Ask somebody who may grant on it for the action '{action}'.",
                action=action,
            )
        return decision

    def rows(self, access: Access, resource: Resource, question: RowsQuestion, action: str = "read") -> Result:
        """Answers the rows grammar over a table or a file: a page, or all rows where the question has no limit.

        Raises:
            Problem: whatever keeps the question from being answered.
        """
        self.decide(access, action, resource)
        asked = digest(resource, question.select, question.where, question.order, question.version, action)
        cursor = None
        if question.cursor is not None:
            cursor = self._cursors.open(question.cursor, user=access.principal.name, question=asked)
        with access.timed("catalog"):
            relation = self._relation(resource, question.version, cursor)
        engine = self.embedded if resource.kind == "file" else self._engine
        decision = shown_by(engine, self.decide(access, action, resource, relation))
        if cursor is not None and cursor.fingerprint != decision.fingerprint:
            raise OutdatedCursor(
                "What you may see has changed since the last page.", hint="Start again without a cursor."
            )
        with access.timed("rewrite"):
            rows = replace(resolve(question, relation, decision), positions=engine.positions)
            if cursor is not None:
                rows = replace(rows, after=after(cursor, rows.after_types))
            key = (*identity(GovernedRelation(relation, decision)), decision.columns)
            shape = (*key, shape_of(rows), question.count)
            prepared = self._prepared.get(shape, lambda: _prepare(rows, decision, engine, question.count))
            values = {name: value for name, (value, _) in parameters_of(rows).items()}
        salt = cursor.salt if cursor is not None else secrets.token_bytes(16)
        bounds = row_filter_bounds(relation, decision) + question_bounds(rows, decision)
        base = next(iter(prepared.rows.relations))
        self._record(access, prepared.rows, values, None, [column.name for column in rows.columns])
        with access.timed("query"):
            answer = engine.execute(
                Run(
                    prepared.rows,
                    values,
                    {base: bounds},
                    salt,
                    stream=rows.limit is None,
                    user=access.principal.name,
                    request_id=access.request_id,
                )
            )
        total = None
        if prepared.count is not None:
            with access.timed("count"):
                where = {name: value for name, value in values.items() if name.startswith("p")}
                counted = engine.execute(
                    Run(
                        prepared.count,
                        where,
                        {base: row_filter_bounds(relation, decision)},
                        salt,
                        user=access.principal.name,
                        request_id=access.request_id,
                    )
                )
                total = int(pa.Table.from_batches(list(counted), schema=counted.schema)["total"][0].as_py())
                counted.close()
        masked = tuple(column.name for column in rows.columns if column.name in decision.masked)
        template = Cursor(
            access.principal.name,
            asked,
            relation.stamp,
            relation.snapshot.id if relation.snapshot else None,
            decision.fingerprint,
            salt,
            (),
        )
        names = [column.name for column in rows.columns]
        return Result(
            columns=tuple(OutputColumn(column.name, column.type, column.name in masked) for column in rows.columns),
            schema=answer.schema,
            batches=iter(answer),
            relations=(relation,),
            policy_version=decision.policy_version,
            row_filtered=decision.row_filtered,
            masked=masked,
            etag=self._etag(access, decision.policy_version, (key, asked, question.cursor, rows.limit, question.count)),
            total=total,
            close=answer.close,
            stop=answer.stop,
            paginate=lambda table: self._page(table, rows, names, template),
        )

    def query(self, access: Access, question: SqlQuestion) -> Result:
        """Answers a query in Trino's SQL.

        Raises:
            Problem: whatever keeps the question from being answered.
        """
        asked = self._governed(access, question)
        governed, values = asked.governed, asked.values
        read = [*governed.relations.values()]
        if self._limits is not None and read:
            self._limits.allow(access.principal.name, self._scans(asked))
        self._record(access, governed, values, question.text, [name for item in read for name in item.decision.columns])
        with access.timed("query"):
            answer = asked.engine.execute(
                Run(
                    governed,
                    values,
                    asked.bounds,
                    secrets.token_bytes(16),
                    stream=True,
                    seconds=question.seconds,
                    user=access.principal.name,
                    request_id=access.request_id,
                )
            )
        versions = {item.decision.policy_version for item in read}
        masked = tuple(dict.fromkeys(name for item in read for name in item.decision.masked))
        return Result(
            columns=output(answer.schema),
            schema=answer.schema,
            batches=iter(answer),
            relations=tuple(item.relation for item in read),
            policy_version=max(versions, default=0),
            row_filtered=any(item.decision.row_filtered for item in read),
            masked=masked,
            etag=self._etag(access, max(versions, default=0), (governed.sql, repr(values))),
            close=answer.close,
            stop=answer.stop,
            fingerprints=tuple(item.decision.fingerprint for item in read),
        )

    def estimate(self, access: Access, question: SqlQuestion) -> Estimate:
        """What a query would read, from the tables' manifests; nothing runs.

        Raises:
            Problem: whatever would keep the question from being answered.
        """
        asked = self._governed(access, question)
        read = [*asked.governed.relations.values()]
        columns = [name for item in read for name in item.decision.columns]
        self._record(access, asked.governed, asked.values, question.text, columns)
        return Estimate(self._scans(asked), asked.governed.sql)

    def known(self, access: Access) -> Known:
        """What the caller may know of the lake."""
        return Known(self._lake, self._policies.current(), access.principal)

    def still_allowed(self, access: Access, result: Result) -> bool:
        """Whether a policy of this moment would give the same view of all that a result reads."""
        index = self._policies.current()
        if index.version == result.policy_version:
            return True
        decisions = [
            decide(index, access.principal, "read", relation.resource, relation, now=datetime.now(UTC))
            for relation in result.relations
        ]
        return tuple(decision.fingerprint for decision in decisions if decision.allowed) == result.fingerprints

    def _governed(self, access: Access, question: SqlQuestion) -> _Asked:
        with access.timed("parse"):
            parsed = self._sql.parsed(question)
            values = parsed.bind(question.parameters)
            about = parsed.about()
            tables = parsed.tables()
        with access.timed("policy"):
            index = self._policies.current()
        if about is not None:
            self._decided(access, index, "discover", about)
        in_process = parsed.lists_anything or any(resource.kind == "file" for _, resource in tables)
        engine = self.embedded if in_process else self._engine
        read = []
        for table, resource in tables:
            self._decided(access, index, "read", resource)
            with access.timed("catalog"):
                relation = self._relation(resource, parsed.version_of(table, question.version), None)
            decision = shown_by(engine, self._decided(access, index, "read", resource, relation))
            read.append(GovernedRelation(relation, decision))
        with access.timed("rewrite"):
            known = Known(self._lake, index, access.principal)
            prepared = self._sql.governed(question, parsed, read, known, engine)
        return _Asked(engine, prepared.governed, values, prepared.bounds)

    def _scans(self, asked: _Asked) -> tuple[TableScan, ...]:
        found = []
        for key, item in asked.governed.relations.items():
            files = self._lake.plan(item.relation, asked.bounds.get(key, ())).files
            found.append(
                TableScan(
                    resource=item.relation.resource,
                    snapshot=item.relation.snapshot,
                    files=len(files),
                    bytes=sum(file.size_bytes for file in files),
                    # How many rows there are would tell how many are hidden.
                    rows=None if item.decision.row_filtered else sum(file.row_count for file in files),
                    row_filtered=item.decision.row_filtered,
                    masked=item.decision.masked,
                )
            )
        return tuple(found)

    def _relation(self, resource: Resource, version: Version, cursor: Cursor | None) -> Relation:
        if cursor is not None:
            return self._lake.relation(resource, stamp=cursor.stamp)
        return self._lake.relation(resource, snapshot=version.snapshot, as_of=version.as_of, tag=version.tag)

    def _record(
        self,
        access: Access,
        governed: Governed,
        values: Mapping[str, Value | None],
        sql_asked: str | None,
        columns: list[str],
    ) -> None:
        with access.timed("audit"):
            access.trail.reading(reading_of(governed, values, sql_asked, columns))

    def _page(self, table: pa.Table, rows: Rows, names: list[str], template: Cursor) -> Page:
        shown, last = cut(table, rows, names)
        return Page(shown, None if last is None else self._cursors.seal(replace(template, values=last)))

    def _etag(self, access: Access, policy_version: int, parts: object) -> str:
        text = repr((access.principal.name, policy_version, parts)).encode(errors="surrogatepass")
        return hmac.digest(self._keys.etags, text, hashlib.sha256).hex()[:32]


def _prepare(rows: Rows, decision: Decision, engine: Engine, count: str | None) -> _Prepared:
    tree = rows_tree(rows)
    key = relation_key(table_of(rows.relation))
    relations = {key: GovernedRelation(rows.relation, decision)}
    counted = govern(count_tree(rows), relations, enforced=engine.enforces) if count else None
    positions = rows.limit is not None and rows.positions
    return _Prepared(govern(tree, relations, positions=positions, enforced=engine.enforces), counted)
