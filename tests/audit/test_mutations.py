"""Whatever is done to the log is found, and the first record that can't be vouched for is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.keys import Keys
from infra.settings import Settings
from policies.audit.chain import GENESIS, Head, Place, line, segment_path
from policies.audit.log import AuditLog
from policies.audit.record import Intent
from policies.audit.verify import Verification, verify

RECORDS = 35
THIEF = b"a key that the thief made up, 32 bytes"


@pytest.fixture
def folder(settings: Settings, keys: Keys) -> Path:
    """A closed log of 35 records in one file, with checkpoints at 10, 20, 30 and 35."""
    return written(settings, keys)


def written(settings: Settings, keys: Keys, segment_bytes: int = 1 << 20) -> Path:
    log = AuditLog(settings, keys, segment_bytes=segment_bytes)
    log.start()
    for n in range(RECORDS):
        log.intent(Intent(f"r{n + 1}", "rows", "GET", "/v1/tables/raw.t/rows", "allow", principal="user:alice"))
    log.close()
    return settings.state_dir / "audit"


def lines(folder: Path) -> list[bytes]:
    return segment_path(folder, 1).read_bytes().splitlines(keepends=True)


def rewrite(folder: Path, changed: list[bytes]) -> None:
    segment_path(folder, 1).write_bytes(b"".join(changed))


def edit(folder: Path) -> None:
    changed = lines(folder)
    changed[16] = changed[16].replace(b"user:alice", b"user:mallo")
    rewrite(folder, changed)


def remove(folder: Path) -> None:
    changed = lines(folder)
    del changed[16]
    rewrite(folder, changed)


def swap(folder: Path) -> None:
    changed = lines(folder)
    changed[16], changed[17] = changed[17], changed[16]
    rewrite(folder, changed)


def duplicate(folder: Path) -> None:
    changed = lines(folder)
    changed.insert(16, changed[15])
    rewrite(folder, changed)


def truncate(folder: Path) -> None:
    rewrite(folder, lines(folder)[:16])


def forge(folder: Path) -> None:
    """Writes the log anew from record 17 on, every hash right, sealed and signed with another secret."""
    kept, changed = lines(folder)[:16], lines(folder)[16:]
    place = Place(16, orjson.loads(kept[-1])["hash"], 1, sum(map(len, kept)))
    for old in changed:
        record = {**orjson.loads(old), "principal": "user:nobody"}
        content = orjson.dumps({name: record[name] for name in record if name not in {"sequence", "hash", "seal"}})
        new, digest = line(THIEF, place, content)
        place = Place(place.sequence + 1, digest, 1, place.offset + len(new))
        kept.append(new)
    rewrite(folder, kept)
    (folder / "head").write_bytes(Head(place).signed(THIEF))


@pytest.mark.parametrize("mutate", [edit, remove, swap, duplicate, truncate, forge])
def test_the_first_bad_record_is_named(
    mutate: Callable[[Path], None], folder: Path, settings: Settings, keys: Keys
) -> None:
    assert verify(settings, keys) == Verification(True, RECORDS, verify(settings, keys).last)
    mutate(folder)
    found = verify(settings, keys)
    assert (found.ok, found.records, found.first_bad_sequence) == (False, 16, 17), found.what


def test_a_log_forged_from_the_first_record_is_found(folder: Path, settings: Settings, keys: Keys) -> None:
    rewrite(folder, [])
    for name in ("head", "checkpoints.jsonl"):
        (folder / name).unlink()
    segment_path(folder, 1).unlink()
    written(settings, Keys(THIEF))
    assert verify(settings, keys).first_bad_sequence == 1


def test_a_forged_record_behind_the_head_is_found(folder: Path, settings: Settings, keys: Keys) -> None:
    last = verify(settings, keys).last
    forged, _ = line(THIEF, last, b'{"kind":"intent"}')
    rewrite(folder, [*lines(folder), forged])
    assert verify(settings, keys).first_bad_sequence == RECORDS + 1


@pytest.mark.parametrize("segment", [1, 3, -1])
def test_a_file_that_is_gone_is_found(segment: int, settings: Settings, keys: Keys) -> None:
    folder = written(settings, keys, segment_bytes=2000)
    files = sorted(folder.glob("0*.jsonl"))
    gone = files[segment if segment < 0 else segment - 1]
    first = orjson.loads(gone.read_bytes().splitlines()[0])["sequence"]
    gone.unlink()
    assert verify(settings, keys).first_bad_sequence == first


@pytest.mark.parametrize("name", ["head", "checkpoints.jsonl"])
def test_signatures_that_are_gone_are_found(name: str, folder: Path, settings: Settings, keys: Keys) -> None:
    (folder / name).unlink()
    found = verify(settings, keys)
    assert not found.ok and found.first_bad_sequence is not None


def test_another_head_does_not_hide_a_cut(folder: Path, settings: Settings, keys: Keys) -> None:
    """The head of record 5 was kept by the thief and is put back after the log was cut: checkpoints still know."""
    cut = lines(folder)[:5]
    place = Place(5, orjson.loads(cut[-1])["hash"], 1, sum(map(len, cut)))
    (folder / "head").write_bytes(Head(place).signed(keys.audit))
    rewrite(folder, cut)
    assert verify(settings, keys).first_bad_sequence == 6


def test_a_folder_put_back_whole_is_found_by_an_anchor(settings: Settings, keys: Keys, tmp_path: Path) -> None:
    folder = written(settings, keys)
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    written(settings, keys)
    anchor = verify(settings, keys).last
    shutil.rmtree(folder)
    shutil.copytree(older, folder)
    assert verify(settings, keys).ok  # the folder alone can't tell
    found = verify(settings, keys, anchor=anchor)
    assert (found.ok, found.first_bad_sequence) == (False, RECORDS + 1)
    assert verify(settings, keys, anchor=Place(5, GENESIS)).first_bad_sequence == 5


@given(data=st.data())
@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_is_found(data: st.DataObject, folder: Path, settings: Settings, keys: Keys) -> None:
    path = segment_path(folder, 1)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    try:
        assert verify(settings, keys).first_bad_sequence == whole[:at].count(b"\n") + 1
    finally:
        path.write_bytes(whole)


def test_an_empty_log_is_in_order(settings: Settings, keys: Keys) -> None:
    assert verify(settings, keys).ok
    for _ in range(2):
        log = AuditLog(settings, keys)
        log.start()
        log.close()
    assert verify(settings, keys) == Verification(True, 0, Place())
