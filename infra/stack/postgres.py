"""PostgreSQL: Sluice's own database, the metastore's and MLflow's. The programs are the machine's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import psycopg

from infra.stack.missing import StackMissing
from infra.stack.process import Launch, as_user
from infra.stack.server import Place, Server

USER: Final = "sluice"


def url(place: Place, database: str) -> str:
    """The SQLAlchemy address of one of the server's databases."""
    return f"postgresql+psycopg://{USER}:{place.password()}@{place.address}/{database}"


def _programs() -> Path:
    """The folder of `postgres`, which distributions keep off the PATH."""
    known = [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    known += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for folder in known:
        if (folder / "initdb").exists():
            return folder
    raise StackMissing("PostgreSQL is missing.", hint="Install it; on Debian: apt-get install postgresql.")


def _prepare(place: Place) -> Launch:
    programs, password = _programs(), place.password()
    config = place.configure("postgres")
    place.give_away("PostgreSQL")
    if not (place.data / "PG_VERSION").exists():
        shutil.rmtree(place.data, ignore_errors=True)  # half made
        initdb: list[str | Path] = [
            programs / "initdb",
            "--pgdata",
            place.data,
            "--username",
            USER,
            "--encoding",
            "UTF8",
        ]
        initdb += ["--locale", "C", "--auth", "scram-sha-256", "--pwfile", place.folder / "password"]
        made = subprocess.run(  # noqa: S603 - our own words
            initdb, capture_output=True, text=True, check=False, cwd=place.folder, **as_user(unprivileged=True)
        )
        if made.returncode != 0:
            raise StackMissing(f"PostgreSQL can't make its data: {made.stderr.strip()}", hint="Mend what it says.")
    options = {
        "config_file": config / "postgresql.conf",
        "hba_file": place.data / "pg_hba.conf",
        "listen_addresses": place.host,
        "port": place.port,
        "unix_socket_directories": "",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [str(programs / "postgres"), "-D", str(place.data), *flags]
    return Launch(command, {"LC_ALL": "C", "PGPASSWORD": password}, unprivileged=True, stop=signal.SIGINT)


def _ready(place: Place) -> bool:
    """Answers, and has the databases of `init.sql`."""
    address = f"host={place.host} port={place.port} user={USER} password={place.password()} connect_timeout=2"
    try:
        with psycopg.connect(f"{address} dbname=postgres", autocommit=True) as connection:
            there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            statements = (place.folder / "etc" / "init.sql").read_text()
            for name in [line.split()[2] for line in statements.splitlines() if line.startswith("CREATE DATABASE")]:
                if name.rstrip(";") not in there:
                    connection.execute(f"CREATE DATABASE {name}".encode())
    except psycopg.OperationalError:
        return False
    return True


def _settings(place: Place) -> dict[str, str]:
    return {"SLUICE_DATABASE_URL": url(place, "sluice")}


SERVER: Final = Server(name="postgres", port=5432, memory=200, prepare=_prepare, ready=_ready, settings=_settings)
