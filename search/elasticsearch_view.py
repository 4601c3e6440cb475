"""Versions of the index in Elasticsearch: what counts at one number of its head, and how that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from elasticsearch import ApiError, ConflictError, Elasticsearch, TransportError

from catalog.resources import Resource
from search.elasticsearch_query import lowered
from search.index import Found, Indexed, Place, Search
from search.problems import unavailable
from search.states import from_text, to_text

T = TypeVar("T")
_MOST_RESOURCES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Head:
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


@dataclass(frozen=True, slots=True)
class Held(Indexed):
    """A state, with the batch that each file's documents came in, and its own."""

    batches: tuple[tuple[int, str], ...] = ()
    batch: str = ""

    @staticmethod
    def to_text(state: Indexed, batches: Mapping[int, str]) -> str:
        numbers = " ".join(batches[file].rpartition(".")[2] for file in sorted(state.files))
        return f"{to_text(state)}\n{numbers}"

    @staticmethod
    def from_text(text: str, batch: str) -> Held:
        said, _, numbers = text.partition("\n")
        state = from_text(said)
        pairs = zip(sorted(state.files), numbers.split(), strict=True)
        return Held(
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


class ElasticsearchView:
    """Implements `search.index.View`: what was there at one number of the head."""

    def __init__(self, client: Elasticsearch, index: str, head: Head, states: Mapping[Resource, Indexed]) -> None:
        self._client, self.index, self.head, self.states = client, index, head, states
        self.name = f"{index}@{head.number}"

    def find(self, search: Search) -> Found:
        """See `search.index.View`."""
        if not self.index:
            return Found((), {})
        inside = _inside(self.head)
        query: dict[str, Any] = {
            "bool": {
                # Elasticsearch looks at `must` first: where a segment has nothing of it, it looks no further.
                "must": [{"constant_score": {"filter": lowered(search.where), "boost": 0.0}}],
                "filter": inside["filter"],
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
        found = reached(lambda: self._client.search(**asked))
        buckets = found["aggregations"]["by"]["buckets"] if search.count else ()
        return Found(
            tuple(
                Place(hit["sort"][1], hit["sort"][2], tuple(str(value) for value in hit["sort"]))
                for hit in found["hits"]["hits"]
            ),
            {bucket["key"]: bucket["doc_count"] for bucket in buckets},
        )


def _inside(head: Head) -> dict[str, list[dict[str, Any]]]:
    """What a version of the index holds: what had come by then, and not gone."""
    gone = [batch for batch, number, _ in head.gone if number <= head.number]
    return {
        "filter": [{"range": {"since": {"lte": head.number}}}],
        "must_not": [{"terms": {"batch": gone}}] if gone else [],
    }


def states_of(client: Elasticsearch, index: str, head: Head) -> dict[Resource, Indexed]:
    inside = _inside(head)
    query = {"bool": {"filter": [{"exists": {"field": "of"}}, *inside["filter"]], "must_not": inside["must_not"]}}
    found = client.search(index=index, query=query, size=_MOST_RESOURCES, source_includes=["state", "batch"])
    states = [Held.from_text(hit["_source"]["state"], hit["_source"]["batch"]) for hit in found["hits"]["hits"]]
    return {state.resource: state for state in sorted(states, key=lambda state: state.resource)}


def reached(ask: Callable[[], T]) -> T:
    """Turns whatever Elasticsearch, or the way to it, does not let happen into one problem."""
    try:
        return ask()
    except ConflictError:
        raise
    except (ApiError, TransportError) as error:
        raise unavailable() from error
