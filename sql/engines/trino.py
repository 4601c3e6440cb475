"""The production engine: Trino runs governed SQL, under the name of whoever asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
import requests
from requests.adapters import HTTPAdapter
from sqlglot import exp
from trino.auth import BasicAuthentication
from trino.client import ClientSession, TrinoQuery, TrinoRequest, TrinoStatus
from trino.exceptions import TrinoConnectionError

from infra.errors import InvalidSettings
from infra.settings import Settings
from sql.engines import EngineUnavailable, QueryTimeout, RanQuery, Run
from sql.engines.trino_errors import FAILURES, lost, problem_of
from sql.engines.trino_literals import literal
from sql.engines.trino_types import arrow_type, to_arrow
from sql.generate import trino_sql
from sql.hash_keys import WITHHELD, with_keys

_RECENT: Final = """
SELECT query_id, "user", to_iso8601(created), state FROM system.runtime.queries
"""
_REMEMBERING: Final = 20.0  # seconds that such a question may take
_BATCH: Final = 65_536
_LONGEST_PAUSE: Final = 2.0  # seconds between two tries of a request
_REQUEST: Final = (3.0, 30.0)  # seconds to connect and to wait for an answer: Trino itself answers within one


class Trino:
    """Runs Governed in Trino.

    With `trino_enforcement = opa` Trino enforces the policies, asking Sluice, and queries run as the end user; with
    `rewrite` they are in the query, which runs as Sluice's own user.

    Args:
        settings: where it is, who Sluice is there, and how long a query may take.

    Raises:
        InvalidSettings: the address is none.
    """

    positions = False
    withheld = WITHHELD

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.trino_url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise InvalidSettings("trino_url is no address.", hint="Write for example https://trino.example.org:8443.")
        self.enforces = settings.trino_enforcement == "opa"
        self._host, self._scheme = address.hostname, address.scheme
        self._port = address.port or (443 if address.scheme == "https" else 8080)
        self._service, self._timeout = settings.trino_user, settings.query_timeout
        password = settings.trino_password
        self._auth = BasicAuthentication(self._service, password.get_secret_value()) if password else None
        self._connections = HTTPAdapter(pool_connections=4, pool_maxsize=64)

    def execute(self, run: Run) -> TrinoAnswer:
        """Starts a query; see `sql.engines.Engine`. Returns with its first rows, or its end.

        A query only reads, so it is begun anew where the coordinator lost it before it gave any row.
        """
        sql = _sql(run)
        deadline = _Deadline(min(self._timeout, run.seconds or self._timeout))
        while True:
            query = TrinoQuery(self._request(run, deadline), sql, legacy_primitive_types=True)
            try:
                rows = query.execute().rows
                return TrinoAnswer(query, rows, deadline)
            except FAILURES as error:
                if not lost(error) or deadline.passed:
                    raise problem_of(error, timed_out=deadline.passed) from error
                deadline.pause(_LONGEST_PAUSE)

    def remembered(self) -> list[RanQuery]:
        """The latest queries, everybody's, as Trino itself remembers them.

        Raises:
            Problem: it can't be asked.
        """
        request = self._session("", self._service, _Deadline(_REMEMBERING), {}, None)
        try:
            query = TrinoQuery(request, _RECENT, legacy_primitive_types=True)
            rows = list(query.execute())
        except FAILURES as error:
            raise problem_of(error, timed_out=False) from error
        return [RanQuery(each, user, datetime.fromisoformat(created), state) for each, user, created, state in rows]

    def close(self) -> None:
        """Lets go of the connections."""
        self._connections.close()

    def _request(self, run: Run, deadline: _Deadline) -> TrinoRequest:
        limits = {"query_max_run_time": f"{max(1, round(deadline.seconds))}s"}
        user = run.user if self.enforces else self._service
        encoding = ["json+zstd", "json"] if run.stream else None
        return self._session(run.request_id, user, deadline, limits, encoding, asked_by=run.user)

    def _session(
        self,
        request_id: str,
        user: str,
        deadline: _Deadline,
        limits: dict[str, str],
        encoding: list[str] | None,
        *,
        asked_by: str = "",
    ) -> TrinoRequest:
        # A session for each query: the client keeps the user's name in its headers. The connections are shared.
        session = requests.Session()
        session.mount(f"{self._scheme}://", self._connections)
        named = {"X-Trino-Trace-Token": request_id, "X-Trino-Client-Info": asked_by}
        return _Request(
            host=self._host,
            port=self._port,
            http_scheme=self._scheme,
            http_session=session,
            auth=self._auth,
            client_session=ClientSession(
                user=user,
                source="sluice",
                timezone="UTC",
                properties=limits,
                headers={name: value for name, value in named.items() if value},
                encoding=encoding,
            ),
            max_attempts=1_000,  # the deadline ends it
            request_timeout=_REQUEST,
            handle_retry=deadline,
        )


class TrinoAnswer:
    """A running query of Trino; see `sql.engines.Answer`."""

    def __init__(self, query: TrinoQuery, rows: Any, deadline: _Deadline) -> None:
        self._query, self._rows, self._deadline = query, rows, deadline
        self._signatures = [column["typeSignature"] for column in query.columns or ()]
        names = [column["name"] for column in query.columns or ()]
        self.schema = pa.schema([(name, arrow_type(kind)) for name, kind in zip(names, self._signatures, strict=True)])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            rows = self._rows
            while True:
                yield from self._batches(rows)
                if self._query.finished:
                    return
                if self._deadline.passed:
                    raise QueryTimeout("The query was stopped because it ran too long.", hint="Ask for fewer rows.")
                rows = self._query.fetch()
        except (*FAILURES, pa.ArrowException) as error:
            raise problem_of(error, timed_out=self._deadline.passed) from None

    def stop(self) -> None:
        """Makes the query fail soon: Trino cancels it, and tells whoever asks for its next rows."""
        self.close()

    def close(self) -> None:
        """Stops the query, if it still runs."""
        if not self._query.finished:
            try:
                self._query.cancel()
            except FAILURES:
                return  # it is gone, or ends by itself when nobody asks for its rows

    def _batches(self, rows: Any) -> Iterator[pa.RecordBatch]:
        rest = iter(rows)  # with the spooling protocol rows come one by one, from segments
        while page := list(islice(rest, _BATCH)):
            columns = [
                to_arrow(values, kind) for values, kind in zip(zip(*page, strict=True), self._signatures, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)


class _Request(TrinoRequest):
    """Reads Trino's pages in half the client's time. What they say of the session is left: our queries change none."""

    def process(self, http_response: requests.Response) -> TrinoStatus:
        if not http_response.ok:
            self.raise_response_error(http_response)
        try:
            page = orjson.loads(http_response.content)
        except orjson.JSONDecodeError:  # a gateway's page, or half of one
            raise TrinoConnectionError("no results of Trino's") from None
        if page.get("error"):
            raise self._process_error(page["error"], page.get("id"))
        self._next_uri = page.get("nextUri")
        return TrinoStatus(
            id=page["id"],
            stats=page["stats"],
            warnings=page.get("warnings", []),
            info_uri=page["infoUri"],
            next_uri=self._next_uri,
            update_type=page.get("updateType"),
            update_count=page.get("updateCount"),
            rows=page.get("data") or [],
            columns=page.get("columns"),
        )


class _Deadline:
    """When a query has to be done; as the client's `handle_retry`, how long it waits between two tries."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._end

    def pause(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, self._end - time.monotonic())))

    def retry(self, _call: Callable[..., Any], _args: Any, _kwargs: Any, error: Exception | None, attempt: int) -> None:
        if self.passed:
            raise EngineUnavailable(
                "Trino did not answer in time.", hint="Try again after a moment.", headers={"Retry-After": "5"}
            ) from error
        self.pause(min(_LONGEST_PAUSE, 0.1 * 1.6**attempt))


def _sql(run: Run) -> str:
    tree = run.governed.tree.copy()
    for node in list(tree.find_all(exp.Placeholder)):
        node.replace(literal(run.parameters[node.name]))
    return trino_sql(with_keys(tree), copy=False)
