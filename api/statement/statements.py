"""Every statement under way."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hmac import compare_digest
from typing import Final, get_args

from starlette.datastructures import Headers

from api.auth import authenticate_statement
from api.installation import Installation
from api.statement.changes import Change, Changed, change, prepared
from api.statement.running import Running
from api.statement.session import ClientSession, client_session
from api.trail import HttpAccess
from api.turns import Turns
from infra.errors import Gone, NotFound, Unauthenticated
from sql.answers import answer, describe_input, describe_output
from sql.query import SqlQuestion
from sql.reading import BadSql
from sql.result import Result
from sql.statements import DescribePrepared, Execute, Explain, Query, Statement, filled, placeholders, read_statement

_THREADS: Final = 32
_ABANDONED: Final = 300.0  # seconds after which nobody is expected to ask for the next page; Trino's own figure


_REMEMBERED: Final = 60.0  # seconds in which the last page may be asked for again


class NoSuchQuery(NotFound):
    code, title = "no-such-query", "There is no such query"


class Abandoned(Gone):
    code, title = "abandoned", "Nobody asked for the next page"


class Statements:
    """Takes statements, and finds them again when their next page is asked for.

    Args:
        installation: what answers.
        turns: how many queries a user may have under way.
    """

    def __init__(self, installation: Installation, turns: Turns) -> None:
        self._installation, self._turns = installation, turns
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="statement")
        self._running: dict[str, Running] = {}

    def take(self, access: HttpAccess, text: str, headers: Headers) -> Running | Changed:
        """Starts a statement with rows, or does what one about the session says.

        Args:
            access: who sends it. Where rows follow, its trail is theirs to end.
            text: of the statement.
            headers: of the request; they carry the session.

        Raises:
            Problem: it can't be understood, or too many are under way.
        """
        session = client_session(headers, access.principal)
        statement = read_statement(text)
        if isinstance(statement, get_args(Change)):
            door = self._installation.door
            return change(statement, session, lambda: door.known(access))
        self._sweep()
        user = access.principal.name
        self._turns.take(user)
        asking = _Asking(self._installation, access, session, statement, headers)
        running = Running(
            access=access,
            open=asking.result,
            allowed=asking.allowed,
            ended_by=partial(self._turns.give, user),
            executor=self._executor,
            limit=self._installation.settings.sql_result_limit,
            parametric=session.parametric,
        )
        self._running[running.id] = running
        access.trail.kept = True
        running.start()
        return running

    def find(self, query_id: str, slug: str) -> Running:
        """The statement behind a page's address.

        Raises:
            NoSuchQuery: it ended long ago, or there never was one.
        """
        running = self._running.get(query_id)
        if running is None or not compare_digest(running.slug.encode(), slug.encode(errors="replace")):
            raise NoSuchQuery("There is no such query.", hint="It may have ended long ago; start it again.")
        return running

    def close(self) -> None:
        """Ends every statement."""
        for running in self._running.values():
            running.end()
        self._executor.shutdown()

    def _sweep(self) -> None:
        """Ends what nobody reads any more, and forgets it."""
        now = time.monotonic()
        for running in list(self._running.values()):
            if now - running.touched > (_REMEMBERED if running.ended else _ABANDONED):
                problem = Abandoned("Nobody asked for the next page.", hint="Start the query again.")
                self._executor.submit(running.end, problem)
                self._running.pop(running.id, None)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One statement with rows, and all that it takes to answer it."""

    installation: Installation
    access: HttpAccess
    session: ClientSession
    statement: Statement
    headers: Headers

    def result(self) -> Result:
        """Asks."""
        if not isinstance(self.statement, DescribePrepared):
            return self._answer(self._filled(self.statement))
        text = prepared(self.session, self.statement.name)
        if not self.statement.output:
            return describe_input(text)
        result = self._answer(self._rows(filled(text, ("NULL",) * placeholders(text))))
        try:
            return describe_output(result)
        finally:
            result.close()

    def allowed(self, result: Result) -> bool:
        """Whether the next page may still be handed out: whoever asks is who they were, and may see what they saw."""
        try:
            principal = authenticate_statement(self.installation, self.headers)
        except Unauthenticated:
            return False
        return principal == self.access.principal and self.installation.door.still_allowed(self.access, result)

    def _answer(self, statement: Query | Explain) -> Result:
        names, seconds = self.session.names, self.session.seconds
        question = SqlQuestion(statement.text, session=names, seconds=seconds)
        return answer(self.installation.door, self.access, question, statement)

    def _filled(self, statement: Statement) -> Query | Explain:
        if not isinstance(statement, Execute):
            return self._rows(statement)
        text = statement.text if statement.text is not None else prepared(self.session, statement.name or "")
        return self._rows(filled(text, statement.values))

    def _rows(self, statement: Statement | str) -> Query | Explain:
        if isinstance(statement, str):
            statement = read_statement(statement)
        if not isinstance(statement, Query | Explain):
            raise BadSql("Only what has rows can be prepared.", hint="PREPARE a query.")
        return statement
