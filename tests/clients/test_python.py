"""Python's ways in: the `trino` DB-API, SQLAlchemy and pandas."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal

import pandas
import pytest
import sqlalchemy
import trino
from sqlalchemy import text
from trino.exceptions import TrinoUserError

from tests.clients.conftest import Door


@pytest.fixture
def connection(door: Door) -> Iterator[trino.dbapi.Connection]:
    with trino.dbapi.connect(
        host="127.0.0.1",
        port=door.port,
        user="alice",
        extra_credential=[("token", door.token)],
        catalog="lake",
        schema="raw",
    ) as connection:
        yield connection


@pytest.fixture
def engine(door: Door) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(
        f"trino://alice@127.0.0.1:{door.port}/lake/raw",
        connect_args={"http_scheme": "http", "extra_credential": [("token", door.token)]},
    )
    yield engine
    engine.dispose()


def test_the_db_api_reads_what_the_policy_shows(connection: trino.dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT country, count(*), sum(amount), max(email) FROM transactions GROUP BY country")
    assert cursor.fetchall() == [["FR", 15, Decimal("232.50"), "xxxxn@xxxxxxx.xxx"]]
    assert [column.name for column in cursor.description] == ["country", "_col1", "_col2", "_col3"]


def test_the_db_api_has_typed_values_and_parameters(connection: trino.dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT transaction_id, event_time, amount, customer_rating FROM transactions WHERE amount > ? AND country = ?"
        " ORDER BY amount LIMIT 1",
        (Decimal("20.25"), "FR"),
    )
    (row,) = cursor.fetchall()
    assert (row[0], row[2]) == ("tx-0021", Decimal("21.50"))
    assert isinstance(row[1], datetime) and row[1].tzinfo is not None
    cursor.execute("SELECT DATE '2026-01-02', TIMESTAMP '2026-01-02 03:04:05.123456', 1.5, true, NULL, 'é'")
    moment = datetime.fromisoformat("2026-01-02 03:04:05.123456")
    assert cursor.fetchone() == [
        date(2026, 1, 2),
        moment,
        Decimal("1.5"),
        True,
        None,
        "é",
    ]


def test_the_first_rows_come_while_the_query_runs(connection: trino.dbapi.Connection) -> None:
    cursor = connection.cursor()
    tall = "UNNEST(sequence(1, 10000))"
    cursor.execute(f"SELECT 7 FROM {tall} AS a(x) CROSS JOIN {tall} AS b(x)")  # more rows than anything can hold
    assert cursor.fetchmany(1000) == [[7]] * 1000
    assert cursor.stats["state"] == "RUNNING"
    cursor.cancel()


def test_the_db_api_shows_errors_as_trinos(connection: trino.dbapi.Connection) -> None:
    cursor = connection.cursor()
    for sql, name in (
        ("SELECT * FROM lake.curated.transactions", "TABLE_NOT_FOUND"),
        ("DROP TABLE x", "NOT_SUPPORTED"),
    ):
        with pytest.raises(TrinoUserError) as error:
            cursor.execute(sql).fetchall()
        assert error.value.error_name == name


def test_the_db_api_fetches_many_pages(door: Door, connection: trino.dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT a.transaction_id FROM transactions a, transactions b, transactions c, transactions d")
    assert len(cursor.fetchall()) == 15**4


def test_the_db_api_cancels(connection: trino.dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT a.transaction_id FROM transactions a, transactions b, transactions c, transactions d, transactions e"
    )
    cursor.fetchone()
    cursor.cancel()


def test_sqlalchemy_inspects_only_what_may_be_seen(engine: sqlalchemy.Engine) -> None:
    inspector = sqlalchemy.inspect(engine)
    assert sorted(inspector.get_schema_names()) == ["information_schema", "raw"]
    assert inspector.get_table_names("raw") == ["transactions"]
    assert inspector.get_view_names("raw") == []
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns("transactions", "raw")}
    assert columns["amount"] == "DECIMAL(12, 2)"
    assert inspector.has_table("transactions", "raw") and not inspector.has_table("transactions", "curated")


def test_sqlalchemy_queries_a_reflected_table(engine: sqlalchemy.Engine) -> None:
    table = sqlalchemy.Table("transactions", sqlalchemy.MetaData(schema="raw"), autoload_with=engine)
    query = sqlalchemy.select(table.c.country, sqlalchemy.func.count()).where(table.c.amount > 10).group_by("country")
    with engine.connect() as connection:
        assert connection.execute(query).all() == [("FR", 10)]
        found = connection.execute(text("SELECT count(*) FROM raw.transactions WHERE country = :c"), {"c": "DE"})
        assert found.scalar() == 0


def test_pandas_reads_sql(engine: sqlalchemy.Engine) -> None:
    frame = pandas.read_sql("SELECT status, amount FROM raw.transactions ORDER BY amount LIMIT 3", engine)
    assert list(frame.columns) == ["status", "amount"]
    assert frame["amount"].tolist() == [Decimal("1.50"), Decimal("3.50"), Decimal("5.50")]
