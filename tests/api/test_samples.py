"""The samples in the OpenAPI document: each request is sent as it stands, each answer has the shape of its sample."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Server

METHODS = ("post", "get", "patch", "delete")  # so that what a sample makes is there for the others


def _value(parameter: dict[str, Any]) -> Any:
    if "example" in parameter:
        return parameter["example"]
    examples = parameter["schema"].get("examples")
    return examples[0] if examples else None


def _request(path: str, operation: dict[str, Any], made: dict[str, str]) -> tuple[str, dict[str, Any]]:
    query: dict[str, Any] = {}
    for parameter in operation.get("parameters", []):
        value = _value(parameter)
        if parameter["in"] == "path":
            name = parameter["name"]
            path = path.replace(f"{{{name}}}", str(value if value is not None else made[operation["tags"][0]]))
        elif parameter["in"] == "query" and value is not None:
            query |= value if isinstance(value, dict) else {parameter["name"]: value}
    return path, query


def _same_shape(real: Any, sample: Any, where: str) -> None:
    if isinstance(sample, dict) and isinstance(real, dict):
        if sample and not where.endswith((".masks", ".snapshots", ".row_filters", ".attributes", ".result")):
            optional = {"total", "query"}
            assert set(real) - optional >= set(sample) - optional or "data[]" in where, where
        for name in sample.keys() & real.keys():
            _same_shape(real[name], sample[name], f"{where}.{name}")
    elif isinstance(sample, list) and isinstance(real, list):
        for each in real[:3]:
            if sample:
                _same_shape(each, sample[0], f"{where}[]")
    elif real is not None and sample is not None:
        number = (int, float)
        both = isinstance(real, number) and isinstance(sample, number)
        assert (
            isinstance(real, type(sample)) or both or where.endswith((".default", ".window")) or ".data[]." in where
        ), where


def test_every_sample_works_as_it_stands(server: Server) -> None:
    document = server.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    snapshot = server.get("/v1/tables/raw.transactions").json()["snapshot"]["id"]
    made: dict[str, str] = {"Operation": "invalid"}
    tried = 0
    for method in METHODS:
        for path, operations in document["paths"].items():
            operation = operations.get(method)
            if operation is None or path.startswith(
                ("/v1/operations", "/v1/statement/executing", "/v1/models/{", "/v1/replays/{id}/")
            ):
                continue
            if (method, path) in {("delete", "/v1/users/{name}"), ("delete", "/v1/roles/{name}")}:
                continue  # the others still need them
            target, query = _request(path, operation, made)
            more: dict[str, Any] = {}
            if "text/plain" in operation.get("requestBody", {}).get("content", {}):
                more["content"] = operation["requestBody"]["content"]["text/plain"]["example"]
            elif "requestBody" in operation:
                name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                body = dict(schemas[name]["examples"][0])
                if "snapshot_id" in body:
                    body["snapshot_id"] = snapshot
                more["json"] = body
            if {"trino": []} in operation["security"]:
                keys = server.installation.keys
                secret = (keys.opa if path.startswith("/opa/") else keys.events).hex()
                answer = server.client.request(method, f"{target}?secret={secret}", **more)
            else:
                answer = server.call(method.upper(), target, params=query, **more)
            where = f"{method} {path}"
            assert answer.status_code < 300, f"{where}: {answer.text}"
            tried += 1
            content = operation["responses"][str(answer.status_code)].get("content", {}).get("application/json")
            if content is not None and answer.headers["content-type"] == "application/json":
                _same_shape(answer.json(), content["example"], where)
            if method == "post" and answer.status_code in {201, 202} and "id" in answer.json():
                made[operation["tags"][0]] = answer.json()["id"]
    assert tried > 30


def test_a_login_sample_is_one(server: Server) -> None:
    body = server.get("/openapi.json").json()["components"]["schemas"]["LoginIn"]["examples"][0]
    assert server.call("POST", "/v1/login", None, json=body).status_code == 200
