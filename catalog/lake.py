"""The lake: what it holds, and a version of any of it as a relation that can be planned and read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table.refs import SnapshotRefType

from catalog.catalogs import open_tables
from catalog.footers import Naming
from catalog.lru import Lru
from catalog.plan import TablePlan
from catalog.relations import Relation, Snapshot
from catalog.resources import CANARY, Resource, ResourceNotFound, clip
from catalog.scan import Bound, ScanPlan
from catalog.snapshots import VersioningNotAvailable, no_snapshot
from catalog.tables import LakeTable, TableInfo, TableUnreadable
from infra.errors import Conflict, Invalid, Problem
from infra.settings import Settings

if TYPE_CHECKING:
    from catalog.files import FileInfo, LakeFiles

T = TypeVar("T")
_TAG_TRIES = 10
_TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class BadTag(Invalid):
    code, title = "bad-tag", "That can't be a tag's name"


class TagExists(Conflict):
    code, title = "tag-exists", "The tag points at another version"


class CommitConflict(Conflict):
    code, title = "commit-conflict", "Somebody else changed the table at the same moment"


class Lake:
    """The folder of files and the Iceberg catalog over it. Safe to share between threads.

    Args:
        settings: where both are.

    Attributes:
        iceberg: PyIceberg's catalog, for those who write.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake_dir = settings.lake_dir.resolve()
        self._catalog = open_tables(settings)
        self.iceberg = self._catalog.iceberg
        self._tables: Lru[tuple[Resource, str], LakeTable] = Lru(256)
        self._plans: Lru[tuple[str, str, Naming], TablePlan] = Lru(64)

    @cached_property
    def lake_files(self) -> LakeFiles:
        from catalog.files import LakeFiles

        return LakeFiles(self.settings)

    def relation(
        self,
        resource: Resource,
        *,
        snapshot: int | None = None,
        as_of: datetime | None = None,
        tag: str | None = None,
        stamp: str | None = None,
    ) -> Relation:
        """A table or a file at one version: the newest where none is asked for.

        Args:
            resource: a table or a file.
            snapshot, as_of, tag: at most one of them, an older version; it comes with the schema of its time.
            stamp: the `Relation.stamp` of an answer that is being continued, on tables without versions as well.

        Raises:
            ResourceNotFound: there is no such table or file.
            VersioningNotAvailable: it keeps no versions.
            SnapshotNotFound, SnapshotExpired: that version is not there, or no longer.
            TableUnreadable: its metadata can't be read.
        """
        asked = snapshot is not None or as_of is not None or tag is not None
        if resource.kind == "file":
            relation = self.lake_files.relation(resource)
            if asked:
                raise _no_versions(resource)
            if stamp is not None and stamp != relation.stamp:
                from catalog.files import FileChanged

                raise FileChanged(f"{clip(resource.name)} was changed since.", hint="Start again from the first page.")
            return relation
        table = self._table(resource)
        if stamp is not None:
            return table.resumed(stamp)
        if not asked:
            return table.present()
        if not table.versioned:
            raise _no_versions(resource)
        return table.version(snapshot=snapshot, as_of=as_of, tag=tag)

    def under_each_schema(self, resource: Resource) -> tuple[Relation, ...]:
        """A table's newest version under each schema that the table ever had, the present schema first.

        Raises:
            ResourceNotFound: there is no such table.
            TableUnreadable, TableFeatureNotSupported: its metadata can't be read.
        """
        return self._table(resource).under_each_schema()

    def plan(self, relation: Relation, bounds: Sequence[Bound] = ()) -> ScanPlan:
        """The files that hold a relation's rows.

        Args:
            relation: from `relation`.
            bounds: what every wanted row meets; files that can't hold one are left out.

        Raises:
            ResourceNotFound, SnapshotExpired: the table, or this version of it, went away in the meantime.
            OutsideTheLake, TableFeatureNotSupported, TableUnreadable: its files can't be read as they are.
        """
        if relation.resource.kind == "file":
            return self.lake_files.plan(relation)
        table = self._table(relation.resource)
        if table.uuid != relation.uuid:
            raise ResourceNotFound()
        snapshot = table.resumed(relation.stamp).snapshot  # raises where the version was expired
        naming = Naming(table.metadata.properties.get("schema.name-mapping.default"), table.reused_names)
        schema = table.schema(int(relation.stamp.rpartition(".")[2]))

        def plan() -> TablePlan:
            return TablePlan(table.iceberg, snapshot.id if snapshot else None, schema, naming, self.lake_dir)

        key = (relation.uuid, relation.stamp, naming)
        return _readable(lambda: self._plans.get(key, plan).prune(bounds))

    def tables(self) -> list[TableInfo]:
        """Every table that can be named and read, by name."""
        return [table.info for table in self._each()]

    def newest(self) -> Iterator[Relation]:
        """Every table that can be named and read, by name, at its newest version."""
        return (table.present() for table in self._each())

    def _each(self) -> list[LakeTable]:
        found = []
        for name in sorted(self._catalog.names()):
            if name == CANARY.name:
                continue
            with suppress(Problem):  # another writer's name or feature: nobody can ask for it here
                table = self._table(Resource.table(name))
                table.present()  # what it can't tell is another's feature; the rest is kept
                found.append(table)
        return found

    def table(self, resource: Resource) -> TableInfo:
        """What is known of a table without reading rows; raises ResourceNotFound."""
        return self._table(resource).info

    def snapshots(self, resource: Resource) -> tuple[Snapshot, ...]:
        """Every version that is kept, the newest first.

        Raises:
            ResourceNotFound: there is no such table or file.
            VersioningNotAvailable: it keeps no versions.
        """
        if resource.kind == "file":
            self.lake_files.relation(resource)
            raise _no_versions(resource)
        table = self._table(resource)
        if not table.versioned:
            raise _no_versions(resource)
        return table.snapshots

    def tag(self, resource: Resource, name: str, snapshot_id: int) -> None:
        """Names a version, which is kept from then on.

        Raises:
            BadTag: the name is not letters, digits, `.`, `_` and `-`, or it is a branch's.
            TagExists: the tag points at another version.
            SnapshotNotFound: there is no such version.
            CommitConflict: others kept changing the table at the same moment.
        """
        if not _TAG_NAME.fullmatch(name) or name == "main":
            raise BadTag(
                f"{clip(name)} can't be a tag's name.",
                hint="Write up to 128 letters, digits, '.', '_' and '-', for example month-end-2026-11.",
            )
        if not any(snapshot.id == snapshot_id for snapshot in self.snapshots(resource)):
            raise no_snapshot(snapshot_id)
        for _ in range(_TAG_TRIES):  # whatever else is changed meanwhile, the tag means the same
            table = self._table(resource).iceberg
            known = table.metadata.refs.get(name)
            if known is not None:
                if known.snapshot_id == snapshot_id and known.snapshot_ref_type == SnapshotRefType.TAG:
                    return
                raise TagExists(
                    f"{clip(name)} points at another version.", hint="Choose another name; tags never move."
                )
            with suppress(CommitFailedException):
                table.manage_snapshots().create_tag(snapshot_id, name).commit()
                return
        raise CommitConflict("The table was changed while it was tagged.", hint="Try again.")

    def files(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every file of the lake whose path starts with a prefix."""
        return self.lake_files.list(prefix)

    def file_path(self, resource: Resource) -> Path:
        """Where a file of the lake is on disk; raises ResourceNotFound."""
        return self.lake_files.path(resource)

    def close(self) -> None:
        """Lets go of the catalog's connections."""
        self._catalog.close()

    def _table(self, resource: Resource) -> LakeTable:
        """The table as its newest metadata tells it: one look into the catalog, the rest from memory."""
        namespace, _, name = resource.name.partition(".")
        location = None if resource.kind != "table" else _readable(lambda: self._catalog.located(namespace, name))
        if location is None:
            raise ResourceNotFound()
        key = (resource, location)
        return _readable(lambda: self._tables.get(key, lambda: self._load(resource)))

    def _load(self, resource: Resource) -> LakeTable:
        try:
            return LakeTable(resource, self.iceberg.load_table(resource.name))
        except NoSuchTableError as error:  # dropped in this very moment, or a view
            raise ResourceNotFound() from error


def _readable(read: Callable[[], T]) -> T:
    """Turns whatever goes wrong with files that others wrote into one problem that shows no path."""
    try:
        return read()
    except Problem:
        raise
    except Exception as error:  # damaged JSON, Avro and Parquet make their readers fail in every way
        raise TableUnreadable(
            "Files that describe the table are missing or damaged.",
            hint="Ask whoever looks after the lake to look at the table's metadata.",
        ) from error


def _no_versions(resource: Resource) -> VersioningNotAvailable:
    return VersioningNotAvailable(
        f"{clip(str(resource))} keeps no versions.",
        hint="Ask without snapshot, as_of and tag, or register it as a versioned table.",
    )
