"""Everything that there is, kind by kind, whoever asks: the list before it is narrowed to what a caller may know of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, Field

from api.installation import Installation
from catalog.resources import KINDS
from pipeline.offsets import last_batches, topics
from pipeline.tables import RAW

INDEX: Final = "search"
"""The name of the index that search asks; there is one."""


class ResourceOut(BaseModel):
    """Something in the lake."""

    id: str = Field(description="`kind:name`, as grants name it.", examples=["table:raw.transactions"])
    kind: str = Field(description=f"One of {', '.join(KINDS)}.")
    name: str = Field(description="Its name within the kind.")
    format: str = Field(
        description="`iceberg` for a table; for a file what it is read as; what a topic's messages, an index or a "
        "model are."
    )
    versioned: bool = Field(description="Whether older versions may be asked for.")
    size_bytes: int | None = Field(description="Bytes of its data, where that is known.")
    row_count: int | None = Field(description="Rows, where that is known and the caller may see all of them.")
    updated_at: datetime | None = Field(
        description="When it changed last; of a topic, when the lake last took messages of it. Null where that is not "
        "known."
    )
    actions: list[str] = Field(description="What the caller may do with it.")


def everything(installation: Installation, kind: str | None, prefix: str) -> Iterator[ResourceOut]:
    """Everything of one kind, or of every kind, whose name begins so. Asks neither Kafka nor Elasticsearch: one that
    is slow would hold up whoever asks for the list.
    """
    for each, listed in _KINDS.items():
        if kind in {None, each}:
            yield from listed(installation, prefix)


def _tables(installation: Installation, prefix: str) -> Iterator[ResourceOut]:
    for info in installation.lake.tables():
        if info.resource.name.startswith(prefix):
            yield ResourceOut(
                id=str(info.resource),
                kind="table",
                name=info.resource.name,
                format="iceberg",
                versioned=info.versioned,
                size_bytes=info.size_bytes,
                row_count=info.row_count,
                updated_at=info.updated_at,
                actions=[],
            )


def _files(installation: Installation, prefix: str) -> Iterator[ResourceOut]:
    for file in installation.lake.files(prefix):
        yield ResourceOut(
            id=str(file.resource),
            kind="file",
            name=file.resource.name,
            format=file.format,
            versioned=False,
            size_bytes=file.size_bytes,
            row_count=None,
            updated_at=file.updated_at,
            actions=[],
        )


def _topics(installation: Installation, prefix: str) -> Iterator[ResourceOut]:
    """The one that the pipeline begins with, and those that the lake has messages of."""
    settings, catalog = installation.settings, installation.lake.iceberg
    raw = catalog.load_table(RAW.name).metadata if catalog.table_exists(RAW.name) else None
    names = topics(raw) if raw is not None else set()
    if settings.kafka is not None:
        names = names | {settings.kafka_topic}
    for name in sorted(names):
        if name.startswith(prefix):
            newest = next(last_batches(raw, name), None) if raw is not None else None
            yield _unmeasured("topic", name, "json", newest.at if newest is not None else None)


def _indexes(installation: Installation, prefix: str) -> Iterator[ResourceOut]:
    if INDEX.startswith(prefix):
        yield _unmeasured("index", INDEX, installation.settings.search, None)


def _models(installation: Installation, prefix: str) -> Iterator[ResourceOut]:
    for name, newest in {model.name: model for model in reversed(installation.models.all())}.items():
        if name.startswith(prefix):
            model = _unmeasured("model", name, "scikit-learn", newest.created_at)
            yield model.model_copy(update={"versioned": True})


def _unmeasured(kind: str, name: str, format_: str, updated_at: datetime | None) -> ResourceOut:
    """Something of which the lake knows neither bytes nor rows, and keeps no versions."""
    return ResourceOut(
        id=f"{kind}:{name}",
        kind=kind,
        name=name,
        format=format_,
        versioned=False,
        size_bytes=None,
        row_count=None,
        updated_at=updated_at,
        actions=[],
    )


_KINDS: Final[Mapping[str, Callable[[Installation, str], Iterator[ResourceOut]]]] = {
    "table": _tables,
    "file": _files,
    "topic": _topics,
    "index": _indexes,
    "model": _models,
}
