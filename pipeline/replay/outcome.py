"""The second half of the proof: what the lake made of the messages, held against what it should have made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table

from catalog.resources import Resource
from pipeline.arrivals import PlaceIndex
from pipeline.change import ARRIVAL_COLUMNS, read
from pipeline.change import plan as plan_files
from pipeline.curate import DUPLICATE, curate, normalise
from pipeline.replay.delivered import Delivered
from pipeline.replay.work_list import WorkList
from pipeline.tables import CURATED, QUARANTINE, RAW
from pipeline.transactions import KEY, SCHEMA

_CHUNK: Final = 50_000

Places = npt.NDArray[np.int64]
Versions = dict[Resource, int | None]


@dataclass(frozen=True, slots=True)
class States:
    """The tables of the pipeline, as they were before a replay and as they are now.

    Args:
        tables: refreshed.
        before, now: the versions.
    """

    tables: dict[Resource, Table]
    before: Versions
    now: Versions

    def rows(
        self, resource: Resource, version: int | None, bounds: BooleanExpression | None, columns: tuple[str, ...] | None
    ) -> Iterator[pa.Table]:
        """The rows of one version of a table, a file at a time."""
        if version is None:
            return
        for task in plan_files(self.tables[resource], bounds, version):
            yield read(self.tables[resource], [task], columns)


@dataclass(slots=True)
class Outcome:
    """What was found in the lake.

    Args:
        wrong: place of a row to what is wrong with it, as `table: what`.
        before, after: for each row where it was and where it is, for example `quarantine (time-too-old)`.
        totals: for each table the rows before, those replaced, those kept, those that came by the replay, and all now.
        disturbed: tables in which rows that were not re-pushed are missing or changed.
        reachable: whether every row can still be read at the version before the replay.
    """

    wrong: dict[int, list[str]] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    disturbed: list[str] = field(default_factory=list)
    reachable: bool = True

    def add(self, places: Places | list[int], what: str) -> None:
        for place in np.asarray(places).tolist():
            self.wrong.setdefault(place, []).append(what)

    @property
    def moves(self) -> dict[str, int]:
        """How many rows went from where to where."""
        pairs = Counter(zip(self.before, self.after, strict=True))
        return {f"{old} -> {new}": count for (old, new), count in pairs.most_common()}


def examine(lake: States, work: WorkList, delivered: Delivered, judged_at: datetime) -> Outcome:
    """Holds the lake as it is against what a right processor makes of a replay's messages.

    Args:
        lake: before and now.
        work: what was sent.
        delivered: where each row's message is.
        judged_at: the time that the processor judged by.
    """
    found = Outcome()
    total = work.plan.total
    origin = PlaceIndex(*(work.rows[name] for name in ARRIVAL_COLUMNS))
    topic = pa.chunked_array([pa.repeat(work.plan.topic, total)])
    arrived = PlaceIndex(topic, pa.chunked_array([delivered.partitions]), pa.chunked_array([delivered.offsets]))
    before, after = _Placement(lake, lake.before, origin, total), _Placement(lake, lake.now, arrived, total)
    found.before, found.after = before.labels(), after.labels()
    found.reachable = bool((before.counts[Resource.table(work.plan.table)] > 0).all())
    there = delivered.offsets >= 0
    found.add(np.flatnonzero(there & (after.counts[RAW] == 0)), f"{RAW.name}: missing")
    found.add(np.flatnonzero(after.counts[RAW] > 1), f"{RAW.name}: more than once")
    settled = after.counts[CURATED] + after.counts[QUARANTINE]
    found.add(np.flatnonzero(there & (settled == 0)), "neither accepted nor refused")
    found.add(np.flatnonzero(settled > 1), "accepted or refused more than once")
    for first in range(0, total, _CHUNK):
        places = np.arange(first, min(first + _CHUNK, total), dtype=np.int64)
        _judgement(found, lake, after, work.changed(places).append_column("place", pa.array(places)), judged_at)
    for resource in (RAW, CURATED, QUARANTINE):
        _content(found, lake, resource, arrived, work)
        _others(found, lake, resource, origin, arrived)
    return found


class _Placement:
    """How often each row is in each table, and for which reason it was refused."""

    def __init__(self, lake: States, versions: Versions, index: PlaceIndex, total: int) -> None:
        self.counts = {resource: np.zeros(total, np.int32) for resource in lake.tables}
        self.reasons: dict[int, str] = {}
        for resource in lake.tables:
            columns = (*ARRIVAL_COLUMNS, "reason") if resource == QUARANTINE else ARRIVAL_COLUMNS
            for rows in lake.rows(resource, versions[resource], index.bounds, columns):
                numbers = index.find(rows)
                np.add.at(self.counts[resource], numbers.drop_null().to_numpy(), 1)
                if resource == QUARANTINE:
                    refused = pa.table({"number": numbers, "reason": rows["reason"]}).filter(pc.is_valid(numbers))
                    self.reasons.update(zip(*(column.to_pylist() for column in refused.columns), strict=True))

    def labels(self) -> list[str]:
        columns = [self.counts[resource].tolist() for resource in (RAW, CURATED, QUARANTINE)]
        return [self._label(place, *counts) for place, counts in enumerate(zip(*columns, strict=True))]

    def _label(self, place: int, raw: int, curated: int, refused: int) -> str:
        where = ["curated"] * curated + [f"quarantine ({self.reasons.get(place)})"] * refused
        return " and ".join(where) or ("raw only" if raw else "nowhere")


def _judgement(found: Outcome, lake: States, after: _Placement, sent: pa.Table, judged_at: datetime) -> None:
    """Whether rows were accepted, or refused for the reason that they should be."""
    refused = curate(sent, now=judged_at).quarantine
    reasons = dict(zip(refused["place"].to_pylist(), refused["reason"].to_pylist(), strict=True))
    repeated = []
    for place, key in zip(sent["place"].to_pylist(), sent[KEY].to_pylist(), strict=True):
        accepted, put_aside = after.counts[CURATED][place], after.counts[QUARANTINE][place]
        if accepted + put_aside != 1:
            continue
        wanted, got = reasons.get(place), after.reasons.get(place) if put_aside else None
        if wanted != got and DUPLICATE in {wanted, got} and {wanted, got} <= {None, DUPLICATE}:
            repeated.append((place, key))  # which of several is taken depends on what else there is
        elif wanted != got:
            found.add([place], f"{'refused as ' + got if got else 'accepted'}, expected {wanted or 'accepted'}")
    if repeated:
        accepted_once = _accepted(lake, {key for _, key in repeated})
        found.add([place for place, key in repeated if accepted_once[key] != 1], "a repeated id is not accepted once")


def _accepted(lake: States, keys: set[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for rows in lake.rows(CURATED, lake.now[CURATED], None, (KEY,)):
        counts.update(rows[KEY].filter(pc.is_in(rows[KEY], pa.array(sorted(keys)))).to_pylist())
    return counts


def _content(found: Outcome, lake: States, resource: Resource, arrived: PlaceIndex, work: WorkList) -> None:
    """Whether each row says what was sent; in `curated`, what normalising makes of it."""
    for rows in lake.rows(resource, lake.now[resource], arrived.bounds, (*SCHEMA.names, *ARRIVAL_COLUMNS)):
        numbers = arrived.find(rows)
        mine = rows.filter(pc.is_valid(numbers))
        if not len(mine):
            continue
        places = numbers.drop_null().to_numpy()
        wanted = work.changed(places)
        wanted = normalise(wanted) if resource == CURATED else wanted
        for name in SCHEMA.names:
            differs = _differ(mine[name].cast(SCHEMA.field(name).type), wanted[name])
            found.add(places[differs], f"{resource.name}: {name} differs")


def _differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    one, other = one.combine_chunks(), other.combine_chunks()
    if one.equals(other):
        return np.zeros(len(one), np.bool_)
    unequal = pc.fill_null(pc.not_equal(one, other), False)
    one_sided = pc.not_equal(pc.is_null(one), pc.is_null(other))
    return pc.or_(unequal, one_sided).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _others(found: Outcome, lake: States, resource: Resource, origin: PlaceIndex, arrived: PlaceIndex) -> None:
    """Whether the rows that were not re-pushed are what they were, and the re-pushed ones' old versions are gone."""
    before, replaced = 0, 0
    kept: list[pa.Table] = []
    columns = (*ARRIVAL_COLUMNS, "amount")
    for rows in lake.rows(resource, lake.before[resource], None, columns):
        others = rows.filter(pc.is_null(origin.find(rows)))
        before += len(rows)
        replaced += len(rows) - len(others)
        kept.append(others)
    mine = pa.concat_tables(kept) if kept else None
    index = PlaceIndex(*(mine[name] for name in ARRIVAL_COLUMNS)) if mine is not None else None
    now, still, came, amount = 0, 0, 0, Decimal(0)
    for rows in lake.rows(resource, lake.now[resource], None, columns):
        now += len(rows)
        came += len(rows) - arrived.find(rows).null_count
        old = origin.find(rows)
        found.add(old.drop_null().to_numpy(), f"{resource.name}: the row from before is still there")
        if index is not None:
            known = rows.filter(pc.is_valid(index.find(rows)))
            still += len(known)
            amount += pc.sum(known["amount"]).as_py() or 0
    if mine is not None and (still != len(mine) or amount != (pc.sum(mine["amount"]).as_py() or 0)):
        found.disturbed.append(resource.name)
    found.totals[resource.name] = {
        "before": before,
        "replaced": replaced,
        "kept": still,
        "re_pushed": came,
        "arrived_meanwhile": now - still - came,
        "now": now,
    }
