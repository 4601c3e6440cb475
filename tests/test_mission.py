"""Q1 to Q11, what Sluice is there for: one test each, the same on one machine and on the servers of production."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest

from infra.settings import Settings
from infra.stack.server import free_port
from pipeline.transactions import SCHEMA
from policies.audit.verify import verify
from tests.api.conftest import Server, serving
from tests.api.conftest import rows as made
from tests.api.running import listening
from tests.governed_trino import GovernedProcess
from tests.stack import new_database, only_user

TABLE, FILE = "/v1/tables/raw.transactions", "/v1/files/landing/2026-11-24.ndjson"
PRODUCTION = [pytest.mark.trino, pytest.mark.hive, pytest.mark.postgres]
Row = dict[str, Any]


@pytest.fixture(scope="module", params=["embedded", pytest.param("production", marks=PRODUCTION)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Embedded: DuckDB and SQLite. In production: a Trino that asks this very Sluice, the metastore and PostgreSQL."""
    folder = tmp_path_factory.mktemp("mission")
    places = {"state_dir": folder / "state", "lake_dir": folder / "lake"}
    if request.param == "embedded":
        with serving(Settings(**places)) as server:
            yield server
        return
    with ExitStack() as stack:
        hive = stack.enter_context(only_user(request.getfixturevalue("hive_url")))
        trino_port, port = free_port("127.0.0.1"), free_port("127.0.0.1")
        settings = Settings(
            **places,
            port=port,
            database_url=stack.enter_context(new_database(request.getfixturevalue("postgres_url"))),
            catalog="hive",
            catalog_uri=hive,
            engine="trino",
            trino_url=f"http://127.0.0.1:{trino_port}",
        )
        server = stack.enter_context(serving(settings))
        stack.enter_context(listening(server, port))
        process = GovernedProcess(settings, server.installation, folder / "trino", hive, trino_port)
        stack.callback(process.stop)
        process.start()
        yield server


@pytest.fixture
def grant(server: Server) -> Iterator[Callable[..., str]]:
    """Gives bob a right through the endpoint, and takes it away after the test; gives the grant's id."""
    given: list[str] = []

    def give(resource: str, *actions: str, **more: Any) -> str:
        body = {"principal": "user:bob", "resource": resource, "actions": list(actions or ["read"]), **more}
        answer = server.call("POST", "/v1/grants", json=body)
        assert answer.status_code == 201, answer.text
        given.append(answer.json()["id"])
        return given[-1]

    yield give
    for each in given:
        server.call("DELETE", f"/v1/grants/{each}")


def everything(server: Server, path: str, user: str = "admin") -> list[Row]:
    """All pages, one after the other."""
    found: list[Row] = []
    following: str | None = path
    while following is not None:
        answer = server.get(following, user)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["data"]) <= 10 or "/rows" not in path
        found += page["data"]
        following = page["page"]["next"]
    return found


def stored(server: Server, table: str = "raw.transactions") -> list[Row]:
    """The rows themselves, read past all doors."""
    rows: list[Row] = server.installation.lake.iceberg.load_table(table).scan().to_arrow().to_pylist()
    return rows


def ids(rows: list[Row]) -> Counter[str]:
    return Counter(row["transaction_id"] for row in rows)


def test_q1a_a_right_on_a_file_and_one_on_a_table_are_given_through_endpoints(
    server: Server, grant: Callable[..., str]
) -> None:
    assert [server.get(f"{each}/rows", "bob").status_code for each in (FILE, TABLE)] == [404, 404]
    grant("file:landing/**")
    assert [server.get(f"{each}/rows", "bob").status_code for each in (FILE, TABLE)] == [200, 404]
    grant("table:raw.transactions", row_filter="country = 'DE'", masks={"user_name": "show-last-4"})
    rows = everything(server, f"{TABLE}/rows", "bob")
    assert ids(rows) == ids([row for row in stored(server) if row["country"] == "DE"])
    assert {row["user_name"] for row in rows} == {f"xxer {n}" for n in range(7)}


def test_q1b_those_rights_are_taken_away_with_the_next_request(server: Server, grant: Callable[..., str]) -> None:
    for resource, path in (("file:landing/**", FILE), ("table:raw.transactions", TABLE)):
        given = grant(resource)
        assert server.get(f"{path}/rows", "bob").status_code == 200
        assert server.call("DELETE", f"/v1/grants/{given}").status_code == 204
        assert server.get(f"{path}/rows", "bob").status_code == 404


