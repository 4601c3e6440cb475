"""Files of the lake that are no tables: the last days as they landed, and the catalogue of products."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from pipeline.products import as_table
from pipeline.source import Arrival
from pipeline.transactions import SCHEMA, Row


def write_landing(lake_dir: Path, arrivals: Iterable[Arrival]) -> None:
    """Writes each arrival twice, by the day it starts on: `landing/transactions-2026-11-23.ndjson` and `….csv`.

    Args:
        lake_dir: the folder of the lake.
        arrivals: a day each.
    """
    folder = lake_dir / "landing"
    folder.mkdir(parents=True, exist_ok=True)
    for arrival in arrivals:
        stem = folder / f"transactions-{arrival.start:%Y-%m-%d}"
        _write_ndjson(stem.with_suffix(".ndjson"), arrival.rows)
        _write_csv(stem.with_suffix(".csv"), arrival.rows)


def write_reference(lake_dir: Path) -> None:
    """Writes `reference/products.parquet`."""
    folder = lake_dir / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(as_table(), folder / "products.parquet")


def _write_ndjson(path: Path, rows: Sequence[Row]) -> None:
    lines = (orjson.dumps({name: row.get(name) for name in SCHEMA.names}, _number, orjson.OPT_UTC_Z) for row in rows)
    path.write_bytes(b"\n".join(lines) + b"\n")


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(SCHEMA.names)
        writer.writerows([_text(row.get(name)) for name in SCHEMA.names] for row in rows)


def _text(value: object) -> object:
    return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(value, datetime) else value
