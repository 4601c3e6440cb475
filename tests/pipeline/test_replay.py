"""Re-pushing: what is selected is sent once, takes the place of what it repeats, and ends with a proof."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

import pipeline.replay.rehearsal
import pipeline.replay.replays
import pipeline.replay.work_list
from pipeline.broker import KafkaUnavailable, MockBroker
from pipeline.curate import DUPLICATE
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.replay.selection import BadSelection, Selection
from pipeline.replay.timestamps import Now, Rule, Shift, Spread
from pipeline.replay.work_list import WorkList
from pipeline.source import Source
from pipeline.tables import CURATED, QUARANTINE, RAW
from pipeline.transactions import KEY, SCHEMA
from tests.pipeline.conftest import TOPIC, counts, ends, stored
from tests.pipeline.repush import Shop, shop


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with closing(MockBroker()) as mock:
        mock.make(TOPIC)
        # One transaction may be in all of these tests' selections.
        with shop(tmp_path_factory.mktemp("shop"), mock.bootstrap, TOPIC, replay_limit=1000) as opened:
            opened.fill(300)
            yield opened


def refused(filled: Shop, reason: str) -> list[str]:
    return [row[KEY] for row in stored(filled.installation.lake, QUARANTINE) if row["reason"] == reason]


def test_a_corrupted_transaction_is_repaired_and_its_old_version_stays(filled: Shop) -> None:
    lake = filled.installation.lake
    often = Counter(row[KEY] for row in stored(lake, RAW))  # some ids come in several messages
    late = refused(filled, "time-too-old") or refused(filled, "time-in-future")
    key = next(key for key in late if often[key] == 1)
    before = counts(lake)
    old = [row for row in stored(lake, RAW) if row[KEY] == key]
    with filled.processing():
        status = filled.replay(Selection(keys=(key,)))
    assert status.result is not None, status.problem
    report = status.result
    assert report["outcome"] == "verified", report
    assert counts(lake) == (before[0], before[1] + 1, before[2] - 1)
    [new] = [row for row in stored(lake, RAW) if row[KEY] == key]
    assert new["replay_id"] == status.id
    assert new["replay_count"] == 1
    assert {name for name in SCHEMA.names if new[name] != old[0][name]} == {"event_time"}
    assert datetime.now(UTC) - new["event_time"] < timedelta(minutes=5)
    [(move, one)] = report["moves"].items()
    assert (move.split(" (")[0], move.split(" -> ")[1], one) == ("quarantine", "curated", 1)
    then = stored(lake, RAW, tag=report["time_travel"]["tag"])
    assert [row for row in then if row[KEY] == key] == old
    assert filled.kept.reports[-1] == report


@pytest.mark.parametrize(
    "rule",
    [
        Now(),
        Shift(timedelta(hours=-5)),
        Spread(datetime.now(UTC) - timedelta(hours=2), datetime.now(UTC) - timedelta(hours=1)),
    ],
    ids=["now", "shift", "spread"],
)
def test_a_selection_by_filter_is_re_pushed_under_each_rule(filled: Shop, rule: Rule) -> None:
    lake = filled.installation.lake
    before = counts(lake)
    old = [{name: row[name] for name in SCHEMA.names if name != "event_time"} for row in stored(lake, RAW)]
    with filled.processing():
        status = filled.replay(
            Selection(filter="country=eq.FR&status=eq.completed&amount=gt.20&event_time=gt.2020-01-01")
        )
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "verified", status.result
    assert status.result["rows"] > 5
    assert counts(lake)[0] == before[0]
    mine = [row for row in stored(lake, RAW) if row["replay_id"] == status.id]
    assert len(mine) == status.result["rows"] == status.done
    for row in mine:  # an id may have come in several messages, which differ: each is sent as it was
        assert {name: row[name] for name in old[0]} in old


def test_all_history_is_re_pushed_and_every_row_is_there_once(filled: Shop) -> None:
    lake = filled.installation.lake
    before = counts(lake)
    with filled.processing():
        status = filled.replay(Selection(everything=True))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "verified", status.result
    assert status.result["totals"]["raw.transactions"] == {
        "before": before[0],
        "replaced": before[0],
        "kept": 0,
        "re_pushed": before[0],
        "arrived_meanwhile": 0,
        "now": before[0],
    }
    raw, curated, quarantine = counts(lake)
    assert raw == before[0] == curated + quarantine
    assert {row["replay_id"] for row in stored(lake, RAW)} == {status.id}


def test_messages_of_one_id_that_differ_are_each_sent_as_they_were_and_take_their_own_places(filled: Shop) -> None:
    lake = filled.installation.lake
    rows = Source(3, corrupted=0).live(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC), 2).table()
    rows = rows.set_column(0, KEY, pa.array(["txn_twice"] * 2))
    rows = rows.set_column(rows.schema.get_field_index("city"), "city", pa.array(["Lyon", "Nantes"]))
    Publisher(filled.broker, TOPIC).send(rows)
    with closing(Processor(filled.broker, TOPIC, filled.tables, linger=0.1)) as processor:
        processor.drain(ends(filled.broker))
    with filled.processing():
        status = filled.replay(Selection(keys=("txn_twice",)))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "verified", status.result
    twice = f"quarantine ({DUPLICATE})"
    assert status.result["moves"] == {"curated -> curated": 1, f"{twice} -> {twice}": 1}
    mine = [row for row in stored(lake, RAW) if row[KEY] == "txn_twice"]
    assert sorted((row["city"], row["replay_id"]) for row in mine) == [("Lyon", status.id), ("Nantes", status.id)]


def test_a_dry_run_says_what_would_happen_and_sends_nothing(filled: Shop) -> None:
    before = filled.broker.ends(TOPIC)
    status = filled.replay(Selection(everything=True), dry_run=True)
    assert status.result is not None
    assert status.result["rows"] == counts(filled.installation.lake)[0] == sum(status.result["expected"].values())
    assert len(status.result["sample"]) == 20
    assert filled.broker.ends(TOPIC) == before


def test_a_rehearsal_processes_everything_on_a_branch_that_main_never_sees(filled: Shop) -> None:
    lake = filled.installation.lake
    there = filled.broker.ends(TOPIC)
    before = {resource: (stored(lake, resource), lake.snapshots(resource)) for resource in (RAW, CURATED, QUARANTINE)}
    status = filled.replay(Selection(everything=True), dry_run=True, rehearse=True)
    assert status.result is not None, status.problem
    rehearsal = status.result["rehearsal"]
    assert rehearsal["as_expected"] is True, rehearsal
    assert sum(rehearsal["moves"].values()) == status.result["rows"]
    totals = rehearsal["totals"]["raw.transactions"]
    assert totals["replaced"] == totals["re_pushed"] == totals["now"] == status.result["rows"]
    after = {resource: (stored(lake, resource), lake.snapshots(resource)) for resource in (RAW, CURATED, QUARANTINE)}
    assert after == before
    assert filled.broker.ends(TOPIC) == there
    for resource in before:
        table = lake.iceberg.load_table(resource.name)
        assert rehearsal["branch"] not in table.metadata.refs


def test_a_dry_run_whose_process_died_is_cleaned_up_and_never_sent(
    filled: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    gone = threading.Event()

    def die(self: WorkList) -> None:
        gone.set()
        raise Killed

    there = filled.broker.ends(TOPIC)
    with monkeypatch.context() as patched:
        patched.setattr(pipeline.replay.rehearsal, "_remove", lambda *_more: None)
        patched.setattr(WorkList, "delete", die)
        died = filled.start(Selection(filter="country=eq.FR"), dry_run=True, rehearse=True)
        assert gone.wait(60)
    folder = filled.installation.settings.state_dir / "replays" / died.id
    tables = [filled.installation.lake.iceberg.load_table(resource.name) for resource in (RAW, CURATED, QUARANTINE)]
    assert (folder / "plan.json").exists()
    assert all(f"rehearsal-{died.id}" in table.metadata.refs for table in tables)
    deadline = time.monotonic() + 120
    while folder.exists() and time.monotonic() < deadline:  # its lock is let go a moment later
        assert filled.replays.recover() == []
    assert not folder.exists()
    assert all(f"rehearsal-{died.id}" not in table.refresh().metadata.refs for table in tables)
    assert filled.broker.ends(TOPIC) == there


def test_nobody_cleans_up_after_a_dry_run_that_is_at_work(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    selecting, go_on = threading.Event(), threading.Event()
    spool = pipeline.replay.work_list.spool

    def slow(*more: Any) -> Any:
        selecting.set()
        assert go_on.wait(60)
        return spool(*more)

    monkeypatch.setattr(pipeline.replay.replays, "spool", slow)
    status = filled.start(Selection(filter="country=eq.FR"), dry_run=True)
    assert selecting.wait(60)
    assert filled.replays.recover() == []  # as another process does when it starts
    go_on.set()
    ended = filled.installation.operations.wait(status.id, 60)
    assert ended.state == "succeeded", ended.problem
    assert not (filled.installation.settings.state_dir / "replays" / status.id).exists()


def test_a_selection_that_fails_leaves_nothing_on_the_disk(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*more: Any) -> Any:
        raise KafkaUnavailable("No space left on the device, say.", hint="")

    monkeypatch.setattr(pipeline.replay.replays, "spool", full)
    status = filled.replay(Selection(filter="country=eq.FR"))
    assert (status.problem or {})["code"] == "kafka-unavailable"
    assert not (filled.installation.settings.state_dir / "replays" / status.id).exists()


def test_only_a_dry_run_can_be_a_rehearsal(filled: Shop) -> None:
    with pytest.raises(BadSelection):
        filled.start(Selection(everything=True), rehearse=True)


def test_without_a_processor_nothing_is_known(filled: Shop) -> None:
    key = stored(filled.installation.lake, CURATED)[0][KEY]
    status = Shop(filled.installation, filled.broker, patience=0.5).replay(Selection(keys=(key,)))
    assert status.result is not None, status.problem
    assert status.result["outcome"] == "unknown"
    assert [row["key"] for row in status.result["pending"]] == [key]
    assert status.result["waiting_for"] == "the processor"
    with filled.processing():
        pass
