"""Which delete files apply to which data file, by Iceberg's rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from pyiceberg.manifest import DataFileContent
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.transforms import VoidTransform

from catalog.manifests import FileEntry

_FILE_PATH_ID: Final = 2147483546  # reserved by the spec for the column `file_path` of position deletes
_Place = tuple[int, tuple[Any, ...]]


class DeleteIndex:
    """The delete files of a snapshot.

    Args:
        entries: of the snapshot; data files among them are passed over.
        specs: the table's partition specs by id.
    """

    def __init__(self, entries: Iterable[FileEntry], specs: dict[int, PartitionSpec]) -> None:
        self._by_path: defaultdict[str, list[FileEntry]] = defaultdict(list)
        self._by_partition: defaultdict[_Place, list[FileEntry]] = defaultdict(list)
        self._equality: defaultdict[_Place, list[FileEntry]] = defaultdict(list)
        self._global: list[FileEntry] = []
        for entry in entries:
            if entry.content == DataFileContent.POSITION_DELETES:
                low, high = entry.lower.get(_FILE_PATH_ID), entry.upper.get(_FILE_PATH_ID)
                if low is not None and low == high:
                    self._by_path[low.decode()].append(entry)
                else:
                    self._by_partition[entry.spec_id, entry.partition].append(entry)
            elif entry.content == DataFileContent.EQUALITY_DELETES:
                if _unpartitioned(specs[entry.spec_id]):
                    self._global.append(entry)
                else:
                    self._equality[entry.spec_id, entry.partition].append(entry)

    def positions(self, file: FileEntry) -> list[FileEntry]:
        """Position deletes that may name a data file: as new as the file, or newer."""
        near = self._by_partition.get((file.spec_id, file.partition), [])
        named = self._by_path.get(file.path, [])
        return [
            delete
            for delete in (*named, *near)
            if delete.sequence >= file.sequence and _may_name(delete, file.path.encode())
        ]

    def equalities(self, file: FileEntry) -> list[FileEntry]:
        """Equality deletes of a data file: strictly newer than it; those without a partition reach every file."""
        near = self._equality.get((file.spec_id, file.partition), [])
        return [delete for delete in (*self._global, *near) if delete.sequence > file.sequence]


def _may_name(delete: FileEntry, path: bytes) -> bool:
    low, high = delete.lower.get(_FILE_PATH_ID), delete.upper.get(_FILE_PATH_ID)
    return (low is None or low <= path) and (high is None or path <= high)


def _unpartitioned(spec: PartitionSpec) -> bool:
    return all(isinstance(field.transform, VoidTransform) for field in spec.fields)
