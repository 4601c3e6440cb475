"""The embedded index: Tantivy, in a folder of Sluice's state. One process writes it, any number read it."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import tantivy
from tantivy import Occur, Query

from catalog.resources import Resource
from search import expression
from search.documents import Documents
from search.index import Change, Found, Index, Indexed, Place, Search, View
from search.patterns import any_column, at_least, at_most, like, near
from search.problems import busy, outdated, unavailable
from search.states import from_text, to_text

T = TypeVar("T")
_FORMAT: Final = "2"  # of what is written here: another one begins anew
_KEPT: Final = 600.0  # seconds that a version is kept for later pages
_MOST_KEPT: Final = 64
_LOOK_EVERY: Final = 0.2  # seconds between looks whether another process has committed
_HEAP: Final = 200_000_000
_THREADS: Final = 2  # that write: reading the lake keeps no more of them busy
_MOST_RESOURCES: Final = 100_000


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("resource", fast=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", tokenizer_name="spaces", index_option="position")
    builder.add_text_field("facts", tokenizer_name="spaces", index_option="basic")
    builder.add_unsigned_field("file", indexed=True, fast=True)
    builder.add_unsigned_field("row", fast=True)
    builder.add_integer_field("time", fast=True)
    builder.add_text_field("of", tokenizer_name="raw", index_option="basic")  # whose state a document is
    builder.add_text_field("state", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


class TantivyIndex:
    """Implements `search.index.Index`.

    Args:
        folder: where generations are; one at a time is `current`.
        threads: that write.
        generation: the one to open; None for the current one, which may change.
    """

    def __init__(self, folder: Path, *, threads: int = _THREADS, generation: str | None = None) -> None:
        self._folder, self._threads, self._fixed = folder, threads, generation
        self._lock = threading.RLock()
        self._writer: tantivy.IndexWriter | None = None
        self._views: dict[str, _View] = {}
        self._looked = float("-inf")
        self._generation = ""
        self._index: tantivy.Index | None = None

    def view(self, name: str | None = None) -> View:
        """See `search.index.Index`."""
        with self._lock:
            if name is None:
                return self._newest()
            kept = self._views.get(name)
            if kept is None or kept.used < time.monotonic() - _KEPT:
                raise outdated()
            kept.used = time.monotonic()
            return kept

    def apply(self, change: Change) -> None:
        """See `search.index.Index`."""
        with self._lock:
            index = self._open()
            writer = self._writing(index)
        try:
            for number in change.removed:
                of_file = Query.term_query(index.schema, "file", number)
                _reached(partial(writer.delete_documents_by_query, of_file))
            for number, documents in change.added:
                _reached(partial(_add, writer, change.resource, number, documents))
            _reached(partial(_conclude, writer, change))
        except BaseException:
            self._give_up(writer)
            raise
        with self._lock:
            self._looked = float("-inf")

    @contextmanager
    def rebuild(self) -> Iterator[Index]:
        """See `search.index.Index`."""
        generation = f"{_FORMAT}-{secrets.token_hex(4)}"
        fresh = TantivyIndex(self._folder, threads=self._threads, generation=generation)
        try:
            yield fresh
        except BaseException:
            fresh.close()
            shutil.rmtree(self._folder / generation, ignore_errors=True)
            raise
        fresh.close()
        with self._lock:
            old = self._current()
            self._point(generation)
            self.close()
        if old is not None:
            shutil.rmtree(self._folder / old, ignore_errors=True)  # who still reads it holds its files open

    def close(self) -> None:
        """See `search.index.Index`."""
        with self._lock:
            writer, self._writer = self._writer, None
            self._index, self._views, self._looked = None, {}, float("-inf")
        if writer is not None:
            with suppress(ValueError):
                writer.wait_merging_threads()

    def _newest(self) -> _View:
        now = time.monotonic()
        latest = next(reversed(self._views.values()), None)
        if latest is not None and now - self._looked < _LOOK_EVERY:
            latest.used = now
            return latest
        index = self._open()
        self._looked = now
        _reached(index.reload)
        searcher = index.searcher()
        states = _reached(lambda: _states(searcher))
        if latest is None or states != latest.states:
            latest = _View(f"{self._generation}.{secrets.token_hex(6)}", searcher, index.schema, states)
            stale = [name for name, view in self._views.items() if view.used < now - _KEPT]
            for name in [*stale, *list(self._views)[: max(0, len(self._views) - len(stale) - _MOST_KEPT)]]:
                self._views.pop(name, None)
            self._views[latest.name] = latest
        latest.used = now
        return latest

    def _open(self) -> tantivy.Index:
        wanted = self._fixed or self._current()
        if self._index is not None and wanted == self._generation:
            return self._index
        if self._index is not None:
            self.close()
        generation = wanted or f"{_FORMAT}-{secrets.token_hex(4)}"
        path = self._folder / generation
        try:
            path.mkdir(parents=True, exist_ok=True)
            index = tantivy.Index(_schema(), str(path))
        except (OSError, ValueError) as error:
            raise unavailable() from error
        spaces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        index.register_tokenizer("spaces", spaces)
        self._index, self._generation = index, generation
        if wanted is None:
            self._point(generation)
        return index

    def _current(self) -> str | None:
        try:
            generation = (self._folder / "current").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable() from error
        known = generation.startswith(f"{_FORMAT}-") and (self._folder / generation).is_dir()
        return generation if known else None

    def _point(self, generation: str) -> None:
        draft = self._folder / f"current.{secrets.token_hex(4)}"
        draft.write_text(generation, encoding="ascii")
        draft.replace(self._folder / "current")

    def _writing(self, index: tantivy.Index) -> tantivy.IndexWriter:
        if self._writer is None:
            try:
                self._writer = index.writer(_HEAP, self._threads)
            except ValueError as error:
                if "LockBusy" in str(error) or "lock" in str(error).lower():
                    raise busy() from error
                raise unavailable() from error
        return self._writer

    def _give_up(self, writer: tantivy.IndexWriter) -> None:
        with suppress(ValueError, OSError):
            writer.rollback()
        with self._lock:
            self._writer = None  # a writer that failed may have lost its threads


class _View:
    """Implements `search.index.View`: a searcher keeps its segments, whatever is committed."""

    def __init__(
        self, name: str, searcher: tantivy.Searcher, schema: tantivy.Schema, states: Mapping[Resource, Indexed]
    ) -> None:
        self.name, self.states, self.used = name, states, time.monotonic()
        self._searcher, self._lower = searcher, _Lower(schema)

    def find(self, search: Search) -> Found:
        """See `search.index.View`."""
        must = Query.const_score_query(self._lower(search.where), 0.0)
        ranked = [
            (Occur.Should, Query.const_score_query(self._lower(part), float(weight))) for part, weight in search.better
        ]
        query = Query.boolean_query([(Occur.Must, must), *ranked]) if ranked and not search.by_time else must
        start = int(search.after[0]) if search.after else 0

        def ask() -> Found:
            found = self._searcher.search(
                query, limit=search.limit, offset=start, count=False, order_by_field="time" if search.by_time else None
            )
            addresses = [address for _, address in found.hits]
            files = self._searcher.fast_field_values("file", addresses)
            rows = self._searcher.fast_field_values("row", addresses)
            places = tuple(
                Place(int(file or 0), int(row or 0), (str(start + number),))
                for number, (file, row) in enumerate(zip(files, rows, strict=True), 1)
            )
            return Found(places, self._counts(must) if search.count else {})

        return _reached(ask)

    def _counts(self, query: Query) -> dict[str, int]:
        terms = {"terms": {"field": "resource", "size": _MOST_RESOURCES, "segment_size": _MOST_RESOURCES}}
        answer = self._searcher.aggregate(query, {"by": terms})
        return {bucket["key"]: bucket["doc_count"] for bucket in answer["by"]["buckets"]}


class _Lower:
    """An expression as Tantivy's query."""

    def __init__(self, schema: tantivy.Schema) -> None:
        self._schema = schema

    def __call__(self, part: expression.Expression) -> Query:  # noqa: PLR0911, PLR0912 - one branch a kind of expression
        match part:
            case expression.Always():
                return Query.exists_query("file")  # a state is no document
            case expression.Never():
                return Query.empty_query()
            case expression.From(resources):
                return self._one_of("resource", resources)
            case expression.Word(columns, (word,)):
                return self._one_of("words", [f"{column}:{word}" for column in columns])
            case expression.Word(columns, words):
                return _any(
                    Query.phrase_query(self._schema, "words", [f"{column}:{word}" for word in words])
                    for column in columns
                )
            case expression.WordStart(columns, start):
                return self._regex("words", f"{any_column(columns)}:{like((start, None))}")
            case expression.NearWord(columns, word):
                return self._regex("words", f"{any_column(columns)}:{near(word)}")
            case expression.Fact(facts):
                return self._one_of("facts", facts)
            case expression.FactRange(column, low, high):
                ends = [
                    *([at_least(low, itself=part.with_low)] if low is not None else []),
                    *([at_most(high, itself=part.with_high)] if high is not None else []),
                ]
                return _all(self._regex("facts", f"{column}={end}") for end in ends)
            case expression.FactLike(column, pattern):
                return self._regex("facts", f"{column}={like(pattern)}")
            case expression.Between(start, end):
                last = None if end is None else end - 1
                return Query.range_query(self._schema, "time", tantivy.FieldType.Integer, start, last)
            case expression.And(parts):
                return _all(self(each) for each in parts)
            case expression.Or(parts):
                return _any(self(each) for each in parts)
            case expression.Not(inner):
                return Query.boolean_query([(Occur.Must, self(expression.ALWAYS)), (Occur.MustNot, self(inner))])

    def _one_of(self, field: str, values: tuple[str, ...] | list[str]) -> Query:
        if len(values) == 1:
            return Query.term_query(self._schema, field, values[0], "basic")
        return Query.term_set_query(self._schema, field, list(values))

    def _regex(self, field: str, pattern: str) -> Query:
        return Query.regex_query(self._schema, field, pattern)


