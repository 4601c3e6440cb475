"""Models through the API and in MLflow: governed rows in, a measured and registered model out, asked by who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pyarrow as pa
import pytest

from api.routes.replays import ReplayIn
from catalog.resources import Resource
from infra.lineage import Data, RunChanged
from infra.observe import subscribe
from infra.schema import Model
from pipeline.tables import CURATED
from pipeline.transactions import SCHEMA
from policies.principal import Principal
from tests.api.conftest import Server
from tests.api.test_samples import METHODS, _same_shape
from tests.training.conftest import MASKS, result_of, trained
from training.models import ModelVersion
from training.recipes import RECIPES

pytestmark = pytest.mark.mlflow

ROW = {item.name: item.example for item in RECIPES["transaction_status"].inputs}


@pytest.fixture(scope="module")
def statuses(shop: Server) -> dict[str, Any]:
    """What administrator and alice get out of the same recipe and version."""
    asked = {"tag": "settled", "seed": 7}
    return {user: result_of(trained(shop, "transaction_status", user, **asked)) for user in ("admin", "alice")}


@pytest.fixture(scope="module")
def anomalies(shop: Server) -> dict[str, Any]:
    return result_of(trained(shop, "anomaly", tag="settled"))


@pytest.fixture(scope="module")
def spend(shop: Server) -> dict[str, Any]:
    return result_of(trained(shop, "spend", tag="settled", parameters={"per": "user", "days": 3}))


@pytest.fixture(scope="module")
def french(shop: Server) -> str:
    """French rows copied into a table of their own, which nothing filters."""
    lake = shop.installation.lake.iceberg
    rows = lake.load_table("curated.transactions").scan().to_arrow()
    found = rows.filter(pa.compute.equal(rows["country"], "FR"))
    lake.create_table("curated.french", SCHEMA).append(found.cast(SCHEMA))
    return "curated.french"


def rest(mlflow: str, call: str, body: dict[str, Any] | None = None, **query: str) -> Any:
    address = f"{mlflow}/api/2.0/mlflow/{call}" + (f"?{urlencode(query)}" if query else "")
    request = Request(address, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def run_of(mlflow: str, result: dict[str, Any]) -> dict[str, Any]:
    run: dict[str, Any] = rest(mlflow, "runs/get", run_id=result["mlflow_run_id"])["run"]
    return run


# What it is trained on


def test_who_sees_french_rows_trains_on_those_alone(shop: Server, statuses: dict[str, Any]) -> None:
    path = "/v1/tables/curated.transactions/rows?tag=settled&limit=1"
    count = {"Prefer": "count=exact"}
    everywhere = shop.get(path, **count).json()["page"]["total"]
    in_france = shop.get(f"{path}&country=eq.FR", **count).json()["page"]["total"]
    assert 0 < in_france < everywhere
    assert statuses["admin"]["rows"] == everywhere
    assert statuses["alice"]["rows"] == in_france
    assert statuses["alice"]["data_digest"] != statuses["admin"]["data_digest"]


def test_her_digest_is_that_of_a_table_with_nothing_but_her_rows(
    shop: Server, statuses: dict[str, Any], french: str
) -> None:
    """An oracle of its own: a table that the administrator trains on without any filter."""
    copied = result_of(trained(shop, "transaction_status", table=french, seed=7))
    assert copied["data_digest"] == statuses["alice"]["data_digest"]
    assert copied["measures"] == statuses["alice"]["measures"]


def test_the_same_training_gives_the_same_digest_and_measures(shop: Server, statuses: dict[str, Any]) -> None:
    runs: list[RunChanged] = []
    unsubscribe = subscribe(lambda event: runs.append(event) if isinstance(event, RunChanged) else None)
    again = result_of(trained(shop, "transaction_status", "alice", tag="settled", seed=7))
    unsubscribe()
    assert [(run.job, run.state) for run in runs] == [
        ("training.transaction_status", "START"),
        ("training.transaction_status", "COMPLETE"),
    ]
    assert runs[1].inputs == (Data.table("curated.transactions", int(again["snapshot_id"])),)
    assert runs[1].outputs == (Data("model", "transaction_status", str(again["version"])),)
    assert again["version"] != statuses["alice"]["version"]
    for name in ("data_digest", "measures", "baselines"):
        assert again[name] == statuses["alice"][name]


def test_who_may_only_read_may_not_train(shop: Server) -> None:
    grant = {"principal": "user:carol", "resource": "table:curated.transactions", "actions": ["read"]}
    made = shop.call("POST", "/v1/grants", json=grant).json()
    assert shop.call("POST", "/v1/models/spend/trainings", "carol", json={}).json()["code"] == "not-allowed"
    assert shop.call("POST", "/v1/models/spend/trainings", "bob", json={}).json()["code"] == "resource-not-found"
    shop.call("DELETE", f"/v1/grants/{made['id']}")


def test_a_masked_target_can_not_be_learnt(shop: Server) -> None:
    grant = {
        "principal": "user:bob",
        "resource": "table:curated.transactions",
        "actions": ["read", "train"],
        "masks": {"status": "mask-alphanum"},
    }
    made = shop.call("POST", "/v1/grants", json=grant).json()
    answer = shop.call("POST", "/v1/models/transaction_status/trainings", "bob", json={})
    shop.call("DELETE", f"/v1/grants/{made['id']}")
    assert (answer.status_code, answer.json()["code"]) == (422, "training-columns-not-shown")
    assert "status" in answer.json()["detail"]


def test_the_reading_is_on_record_with_its_filter_and_masks(shop: Server, statuses: dict[str, Any]) -> None:
    shop.installation.audit.flush()
    read = shop.get("/v1/audit?principal=user:alice&door=training").json()["data"]
    assert {entry["action"] for entry in read} == {"train"}
    (row_filter,) = read[0]["row_filters"]["table:curated.transactions"]
    assert "country" in row_filter and "'FR'" in row_filter
    assert read[0]["rows"] == statuses["alice"]["rows"]
    assert read[0]["status"] == 200


# How good it is


def test_a_model_says_whether_it_beats_its_baselines(
    statuses: dict[str, Any], anomalies: dict[str, Any], spend: dict[str, Any]
) -> None:
    for result in (statuses["admin"], anomalies, spend):
        measure = result["measure"]
        sign = -1 if measure == "mean_absolute_error" else 1
        best = max(sign * baseline[measure] for baseline in result["baselines"].values())
        assert result["beats_baseline"] == (sign * result["measures"][measure] > best)
    assert anomalies["beats_baseline"]


def test_findings_are_the_corrupted_rows_and_can_be_selected(shop: Server, anomalies: dict[str, Any]) -> None:
    found = anomalies["findings"]
    quarantine = shop.installation.lake.iceberg.load_table("curated.quarantine").scan().to_arrow()
    refused = set(quarantine["transaction_id"].to_pylist())
    hits = [row["key"] in refused for row in found["rows"]]
    assert len(hits) == found["count"] > 50
    assert sum(hits) / len(hits) > 0.6
    assert all(row["because"] for row in found["rows"])
    oddness = [row["oddness"] for row in found["rows"]]
    assert oddness == sorted(oddness, reverse=True)
    kept = {row["key"] for row in found["rows"] if row["key"]}
    assert (found["replay"]["table"], set(found["replay"]["key"])) == ("raw.transactions", kept)
    assert ReplayIn.model_validate(found["replay"] | {"dry_run": True})


# In MLflow


def test_mlflow_has_all_that_is_needed_to_trust_it(mlflow: str, shop: Server, statuses: dict[str, Any]) -> None:
    result = statuses["alice"]
    run = run_of(mlflow, result)
    params = {item["key"]: item["value"] for item in run["data"]["params"]}
    metrics = {item["key"]: item["value"] for item in run["data"]["metrics"]}
    tags = {item["key"]: item["value"] for item in run["data"]["tags"]}
    assert run["info"]["status"] == "FINISHED"
    assert (params["recipe"], params["seed"], params["rows"]) == ("transaction_status", "7", str(result["rows"]))
    for name, value in result["measures"].items():
        assert metrics[name] == pytest.approx(value)
    for name, baseline in result["baselines"].items():
        assert metrics[f"baseline.{name}.{result['measure']}"] == pytest.approx(baseline[result["measure"]])
    assert metrics["beats_baseline"] == float(result["beats_baseline"])
    assert tags["sluice.snapshot"] == result["snapshot_id"]
    assert int(tags["sluice.policy_version"]) > 0
    assert tags["sluice.owner"] == "user:alice"
    (dataset,) = (item["dataset"] for item in run["inputs"]["dataset_inputs"])
    assert dataset["name"] == f"curated.transactions@{result['snapshot_id']}"
    assert dataset["digest"] == result["data_digest"][:36]
    assert json.loads(dataset["profile"])["num_rows"] == result["rows"]
    assert json.loads(dataset["source"])["snapshot_id"] == int(result["snapshot_id"])


def artifacts(mlflow: str, run_id: str, path: str = "") -> set[str]:
    found = rest(mlflow, "artifacts/list", run_id=run_id, **({"path": path} if path else {})).get("files", [])
    return {file["path"] for file in found}


def test_plots_and_sql_are_there(mlflow: str, statuses: dict[str, Any], anomalies: dict[str, Any]) -> None:
    run_id = statuses["alice"]["mlflow_run_id"]
    assert artifacts(mlflow, run_id) >= {"query.sql", "provenance.json", "environment.txt", "verdict.md", "plots"}
    assert artifacts(mlflow, run_id, "plots") == {
        f"plots/{name}.png" for name in ("roc", "precision_recall", "calibration", "importances")
    }
    with urlopen(f"{mlflow}/get-artifact?{urlencode({'run_id': run_id, 'path': 'query.sql'})}") as answer:
        assert "'FR'" in answer.read().decode()
    assert "plots/oddness.png" in artifacts(mlflow, anomalies["mlflow_run_id"], "plots")


def test_the_model_is_registered_with_signature_example_and_alias(mlflow: str, statuses: dict[str, Any]) -> None:
    result = statuses["alice"]
    version = rest(mlflow, "model-versions/get", name="transaction_status", version=str(result["version"]))
    assert version["model_version"]["run_id"] == result["mlflow_run_id"]
    assert version["model_version"]["status"] == "READY"
    newest = rest(mlflow, "registered-models/alias", name="transaction_status", alias="newest-by-alice")
    assert int(newest["model_version"]["version"]) >= result["version"]
    run = run_of(mlflow, result)
    (made,) = run["outputs"]["model_outputs"]
    root = f"{mlflow}/api/2.0/mlflow-artifacts/artifacts"
    base = f"{root}/{run['info']['experiment_id']}/models/{made['model_id']}/artifacts"
    with urlopen(f"{base}/MLmodel") as answer:
        described = answer.read().decode()
    assert "signature:" in described and "serialization_format: skops" in described
    with urlopen(f"{base}/input_example.json") as answer:
        example = json.load(answer)
    assert example["data"] and "amount" in example["columns"]
    with urlopen(f"{base}/requirements.txt") as answer:
        assert "scikit-learn==" in answer.read().decode()


def test_no_row_of_anybodys_is_in_mlflow(mlflow: str, shop: Server, anomalies: dict[str, Any]) -> None:
    """The example is made up, and nothing else shows single rows: of the recipe that looks at all columns as well."""
    rows = shop.installation.lake.iceberg.load_table("raw.transactions").scan().to_arrow()
    run = run_of(mlflow, anomalies)
    (made,) = run["outputs"]["model_outputs"]
    experiment = run["info"]["experiment_id"]
    content = b"".join(everything(mlflow, f"{experiment}/{anomalies['mlflow_run_id']}/artifacts"))
    content += b"".join(everything(mlflow, f"{experiment}/models/{made['model_id']}/artifacts"))
    assert len(content) > 100_000
    for column in ("email", "transaction_id", "user_name", "ip_address"):
        values = [text.encode() for text in rows[column].drop_null().unique().to_pylist() if len(text) > 7]
        assert len(values) > 100
        assert [text for text in values if text in content] == []


def everything(mlflow: str, path: str) -> Iterator[bytes]:
    """All files below a path of the artifact store."""
    root = f"{mlflow}/api/2.0/mlflow-artifacts/artifacts"
    with urlopen(f"{root}?{urlencode({'path': path})}") as answer:
        files = json.load(answer).get("files", [])
    for file in files:
        if file.get("is_dir"):
            yield from everything(mlflow, f"{path}/{file['path']}")
        else:
            with urlopen(f"{root}/{path}/{file['path']}") as answer:
                yield answer.read()


@pytest.mark.browser
def test_the_ui_shows_the_run(shop: Server, statuses: dict[str, Any]) -> None:
    from playwright.sync_api import expect, sync_playwright

    result = statuses["alice"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(result["mlflow_url"])
        expect(page.get_by_text("transaction_status by alice").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("average_precision", exact=True).first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("curated.transactions").first).to_be_visible(timeout=60_000)
        page.goto(result["mlflow_version_url"])
        expect(page.get_by_text(f"Version {result['version']}").first).to_be_visible(timeout=60_000)
        browser.close()


# Asking it


def ask(shop: Server, user: str, rows: list[dict[str, Any]], name: str = "transaction_status", **more: Any) -> Any:
    return shop.call("POST", f"/v1/models/{name}/predictions", user, json={"rows": rows, **more})


def test_answers_come_for_each_row_in_order(shop: Server, statuses: dict[str, Any]) -> None:
    cards = [{**ROW, "payment_method": "card", "amount": 20}, {**ROW, "payment_method": "gift_card", "amount": 900}]
    answer = ask(shop, "admin", cards, version=statuses["admin"]["version"]).json()
    assert answer["version"] == statuses["admin"]["version"]
    low, high = (row["probability"] for row in answer["data"])
    assert 0 < low < high < 1


def test_each_recipe_answers_with_what_it_promises(
    shop: Server, anomalies: dict[str, Any], spend: dict[str, Any]
) -> None:
    for model in shop.get("/v1/models").json()["data"]:
        row = {item["name"]: item["example"] for item in model["newest"]["inputs"]}
        nothing = dict.fromkeys(row)
        answer = ask(shop, "admin", [row, nothing], model["name"])
        assert answer.status_code == 200, answer.text
        assert [set(data) for data in answer.json()["data"]] == [set(model["outputs"])] * 2


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        ({**ROW, "amount": "much"}, "/rows/0/amount"),
        ({**ROW, "amount": True}, "/rows/0/amount"),
        ({**ROW, "event_time": "2026-11-24"}, "/rows/0/event_time"),
        ({**ROW, "colour": "red"}, "/rows/0/colour"),
        ({name: value for name, value in ROW.items() if name != "currency"}, "/rows/0/currency"),
    ],
    ids=["text-for-number", "truth-for-number", "no-zone", "unknown", "missing"],
)
def test_a_wrong_row_is_told_where_it_is_wrong(
    shop: Server, statuses: dict[str, Any], row: dict[str, Any], pointer: str
) -> None:
    answer = ask(shop, "admin", [row])
    assert (answer.status_code, answer.json()["code"]) == (422, "prediction-rows")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_file_that_was_changed_is_not_loaded(shop: Server, statuses: dict[str, Any]) -> None:
    """Whoever may write where MLflow keeps its files must not run code here."""
    version = statuses["admin"]["version"]
    with shop.installation.db.writing() as session:
        row = session.get(Model, statuses["admin"]["mlflow_run_id"])
        assert row is not None
        kept = row.made
        published = {**row.made["published"], "artifact_digest": "0" * 64}
        row.made = {**row.made, "published": published}
    try:
        answer = ask(shop, "admin", [ROW], version=version)
    finally:
        with shop.installation.db.writing() as session:
            row = session.get(Model, statuses["admin"]["mlflow_run_id"])
            assert row is not None
            row.made = kept
    assert (answer.status_code, answer.json()["code"]) == (409, "model-not-trusted")


# Who may see and ask it


def versions(shop: Server, user: str, name: str = "transaction_status") -> Any:
    return shop.get(f"/v1/models/{name}/versions", user)


def test_a_model_is_no_way_to_rows(shop: Server, statuses: dict[str, Any]) -> None:
    mine = {version["version"] for version in versions(shop, "alice").json()["data"]}
    assert statuses["alice"]["version"] in mine
    assert statuses["admin"]["version"] not in mine
    assert ask(shop, "alice", [ROW], version=statuses["admin"]["version"]).status_code == 403
    for path in ("transaction_status", "never_heard_of"):
        absent = versions(shop, "bob", path)
        assert (absent.status_code, absent.json()["code"]) == (404, "resource-not-found")
        assert ask(shop, "bob", [ROW], path).json()["detail"] == absent.json()["detail"]
    assert {model["newest"] for model in shop.get("/v1/models", "bob").json()["data"]} == {None}


def test_who_sees_the_same_rows_may_ask_it_while_that_is_so(shop: Server, statuses: dict[str, Any]) -> None:
    grant = {
        "principal": "user:carol",
        "resource": "table:curated.transactions",
        "actions": ["read"],
        "row_filter": "country = 'FR'",
        "masks": MASKS,
    }
    made = shop.call("POST", "/v1/grants", json=grant).json()
    answer = ask(shop, "carol", [ROW])
    assert (answer.status_code, answer.json()["version"] >= statuses["alice"]["version"]) == (200, True)
    shop.call("DELETE", f"/v1/grants/{made['id']}")
    assert ask(shop, "carol", [ROW]).status_code == 404


def test_knowing_of_a_model_is_not_asking_it(shop: Server, statuses: dict[str, Any]) -> None:
    grant = {"principal": "user:bob", "resource": "model:transaction_status", "actions": ["discover"]}
    made = shop.call("POST", "/v1/grants", json=grant).json()
    assert versions(shop, "bob").json()["data"] == []
    assert ask(shop, "bob", [ROW]).status_code == 403
    listed = shop.get("/v1/resources?kind=model", "bob").json()["data"]
    assert [model["id"] for model in listed] == ["model:transaction_status"]
    shop.call("DELETE", f"/v1/grants/{made['id']}")
    assert shop.get("/v1/resources?kind=model", "bob").json()["data"] == []


def test_an_owner_who_lost_the_right_loses_the_model(shop: Server, statuses: dict[str, Any]) -> None:
    (grant,) = shop.get("/v1/grants?principal=user:alice&resource=table:curated.transactions").json()["data"]
    shop.call("DELETE", f"/v1/grants/{grant['id']}")
    assert ask(shop, "alice", [ROW]).status_code == 404
    every = {version["version"]: version["stale"] for version in versions(shop, "admin").json()["data"]}
    assert every[statuses["alice"]["version"]] == ["owner-rights-changed"]
    assert every[statuses["admin"]["version"]] == []
    again = {name: grant[name] for name in ("principal", "resource", "actions", "row_filter", "masks")}
    assert shop.call("POST", "/v1/grants", json=again).status_code == 201
    assert ask(shop, "alice", [ROW]).json()["stale"] == []


# What came of its rows


def test_models_are_the_downstream_end_of_a_tables_lineage(shop: Server, statuses: dict[str, Any]) -> None:
    index = shop.installation.policies.current()

    def made_of(table: Resource, principal: Principal) -> list[ModelVersion]:
        found = shop.installation.models.of_table(index, principal, table)
        return [model for model in found if model.name == "transaction_status"]

    everything = made_of(CURATED, Principal("admin", roles=("admin",)))
    assert {model.version for model in everything} >= {result["version"] for result in statuses.values()}
    assert {str(model.provenance.snapshot_id) for model in everything} == {statuses["alice"]["snapshot_id"]}
    assert {model.owner for model in made_of(CURATED, Principal("alice"))} == {"user:alice"}
    assert made_of(CURATED, Principal("bob")) == []
    assert made_of(Resource.table("raw.nothing"), Principal("admin", roles=("admin",))) == []


def test_a_recipes_table_is_named_to_those_who_may_know_of_it(shop: Server) -> None:
    def tables(user: str) -> dict[str, str | None]:
        return {model["name"]: model["table"] for model in shop.get("/v1/models", user).json()["data"]}

    assert tables("alice") == {name: f"table:{recipe.table}" for name, recipe in RECIPES.items()}
    assert tables("bob") == dict.fromkeys(RECIPES)


def test_added_rows_leave_a_model_as_it_is_and_a_correction_makes_it_stale(shop: Server, french: str) -> None:
    lake = shop.installation.lake
    table = lake.iceberg.load_table(french)
    result = result_of(trained(shop, "spend", table=french, parameters={"days": 3}))

    def stale() -> list[str]:
        found = {version["version"]: version["stale"] for version in versions(shop, "admin", "spend").json()["data"]}
        return found[result["version"]]

    assert stale() == []
    row = table.scan(limit=1).to_arrow()
    table.append(row)
    assert stale() == []
    table.delete(f"transaction_id = '{row['transaction_id'][0].as_py()}'")
    assert stale() == ["rows-changed"]
    lake.iceberg.drop_table(french)
    gone = next(model for model in shop.installation.models.all("spend") if model.version == result["version"])
    assert shop.installation.models.stale(shop.installation.policies.current(), gone) == ("table-gone",)


def test_every_sample_of_a_model_works_as_it_stands(
    shop: Server, statuses: dict[str, Any], spend: dict[str, Any]
) -> None:
    document = shop.get("/openapi.json").json()
    tried = 0
    for path, operations in document["paths"].items():
        if not path.startswith("/v1/models"):
            continue
        for method in METHODS:
            if method not in operations:
                continue
            operation = operations[method]
            target = path.replace("{recipe}", "transaction_status").replace("{name}", "spend")
            more = {}
            if "requestBody" in operation:
                name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                more["json"] = document["components"]["schemas"][name]["examples"][0]
            answer = shop.call(method.upper(), target, **more)
            assert answer.status_code < 300, answer.text
            sample = operation["responses"][str(answer.status_code)]["content"]["application/json"]["example"]
            _same_shape(answer.json(), sample, f"{method} {path}")
            if answer.status_code == 202:
                shop.call("POST", f"/v1/operations/{answer.json()['id']}/cancel")
            tried += 1
    assert tried == 4
