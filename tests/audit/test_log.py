"""Durable before it is answered, refused where that can't be, shared syncs, several writers."""

import asyncio
import os
import resource
import shutil
import threading
import time
from pathlib import Path

import pytest

from infra.keys import Keys
from infra.settings import Settings
from policies.audit.chain import Place
from policies.audit.log import AuditLog, AuditUnavailable
from policies.audit.reader import records
from policies.audit.record import Intent, Outcome
from policies.audit.tail import tail
from policies.audit.verify import verify


def intent(request_id: str = "r1", url: str = "/v1/tables") -> Intent:
    return Intent(request_id, "rows", "GET", url, "allow", principal="user:alice")


def test_an_intent_is_on_disk_when_it_returns(log: AuditLog, settings: Settings, keys: Keys) -> None:
    assert [log.intent(intent(f"r{n}")) for n in range(3)] == [1, 2, 3]
    assert [record["request_id"] for record in tail(settings, keys)] == ["r0", "r1", "r2"]


def test_an_outcome_follows_soon_without_being_waited_for(log: AuditLog, settings: Settings, keys: Keys) -> None:
    log.outcome(Outcome(intent=log.intent(intent()), request_id="r1", status=200, rows=10))
    deadline = time.monotonic() + 60
    while len(found := list(tail(settings, keys))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (found[1]["kind"], found[1]["intent"], found[1]["rows"]) == ("outcome", 1, 10)


def test_flush_returns_when_all_is_durable(log: AuditLog, settings: Settings, keys: Keys) -> None:
    for n in range(1200):
        log.outcome(Outcome(intent=n, request_id=f"r{n}", status=200))
    log.flush()
    assert verify(settings, keys).records == 1200


def test_an_event_loop_awaits_an_intent(log: AuditLog) -> None:
    async def several() -> list[int]:
        return await asyncio.gather(*(asyncio.wrap_future(log.intent_async(intent())) for _ in range(5)))

    assert sorted(asyncio.run(several())) == [1, 2, 3, 4, 5]


def test_intents_that_come_during_a_sync_share_the_next(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    begun, all_came = threading.Event(), threading.Event()
    fdatasync = os.fdatasync

    def held(descriptor: int) -> None:
        syncs.append(descriptor)
        begun.set()
        all_came.wait()  # a slow disk
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", held)
    first = log.intent_async(intent())
    begun.wait()
    others = [log.intent_async(intent()) for _ in range(319)]
    all_came.set()
    assert sorted(future.result() for future in [first, *others]) == list(range(1, 321))
    log.flush()
    assert len(syncs) < 8  # with the checkpoints


def test_many_threads_get_one_sequence_each(log: AuditLog) -> None:
    sequences: list[int] = []
    start = threading.Barrier(32)

    def ask() -> None:
        start.wait()
        sequences.extend(log.intent(intent()) for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sequences) == list(range(1, 321))


def test_files_follow_each_other(settings: Settings, keys: Keys) -> None:
    log = AuditLog(settings, keys, segment_bytes=2000)
    log.start()
    for n in range(30):
        log.intent(intent(f"r{n}"))
    log.close()
    assert len(list((settings.state_dir / "audit").glob("*.jsonl"))) > 4
    assert verify(settings, keys).records == 30
    assert [record["request_id"] for record in tail(settings, keys, last=7)] == [f"r{n}" for n in range(23, 30)]


def test_two_logs_write_one_chain(log: AuditLog, settings: Settings, keys: Keys) -> None:
    other = AuditLog(settings, keys)
    other.start()
    assert [log.intent(intent()), other.intent(intent()), other.intent(intent()), log.intent(intent())] == [1, 2, 3, 4]
    other.close()
    assert log.intent(intent()) == 5
    assert verify(settings, keys).ok


def test_it_is_verified_while_it_is_written(settings: Settings, keys: Keys) -> None:
    often = settings.model_copy(update={"audit_checkpoint_records": 1})
    log = AuditLog(often, keys, segment_bytes=5000)
    log.start()
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            log.intent(intent())

    writer = threading.Thread(target=write)
    writer.start()
    found = [verify(settings, keys) for _ in range(40)]
    done.set()
    writer.join()
    log.close()
    assert [verification.what for verification in found if not verification.ok] == []


def test_the_next_process_goes_on(settings: Settings, keys: Keys) -> None:
    for expected in (1, 2, 3):
        log = AuditLog(settings, keys)
        log.start()
        assert log.intent(intent()) == expected
        log.close()
    assert verify(settings, keys).records == 3


def test_off_writes_nothing(tmp_path: Path, keys: Keys) -> None:
    log = AuditLog(Settings(state_dir=tmp_path, audit="off"), keys)
    log.start()
    assert log.intent(intent()) == 0
    assert log.intent_async(intent()).result() == 0
    log.outcome(Outcome(intent=0, request_id="r", status=200))
    log.close()
    assert not (tmp_path / "audit").exists()


def test_a_closed_log_refuses(log: AuditLog) -> None:
    log.close()
    with pytest.raises(AuditUnavailable):
        log.intent(intent())


def test_a_full_disk_refuses_until_there_is_room(log: AuditLog, settings: Settings, keys: Keys) -> None:
    log.intent(intent())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(AuditUnavailable) as refused:
            log.intent(intent("lost", url="/" + "x" * 4000))
        log.outcome(Outcome(intent=1, request_id="kept", status=200))
        with pytest.raises(AuditUnavailable):
            log.intent(intent("lost", url="/" + "x" * 4000))
        assert log.failure
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(settings.state_dir) not in refused.value.detail + refused.value.hint
    log.intent(intent("again"))
    log.flush()
    assert log.failure is None
    found = [record["request_id"] for record in tail(settings, keys)]
    assert found[0] == "r1" and sorted(found[1:]) == ["again", "kept"]
    assert verify(settings, keys).ok


def test_a_folder_that_can_not_be_made_refuses_and_later_works(settings: Settings, keys: Keys) -> None:
    blocker = settings.state_dir / "audit"
    blocker.write_text("in the way")
    log = AuditLog(settings, keys)
    with pytest.raises(AuditUnavailable):
        log.start()
    with pytest.raises(AuditUnavailable):
        log.intent(intent())
    blocker.unlink()
    assert log.intent(intent()) == 1
    log.close()


def test_a_folder_taken_away_refuses(log: AuditLog, settings: Settings) -> None:
    log.intent(intent())
    shutil.rmtree(settings.state_dir / "audit")
    with pytest.raises(AuditUnavailable):
        log.intent(intent())


def test_a_log_cut_short_refuses(log: AuditLog, settings: Settings) -> None:
    log.intent(intent())
    os.truncate(settings.state_dir / "audit" / "000001.jsonl", 10)
    with pytest.raises(AuditUnavailable):
        log.intent(intent())


def test_a_torn_line_is_set_aside_and_said(settings: Settings, keys: Keys) -> None:
    first = AuditLog(settings, keys)
    first.start()
    first.intent(intent("before"))
    first.close()
    folder = settings.state_dir / "audit"
    with (folder / "000001.jsonl").open("ab") as file:
        file.write(b'{"sequence":2,"kind":"int')
    assert verify(settings, keys).ok
    second = AuditLog(settings, keys)
    second.start()
    assert second.intent(intent("after")) == 3
    second.close()
    (torn,) = folder.glob("*.torn")
    assert torn.read_bytes() == b'{"sequence":2,"kind":"int'
    recovered = [record for _, raw in records(folder, keys.audit, Place()) if b'"recovered"' in (record := raw)]
    assert len(recovered) == 1 and torn.name.encode() in recovered[0]
    assert verify(settings, keys).records == 3


def test_whole_records_behind_the_head_are_kept(settings: Settings, keys: Keys) -> None:
    """A power cut may leave the head, which isn't synced, older than the log."""
    folder = settings.state_dir / "audit"
    log = AuditLog(settings, keys)
    log.start()
    log.intent(intent("one"))
    head = (folder / "head").read_bytes()
    log.intent(intent("two"))
    log.close()
    (folder / "head").write_bytes(head)
    assert verify(settings, keys).records == 2
    log = AuditLog(settings, keys)
    log.start()
    assert log.intent(intent("three")) == 3
    log.close()
    assert verify(settings, keys).records == 3


def test_following_shows_what_comes(log: AuditLog, settings: Settings, keys: Keys) -> None:
    log.intent(intent("old"))
    following = tail(settings, keys, last=1, follow=True)
    assert next(following)["request_id"] == "old"
    threading.Timer(0.1, lambda: log.intent(intent("new"))).start()
    assert next(following)["request_id"] == "new"
    following.close()
