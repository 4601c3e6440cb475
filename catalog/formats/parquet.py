"""Parquet: already typed, so only its footer is asked."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.formats.blocks import FileUnreadable
from catalog.resources import ResourceNotFound, clip


def open_parquet(path: Path, name: str) -> pq.ParquetFile:
    """Opens a Parquet file and reads its footer.

    Args:
        path: where it is.
        name: its path in the lake, for messages.

    Raises:
        ResourceNotFound: it is gone.
        FileUnreadable: it is no Parquet file, or is cut short, damaged or encrypted.
    """
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ResourceNotFound from None
    except (pa.ArrowException, OSError):
        raise FileUnreadable(
            f"{clip(name)} is no readable Parquet file: it is cut short, damaged or encrypted.",
            hint="Copy the file to the lake again, whole.",
        ) from None
