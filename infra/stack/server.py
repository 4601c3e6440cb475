"""What the stack knows of a server, and of the place where one runs."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from infra.stack.artefacts import Artefacts
from infra.stack.missing import UNPRIVILEGED, check_reachable, is_root
from infra.stack.process import Launch


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server of a stack runs.

    Args:
        folder: its own: configuration, data, log.
        host: the address that it listens on.
        port: its port.
        others: the places of the servers that it needs.
        artefacts: where its program is.
        lake_dir: the lake's folder.
    """

    folder: Path
    host: str
    port: int
    others: Mapping[str, Place]
    artefacts: Artefacts
    lake_dir: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def configure(self, name: str) -> Path:
        """The server's configuration files, copied from `infra/{name}`; others that lie there stay."""
        etc = self.folder / "etc"
        with as_file(files("infra") / name) as source:
            shutil.copytree(source, etc, dirs_exist_ok=True, ignore=shutil.ignore_patterns("Dockerfile", "*.py"))
        return etc

    def password(self) -> str:
        """A password that only the owner of the folder can read; made at first use."""
        file = self.folder / "password"
        if not file.exists():
            with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as written:
                written.write(secrets.token_urlsafe(24))
        return file.read_text()

    def give_away(self, server: str) -> None:
        """As root, leaves the folder to the user that an unprivileged server gets."""
        if is_root():
            check_reachable(self.folder, server, "SLUICE_STACK_DIR")
            entry = pwd.getpwnam(UNPRIVILEGED)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def second_port(self, name: str) -> int:
        """A further port that only this machine uses: a free one at first, the same from then on."""
        file = self.folder / f"{name}.port"
        if not file.exists():
            file.write_text(str(free_port(self.host)))
        return int(file.read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One kind of server.

    Args:
        name: as commands call it.
        port: its usual port.
        memory: MiB that it takes.
        needs: servers that have to answer before it starts.
        bundles: of `artefacts.txt`.
        prepare: writes its configuration, makes its data where there is none, and says how to start it.
        ready: whether it answers.
        settings: what points Sluice at it.
    """

    name: str
    port: int
    memory: int
    needs: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()
    prepare: Callable[[Place], Launch]
    ready: Callable[[Place], bool]
    settings: Callable[[Place], dict[str, str]]


def accepts(place: Place) -> bool:
    """Whether something listens on the port."""
    try:
        with socket.create_connection((place.host, place.port), timeout=2):
            return True
    except OSError:
        return False


def answers(url: str, wanted: bytes = b"") -> bool:
    """Whether a server answers 200 to a GET, with some bytes in the body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return wanted in response.read()
    except (urllib.error.URLError, OSError, ValueError):
        return False


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def jvm_options(file: Path) -> list[str]:
    """The options in a `jvm.config`, one a line."""
    lines = [line.strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
