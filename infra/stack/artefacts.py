"""What the servers are made of: fetched by Maven by name, held against pinned checksums, unpacked once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from infra.errors import Unavailable
from infra.stack.missing import StackMissing

_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_ARCHIVES: Final = {"tar.gz", "zip"}


class ArtefactRefused(Unavailable):
    code, title = "stack-artefact", "A server's files can't be had"


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file in a Maven repository.

    Args:
        group, name, version, type, classifier: its coordinates.
        sha256: what it must be.
    """

    group: str
    name: str
    version: str
    type: str
    classifier: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}{f'-{self.classifier}' if self.classifier else ''}.{self.type}"


def pinned() -> dict[str, list[Artefact]]:
    """Every bundle of `artefacts.txt` with its files; the first of them is the server, and gives the version."""
    bundles: dict[str, list[Artefact]] = {}
    for line in (files("infra.stack") / "artefacts.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            bundle, coordinates, sha256 = line.split()
            group, name, version, kind, *classifier = coordinates.split(":")
            artefact = Artefact(group, name, version, kind, "".join(classifier), sha256)
            bundles.setdefault(bundle, []).append(artefact)
    return bundles


class Artefacts:
    """The folder of unpacked bundles. Several processes may share it.

    Args:
        cache: the folder; made when it is needed.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache.absolute()

    def home(self, bundle: str) -> Path:
        """Where a bundle is or will be: the name tells its content, so a changed pin never meets old files."""
        artefacts = pinned()[bundle]
        digest = hashlib.sha256(" ".join(artefact.sha256 for artefact in artefacts).encode()).hexdigest()
        return self._cache / f"{bundle}-{artefacts[0].version}-{digest[:12]}"

    def fetch(self, bundle: str) -> Path:
        """The bundle's folder; downloads and unpacks it where it isn't there yet.

        Raises:
            StackMissing: there is no Maven to fetch it with.
            ArtefactRefused: it can't be downloaded, or is not what was pinned.
        """
        home = self.home(bundle)
        if home.exists():
            return home
        self._cache.mkdir(parents=True, exist_ok=True)
        with _only_one(self._cache / f"{bundle}.lock"):
            if not home.exists():
                with tempfile.TemporaryDirectory(dir=self._cache, prefix=f".{bundle}-") as draft:
                    self._make(pinned()[bundle], Path(draft) / "files", Path(draft) / "home")
                    (Path(draft) / "home").rename(home)
        return home

    def _make(self, artefacts: list[Artefact], downloads: Path, home: Path) -> None:
        _download(artefacts, downloads)
        (home / "lib").mkdir(parents=True)
        for artefact in artefacts:
            file = downloads / artefact.file
            _check(artefact, file)
            if artefact.type in _ARCHIVES:
                _unpack(file, home)
            else:
                file.rename(home / "lib" / artefact.file)


def _download(artefacts: list[Artefact], to: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StackMissing(
            "Maven is missing: it fetches the servers.", hint="Install it; on Debian: apt-get install maven."
        )
    to.mkdir(parents=True)
    pom = to / "pom.xml"
    pom.write_text(_pom(artefacts))
    command = [maven, "--batch-mode", "--quiet", "--file", str(pom), _PLUGIN, f"-DoutputDirectory={to}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if ran.returncode != 0:
        last = next((line for line in ran.stdout.splitlines() if line.startswith("[ERROR]")), "").removeprefix(
            "[ERROR]"
        )
        raise ArtefactRefused(
            f"Maven could not fetch {artefacts[0].name}: {last.strip()[:500] or f'it ended with {ran.returncode}'}",
            hint="Look at the network and at the mirrors in Maven's settings.xml, then run this again.",
        )


def _pom(artefacts: list[Artefact]) -> str:
    """A project that depends on exactly these files: whatever they ask for themselves is in the list or not wanted."""
    dependencies = "".join(
        f"<dependency><groupId>{escape(item.group)}</groupId><artifactId>{escape(item.name)}</artifactId>"
        f"<version>{escape(item.version)}</version><type>{escape(item.type)}</type>"
        f"<classifier>{escape(item.classifier)}</classifier>"
        "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
        for item in artefacts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>sluice</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _check(artefact: Artefact, file: Path) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != artefact.sha256:
        raise ArtefactRefused(
            f"{artefact.file} is not the file that was pinned: its SHA-256 is {found}, not {artefact.sha256}.",
            hint="Delete it from Maven's local repository and run this again; if it stays so, ask who runs the mirror.",
        )


def _unpack(archive: Path, home: Path) -> None:
    """The archive's one top folder becomes `home`."""
    draft = archive.with_name(f"{archive.name}.unpacked")
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(draft)  # noqa: S202 - zipfile keeps names inside the folder
        for program in draft.glob("*/bin/*"):
            program.chmod(0o755)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
    (top,) = draft.iterdir()
    for entry in top.iterdir():
        if (home / entry.name).exists():
            shutil.rmtree(home / entry.name)  # an empty lib/
        entry.rename(home / entry.name)
    archive.unlink()


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