def _all(parts: Iterator[Query]) -> Query:
    return Query.boolean_query([(Occur.Must, part) for part in parts])


def _any(parts: Iterator[Query]) -> Query:
    return Query.boolean_query([(Occur.Should, part) for part in parts])


def _add(writer: tantivy.IndexWriter, resource: Resource, number: int, documents: Documents) -> None:
    name = str(resource)
    rows = zip(documents.rows, documents.times, documents.words, documents.facts, strict=True)
    for row, moment, words, facts in rows:
        document = tantivy.Document()
        document.add_text("resource", name)
        document.add_unsigned("file", number)
        document.add_unsigned("row", row)
        document.add_text("words", words)
        document.add_text("facts", facts)
        if moment is not None:
            document.add_integer("time", moment)
        writer.add_document(document)


def _conclude(writer: tantivy.IndexWriter, change: Change) -> None:
    writer.delete_documents_by_term("of", str(change.resource))
    if change.state is not None:
        document = tantivy.Document()
        document.add_text("of", str(change.resource))
        document.add_text("state", to_text(change.state))
        writer.add_document(document)
    writer.commit()


def _states(searcher: tantivy.Searcher) -> dict[Resource, Indexed]:
    query = Query.regex_query(_schema(), "of", ".*")
    found = searcher.search(query, limit=_MOST_RESOURCES, count=False)
    states = [from_text(searcher.doc(address)["state"][0]) for _, address in found.hits]
    return {state.resource: state for state in sorted(states, key=lambda state: state.resource)}


def _reached(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (OSError, ValueError) as error:
        raise unavailable() from error
