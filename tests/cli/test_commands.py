"""The command line as its users meet it: each test runs real commands in a folder of its own."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.cli import main
from api.initialise import initialise
from infra.settings import Settings


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]
Here = Callable[..., Run]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """Makes a function that runs `sluice` in a folder, in this process: most of a command's time is its imports."""
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)

    def in_folder(folder: Path) -> Run:
        def run(*words: str, stdin: str = "", **settings: str) -> Done:
            with monkeypatch.context() as patch:
                patch.chdir(folder)
                patch.setattr(sys, "argv", ["sluice", *words])
                patch.setattr(sys, "stdin", io.StringIO(stdin))
                for name, value in settings.items():
                    patch.setenv(name, value)
                capfd.readouterr()
                try:
                    main()
                    status = 0
                except SystemExit as end:
                    status = int(end.code or 0)
            return Done(status, *capfd.readouterr())

        return run

    return in_folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    initialise(Settings(state_dir=folder / ".sluice", lake_dir=folder / "lake"))
    return folder


@pytest.fixture
def run(here: Here, installed: Path, tmp_path: Path) -> Run:
    """Runs `sluice` on a fresh copy of an installation."""
    shutil.copytree(installed, tmp_path / "here")
    return here(tmp_path / "here")


@pytest.fixture
def fresh(here: Here, tmp_path: Path) -> Run:
    """Runs `sluice` in an empty folder."""
    return here(tmp_path)


def test_help_loads_nothing_heavy() -> None:
    script = "import sys, api.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout.split()
    assert "typer" in loaded
    assert not {"duckdb", "pyarrow", "pyiceberg", "sqlglot", "fastapi", "sqlalchemy"} & set(loaded)


def test_init_prints_the_first_token_once(fresh: Run, tmp_path: Path) -> None:
    first = fresh("init")
    assert first.status == 0
    assert re.fullmatch(r"slc_\w+\n", first.out), "stdout holds the token alone"
    again = fresh("init", "--json")
    assert json.loads(again.out)["token"] is None
    assert (tmp_path / ".sluice" / "secret").stat().st_mode & 0o077 == 0


def test_without_an_installation_the_way_out_is_told(fresh: Run, tmp_path: Path) -> None:
    done = fresh("user", "list")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("There is no Sluice here yet: ")
    assert "\nhint: Run sluice init first" in done.err
    assert list(tmp_path.iterdir()) == [], "a failed command leaves nothing behind"


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"SLUICE_PAGE_LIMIT": "0"}, "page_limit"), ({"SLUICE_ENGINE": "abacus"}, "engine")],
)
def test_a_setting_that_does_not_fit_is_named(fresh: Run, settings: dict[str, str], told: str) -> None:
    done = fresh("init", **settings)
    assert done.status == 1
    assert f"The setting {told} does not fit" in done.err
    assert "hint: " in done.err


