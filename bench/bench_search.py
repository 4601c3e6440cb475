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
from functools import partial
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
from search.follow import Follower
from search.index import Change, Indexed
from search.indexer import Indexer
from search.tantivy import TantivyIndex
from sql.access import Access
from sql.canaries import Silent
from sql.places import Whole

TABLE = Resource.table("raw.transactions")
RATE, SECONDS = 2_000, 40
LARGE_FILES = 50  # of 100,000 rows
ROW_GROUP = 20_480  # about as many rows as in the files that Sluice writes


def results(rounds: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings, token = make_lake(Path(folder), row_group=ROW_GROUP)
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
            yield from over_elasticsearch(Path(folder), url, rounds)
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

    def read() -> Iterator[tuple[int, Documents]]:
        for some in documents(relation, whole.batches(relation, 3)):
            yield 1, some

    made = list(read())
    rows = sum(len(each.rows) for _, each in made)
    ours, theirs = [], []
    for number in range(rounds):
        for times, added in ((ours, read()), (theirs, iter(made))):
            with closing(TantivyIndex(folder / f"index-{number}-{len(ours)}")) as index:
                now = datetime.now(UTC)
                state = Indexed(TABLE, "", "", None, now, now, frozenset({1}), 0)
                start = time.perf_counter()
                index.apply(Change(TABLE, frozenset(), added, state))
                times.append((time.perf_counter() - start) * 1e6 / rows)
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
        lambda: once(installation, next(ids), records=0),
        plain,
        peer="Tantivy, asked for one term of one column",
        target=AtMost("ours", 5),
        rounds=rounds,
    )


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


def over_elasticsearch(folder: Path, url: str, rounds: int) -> Iterator[Result]:
    """A larger lake in Elasticsearch, by our own indexer. `BENCH_SEARCH_LAKE` names a folder to keep it in."""
    kept = os.environ.get("BENCH_SEARCH_LAKE")
    home = Path(kept) if kept else folder / "large"
    if not home.exists():
        only_the_table(make_lake(home, files=LARGE_FILES, row_group=ROW_GROUP)[0])
    settings = Settings(
        state_dir=home / "state",
        lake_dir=home / "lake",
        search="elasticsearch",
        elasticsearch_url=url,
        elasticsearch_name="bench" if kept else f"bench_{os.urandom(4).hex()}",
    )
    with closing(open_installation(settings)) as installation, closing(Elasticsearch(url)) as client:
        start = time.perf_counter()
        installation.indexer().step()
        relation = installation.lake.relation(TABLE)
        rows = installation.index.view().states[TABLE].rows
        print(f"       Elasticsearch: {rows:,} rows, indexed in {time.perf_counter() - start:,.0f} seconds")
        ids = itertools.cycle(f"t{n:09}" for n in random.Random(2).sample(range(rows), 5000))
        name = next(iter(client.indices.get_alias(name=f"{settings.elasticsearch_name}-search")))

        def direct(with_row: bool) -> None:
            text = next(ids)
            found = client.search(
                index=name,
                query={"terms": {"words": [f"{column.name}:{text}" for column in relation.columns]}},
                aggregations={"by": {"terms": {"field": "resource"}}},
                size=10,
                source=with_row,
                docvalue_fields=["file", "row"],
            )
            if found["hits"]["total"]["value"] != 1:
                raise RuntimeError(f"{text} was not found")

        try:
            for id, records, what, beside in (
                ("search-elasticsearch", 0, "without the record", ""),
                ("search-elasticsearch-record", 10, "with its record from the lake", ", with what it keeps of the row"),
            ):
                yield compare(
                    id,
                    f"One id in {rows:,} rows by Elasticsearch, under the policies, {what}, milliseconds.",
                    partial(lambda records: once(installation, next(ids), records), records),
                    partial(direct, records > 0),
                    peer=f"the same Elasticsearch, asked directly for it in every column, counted by resource{beside}",
                    target=AtMost("ratio", 1.5),
                    rounds=rounds,
                )
        finally:
            if not kept:
                client.indices.delete(index=name)


def ask(installation: Installation, text: str, records: int = 10) -> int:
    """Hits of a search through the door, with so many of its records read."""
    access = Access(Principal("admin", ("admin",)), "search", "bench", Silent())
    return installation.search.search(access, SearchQuestion(text, limit=records)).total


def once(installation: Installation, text: str, records: int = 10) -> None:
    found = ask(installation, text, records)
    if found != 1:
        raise RuntimeError(f"{text} was found {found} times")


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
            while not ask(installation, text):
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
