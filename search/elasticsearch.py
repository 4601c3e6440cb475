"""The production index: Elasticsearch. One worker writes it, any number of servers read it.

Elasticsearch has no transactions, so documents carry the number of the change that brought them, and one document,
the head, says up to which number they count and which batches have gone since: to put the head forward is the commit.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from elasticsearch import ApiError, ConflictError, Elasticsearch, NotFoundError, TransportError
from elasticsearch.helpers import BulkIndexError, streaming_bulk

from catalog.resources import Resource
from search.elasticsearch_query import lowered
from search.index import Change, Found, Index, Indexed, Place, Search, View
from search.problems import IndexBusy, SearchUnavailable, busy, outdated, unavailable
from search.states import from_text, to_text

T = TypeVar("T")
_FORMAT: Final = "1"  # of what is written here: another one begins anew
_HEAD: Final = "head"
_LOOK_EVERY: Final = 0.2  # seconds between looks whether something was committed
_KEPT: Final = 600.0  # seconds that what has gone is kept for later pages
_LEASE: Final = 60.0  # seconds after which a writer that says nothing is held to be dead
_CHUNK: Final = 2000
_PATIENCE: Final = 10.0  # seconds for one answer
_MOST_RESOURCES: Final = 10_000
_MAPPINGS: Final = {
    "dynamic": "strict",
    "properties": {
        "resource": {"type": "keyword"},
        "words": {"type": "text", "analyzer": "whitespace", "norms": False},
        "facts": {"type": "keyword", "doc_values": False},
        "file": {"type": "long"},
        "row": {"type": "long"},
        "time": {"type": "long"},
        "since": {"type": "long"},  # the change that brought it
        "batch": {"type": "keyword"},  # what goes together
        "of": {"type": "keyword"},  # whose state a document is
        "state": {"type": "keyword", "index": False, "doc_values": False},
        "head": {"type": "object", "enabled": False},
    },
}
_SETTINGS: Final = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"}


@dataclass(frozen=True, slots=True)
class _Head:
    """Up to where the index counts.

    Args:
        number: of the last change that is whole.
        forgotten: views before this number are no longer kept.
        gone: batches that have gone: since which number, and when (seconds since 1970).
        writer, heard: who writes, and when it said so last.
        version: of the head's document, for compare and set.
    """

    number: int = 0
    forgotten: int = 0
    gone: tuple[tuple[str, int, float], ...] = ()
    writer: str = ""
    heard: float = 0.0
    version: tuple[int, int] | None = None


class ElasticsearchIndex:
    """Implements `search.index.Index`.

    Args:
        url: where Elasticsearch is.
        name: what the names of our indexes begin with.
        generation: the index to use; None for the one that the alias names.
    """

    def __init__(self, url: str, name: str, *, generation: str | None = None) -> None:
        self._client = Elasticsearch(url, request_timeout=_PATIENCE, max_retries=1, retry_on_timeout=False)
        self._url, self._name, self._alias = url, name, f"{name}-search"
        self._generation = generation
        self._index = generation or self._alias
        self._me = secrets.token_hex(8)
        self._clean = False
        self._lock = threading.RLock()
        self._looked, self._latest = float("-inf"), _View(self._client, "", _Head(), {})

    def view(self, name: str | None = None) -> View:
        """See `search.index.Index`."""
        latest = self._newest()
        if name is None or name == latest.name:
            return latest
        generation, _, number = name.rpartition("@")
        if generation != latest.index or not latest.head.forgotten <= int(number) <= latest.head.number:
            raise outdated()
        head = replace(latest.head, number=int(number))
        return _View(self._client, generation, head, _states(self._client, generation, head))

    def apply(self, change: Change) -> None:
        """See `search.index.Index`."""
        try:
            head = self._claim()
            self._write(head, change)
        except BaseException:
            self._clean = False  # what was written of it is taken away before anything else is
            raise
        with self._lock:
            self._looked = float("-inf")

    @contextmanager
    def rebuild(self) -> Iterator[Index]:
        """See `search.index.Index`."""
        generation = f"{self._alias}-{_FORMAT}-{secrets.token_hex(4)}"
        fresh = ElasticsearchIndex(self._url, self._name, generation=generation)
        fresh._me = self._me
        try:
            _reached(fresh._create)
            yield fresh
        except BaseException:
            self._client.options(ignore_status=404).indices.delete(index=generation)
            raise
        finally:
            fresh._client.close()
        old = self._behind_alias()
        turn: list[Mapping[str, Any]] = [{"add": {"index": generation, "alias": self._alias}}]
        turn += [{"remove_index": {"index": each}} for each in old]
        _reached(lambda: self._client.indices.update_aliases(actions=turn))
        self._clean, self._looked = False, float("-inf")

    def close(self) -> None:
        """See `search.index.Index`."""
        with suppress(SearchUnavailable, IndexBusy):  # else whoever writes next waits for the lease to end
            if self._clean:
                self._put(self._head()[1], writer="")
        self._client.close()

    def _newest(self) -> _View:
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_EVERY:
                return self._latest
            index, head = _reached(self._head)
            if index != self._latest.index or head.number != self._latest.head.number:
                states = _reached(lambda: _states(self._client, index, head)) if index else {}
                self._latest = _View(self._client, index, head, states)
            else:
                self._latest = _View(self._client, index, head, self._latest.states)
            self._looked = time.monotonic()
            return self._latest

    def _head(self) -> tuple[str, _Head]:
        """The index behind the alias and its head; an index that was never made is empty."""
        try:
            found = self._client.get(index=self._index, id=_HEAD)
        except NotFoundError:
            return "", _Head()
        said = found["_source"]["head"]
        return found["_index"], _Head(
            number=said["number"],
            forgotten=said["forgotten"],
            gone=tuple((batch, number, at) for batch, number, at in said["gone"]),
            writer=said["writer"],
            heard=said["heard"],
            version=(found["_seq_no"], found["_primary_term"]),
        )

    def _claim(self) -> _Head:
        """The head, of which this process is the writer, and no documents beyond it."""
        index, head = _reached(self._head)
        if not index:
            _reached(self._create)
            index, head = _reached(self._head)
        if head.writer not in {"", self._me} and time.time() - head.heard < _LEASE:
            raise busy()
        if head.writer != self._me or time.time() - head.heard > _LEASE / 3:
            head = self._put(head)
        if not self._clean:
            beyond = {"range": {"since": {"gt": head.number}}}
            _reached(lambda: self._client.indices.refresh(index=self._index))
            _reached(lambda: self._delete(beyond))
            self._clean = True
        return head

    def _put(self, head: _Head, writer: str | None = None) -> _Head:
        heard = time.time()
        said = {
            "number": head.number,
            "forgotten": head.forgotten,
            "gone": head.gone,
            "writer": self._me if writer is None else writer,
            "heard": heard,
        }
        if head.version is None:
            raise unavailable()
        sequence, term = head.version
        try:
            done = _reached(
                lambda: self._client.index(
                    index=self._index, id=_HEAD, document={"head": said}, if_seq_no=sequence, if_primary_term=term
                )
            )
        except ConflictError as error:
            raise busy() from error
        return replace(head, writer=self._me, heard=heard, version=(done["_seq_no"], done["_primary_term"]))

    def _write(self, head: _Head, change: Change) -> None:
        number = head.number + 1
        view = self._newest() if self._latest.head.number == head.number else None
        states = view.states if view is not None else _states(self._client, self._index, head)
        held = states.get(change.resource)
        batches = dict(held.batches) if isinstance(held, _Held) else {}
        gone = [batches.pop(file) for file in change.removed if file in batches]
        renewed = time.monotonic()
        for file, actions in self._actions(change, number):
            batches[file] = f"{file}.{number}"
            _reached(lambda actions=actions: self._bulk(actions))  # type: ignore[misc]
            if time.monotonic() - renewed > _LEASE / 3:
                head, renewed = self._put(head), time.monotonic()
        if change.state is not None:
            batches |= {file: f"{file}.{number}" for file in change.state.files if file not in batches}
            state = {"of": str(change.resource), "since": number, "batch": f"{change.resource}.{number}"}
            state["state"] = _Held.to_text(change.state, batches)
            _reached(lambda: self._client.index(index=self._index, document=state))
        if isinstance(held, _Held):
            gone.append(held.batch)
        _reached(lambda: self._client.indices.refresh(index=self._index))
        now = time.time()
        left = (*head.gone, *((batch, number, now) for batch in gone))
        self._put(self._forget(replace(head, number=number, gone=left), now))

    def _forget(self, head: _Head, now: float) -> _Head:
        """Deletes what has gone so long ago that no page asks for it any more."""
        old = [(batch, number) for batch, number, at in head.gone if at < now - _KEPT]
        if not old:
            return head
        head = replace(
            head,
            forgotten=max(number for _, number in old),
            gone=tuple(each for each in head.gone if each[2] >= now - _KEPT),
        )
        _reached(lambda: self._delete({"terms": {"batch": [batch for batch, _ in old]}}))
        return head

    def _actions(self, change: Change, number: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        name = str(change.resource)
        for file, documents in change.added:
            rows = zip(documents.rows, documents.times, documents.words, documents.facts, strict=True)
            yield (
                file,
                [
                    {
                        "_op_type": "index",
                        "_id": f"{file}.{row}.{number}",
                        "resource": name,
                        "file": file,
                        "row": row,
                        "words": words,
                        "facts": facts.split(" "),
                        "since": number,
                        "batch": f"{file}.{number}",
                        **({} if moment is None else {"time": moment}),
                    }
                    for row, moment, words, facts in rows
                ],
            )

    def _bulk(self, actions: list[dict[str, Any]]) -> None:
        for _ in streaming_bulk(self._client, actions, index=self._index, chunk_size=_CHUNK, max_retries=2):
            pass

    def _delete(self, query: dict[str, Any]) -> None:
        """Deletes what a query finds, piece by piece, as Elasticsearch's own module for that does."""
        while True:
            found = self._client.search(index=self._index, query=query, size=_CHUNK, source=False)["hits"]["hits"]
            if not found:
                return
            self._bulk([{"_op_type": "delete", "_id": hit["_id"]} for hit in found])
            self._client.indices.refresh(index=self._index)

    def _create(self) -> None:
        index = self._generation or f"{self._alias}-{_FORMAT}-{secrets.token_hex(4)}"
        aliases: dict[str, Any] = {} if self._generation else {self._alias: {}}
        self._client.indices.create(index=index, mappings=_MAPPINGS, settings=_SETTINGS, aliases=aliases)
        head = {"number": 0, "forgotten": 0, "gone": [], "writer": "", "heard": 0.0}
        self._client.index(index=index, id=_HEAD, document={"head": head}, refresh=True)

    def _behind_alias(self) -> list[str]:
        try:
            return list(self._client.indices.get_alias(name=self._alias))
        except NotFoundError:
            return []


