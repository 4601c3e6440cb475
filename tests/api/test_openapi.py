"""The OpenAPI document: complete, so that a person or a generated client needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.auth import is_open
from api.initialise import initialise
from api.installation import open_installation
from infra.settings import Settings

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    settings = Settings(state_dir=folder / "state", lake_dir=folder / "lake")
    initialise(settings)
    installation = open_installation(settings)
    yield create_app(installation).openapi()
    installation.close()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield path, method, operation


def test_every_operation_says_what_it_does_and_who_may(document: dict[str, Any]) -> None:
    ids = []
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        ids.append(operation["operationId"])
        assert operation.get("summary"), where
        assert len(operation.get("description", "")) > 40, where
        assert operation["tags"], where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{where}: parameter {parameter['name']}"
        for status, answer in operation["responses"].items():
            assert answer.get("description"), f"{where}: {status}"
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z_]*", name) for name in ids)


def test_every_field_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, described in schema.get("properties", {}).items():
            assert "$ref" in described or described.get("description"), f"{name}.{field}"


def test_every_body_has_a_sample(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if "text/plain" in operation.get("requestBody", {}).get("content", {}):
            assert operation["requestBody"]["content"]["text/plain"]["example"]
        elif "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            name = schema["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name].get("examples"), f"{method} {path}"


def test_every_operation_answers_problems_in_one_shape(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status == "default" or (status.startswith(("4", "5")) and path != "/readyz"):
                assert set(answer["content"]) == {"application/problem+json"}, f"{method} {path} {status}"


def test_what_needs_no_token_is_a_short_list(document: dict[str, Any]) -> None:
    opened = {path for path, _, operation in operations(document) if operation["security"] == []}
    assert opened == {
        "/livez",
        "/readyz",
        "/v1/login",
        "/docs/problems/{code}",
        "/v1/statement/executing/{query_id}/{slug}/{token}",  # its slug is the secret
    }
    assert not is_open("/metrics") and not is_open("/v1/login/") and not is_open("/docs/../v1/users")


def test_errors_of_the_framework_are_nowhere(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in str(document)
