"""`sluice demo`: one command, and everything that it promises answers."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from api.demo.examples import EXAMPLES, Example
from api.demo.run import HOST, DemoFolderTaken, PortInUse, run
from catalog.lake import Lake
from infra.settings import Settings

ROWS = "/v1/tables/raw.transactions/rows"
Ready = dict[str, Any]


def start(folder: Path) -> tuple[Ready, subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    environment["SLUICE_DATABASE_URL"] = "sqlite:////nowhere/production.db"  # must not be touched
    process = subprocess.Popen(
        [sys.executable, "-c", "from api.cli import main; main()", "demo", "--port", "0", "--dir", folder, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line), process


def stop(process: subprocess.Popen[str], by: signal.Signals = signal.SIGINT) -> None:
    if process.poll() is None:
        process.send_signal(by)
        out, _ = process.communicate(timeout=60)
        assert out == "", "stdout has one line only"
    assert process.returncode == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def process_and_demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Ready]]:
    ready, process = start(folder)
    yield process, ready
    stop(process)


@pytest.fixture(scope="module")
def demo(process_and_demo: tuple[subprocess.Popen[str], Ready]) -> Ready:
    return process_and_demo[1]


def get(ready: Ready, path: str, user: str) -> tuple[int, Any]:
    connection = HTTPConnection(urlsplit(ready["url"]).netloc, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {ready['tokens'][user]}"})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


def test_the_line_says_where_everything_is(demo: Ready) -> None:
    assert list(demo) == ["url", "console", "docs", "mlflow", "tokens", "passwords"]
    assert demo["tokens"].keys() == demo["passwords"].keys() == {"admin", "alice", "bob"}
    assert demo["docs"] == f"{demo['url']}/docs"
    with urlopen(demo["mlflow"], timeout=30) as page:
        assert b"<title>MLflow</title>" in page.read()


def test_the_first_page_is_governed(demo: Ready) -> None:
    status, body = get(demo, f"{ROWS}?limit=10", "alice")
    assert (status, len(body["data"])) == (200, 10)


def test_alice_sees_french_rows_with_who_bought_masked(demo: Ready) -> None:
    _, mine = get(demo, f"{ROWS}?limit=10&status=eq.completed", "alice")
    assert {row["country"] for row in mine["data"]} == {"FR"}
    assert set(mine["policy"]["masked"]) == {"user_id", "user_name", "email", "ip_address"}
    for row in mine["data"]:
        assert len(row["user_id"]) == 64
        assert set(row["user_name"]) <= set("xn-.,()@")
        _, clear = get(demo, f"{ROWS}?transaction_id=eq.{row['transaction_id']}", "admin")
        assert clear["data"][0]["amount"] == row["amount"]
        assert clear["data"][0]["user_name"] != row["user_name"]


@pytest.mark.parametrize(
    "path", [ROWS, "/v1/tables/curated.quarantine/rows", "/v1/files/reference/products.parquet/rows"]
)
def test_what_is_not_granted_is_not_there(demo: Ready, path: str) -> None:
    assert get(demo, path, "bob")[0] == 404
    assert get(demo, path, "alice")[0] == (200 if path == ROWS else 404)
    assert get(demo, path, "admin")[0] == 200


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_every_example_works_as_it_is_printed(demo: Ready, example: Example) -> None:
    _, flag, header, address = shlex.split(example.curl(demo["url"], demo["tokens"][example.user]))
    assert (flag, header) == ("-H", f"Authorization: Bearer {demo['tokens'][example.user]}")
    status, body = get(demo, address.removeprefix(demo["url"]), example.user)
    assert status == example.status
    assert status == 404 or body.get("data") or "behind" in body


def test_search_finds_the_lake_soon_and_for_each_what_they_may_see(demo: Ready) -> None:
    for _ in range(300):
        everything = get(demo, "/v1/search?q=paris", "admin")[1]
        if not [behind for behind in everything["behind"] if behind["reason"] == "indexing"]:
            break
        time.sleep(0.2)
    found = {each["id"] for each in everything["resources"]}
    assert {"table:raw.transactions", "table:curated.transactions"} < found
    assert any(each.startswith("file:landing/") for each in found)
    mine = get(demo, "/v1/search?q=paris", "alice")[1]
    assert {each["id"] for each in mine["resources"]} == {"table:raw.transactions", "table:curated.transactions"}
    assert {hit["record"]["country"] for hit in mine["hits"]} == {"FR"}
    assert get(demo, "/v1/search?q=paris", "bob")[1]["total"] == 0


def test_metrics_answer_under_each_ones_policy(demo: Ready) -> None:
    _, everywhere = get(demo, "/v1/metrics/top-products?limit=5", "admin")
    _, in_france = get(demo, "/v1/metrics/top-products?limit=5", "alice")
    assert len(everywhere["data"]) == len(in_france["data"]) == 5
    assert {money["currency"] for row in in_france["data"] for money in row["spent"]} == {"EUR"}
    assert {money["currency"] for row in everywhere["data"] for money in row["spent"]} > {"EUR", "USD"}
    _, by_user = get(demo, "/v1/metrics/spend-by-user-and-type", "alice")
    assert all(len(row["user_id"]) == 64 for row in by_user["data"])
    assert get(demo, "/v1/metrics/spend", "bob")[0] == 404
    assert get(demo, "/v1/metrics/spend?window=soon", "admin")[0] == 422


def test_a_command_in_the_demos_folder_finds_it(demo: Ready, folder: Path) -> None:
    words = ["query", "SELECT DISTINCT country FROM raw.transactions", "--user", "alice", "--format", "csv"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", "from api.cli import main; main()", *words]
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout.split()) == (0, ['"country"', '"FR"']), said.stderr


def test_transactions_keep_coming_in_while_an_older_version_stays(demo: Ready) -> None:
    def newest() -> int:
        return int(get(demo, f"{ROWS}?limit=1", "admin")[1]["snapshot"]["id"])

    first, deadline = newest(), time.monotonic() + 60
    while newest() == first and time.monotonic() < deadline:
        time.sleep(0.2)
    assert newest() != first
    old = [get(demo, f"{ROWS}?tag=day-7&limit=1", "admin")[1]["snapshot"]["id"] for _ in range(2)]
    assert old[0] == old[1]


def test_a_port_in_use_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(PortInUse, match="can't be listened on") as caught:
            run(tmp_path / "new", taken.getsockname()[1], progress=lambda *_: None, announce=lambda _: None)
    assert "--port" in caught.value.hint
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(DemoFolderTaken):
        run(tmp_path, 0, progress=lambda *_: None, announce=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_demo_is_started_again_with_its_data(
    folder: Path, process_and_demo: tuple[subprocess.Popen[str], Ready]
) -> None:
    first_process, first = process_and_demo
    stop(first_process)
    before = total(folder)
    second, process = start(folder)
    try:
        assert total(folder) >= before > 40_000
        assert get(second, f"{ROWS}?limit=1", "alice")[0] == 200
        assert get({**second, "tokens": first["tokens"]}, f"{ROWS}?limit=1", "alice")[0] == 401
    finally:
        stop(process, signal.SIGTERM)


def total(folder: Path) -> int:
    with closing(Lake(Settings(state_dir=folder / "state", lake_dir=folder / "lake"))) as lake:
        return sum(table.row_count or 0 for table in lake.tables())