@dataclass(frozen=True, slots=True)
class _Held(Indexed):
    """A state, with the batch that each file's documents came in, and its own."""

    batches: tuple[tuple[int, str], ...] = ()
    batch: str = ""

    @staticmethod
    def to_text(state: Indexed, batches: Mapping[int, str]) -> str:
        numbers = " ".join(batches[file].rpartition(".")[2] for file in sorted(state.files))
        return f"{to_text(state)}\n{numbers}"

    @staticmethod
    def from_text(text: str, batch: str) -> _Held:
        said, _, numbers = text.partition("\n")
        state = from_text(said)
        pairs = zip(sorted(state.files), numbers.split(), strict=True)
        return _Held(
            resource=state.resource,
            uuid=state.uuid,
            stamp=state.stamp,
            snapshot_id=state.snapshot_id,
            committed_at=state.committed_at,
            indexed_at=state.indexed_at,
            files=state.files,
            rows=state.rows,
            complete=state.complete,
            batches=tuple((file, f"{file}.{number}") for file, number in pairs),
            batch=batch,
        )


class _View:
    """Implements `search.index.View`: what was there at one number of the head."""

    def __init__(self, client: Elasticsearch, index: str, head: _Head, states: Mapping[Resource, Indexed]) -> None:
        self._client, self.index, self.head, self.states = client, index, head, states
        self.name = f"{index}@{head.number}"

    def find(self, search: Search) -> Found:
        """See `search.index.View`."""
        if not self.index:
            return Found((), {})
        inside = _inside(self.head)
        query: dict[str, Any] = {
            "bool": {
                "filter": [lowered(search.where), *inside["filter"]],
                "must_not": inside["must_not"],
                "should": [
                    {"constant_score": {"filter": lowered(part), "boost": weight}}
                    for part, weight in (() if search.by_time else search.better)
                ],
                "minimum_should_match": 0,
            }
        }
        first: dict[str, Any] = {"time": {"order": "desc"}} if search.by_time else {"_score": {"order": "desc"}}
        asked: dict[str, Any] = {
            "index": self.index,
            "query": query,
            "sort": [first, {"file": "asc"}, {"row": "asc"}],
            "size": search.limit,
            "source": False,
            "track_total_hits": False,
        }
        if search.count:
            asked["aggregations"] = {"by": {"terms": {"field": "resource", "size": _MOST_RESOURCES}}}
        if search.after is not None:
            asked["search_after"] = [float(search.after[0]), *map(int, search.after[1:])]
            if search.by_time:
                asked["search_after"][0] = int(search.after[0])
        found = _reached(lambda: self._client.search(**asked))
        buckets = found["aggregations"]["by"]["buckets"] if search.count else ()
        return Found(
            tuple(
                Place(hit["sort"][1], hit["sort"][2], tuple(str(value) for value in hit["sort"]))
                for hit in found["hits"]["hits"]
            ),
            {bucket["key"]: bucket["doc_count"] for bucket in buckets},
        )


def _inside(head: _Head) -> dict[str, list[dict[str, Any]]]:
    """What a version of the index holds: what had come by then, and not gone."""
    gone = [batch for batch, number, _ in head.gone if number <= head.number]
    return {
        "filter": [{"range": {"since": {"lte": head.number}}}],
        "must_not": [{"terms": {"batch": gone}}] if gone else [],
    }


def _states(client: Elasticsearch, index: str, head: _Head) -> dict[Resource, Indexed]:
    inside = _inside(head)
    query = {"bool": {"filter": [{"exists": {"field": "of"}}, *inside["filter"]], "must_not": inside["must_not"]}}
    found = client.search(index=index, query=query, size=_MOST_RESOURCES, source_includes=["state", "batch"])
    states = [_Held.from_text(hit["_source"]["state"], hit["_source"]["batch"]) for hit in found["hits"]["hits"]]
    return {state.resource: state for state in sorted(states, key=lambda state: state.resource)}


def _reached(ask: Callable[[], T]) -> T:
    """Turns whatever Elasticsearch, or the way to it, does not let happen into one problem."""
    try:
        return ask()
    except ConflictError:
        raise
    except (ApiError, TransportError, BulkIndexError) as error:
        raise unavailable() from error
