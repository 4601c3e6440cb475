"""Processes killed while they write, several at once: what was acknowledged is there, and the log checks out."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.keys import Keys
from infra.settings import Settings
from policies.audit.log import AuditLog
from policies.audit.record import Intent
from policies.audit.tail import tail
from policies.audit.verify import verify

ROOT = Path(__file__).parents[2]
SECRET = b"the secret of a server that is killed"
WRITERS, ROUNDS = 4, 5  # 20 kills

# Three threads each: the parent reads which records were acknowledged.
WRITER = f"""
import os, sys, threading
from infra.keys import Keys
from infra.settings import Settings
from policies.audit.log import AuditLog
from policies.audit.record import Intent, Outcome

log = AuditLog(Settings(state_dir=sys.argv[1], audit_checkpoint_records=7), Keys({SECRET!r}), segment_bytes=20_000)
log.start()

def write(thread):
    number = 0
    while True:
        name = f"{{os.getpid()}}-{{thread}}-{{number}}"
        sequence = log.intent(Intent(name, "rows", "GET", "/" + "x" * (number % 700), "allow"))
        os.write(1, f"{{sequence}} {{name}}\\n".encode())
        log.outcome(Outcome(intent=sequence, request_id=name, status=200))
        number += 1

for thread in range(3):
    threading.Thread(target=write, args=(thread,)).start()
"""


def test_nothing_acknowledged_is_lost_in_twenty_kills(tmp_path: Path) -> None:
    settings, keys = Settings(state_dir=tmp_path, audit_checkpoint_records=7), Keys(SECRET)
    chance = random.Random(7)
    acknowledged: dict[str, int] = {}
    for _ in range(ROUNDS):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, cwd=ROOT)
            for _ in range(WRITERS)
        ]
        first = []
        for writer in writers:
            assert writer.stdout is not None
            first.append(os.read(writer.stdout.fileno(), 1))  # it is writing
        for writer, start in zip(writers, first, strict=True):
            time.sleep(chance.uniform(0.001, 0.02))
            writer.send_signal(signal.SIGKILL)
            rest, _ = writer.communicate()
            for line in (start + rest).decode().splitlines():
                sequence, _, name = line.partition(" ")
                acknowledged[name] = int(sequence)
        found = verify(settings, keys)
        assert found.ok, found.what
    log = AuditLog(settings, keys, segment_bytes=20_000)
    log.start()
    last = log.intent(Intent("after", "rows", "GET", "/", "allow"))
    log.close()
    assert verify(settings, keys).records == last
    there = {
        record["request_id"]: record["sequence"]
        for record in tail(settings, keys, last=last)
        if record["kind"] == "intent"
    }
    assert len(acknowledged) > ROUNDS * WRITERS
    assert acknowledged.items() <= there.items()
