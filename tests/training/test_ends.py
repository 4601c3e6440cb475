"""How trainings end that don't succeed: told clearly, with no process, no file and no model left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pyarrow as pa
import pytest

from infra.operations import OperationStatus
from pipeline.curate import curate
from pipeline.source import Source
from policies.principal import Principal
from sql.access import Access
from sql.query import Version
from tests.api.conftest import Server
from tests.governed_trino import Silent
from tests.training.conftest import NOW
from tests.training.proxy import proxy
from training.job import DATA, Job, Provenance
from training.process import TrainingTimeout, TrainingTooLarge, train
from training.recipes import RECIPES
from training.server import free_port, local_url
from training.tracking import MlflowUnavailable, NoMlflow, Tracking
from training.trainings import Asked, Trainings

RECIPE = RECIPES["spend"]
ADMIN = Access(Principal("admin", roles=("admin",)), "training", "test", Silent())


SERVICE = """
import sys
from training.job import Job
from training.process import train
train(Job.of(sys.argv[1]), timeout=200, alive=lambda *_: None)
"""


class Enough(Exception):
    """What a cancelled operation ends its work with."""


def job(folder: Path, mlflow_url: str, times: int = 1) -> Job:
    raw = pa.concat_tables(day.table() for day in Source().history(NOW, days=21, per_day=60))
    rows = curate(raw, now=NOW).accepted.select([*RECIPE.needs, *RECIPE.uses])
    with pa.OSFile(str(folder / DATA), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        for _ in range(times):
            writer.write_table(rows)
    source = Provenance("table:curated.transactions", 1, 1, "f", tuple(rows.column_names), (), False, "", "user:alice")
    return Job("spend", RECIPE.chosen({"days": 3}), 7, source, str(folder), mlflow_url, folder.name, 4 * 10**9)


def trainers(folder: Path) -> list[int]:
    """Processes that work in a folder, found by where they are: none of them can hide."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == folder:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def stopping(when: Callable[[int], bool]) -> Callable[[int, int], None]:
    def alive(done: int, _total: int) -> None:
        if when(done):
            raise Enough

    return alive


@pytest.mark.parametrize("step", [0, 1, 3])
def test_work_that_is_stopped_leaves_no_process(tmp_path: Path, step: int) -> None:
    asked = job(tmp_path, local_url(free_port()))
    with pytest.raises(Enough):
        train(asked, timeout=200, alive=stopping(lambda done: done >= step))
    assert trainers(tmp_path) == []


def test_a_training_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TrainingTimeout):
        train(job(tmp_path, local_url(free_port())), timeout=0.5, alive=lambda *_: None)
    assert trainers(tmp_path) == []


def test_a_training_over_its_memory_ends_as_a_problem(tmp_path: Path) -> None:
    asked = job(tmp_path, local_url(free_port()), times=300)
    with pytest.raises(TrainingTooLarge):
        train(replace(asked, memory=512 * 1024**2), timeout=200, alive=lambda *_: None)
    assert trainers(tmp_path) == []


