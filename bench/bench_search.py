"""Search beside the indexes asked directly: indexing, one id in a million rows, and how soon a commit is found."""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import tantivy
from elasticsearch import Elasticsearch

from api.installation import Installation, open_installation
from bench.lake import ROWS, Client, make_lake, serving
from bench.measure import AtMost, Result, compare, judge
from catalog.resources import Resource
from infra.settings import Settings
from policies.principal import Principal
from search.answer import SearchQuestion
from search.documents import Documents, documents
from search.elasticsearch import ElasticsearchIndex
from search.find import SearchDoor
from search.follow import Follower
from search.index import Change, Index, Indexed
from search.indexer import Indexer
from search.tantivy import TantivyIndex
from sql.access import Access
from sql.canaries import Silent
from sql.places import Whole

TABLE = Resource.table("raw.transactions")
RATE, SECONDS = 2_000, 40


def results(rounds: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings, token = make_lake(Path(folder))
        only_the_table(settings)
        installation = open_installation(settings)
        stack.callback(installation.close)
        yield indexing(installation, Path(folder), rounds)
        installation.indexer().step()
        ids = itertools.cycle(f"t{n:09}" for n in random.Random(1).sample(range(ROWS), 5000))
        yield in_process(installation, ids, rounds)
        with serving(settings, token, SLUICE_SEARCH="tantivy") as (client, _):
            yield over_http(client, ids, rounds)
        url = os.environ.get("SLUICE_TEST_ELASTICSEARCH_URL")
        if url is not None:
            yield over_elasticsearch(installation, url, rounds)
        yield freshness(installation)


def only_the_table(settings: Settings) -> None:
    """Takes the registered files out of sight of the raw files: a row then is one document."""
    shown = settings.lake_dir / "transactions"
    hidden = settings.lake_dir / ".transactions"
    shown.rename(hidden)
    shown.symlink_to(hidden)


def indexing(installation: Installation, folder: Path, rounds: int) -> Result:
    """A file of the lake, from Parquet to a committed index, beside Tantivy given the same texts ready made."""
    whole, relation = Whole(installation.embedded), installation.lake.relation(TABLE)
    ours, theirs = [], []
    for number in range(rounds):
        made: list[tuple[int, Documents]] = []

        def read(made: list[tuple[int, Documents]] = made) -> Iterator[tuple[int, Documents]]:
            for batch in whole.batches(relation, 3):
                made.append((1, documents(relation, batch.column(batch.num_columns - 1).to_pylist(), batch)))
                yield made[-1]

        for side, times in (("ours", ours), ("theirs", theirs)):
            with closing(TantivyIndex(folder / f"index-{side}-{number}")) as index:
                now = datetime.now(UTC)
                state = Indexed(TABLE, "", "", None, now, now, frozenset({1}), 0)
                start = time.perf_counter()
                index.apply(Change(TABLE, frozenset(), read() if side == "ours" else list(made), state))
                times.append((time.perf_counter() - start) * 1e6 / sum(len(each.rows) for _, each in made))
    return judge(
        "search-indexing-tantivy",
        "A document from the lake's Parquet into the embedded index, committed, microseconds (20 is 50,000 a second).",
        ours,
        theirs,
        peer="Tantivy, given the same texts ready made",
        target=AtMost("ours", 20),
    )


def in_process(installation: Installation, ids: Iterator[str], rounds: int) -> Result:
    index = installation.index
    view = index.view()
    searcher: tantivy.Searcher = view._searcher  # type: ignore[attr-defined] # the peer is the same index, asked plainly
    schema: tantivy.Schema = view._lower._schema  # type: ignore[attr-defined]

    def plain() -> None:
        query = tantivy.Query.term_query(schema, "words", f"transaction_id:{next(ids)}")
        for _, address in searcher.search(query, 10).hits:
            searcher.fast_field_values("row", [address])

    return compare(
        "search-tantivy",
        f"One id in {ROWS:,} rows by the embedded index, under the policies, without the record, milliseconds.",
        lambda: ask_index(installation, next(ids)),
        plain,
        peer="Tantivy, asked for one term of one column",
        target=AtMost("ours", 5),
        rounds=rounds,
    )


def ask_index(installation: Installation, text: str) -> None:
    from policies.decide import decide
    from search.asking import find
    from search.governed import Asked, Governed
    from search.language import parse_search

    relation = installation.lake.relation(TABLE)
    admin = Principal("admin", ("admin",))
    decision = decide(installation.policies.current(), admin, "read", TABLE, relation, now=datetime.now(UTC))
    asked = Asked(parse_search(text))
    governed = [Governed(relation, decision)]
    counts, _, _ = find(installation.index.view(), governed, asked, order="relevance", limit=10, after=None)
    if sum(counts.values()) != 1:
        raise RuntimeError(f"{text} was found {counts}")


def over_http(client: Client, ids: Iterator[str], rounds: int) -> Result:
    return compare(
        "search-http",
        f"One id in {ROWS:,} rows over HTTP, audited, with its record read from the lake, milliseconds.",
        lambda: client.get(f"/v1/search?q={next(ids)}"),
        lambda: client.get(f"/v1/tables/raw.transactions/rows?transaction_id=eq.{next(ids)}"),
        peer="ourselves, the same row by its key",
        target=AtMost("ours", 15),
        rounds=rounds,
    )


def over_elasticsearch(installation: Installation, url: str, rounds: int) -> Result:
    """A part of the table in Elasticsearch: as much as its first files hold."""
    with closing(ElasticsearchIndex(url, f"bench_{os.urandom(4).hex()}")) as index:
        rows = fill(installation, index, files=int(os.environ.get("BENCH_ELASTICSEARCH_FILES", "3")))
        search = SearchDoor(installation.lake, installation.policies, installation.door, index, installation.keys)
        client = Elasticsearch(url)
        few = itertools.cycle(f"t{n:09}" for n in random.Random(2).sample(range(rows), 2000))
        name = index._behind_alias()[0]

        def direct() -> None:
            query = {"term": {"words": f"transaction_id:{next(few)}"}}
            client.search(index=name, query=query, size=10, docvalue_fields=["file", "row"])

        try:
            return compare(
                "search-elasticsearch",
                f"One id in {rows:,} rows by Elasticsearch, governed, with its record from the lake, milliseconds.",
                lambda: ask(search, next(few)),
                direct,
                peer="the same index of Elasticsearch, asked directly for one term",
                target=AtMost("ratio", 1.5),
                rounds=rounds,
            )
        finally:
            client.indices.delete(index=name)
            client.close()


def fill(installation: Installation, index: Index, files: int) -> int:
    """Indexes the first files of the table as if they were all of it."""
    from search.indexer import file_number

    relation = installation.lake.relation(TABLE)
    planned = installation.lake.plan(relation).files[:files]
    whole = Whole(installation.embedded)

    def read() -> Iterator[tuple[int, Documents]]:
        for file in planned:
            for batch in whole.batches(relation, file.ordinal):
                rows = batch.column(batch.num_columns - 1).to_pylist()
                yield file_number(relation, file), documents(relation, rows, batch)

    now = datetime.now(UTC)
    numbers = frozenset(file_number(relation, file) for file in planned)
    snapshot = relation.snapshot.id if relation.snapshot else None
    state = Indexed(TABLE, relation.uuid, relation.stamp, snapshot, now, now, numbers, 0)
    start = time.perf_counter()
    index.apply(Change(TABLE, frozenset(), read(), state))
    rows = sum(file.row_count for file in planned)
    print(f"       Elasticsearch: {rows:,} rows indexed, {rows / (time.perf_counter() - start):,.0f} a second")
    return rows


def ask(search: SearchDoor, text: str) -> None:
    access = Access(Principal("admin", ("admin",)), "search", "bench", Silent())
    answer = search.search(access, SearchQuestion(text))
    if len(answer.hits) != 1:
        raise RuntimeError(f"{text} was found {answer.total} times")


def freshness(installation: Installation) -> Result:
    """How long after a commit its last record is found, while as many arrive each second as the pipeline brings."""
    schema = pa.schema([("id", pa.string()), ("at", pa.timestamp("us", "UTC")), ("city", pa.string())])
    table = installation.lake.iceberg.create_table("raw.arriving", schema)
    commits: list[float] = []
    waits: list[float] = []
    stop = threading.Event()
    watched: list[tuple[str, float]] = []

    def arrive() -> None:
        for second in range(SECONDS):
            begun = time.perf_counter()
            now = datetime.now(UTC)
            rows = [{"id": f"n{second}x{n}", "at": now, "city": "Paris"} for n in range(RATE)]
            table.append(pa.Table.from_pylist(rows, schema))
            commits.append((time.perf_counter() - begun) * 1000)
            watched.append((f"n{second}x{RATE - 1}", time.perf_counter()))
            stop.wait(max(0.0, 1 - (time.perf_counter() - begun)))

    arriving = threading.Thread(target=arrive)
    with Follower(Indexer(installation.lake, Whole(installation.embedded), installation.index)):
        arriving.start()
        for number in range(SECONDS):
            while len(watched) <= number:
                time.sleep(0.01)
            text, committed = watched[number]
            while not found(installation, text):
                time.sleep(0.02)
            waits.append((time.perf_counter() - committed) * 1000)
        arriving.join()
    p95 = statistics.quantiles(waits, n=20)[-1]
    typical = statistics.median(commits)
    return Result(
        id="search-freshness",
        what=f"From a commit to its hit in search, p95, while {RATE:,} records a second arrive, milliseconds.",
        ours=float(f"{p95:.4g}"),
        theirs=float(f"{typical:.4g}"),
        peer="the commit itself, p50",
        ratio=float(f"{p95 / typical:.4g}"),
        target=str(AtMost("ours", 5000)),
        holds=p95 <= 5000,
        spread=0.0,
    )


def found(installation: Installation, text: str) -> bool:
    access = Access(Principal("admin", ("admin",)), "search", "bench", Silent())
    return installation.search.search(access, SearchQuestion(text)).total > 0
