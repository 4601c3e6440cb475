"""One server as a process: started apart from the terminal, found again by any later command, stopped cleanly.

The server inherits a lock on its pid file and holds it for as long as it lives, however it ends. So a pid is never
believed that the system has given to another program since.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.stack.missing import UNPRIVILEGED, is_root

# A shell puts the server into the background and ends: the server belongs to no command of ours.
_APART: Final = 'cd "$1" && shift && { "$@" >&2 & } && echo $!'


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started.

    Args:
        command: the program and its arguments.
        environment: variables beside those of this process.
        unprivileged: whether it refuses to run as root.
        stop: the signal that ends it cleanly.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    unprivileged: bool = False
    stop: int = signal.SIGTERM


class ServerProcess:
    """The process of one server.

    Args:
        folder: where its pid, its log and its data are.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self._folder = folder
        self._pid_file = folder / "pid"

    def start(self, launch: Launch) -> None:
        """Starts it and returns at once; nothing where it runs already."""
        with self._pid_file.open("a+") as lock, self.log.open("ab") as log:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            started = subprocess.run(  # noqa: S603 - our own words
                ["/bin/sh", "-c", _APART, "sh", str(self._folder), *launch.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[lock.fileno()],
                env={**os.environ, **launch.environment},
                start_new_session=True,
                check=True,
                **as_user(unprivileged=launch.unprivileged),
            )
            lock.truncate(0)
            lock.write(f"{int(started.stdout)} {launch.stop:d}\n")

    def pid(self) -> int | None:
        """The server's process id while it runs."""
        try:
            with self._pid_file.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(lock.read().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            pass
        return None

    def stop(self, *, patience: float = 60.0) -> bool:
        """Ends it and waits until it is gone.

        Args:
            patience: seconds until it is killed.

        Returns:
            Whether it ran.
        """
        pid = self.pid()
        if pid is None:
            return False
        _, signal_number = self._pid_file.read_text().split()
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            os.kill(pid, int(signal_number))
        while self.pid() is not None:
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.1)
        return True

    def kill(self) -> None:
        """Ends it at once, as a crash would, with all that it started, and waits until it is gone."""
        while (pid := self.pid()) is not None:
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
            time.sleep(0.05)

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").expandtabs().splitlines()[-lines:])


def as_user(*, unprivileged: bool) -> dict[str, Any]:
    if not (unprivileged and is_root()):
        return {}
    entry = pwd.getpwnam(UNPRIVILEGED)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