def test_a_broken_settings_file_is_named(fresh: Run, tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").write_text("page_limit 10\n")
    done = fresh("init")
    assert done.status == 1
    assert "sluice.toml can't be read" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["user"],
        ["user", "add"],
        ["nonsense"],
        ["grants", "--nonsense"],
        ["token", "create", "admin", "--ttl", "soon"],
        ["user", "add", "carol", "--attribute", "country"],
        ["grant", "user:admin", "read", "table:*", "--mask", "email"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(fresh: Run, words: list[str]) -> None:
    done = fresh(*words)
    assert (done.status, done.out if words != ["user"] else "") == (2, "")


def test_people_and_tokens(run: Run) -> None:
    assert run("user", "add", "alice", "--attribute", "country=FR", "--attribute", "age=44").status == 0
    added = run("user", "add", "bob", "--password", stdin="correct horse battery staple\n")
    assert added.status == 0
    users = {user["name"]: user for user in json.loads(run("user", "list", "--json").out)}
    assert users["alice"]["attributes"] == {"country": "FR", "age": 44}
    assert users["bob"]["password"] is True
    assert run("user", "disable", "bob").status == 0
    assert run("user", "list").out.splitlines()[-1].split("\t")[:2] == ["bob", "yes"]

    token = json.loads(run("token", "create", "alice", "--ttl", "12h", "--action", "read", "--json").out)
    assert token["user"] == "alice"
    assert run("token", "revoke", token["id"]).status == 0
    listed = {item["id"]: item["state"] for item in json.loads(run("token", "list", "--json").out)}
    assert listed[token["id"]] == "revoked"

    unknown = run("token", "create", "nobody")
    assert (unknown.status, unknown.out) == (1, "")
    assert "hint: " in unknown.err


def test_grants_are_given_explained_and_taken_away(run: Run) -> None:
    run("user", "add", "alice")
    before = run("explain", "alice", "read", "table:raw.sales")
    assert "this would allow it: sluice grant user:alice read table:raw.sales" in before.out
    grant_id = run("grant", "user:alice", "read", "table:raw.*", "--reason", "the campaign").out.strip()
    explained = json.loads(run("explain", "alice", "read", "table:raw.sales", "--json").out)
    assert explained["allowed"]
    assert [rule["grant_id"] for rule in explained["rules"]] == [grant_id]
    assert run("revoke", grant_id).status == 0
    assert run("grants", "--principal", "user:alice").out == ""
    assert not json.loads(run("explain", "alice", "read", "table:raw.sales", "--json").out)["allowed"]


def test_every_command_is_recorded_with_how_it_ended(run: Run) -> None:
    run("user", "add", "alice")
    run("user", "add", "alice")
    records = [json.loads(line) for line in run("audit", "tail", "-n", "10", "--json").out.splitlines()]
    intents = {record["sequence"]: record for record in records if record["kind"] == "intent"}
    outcomes = {record["intent"]: record for record in records if record["kind"] == "outcome"}
    ends = [
        (item["url"], outcomes[n]["status"], outcomes[n].get("code")) for n, item in intents.items() if n in outcomes
    ]
    assert ends == [("sluice user add alice", 0, None), ("sluice user add alice", 1, "user-exists")]
    assert {(record["principal"], record["door"]) for record in intents.values()} == {("user:admin", "cli")}


def test_a_touched_audit_is_found(run: Run, tmp_path: Path) -> None:
    for name in ("alice", "carol", "dave"):
        run("user", "add", name)
    assert run("audit", "verify").status == 0
    log = min((tmp_path / "here" / ".sluice" / "audit").glob("0*.jsonl"))
    log.write_bytes(log.read_bytes().replace(b"carol", b"bobby", 1))
    found = run("audit", "verify", "--json")
    assert found.status == 1
    touched = next(n for n, line in enumerate(log.read_text().splitlines(), 1) if "bobby" in line)
    assert json.loads(found.out)["first_bad_sequence"] == touched


def test_a_query_runs_under_a_users_policies(run: Run) -> None:
    assert run("query", "select 1 as one, 'a' as letter", "--format", "csv").out == '"one","letter"\n1,"a"\n'
    assert json.loads(run("query", "select 1 as one", "--format", "jsonl").out) == {"one": 1}
    assert run("query", "select 1 as one", "--format", "table").out == "one\n1\n"
    assert run("query", "select 1 as one").out == '{"one":1}\n'  # data where nobody looks
    assert json.loads(run("query", "SHOW CATALOGS LIKE 'l%'").out) == {"Catalog": "lake"}
    assert "Query:" in run("query", "EXPLAIN SELECT 1").out
    run("user", "add", "alice")
    hidden = run("query", "select * from lake.raw.sales", "--user", "alice")
    assert (hidden.status, hidden.out) == (1, "")


def test_doctor_says_what_is_wrong_and_how_to_mend_it(run: Run, tmp_path: Path) -> None:
    well = run("doctor", "--json", SLUICE_PORT="0")
    assert well.status == 0, well.out
    (tmp_path / "here" / ".sluice" / "secret").chmod(0o644)
    ill = run("doctor", "--json", SLUICE_PORT="0")
    assert ill.status == 1
    assert {item["check"]: item["fix"] for item in json.loads(ill.out) if not item["ok"]} == {
        "state": "Run chmod 600 .sluice/secret."
    }


def test_nothing_that_a_terminal_would_act_on_is_printed(run: Run) -> None:
    done = run("user", "add", "\x1b[31mred")
    assert done.status == 1
    assert "\x1b" not in done.err
