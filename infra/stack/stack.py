"""The servers together: which there are, in what order they start, and where each is."""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.errors import Invalid
from infra.settings import Settings
from infra.stack import elasticsearch, hive, kafka, mlflow, postgres, trino
from infra.stack.artefacts import Artefacts
from infra.stack.missing import PortTaken, ServerFailed, check_memory
from infra.stack.process import ServerProcess
from infra.stack.server import Place, Server, free_port

# Each comes after those that it needs.
SERVERS: Final[Mapping[str, Server]] = {
    module.SERVER.name: module.SERVER for module in (postgres, hive, trino, kafka, elasticsearch, mlflow)
}
_HOST: Final = "127.0.0.1"
_PATIENCE: Final = 600.0  # seconds for a server to answer: six at once take minutes on two busy cores

Progress = Callable[[str, str], None]


class UnknownServer(Invalid):
    code, title = "unknown-server", "There is no such server"


@dataclass(frozen=True, slots=True)
class Status:
    """How one server is.

    Args:
        server: its name.
        state: `running`, `starting` (it runs but does not answer) or `stopped`.
        address: host and port, once it was started.
        pid: of its process, while it runs.
        log: its log file.
    """

    server: str
    state: str
    address: str | None
    pid: int | None
    log: Path


class Stack:
    """The servers of one folder.

    Args:
        settings: where data and programs go, and where the lake is.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.stack.absolute()
        self._artefacts = Artefacts(settings.artefacts)
        self._lake_dir = settings.lake_dir.absolute()

    def up(
        self,
        names: Sequence[str] = (),
        *,
        ports: Mapping[str, int] | None = None,
        progress: Progress = lambda _server, _stage: None,
    ) -> None:
        """Starts servers and those that they need, and returns once all of them answer.

        Args:
            names: which; all where none is named.
            ports: a server's port, 0 for any free one instead of its usual one. Else it keeps the one that it had.
            progress: is told a server's name and what is being done.

        Raises:
            UnknownServer, StackMissing, TooLittleMemory, PortTaken, ArtefactRefused, ServerFailed: what is in the way.
                Servers that run already go on.
        """
        wanted = _with_needs(names)
        with self._alone():
            stopped = [server for server in wanted if self.process(server.name).pid() is None]
            check_memory({server.name: server.memory for server in stopped})
            for server in stopped:
                for bundle in server.bundles:
                    progress(server.name, "fetching")
                    self._artefacts.fetch(bundle)
            for server in stopped:
                self._choose_port(server, (ports or {}).get(server.name))
            for server in stopped:
                for needed in server.needs:
                    self._await(SERVERS[needed], progress)
                progress(server.name, "starting")
                self.process(server.name).start(server.prepare(self.place(server.name)))
            for server in wanted:
                self._await(server, progress)

    def down(self, names: Sequence[str] = (), *, progress: Progress = lambda _server, _stage: None) -> None:
        """Stops servers cleanly, and those that need them; their data stays."""
        chosen = {server.name for server in _chosen(names)}
        for server in SERVERS.values():  # whoever needs a stopped one is stopped too
            if chosen & set(server.needs):
                chosen.add(server.name)
        with self._alone():
            for name in [name for name in reversed(list(SERVERS)) if name in chosen]:
                if self.process(name).pid() is not None:
                    progress(name, "stopping")
                    self.process(name).stop()
                progress(name, "stopped")

    def status(self) -> list[Status]:
        """How every server is."""
        found = []
        for server in SERVERS.values():
            process, started = self.process(server.name), (self._folder / server.name / "port").exists()
            pid = process.pid()
            place = self.place(server.name) if started else None
            state = "stopped" if pid is None or place is None else "running" if server.ready(place) else "starting"
            found.append(Status(server.name, state, place.address if place else None, pid, process.log))
        return found

    def environment(self, names: Sequence[str] = ()) -> dict[str, str]:
        """The settings that point Sluice at the servers that run; of all of them where none is named."""
        settings: dict[str, str] = {}
        for server in _chosen(names):
            if self.process(server.name).pid() is not None:
                settings |= server.settings(self.place(server.name))
        return settings

    def process(self, name: str) -> ServerProcess:
        """The process of a server."""
        return ServerProcess(self._folder / name)

    def place(self, name: str) -> Place:
        """Where a server runs, once its port is chosen."""
        folder = self._folder / name
        return Place(
            folder=folder,
            host=_HOST,
            port=int((folder / "port").read_text()),
            others={needed: self.place(needed) for needed in SERVERS[name].needs},
            artefacts=self._artefacts,
            lake_dir=self._lake_dir,
        )

    def _choose_port(self, server: Server, asked: int | None) -> None:
        file = self._folder / server.name / "port"
        file.parent.mkdir(parents=True, exist_ok=True)
        before = int(file.read_text()) if file.exists() else None
        if asked == 0 and before is None:
            port = free_port(_HOST)
        elif asked or before:
            port = asked or before or server.port
            if not _is_free(port):
                raise PortTaken(
                    f"Port {port}, for {server.name}, is taken.",
                    hint=f"Stop what listens there, or choose another: sluice stack up --port {server.name}=0.",
                )
        else:
            port = server.port if _is_free(server.port) else free_port(_HOST)
        file.write_text(str(port))

    def _await(self, server: Server, progress: Progress) -> None:
        process, place = self.process(server.name), self.place(server.name)
        deadline = time.monotonic() + _PATIENCE
        while not server.ready(place):
            if process.pid() is None or time.monotonic() > deadline:
                what = "ended while it started" if process.pid() is None else f"did not answer in {_PATIENCE:.0f} s"
                raise ServerFailed(
                    f"{server.name} {what}. The end of its log:\n{process.last_words()}",
                    hint=f"The whole log is {process.log}.",
                )
            time.sleep(0.2)
        progress(server.name, "running")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time changes this stack."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _chosen(names: Sequence[str]) -> list[Server]:
    for name in names:
        if name not in SERVERS:
            raise UnknownServer(f"There is no server {name}.", hint=f"Choose from {', '.join(SERVERS)}.")
    return [server for server in SERVERS.values() if not names or server.name in names]


def _with_needs(names: Sequence[str]) -> list[Server]:
    wanted: set[str] = set()
    pending = [server.name for server in _chosen(names)]
    while pending:
        name = pending.pop()
        wanted.add(name)
        pending += SERVERS[name].needs
    return [server for server in SERVERS.values() if server.name in wanted]


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((_HOST, port)):
            return True
    except OSError:
        return False
