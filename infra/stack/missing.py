"""What this machine lacks for a server, each with the words that mend it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

from infra.errors import Unavailable


class StackMissing(Unavailable):
    code, title = "stack-missing", "The machine lacks something that a server needs"


class TooLittleMemory(Unavailable):
    code, title = "stack-memory", "The machine has too little memory for the servers"


class ServerFailed(Unavailable):
    code, title = "stack-server", "A server did not start"


class PortTaken(Unavailable):
    code, title = "stack-port", "Something else listens on the port"


# Elasticsearch and PostgreSQL refuse to run as root: as root they get this user, which every system has.
UNPRIVILEGED: Final = "nobody"


def check_memory(servers: dict[str, int]) -> None:
    """Raises TooLittleMemory where the machine can't spare what servers need.

    Args:
        servers: name to MiB.
    """
    known = Path("/proc/meminfo")
    if not known.exists():
        return
    lines = dict(line.split(":", 1) for line in known.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) // 1024
    if free < sum(servers.values()):
        raise TooLittleMemory(
            f"{', '.join(servers)} need {sum(servers.values())} MiB; {free} MiB are available.",
            hint="Name fewer servers, stop other programs, or lower -Xmx in infra/*/jvm.config.",
        )


def check_reachable(folder: Path, what: str, setting: str) -> None:
    """Raises StackMissing where `UNPRIVILEGED` could not get into a folder that is to be its own."""
    entry = pwd.getpwnam(UNPRIVILEGED)
    for parent in (folder, *folder.parents):
        if parent.exists():
            status = parent.stat()
            if not status.st_mode & 0o001 and status.st_uid != entry.pw_uid:
                raise StackMissing(
                    f"{what} can't run as root, and the user {UNPRIVILEGED} can't get into {parent}.",
                    hint=f"Set {setting} to a folder that it can reach, or run this as another user than root.",
                )


def is_root() -> bool:
    return os.geteuid() == 0
