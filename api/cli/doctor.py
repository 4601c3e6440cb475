"""What `sluice doctor` examines: one function a check, each with the words that mend it."""

from __future__ import annotations

import socket
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import distributions, packages_distributions
from typing import Final

from infra.errors import Problem
from infra.settings import Settings, load

# Our own import names. They are plain words, so another distribution could take one.
ROOMS: Final = ("api", "pipeline", "training", "search", "sql", "policies", "catalog", "infra")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Args:
        check: its name.
        ok: whether all is well.
        found: what is the case.
        fix: what to do where it is not well.
    """

    check: str
    ok: bool
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Runs every check; those that need settings are left out where these can't be read."""
    findings = [_python(), _packages()]
    try:
        settings = load()
    except Problem as problem:
        return [*findings, Finding("settings", False, problem.detail, problem.hint)]
    return [*findings, Finding("settings", True, "read"), *(_tried(check, settings) for check in CHECKS)]


def _tried(check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    name = check.__name__.strip("_")
    try:
        return check(settings)
    except Problem as problem:
        return Finding(name, False, problem.detail, problem.hint)
    except Exception as error:  # a check that breaks is a finding: the others still run
        return Finding(name, False, f"{type(error).__name__}: {error}", "Mend what it says, and run this again.")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", (3, 11) <= sys.version_info[:2] <= (3, 14), version, "Use Python 3.11 to 3.14.")


def _packages() -> Finding:
    owners = packages_distributions()
    clashes = sorted({owner for room in ROOMS for owner in owners.get(room, []) if owner != "sluice"})
    if any(item.name.lower() == "casbin" for item in distributions()):
        clashes.append("casbin")  # the abandoned namesake of pycasbin overwrites its files
    if clashes:
        return Finding(
            "packages", False, f"in the way: {', '.join(clashes)}", "Install Sluice into its own environment."
        )
    return Finding("packages", True, "no other distribution has our names")


def _state(settings: Settings) -> Finding:
    if not settings.secret.exists():
        return Finding("state", False, "no installation here", "Run sluice init.")
    mode = stat.S_IMODE(settings.secret.stat().st_mode)
    if mode & 0o077:
        return Finding("state", False, f"the secret's mode is {mode:o}", f"Run chmod 600 {settings.secret}.")
    return Finding("state", True, str(settings.state_dir))


def _database(settings: Settings) -> Finding:
    from sqlalchemy import select

    from infra.db import Database
    from infra.schema import PolicyVersion

    db = Database(settings.database)
    try:
        with db.reading() as session:
            version = session.scalar(select(PolicyVersion.version))
    finally:
        db.close()
    if version is None:
        return Finding("database", False, "it has no policy", "Run sluice init.")
    return Finding("database", True, f"{db.engine.dialect.name}, policy version {version}")


def _lake(settings: Settings) -> Finding:
    from catalog.lake import Lake

    if not settings.lake_dir.is_dir():
        return Finding("lake", False, "the folder is missing", "Set SLUICE_LAKE_DIR to the lake's folder.")
    with closing(Lake(settings)) as lake:
        tables = lake.tables()
    return Finding("lake", True, f"{len(tables)} tables in {settings.lake_dir}")


def _port(settings: Settings) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            fix = "Stop what listens there (it may be Sluice itself), or set SLUICE_PORT."
            return Finding("port", False, f"{settings.host}:{settings.port}: {error.strerror}", fix)
    return Finding("port", True, f"{settings.host}:{settings.port} is free")


def _stack(settings: Settings) -> Finding:
    """Servers of `sluice stack`: those that run have to answer."""
    from infra.stack.stack import Stack

    states = {item.server: item.state for item in Stack(settings).status() if item.address is not None}
    found = ", ".join(f"{server} {state}" for server, state in states.items()) or "none was ever started here"
    silent = " ".join(server for server, state in states.items() if state == "starting")
    return Finding(
        "stack", not silent, found, f"Run sluice stack down {silent}, then up; sluice stack status names logs."
    )


CHECKS: Final[tuple[Callable[[Settings], Finding], ...]] = (_state, _database, _lake, _port, _stack)
