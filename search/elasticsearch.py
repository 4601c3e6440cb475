"""The production index: Elasticsearch. One worker writes it, any number of servers read it.

Elasticsearch has no transactions, so documents carry the number of the change that brought them, and one document,
the head, says up to which number they count and which batches have gone since: to put the head forward is the commit.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import orjson
from elasticsearch import ConflictError, Elasticsearch, NotFoundError

from catalog.resources import Resource
from search.documents import Documents
from search.elasticsearch_view import ElasticsearchView, Head, Held, reached, states_of
from search.index import Change, Index, View
from search.problems import IndexBusy, SearchUnavailable, busy, outdated, unavailable

_FORMAT: Final = "1"  # of what is written here: another one begins anew
_HEAD: Final = "head"
_LOOK_EVERY: Final = 0.2  # seconds between looks whether something was committed
_KEPT: Final = 600.0  # seconds that what has gone is kept for later pages
_LEASE: Final = 60.0  # seconds after which a writer that says nothing is held to be dead
_CHUNK: Final = 2000  # documents in one request
_UNDER_WAY: Final = 2  # requests: the next is written while Elasticsearch works on one
_AWAY: Final = 1.0  # seconds that whoever asks is told so, once it did not answer: they would wait one after the other
_PATIENCE: Final = 10.0  # seconds for one answer to whoever searches
_WRITER_PATIENCE: Final = 30.0
_FIELDS: Final[dict[str, dict[str, Any]]] = {
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
}
_MAPPINGS: Final = {"dynamic": "strict", "properties": _FIELDS}
_SETTINGS: Final = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"}


class ElasticsearchIndex:
    """Implements `search.index.Index`.

    Args:
        url: where Elasticsearch is.
        name: what the names of our indexes begin with.
        generation: the index to use; None for the one that the alias names.
    """

    def __init__(self, url: str, name: str, *, generation: str | None = None) -> None:
        self._client = Elasticsearch(url, request_timeout=_PATIENCE, max_retries=1, retry_on_timeout=False)
        self._writing = self._client.options(request_timeout=_WRITER_PATIENCE)
        self._url, self._name, self._alias = url, name, f"{name}-search"
        self._generation = generation
        self._index = generation or self._alias
        self._me = secrets.token_hex(8)
        self._clean = False
        self._lock = threading.RLock()
        self._away_until = float("-inf")
        self._looked, self._latest = float("-inf"), ElasticsearchView(self._client, "", Head(), {})

    def view(self, name: str | None = None) -> View:
        """See `search.index.Index`."""
        latest = self._newest()
        if name is None or name == latest.name:
            return latest
        generation, _, number = name.rpartition("@")
        if generation != latest.index or not latest.head.forgotten <= int(number) <= latest.head.number:
            raise outdated()
        head = replace(latest.head, number=int(number))
        return ElasticsearchView(self._client, generation, head, states_of(self._client, generation, head))

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
            reached(fresh._create)
            yield fresh
        except BaseException:
            self._client.options(ignore_status=404).indices.delete(index=generation)
            raise
        finally:
            fresh._client.close()
        old = self._behind_alias()
        turn: list[Mapping[str, Any]] = [{"add": {"index": generation, "alias": self._alias}}]
        turn += [{"remove_index": {"index": each}} for each in old]
        reached(lambda: self._client.indices.update_aliases(actions=turn))
        self._clean, self._looked = False, float("-inf")

    def close(self) -> None:
        """See `search.index.Index`."""
        with suppress(SearchUnavailable, IndexBusy):  # else whoever writes next waits for the lease to end
            if self._clean:
                self._put(reached(self._head)[1], writer="")
        self._client.close()

    def _newest(self) -> ElasticsearchView:
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_EVERY:
                return self._latest
            if time.monotonic() < self._away_until:
                raise unavailable()
            try:
                index, head = reached(self._head)
            except SearchUnavailable:
                self._away_until = time.monotonic() + _AWAY
                raise
            if index != self._latest.index or head.number != self._latest.head.number:
                states = reached(lambda: states_of(self._client, index, head)) if index else {}
                self._latest = ElasticsearchView(self._client, index, head, states)
            else:
                self._latest = ElasticsearchView(self._client, index, head, self._latest.states)
            self._looked = time.monotonic()
            return self._latest

    def _head(self) -> tuple[str, Head]:
        """The index behind the alias and its head; an index that was never made is empty."""
        try:
            found = self._client.get(index=self._index, id=_HEAD)
        except NotFoundError:
            return "", Head()
        said = found["_source"]["head"]
        return found["_index"], Head(
            number=said["number"],
            forgotten=said["forgotten"],
            gone=tuple((batch, number, at) for batch, number, at in said["gone"]),
            writer=said["writer"],
            heard=said["heard"],
            version=(found["_seq_no"], found["_primary_term"]),
        )

    def _claim(self) -> Head:
        """The head, of which this process is the writer, and no documents beyond it."""
        index, head = reached(self._head)
        if not index or not (self._clean or reached(lambda: self._fits(index))):
            reached(self._create)
            _, head = reached(self._head)
        if head.writer not in {"", self._me} and time.time() - head.heard < _LEASE:
            raise busy()
        if head.writer != self._me or time.time() - head.heard > _LEASE / 3:
            head = self._put(head)
        if not self._clean:
            beyond = {"range": {"since": {"gt": head.number}}}
            reached(lambda: self._writing.indices.refresh(index=self._index))
            reached(lambda: self._delete(beyond))
            self._clean = True
        return head

    def _put(self, head: Head, writer: str | None = None) -> Head:
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
            done = reached(
                lambda: self._client.index(
                    index=self._index, id=_HEAD, document={"head": said}, if_seq_no=sequence, if_primary_term=term
                )
            )
        except ConflictError as error:
            raise busy() from error
        return replace(head, writer=self._me, heard=heard, version=(done["_seq_no"], done["_primary_term"]))

    def _write(self, head: Head, change: Change) -> None:
        number = head.number + 1
        view = self._newest() if self._latest.head.number == head.number else None
        states = view.states if view is not None else states_of(self._client, self._index, head)
        held = states.get(change.resource)
        batches = dict(held.batches) if isinstance(held, Held) else {}
        gone = [batches.pop(file) for file in change.removed if file in batches]
        renewed = time.monotonic()
        with ThreadPoolExecutor(_UNDER_WAY, "search-bulk") as senders:
            sending: deque[Future[None]] = deque()
            for file, documents in change.added:
                batches[file] = f"{file}.{number}"
                for request in _requests(change.resource, file, documents, number):
                    sending.append(senders.submit(self._bulk, request))
                    if len(sending) > _UNDER_WAY:
                        sending.popleft().result()
                if time.monotonic() - renewed > _LEASE / 3:
                    head, renewed = self._put(head), time.monotonic()
            for sent in sending:
                sent.result()
        if change.state is not None:
            batches |= {file: f"{file}.{number}" for file in change.state.files if file not in batches}
            state = {"of": str(change.resource), "since": number, "batch": f"{change.resource}.{number}"}
            state["state"] = Held.to_text(change.state, batches)
            reached(lambda: self._client.index(index=self._index, document=state))
        if isinstance(held, Held):
            gone.append(held.batch)
        reached(lambda: self._writing.indices.refresh(index=self._index))
        now = time.time()
        left = (*head.gone, *((batch, number, now) for batch in gone))
        self._put(self._forget(replace(head, number=number, gone=left), now))

    def _forget(self, head: Head, now: float) -> Head:
        """Deletes what has gone so long ago that no page asks for it any more."""
        old = [(batch, number) for batch, number, at in head.gone if at < now - _KEPT]
        if not old:
            return head
        head = replace(
            head,
            forgotten=max(number for _, number in old),
            gone=tuple(each for each in head.gone if each[2] >= now - _KEPT),
        )
        reached(lambda: self._delete({"terms": {"batch": [batch for batch, _ in old]}}))
        return head

    def _bulk(self, request: bytes) -> None:
        """Sends lines of the bulk format; one that is refused is as if all were."""
        lines: list[Any] = [request]  # the client's serializer lets bytes through as they are
        done = reached(lambda: self._writing.bulk(index=self._index, operations=lines, filter_path="errors"))
        if done["errors"]:
            raise unavailable()

    def _delete(self, query: dict[str, Any]) -> None:
        """Deletes what a query finds, piece by piece, as Elasticsearch's own module for that does."""
        while True:
            found = self._client.search(index=self._index, query=query, size=_CHUNK, source=False)["hits"]["hits"]
            if not found:
                return
            self._bulk(b"".join(orjson.dumps({"delete": {"_id": hit["_id"]}}) + b"\n" for hit in found))
            self._writing.indices.refresh(index=self._index)

    def _create(self) -> None:
        """An empty index. What has the alias but is none of ours, or does not fit, loses it and is left alone."""
        index = self._generation or f"{self._alias}-{_FORMAT}-{secrets.token_hex(4)}"
        self._client.indices.create(index=index, mappings=_MAPPINGS, settings=_SETTINGS)
        head = {"number": 0, "forgotten": 0, "gone": [], "writer": "", "heard": 0.0}
        self._client.index(index=index, id=_HEAD, document={"head": head}, refresh=True)
        if self._generation is None:
            turn: list[Mapping[str, Any]] = [{"add": {"index": index, "alias": self._alias}}]
            turn += [{"remove": {"index": each, "alias": self._alias}} for each in self._behind_alias()]
            self._client.indices.update_aliases(actions=turn)

    def _fits(self, index: str) -> bool:
        """Whether an index has our mapping: somebody may have restored or made one that has another."""
        found = self._client.indices.get_mapping(index=index)[index]["mappings"].get("properties", {})
        return {name: field.get("type") for name, field in found.items()} == {
            name: field["type"] for name, field in _FIELDS.items()
        }

    def _behind_alias(self) -> list[str]:
        try:
            return list(self._client.indices.get_alias(name=self._alias))
        except NotFoundError:
            return []


def _requests(resource: Resource, file: int, documents: Documents, number: int) -> Iterator[bytes]:
    """The documents of a data file as lines of the bulk format: made here, since the client's own way is the slower
    by far."""
    same = {"resource": str(resource), "file": file, "since": number, "batch": f"{file}.{number}"}
    lines: list[bytes] = []
    for row, moment, words, facts in zip(
        documents.rows, documents.times, documents.words, documents.facts, strict=True
    ):
        document = {**same, "row": row, "words": words, "facts": facts.split(" ")}
        if moment is not None:
            document["time"] = moment
        lines += (b'{"index":{"_id":"%d.%d.%d"}}' % (file, row, number), orjson.dumps(document))
        if len(lines) >= 2 * _CHUNK:
            yield b"\n".join(lines) + b"\n"
            lines.clear()
    if lines:
        yield b"\n".join(lines) + b"\n"