@pytest.mark.parametrize("path", [f"{TABLE}/rows", f"{FILE}/rows", f"{TABLE}/snapshots", "/v1/metrics/spend"])
def test_q2a_every_call_has_a_token_and_a_right(server: Server, path: str) -> None:
    assert server.get(path, None).status_code == 401
    assert server.get(path, None, Authorization="Bearer sluice_nobody").status_code == 401
    assert server.get(path, "bob").status_code == 404
    assert server.get(path).status_code == 200


def test_q2b_every_request_is_stored_with_who_when_what_and_its_body(server: Server) -> None:
    before = datetime.now(UTC)
    asked = {
        "sql": "SELECT transaction_id, email FROM raw.transactions WHERE amount < :most",
        "parameters": {"most": 3},
    }
    for user, status in (("alice", 200), ("bob", 404)):
        name = f"stored-{user}"
        answer = server.call("POST", "/v1/sql", user, json=asked, headers={"X-Request-ID": name})
        assert answer.status_code == status, answer.text
        (entry,) = [each for each in server.recorded(name) if each["door"] == "sql"]
        assert (entry["principal"], entry["method"], entry["url"]) == (f"user:{user}", "POST", "/v1/sql")
        assert before <= datetime.fromisoformat(entry["at"]) <= datetime.now(UTC)
        assert entry["body"] == {"json": asked}
        assert (entry["status"], entry["resources"]) == (status, ["table:raw.transactions"])
    assert verify(server.installation.settings, server.installation.keys).ok


def test_q3_every_dataset_is_read_whole_in_pages_of_ten_at_most(server: Server) -> None:
    listed = [item for item in everything(server, "/v1/resources") if item["kind"] in {"table", "file"}]
    assert len(listed) >= 4
    for item in listed:
        path = f"/v1/{item['kind']}s/{quote(item['name'])}/rows"
        rows = everything(server, path)
        if item["kind"] == "table":
            assert ids(rows) == ids(stored(server, item["name"]))
        else:
            assert ids(rows) == Counter(["a", "b"])
        refused = server.get(f"{path}?limit=11")
        assert (refused.status_code, refused.json()["code"]) == (422, "limit-too-large")


def test_q4_only_the_columns_asked_for_come(server: Server) -> None:
    for path, names in ((TABLE, ["amount", "transaction_id"]), (FILE, ["country"])):
        rows = everything(server, f"{path}/rows?select={','.join(names)}")
        assert rows and all(list(row) == names for row in rows)
    assert server.get(f"{TABLE}/rows?select=absent").status_code == 422


FILTERS: list[tuple[str, Callable[[Row], bool]]] = [
    ("payment_method=eq.card", lambda row: row["payment_method"] == "card"),
    ("country=eq.FR", lambda row: row["country"] == "FR"),
    ("product_category=eq.toys", lambda row: row["product_category"] == "toys"),
    ("status=neq.failed", lambda row: row["status"] != "failed"),
    ("amount=gt.12.5", lambda row: row["amount"] > Decimal("12.5")),
    ("amount=lt.12.5", lambda row: row["amount"] < Decimal("12.5")),
    ("amount=eq.12.5", lambda row: row["amount"] == Decimal("12.5")),
    ("customer_rating=gt.2", lambda row: (row["customer_rating"] or 0) > 2),
    ("customer_rating=lt.2", lambda row: (row["customer_rating"] or 9) < 2),
    ("customer_rating=eq.2", lambda row: row["customer_rating"] == 2),
    (
        "country=eq.DE&customer_rating=gte.3&amount=lte.20",
        lambda row: row["country"] == "DE" and (row["customer_rating"] or 0) >= 3 and row["amount"] <= 20,
    ),
]


@pytest.mark.parametrize(("parameters", "wanted"), FILTERS, ids=[parameters for parameters, _ in FILTERS])
def test_q5_rows_are_filtered_by_the_fields_that_a_dataset_has(
    server: Server, parameters: str, wanted: Callable[[Row], bool]
) -> None:
    expected = ids([row for row in stored(server) if wanted(row)])
    assert expected
    assert ids(everything(server, f"{TABLE}/rows?{parameters}")) == expected


def test_q5_a_field_that_a_dataset_has_not_is_told(server: Server) -> None:
    assert ids(everything(server, f"{FILE}/rows?country=eq.FR&amount=gt.1")) == Counter(["a"])
    refused = server.get(f"{FILE}/rows?payment_method=eq.card")
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown-column")