def test_a_trainer_dies_with_whoever_started_it(tmp_path: Path) -> None:
    """Its input ends where the service is killed, which can't say so itself."""
    asked = job(tmp_path, local_url(free_port()))
    service = subprocess.Popen([sys.executable, "-c", SERVICE, asked.text()], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not trainers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert trainers(tmp_path)
    service.kill()
    service.wait()
    while trainers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert trainers(tmp_path) == []


def test_a_trainer_is_given_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment names neither the lake nor the database, and holds no key."""
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgresql://sluice:word@db/sluice")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "its-own")
    seen: dict[str, str] = {}

    def look(_done: int, _total: int) -> None:
        for pid in trainers(tmp_path):
            words = (Path("/proc") / str(pid) / "environ").read_bytes().decode().split("\0")
            seen.update(word.partition("=")[::2] for word in words if word)
        if "PYTHONPATH" in seen:
            raise Enough

    with pytest.raises(Enough):
        train(job(tmp_path, local_url(free_port())), timeout=200, alive=look)
    assert seen["MLFLOW_TRACKING_PASSWORD"] == "its-own"
    assert [name for name in seen if name.startswith(("SLUICE_", "AWS_"))] == []
    assert "word" not in " ".join(seen.values())


def test_without_mlflow_a_training_does_not_begin() -> None:
    with pytest.raises(NoMlflow):
        Tracking(None).check()
    with pytest.raises(MlflowUnavailable):
        Tracking(local_url(free_port())).check()


@pytest.mark.mlflow
def test_mlflow_that_goes_away_meanwhile_is_told(tmp_path: Path) -> None:
    with pytest.raises(MlflowUnavailable, match="nothing was registered"):
        train(job(tmp_path, local_url(free_port())), timeout=300, alive=lambda *_: None)


@pytest.mark.mlflow
def test_a_cancelled_training_leaves_nothing_behind(shop: Server, mlflow: str) -> None:
    before = len(shop.installation.models.all())
    asked = shop.call("POST", "/v1/models/spend/trainings", json={"tag": "settled"})
    operation = asked.json()["id"]
    folder = (shop.installation.settings.state_dir / "training" / operation).absolute()
    deadline = time.monotonic() + 60
    while not trainers(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert trainers(folder)
    cancelled = shop.call("POST", f"/v1/operations/{operation}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    while (trainers(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (trainers(folder), folder.exists()) == ([], False)
    assert len(shop.installation.models.all()) == before
    assert runs_of(mlflow, operation) == []
    assert shop.call("POST", f"/v1/operations/{operation}/cancel").json()["code"] == "operation-state"
    assert shop.call("POST", f"/v1/operations/{operation}/cancel", "bob").status_code == 404


def runs_of(mlflow: str, operation: str) -> list[dict[str, Any]]:
    def ask(path: str, body: dict[str, object]) -> dict[str, list[dict[str, Any]]]:
        request = Request(
            f"{mlflow}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=30) as answer:
            found: dict[str, list[dict[str, Any]]] = json.load(answer)
            return found

    experiments = [item["experiment_id"] for item in ask("experiments/search", {"max_results": 100})["experiments"]]
    wanted = {"experiment_ids": experiments, "filter": f"tags.`sluice.operation` = '{operation}'"}
    return list(ask("runs/search", wanted).get("runs", []))


def versions_of(mlflow: str, runs: list[str]) -> list[object]:
    found: list[object] = []
    for run in runs:
        query = urlencode({"filter": f"run_id='{run}'"})
        with urlopen(f"{mlflow}/api/2.0/mlflow/model-versions/search?{query}", timeout=30) as answer:
            found += json.load(answer).get("model_versions", [])
    return found


@pytest.mark.mlflow
@pytest.mark.parametrize("moment", ["mlflow-artifacts/artifacts", "model-versions/create"])
def test_mlflow_that_dies_while_it_is_published_to_keeps_nothing(shop: Server, mlflow: str, moment: str) -> None:
    """Even where it had done what it was asked last. What is left there until it is back is no model of ours."""
    here = shop.installation
    before = here.models.all()
    with proxy(mlflow) as between:
        trainings = Trainings(
            here.settings,
            here.operations,
            lake=here.lake,
            door=here.door,
            tracking=Tracking(between.url),
            models=here.models,
        )
        between.dies_at = moment

        def operation() -> OperationStatus:
            asked = Asked("spend", version=Version(tag="settled"), parameters={"days": 3})
            started = trainings.start(ADMIN, asked, ended=lambda _: None)
            return here.operations.wait(started.id, 240)

        failed = operation()
        assert between.dead, failed
        assert (failed.state, (failed.problem or {}).get("code")) == ("failed", "mlflow-unavailable")
        assert here.models.all() == before
        left = [run["info"]["run_id"] for run in runs_of(mlflow, failed.id)]
        assert len(left) == 1
        between.dies_at, between.dead = None, False
        succeeded = operation()
        assert succeeded.state == "succeeded"
    assert runs_of(mlflow, failed.id) == []
    assert versions_of(mlflow, left) == []
    assert [model.operation_id for model in here.models.all() if model not in before] == [succeeded.id]
