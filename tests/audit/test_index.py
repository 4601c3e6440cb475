"""Who did what: equal to going through all records by hand, at once after they were written."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.db import Database
from infra.keys import Keys
from infra.schema import Base
from infra.settings import Settings
from policies.audit.index import AuditDamaged, AuditIndex
from policies.audit.log import AuditLog
from policies.audit.record import Intent, Outcome
from policies.audit.verify import verify

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TABLE, OTHER, FILE = "table:raw.transactions", "table:raw.users", "file:landing/a.csv"


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    return settings.model_copy(update={"database_url": database_url})


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    db = Database(settings.database)
    Base.metadata.create_all(db.engine)
    yield db
    db.close()


@pytest.fixture
def index(settings: Settings, keys: Keys, db: Database) -> AuditIndex:
    return AuditIndex(settings, keys, db)


def requests() -> list[Intent]:
    """Sixty requests, a second apart, of every combination."""
    return [
        Intent(
            request_id=f"r{n}",
            door=("rows", "sql")[n % 2],
            method="GET",
            url="/",
            decision=("allow", "deny")[n % 5 == 0],
            principal=("user:alice", "user:bob", None)[n % 3],
            resources=((TABLE,), (TABLE, OTHER), (FILE,), ())[n % 4],
            at=NOON + timedelta(seconds=n),
        )
        for n in range(60)
    ]


def asked(index: AuditIndex, **conditions: Any) -> list[str]:
    return [request.request_id for request in index.query(limit=1000, **conditions).requests]


@pytest.fixture
def filled(log: AuditLog) -> None:
    for request in requests():
        log.outcome(Outcome(intent=log.intent(request), request_id=request.request_id, status=200, rows=10))
    log.flush()


def test_a_request_is_found_at_once_with_its_outcome_when_it_ended(log: AuditLog, index: AuditIndex) -> None:
    sequence = log.intent(Intent("r1", "rows", "GET", "/", "allow", principal="user:alice", resources=(TABLE,)))
    (found,) = index.query(resources=[TABLE]).requests
    assert (found.sequence, found.principal, found.resources, found.outcome) == (sequence, "user:alice", (TABLE,), None)
    log.outcome(Outcome(intent=sequence, request_id="r1", status=200, rows=10))
    log.flush()
    (found,) = index.query(resources=[TABLE]).requests
    assert found.outcome is not None and found.outcome["rows"] == 10


@given(
    principal=st.sampled_from([None, "user:alice", "user:eve"]),
    resources=st.lists(st.sampled_from([TABLE, OTHER, FILE, "table:no.such"]), max_size=3),
    door=st.sampled_from([None, "rows", "cli"]),
    decision=st.sampled_from([None, "allow", "deny"]),
    start=st.none() | st.integers(-5, 65),
    length=st.none() | st.integers(0, 70),
    limit=st.integers(1, 25),
)
@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_equal_a_search_by_hand(
    filled: None,
    index: AuditIndex,
    principal: str | None,
    resources: list[str],
    door: str | None,
    decision: str | None,
    start: int | None,
    length: int | None,
    limit: int,
) -> None:
    from_ = None if start is None else NOON + timedelta(seconds=start)
    to = None if length is None else (from_ or NOON) + timedelta(seconds=length)
    wanted = [
        request.request_id
        for request in reversed(requests())
        if (principal is None or request.principal == principal)
        and (not resources or set(resources) & set(request.resources))
        and (door is None or request.door == door)
        and (decision is None or request.decision == decision)
        and (from_ is None or request.at >= from_)
        and (to is None or request.at < to)
    ]
    found: list[str] = []
    after = None
    while True:
        page = index.query(
            principal=principal, resources=resources, door=door, decision=decision, from_=from_, to=to,
            after=after, limit=limit,
        )  # fmt: skip
        assert len(page.requests) <= limit and page.behind == 0
        found += [request.request_id for request in page.requests]
        if (after := page.next) is None:
            break
    assert found == wanted


def test_pages_stay_put_while_requests_come_in(filled: None, log: AuditLog, index: AuditIndex) -> None:
    first = index.query(limit=10)
    log.intent(Intent("newer", "rows", "GET", "/", "allow"))
    second = index.query(limit=10, after=first.next)
    assert [request.request_id for request in second.requests] == [f"r{n}" for n in range(49, 39, -1)]


def test_a_caller_s_request_id_can_not_hide_another(log: AuditLog, index: AuditIndex) -> None:
    first = log.intent(Intent("same", "rows", "GET", "/", "allow", principal="user:mallory", resources=(TABLE,)))
    log.intent(Intent("same", "rows", "GET", "/", "allow", principal="user:mallory"))
    log.outcome(Outcome(intent=first, request_id="same", status=200, rows=7))
    log.flush()
    found = index.query(request_id="same").requests
    assert [(request.resources, request.outcome and request.outcome["rows"]) for request in found] == [
        ((), None),
        ((TABLE,), 7),
    ]


def test_two_indexes_share_the_work(filled: None, index: AuditIndex, settings: Settings, keys: Keys) -> None:
    other_db = Database(settings.database)
    other = AuditIndex(settings, keys, other_db)
    assert asked(index) == asked(other)
    other_db.close()


def test_the_follower_fills_it_unasked(filled: None, index: AuditIndex, settings: Settings) -> None:
    index.start()
    index.close()
    index.catch_up()
    anchor = index.anchor()
    assert anchor is not None and anchor.sequence == 120


def test_it_is_made_anew_from_the_log(filled: None, index: AuditIndex) -> None:
    before = asked(index)
    index.rebuild()
    assert asked(index) == before and len(before) == 60


def test_it_follows_from_file_to_file(settings: Settings, keys: Keys, index: AuditIndex) -> None:
    log = AuditLog(settings, keys, segment_bytes=1000)
    log.start()
    for request in requests():
        log.intent(request)
        if request.request_id in {"r10", "r40"}:
            index.catch_up()
    log.close()
    assert len(asked(index)) == 60


@pytest.mark.parametrize("indexed", [False, True], ids=["before-it-was-indexed", "afterwards"])
def test_no_answer_from_a_log_that_was_touched(
    filled: None, index: AuditIndex, settings: Settings, indexed: bool
) -> None:
    if indexed:
        index.catch_up()
    path = settings.state_dir / "audit" / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"r20"', b'"r02"'))
    with pytest.raises(AuditDamaged) as refused:
        index.query(limit=60)
    assert refused.value.extra["first_bad_sequence"] == 41


def test_its_place_vouches_for_the_log(
    log: AuditLog, index: AuditIndex, settings: Settings, keys: Keys, tmp_path: Path
) -> None:
    for request in requests():
        log.intent(request)
    index.catch_up()
    anchor = index.anchor()
    assert verify(settings, keys, anchor=anchor).ok
    log.close()
    for path in (settings.state_dir / "audit").iterdir():
        path.unlink()
    assert verify(settings, keys, anchor=anchor).first_bad_sequence == 1
    with pytest.raises(AuditDamaged):
        index.query()