def test_q6_money_spent_in_the_last_five_minutes(server: Server) -> None:
    old = {**made(1)[0], "transaction_id": "tx-old", "event_time": datetime(2026, 1, 1, tzinfo=UTC)}
    pending = {**made(1)[0], "transaction_id": "tx-pending", "status": "pending"}
    fresh = {**made(1)[0], "transaction_id": "tx-fresh", "event_time": datetime.now(UTC), "currency": "GBP"}
    table = server.installation.lake.iceberg.load_table("curated.transactions")
    table.append(pa.Table.from_pylist([old, pending, fresh], SCHEMA))
    answer = server.get("/v1/metrics/spend?window=5m").json()
    start, end = (datetime.fromisoformat(answer["window"][name]) for name in ("start", "end"))
    assert (end - start).total_seconds() == 300
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for row in purchases(stored(server, "curated.transactions")):
        if start <= row["event_time"] < end:
            spent[row["currency"]] += row["amount"]
    assert spent["GBP"] == fresh["amount"]
    assert {row["currency"]: Decimal(row["spent"]) for row in answer["data"]} == spent


def test_q7_total_spent_per_user_and_transaction_type(server: Server) -> None:
    back = {**made(1)[0], "transaction_id": "tx-back", "transaction_type": "refund", "amount": Decimal("7.25")}
    server.installation.lake.iceberg.load_table("curated.transactions").append(pa.Table.from_pylist([back], SCHEMA))
    totals: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for row in stored(server, "curated.transactions"):
        if row["status"] == "completed":
            totals[row["user_id"], row["transaction_type"], row["currency"]] += row["amount"]
    answer = server.get("/v1/metrics/spend-by-user-and-type").json()["data"]
    found = {(row["user_id"], row["transaction_type"], row["currency"]): Decimal(row["total"]) for row in answer}
    assert found == totals and len({kind for _, kind, _ in found}) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_q8_the_top_x_products_bought(server: Server, count: int) -> None:
    pieces: Counter[str] = Counter()
    for row in purchases(stored(server, "curated.transactions")):
        pieces[row["product_id"]] += row["quantity"]
    expected = sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:count]
    answer = server.get(f"/v1/metrics/top-products?limit={count}").json()["data"]
    assert [(row["product_id"], row["pieces"]) for row in answer] == expected


def purchases(rows: list[Row]) -> list[Row]:
    return [row for row in rows if (row["transaction_type"], row["status"]) == ("purchase", "completed")]


def test_q9_an_older_version_is_read_where_versions_are_kept_and_refused_elsewhere(server: Server) -> None:
    before = stored(server)
    version = server.get(f"{TABLE}/snapshots").json()["data"][0]
    added = {**made(1)[0], "transaction_id": "tx-later"}
    server.installation.lake.iceberg.load_table("raw.transactions").append(pa.Table.from_pylist([added], SCHEMA))
    assert ids(everything(server, f"{TABLE}/rows")) == ids([*before, added])
    for asked in (f"snapshot={version['id']}", f"as_of={quote(version['committed_at'])}"):
        assert ids(everything(server, f"{TABLE}/rows?{asked}")) == ids(before)
    assert server.get(f"{TABLE}/rows?snapshot=1").json()["code"] == "snapshot-not-found"
    refused = server.get(f"{FILE}/rows?snapshot={version['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "versioning-not-available")


def test_q10_who_accessed_a_file_and_a_table_is_told(server: Server, grant: Callable[..., str]) -> None:
    grant("file:landing/**")
    for path, user, status in ((FILE, "bob", 200), (TABLE, "alice", 200), (TABLE, "bob", 404)):
        name = f"{user}-asked-{path.split('/')[2]}"
        answer = server.get(f"{path}/rows?select=transaction_id", user, **{"X-Request-ID": name})
        assert answer.status_code == status
        server.installation.audit.flush()
        (told,) = [each for each in everything(server, f"{path}/accesses") if each["request_id"] == name]
        assert (told["principal"], told["status"]) == (f"user:{user}", status)
    assert server.get(f"{TABLE}/accesses", "alice").status_code == 403


def test_q11_every_resource_is_listed_to_whoever_may_know_of_it(server: Server, grant: Callable[..., str]) -> None:
    tables = {f"table:{name}" for name in ("raw.transactions", "curated.transactions", "curated.quarantine")}
    listed = {item["id"]: item for item in everything(server, "/v1/resources")}
    assert set(listed) == tables | {"file:landing/2026-11-24.ndjson", "index:search"}
    assert listed["table:raw.transactions"]["row_count"] == len(stored(server))
    assert {item["id"] for item in everything(server, "/v1/resources", "alice")} == {"table:raw.transactions"}
    assert everything(server, "/v1/resources", "bob") == []
    grant("table:curated.*", "discover")
    assert {item["id"] for item in everything(server, "/v1/resources", "bob")} == tables - {"table:raw.transactions"}
