"""Raw files of the lake: what there is, and each one as a relation."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from catalog.arrow_types import lake_type, trino_type
from catalog.column_names import check_column_names
from catalog.converted import Converted, RejectedRow, TextFile
from catalog.formats import format_of
from catalog.formats.blocks import FileUnreadable
from catalog.formats.parquet import open_parquet
from catalog.lru import Lru
from catalog.relations import Column, Relation
from catalog.resources import BadResource, Resource, ResourceNotFound, clip
from catalog.scan import ScanFile, ScanPlan, Source
from infra.errors import Conflict
from infra.settings import Settings


class FileChanged(Conflict):
    code, title = "file-changed", "The file was changed meanwhile"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of the lake.

    Args:
        resource: its name.
        format: a key of `FORMATS`, or `unknown`.
        size_bytes: its size.
        updated_at: when it was changed.
        stamp: its state, as `Relation.stamp` has it.
    """

    resource: Resource
    format: str
    size_bytes: int
    updated_at: datetime
    stamp: str


@dataclass(frozen=True, slots=True)
class _Read:
    """A file in one state, as Parquet."""

    relation: Relation
    scanned: ScanFile


class LakeFiles:
    """The files in the lake's folder. Hidden ones, and whatever a link leads out of it to, are none.

    Args:
        settings: where the lake and the cache are.
    """

    def __init__(self, settings: Settings) -> None:
        self._root = settings.lake_dir.resolve()
        self._converted = Converted(settings.state_dir.resolve() / "cache")
        self._read: Lru[tuple[str, str], _Read] = Lru(512)

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every file whose path starts with a prefix, in the order of their paths."""
        for folder, folders, names in os.walk(self._root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = (Path(folder) / name).relative_to(self._root).as_posix()
                if not path.startswith(prefix):
                    continue
                try:
                    resource = Resource.file(path)
                    status = self.path(resource).stat()
                except (BadResource, ResourceNotFound, OSError):
                    continue
                known = format_of(name)
                updated_at = datetime.fromtimestamp(status.st_mtime, UTC)
                form = known[0].name if known else "unknown"
                yield FileInfo(resource, form, status.st_size, updated_at, _stamp_of(status))

    def path(self, resource: Resource) -> Path:
        """Where a file is, links resolved.

        Raises:
            ResourceNotFound: there is none, or it lies outside of the lake.
        """
        try:
            path = (self._root / resource.name).resolve(strict=True)
            regular = stat.S_ISREG(path.stat().st_mode)
        except (OSError, RuntimeError, ValueError):
            raise ResourceNotFound from None
        inside = path.is_relative_to(self._root)
        if not inside or not regular or any(part.startswith(".") for part in path.relative_to(self._root).parts):
            raise ResourceNotFound
        return path

    def relation(self, resource: Resource) -> Relation:
        """A file in its present state.

        Raises:
            ResourceNotFound: there is none.
            FileUnreadable: it has no format that can be read, or is damaged.
        """
        return self._now(resource).relation

    def plan(self, relation: Relation) -> ScanPlan:
        """The one Parquet file that holds the rows.

        Raises:
            FileChanged: the file is no longer in the relation's state.
            ResourceNotFound: it is gone.
        """
        read = self._now(relation.resource)
        if read.relation.stamp != relation.stamp:
            raise FileChanged(
                f"{clip(relation.resource.name)} was changed since.", hint="Start again from the first page."
            )
        return ScanPlan(files=(read.scanned,), total_files=1)

    def rejected(self, relation: Relation) -> Sequence[RejectedRow]:
        """Records of the file that are in no row, with their lines: the first thousand of them."""
        file = self._text(relation.resource, self.path(relation.resource))
        return [] if file is None else self._converted.rejected(file, relation.stamp)

    def _now(self, resource: Resource) -> _Read:
        path = self.path(resource)
        stamp = _stamp(path)
        read = self._read.get((resource.name, stamp), lambda: self._open(resource, path, stamp))
        if not Path(read.scanned.path).exists():  # dropped from the cache
            file = self._text(resource, path)
            if file is not None:
                self._converted.parquet(file, stamp)
        return read

    def _text(self, resource: Resource, path: Path) -> TextFile | None:
        known = format_of(resource.name)
        if known is None:
            raise FileUnreadable(
                f"{clip(resource.name)} has no format that can be read.",
                hint="Rows are read from Parquet, CSV, JSON and NDJSON; …/content gives any file as it is.",
            )
        form, codec = known
        return TextFile(path, resource.name, form, codec) if form.read is not None else None

    def _open(self, resource: Resource, path: Path, stamp: str) -> _Read:
        file = self._text(resource, path)
        parquet = path if file is None else self._converted.parquet(file, stamp)
        with open_parquet(parquet, resource.name) as opened:
            schema, rows = opened.schema_arrow, opened.metadata.num_rows
        if _stamp(path) != stamp:
            raise FileChanged(f"{clip(resource.name)} is being written.", hint="Try again when it is whole.")
        check_column_names(schema.names, resource.name)
        kinds = [lake_type(field.type, field.name) for field in schema]
        relation = Relation(
            resource=resource,
            uuid="",
            columns=tuple(
                Column(place, field.name, trino_type(kind))
                for place, (field, kind) in enumerate(zip(schema, kinds, strict=True), start=1)
            ),
            key=(),
            snapshot=None,
            stamp=stamp,
            versioned=False,
            former_names={},
            row_count=rows,
        )
        sources = tuple(_source(field, kind) for field, kind in zip(schema, kinds, strict=True))
        return _Read(relation, ScanFile(0, str(parquet), rows, parquet.stat().st_size, sources))


def _source(field: pa.Field, kind: pa.DataType) -> Source:
    # Where the file's own type is another one, the engine casts; it need not know from what.
    return Source(field.name, trino_type(kind) if field.type == kind else "other")


def _stamp(path: Path) -> str:
    try:
        return _stamp_of(path.stat())
    except OSError:
        raise ResourceNotFound from None


def _stamp_of(status: os.stat_result) -> str:
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
