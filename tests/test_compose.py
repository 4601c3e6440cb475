"""docker-compose.yml and `sluice stack` start the same servers from the same files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.stack.artefacts import pinned
from infra.stack.stack import SERVERS

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# A heap is an option of the JVM; how an image is told of it differs.
HEAPS = {"hive": "SERVICE_OPTS", "kafka": "KAFKA_HEAP_OPTS"}
CONFIGURED = ("postgres", "hive", "trino", "kafka", "elasticsearch")


def mounts(service: str) -> dict[str, str]:
    """What of a service is a file of ours: source to target."""
    parts = [mount.split(":") for mount in SERVICES[service].get("volumes", ())]
    return {source: target for source, target, *_ in parts if source.startswith("./")}


def configuration(server: str) -> list[Path]:
    folder = ROOT / "infra" / server
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "Dockerfile")


def test_both_start_the_same_servers() -> None:
    assert set(SERVICES) == {*SERVERS, "sluice"}


def test_every_mount_is_there() -> None:
    for name, service in SERVICES.items():
        for source in mounts(name):
            assert (ROOT / source).exists(), source
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert source.startswith("./") or source in COMPOSE["volumes"], mount
        if "build" in service:
            build = ROOT / service["build"]["context"]
            assert (build / service["build"].get("dockerfile", "Dockerfile")).is_file()


@pytest.mark.parametrize("server", CONFIGURED)
def test_every_file_of_configuration_is_in_both(server: str) -> None:
    mounted = {ROOT / source for source in mounts(server)}
    files = [path for path in configuration(server) if not (path.name == "jvm.config" and server in HEAPS)]
    assert files
    for path in files:
        assert mounted & {path, *path.parents}, f"{path} is not mounted"


@pytest.mark.parametrize("server", HEAPS)
def test_heaps_are_the_same(server: str) -> None:
    heap = next(
        line for line in (ROOT / "infra" / server / "jvm.config").read_text().split() if line.startswith("-Xmx")
    )
    assert heap in SERVICES[server]["environment"][HEAPS[server]].split()


@pytest.mark.parametrize("server", CONFIGURED)
def test_every_variable_that_the_configuration_asks_for_is_given_by_both(server: str) -> None:
    text = "\n".join(path.read_text() for path in configuration(server))
    asked = set(re.findall(r"\$\{(?:ENV:|env[.:])?([A-Z][A-Z_]+)\}", text))
    assert asked or server == "postgres"
    given = (ROOT / "infra" / "stack" / f"{server}.py").read_text()
    assert asked <= set(SERVICES[server].get("environment", {}))
    assert {name for name in asked if f'"{name}"' not in given} == set()


@pytest.mark.parametrize("server", ["hive", "kafka", "elasticsearch"])
def test_versions_are_the_same_where_both_pin_one(server: str) -> None:
    image = SERVICES[server].get("image") or (ROOT / "infra" / server / "Dockerfile").read_text()
    assert f":{pinned()[server][0].version}" in image


def test_trinos_image_is_as_new_as_the_archive_or_newer() -> None:
    # The newest archive that repositories serve is older than the newest image. Look its advisories up before a change.
    assert int(SERVICES["trino"]["image"].rpartition(":")[2]) >= int(pinned()["trino"][0].version)


def test_the_metastores_driver_is_the_same() -> None:
    driver = next(item for item in pinned()["hive"] if item.name == "postgresql")
    assert f"{driver.group}:{driver.name}:{driver.version}" in (ROOT / "infra" / "hive" / "Dockerfile").read_text()


def test_nothing_listens_beyond_this_machine_and_no_image_floats() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        image = service.get("image", "sluice")
        assert image == "sluice" or re.search(r":\d+(\.\d+)*$", image), image


def test_nobody_reaches_a_trino_that_asks_nobody() -> None:
    assert SERVICES["sluice"]["environment"]["SLUICE_TRINO_ENFORCEMENT"] == "rewrite"
    assert "ports" not in SERVICES["trino"]


def test_sluice_is_pointed_at_all_of_them() -> None:
    environment = SERVICES["sluice"]["environment"]
    for name in ("DATABASE_URL", "CATALOG", "CATALOG_URI", "ENGINE", "TRINO_URL", "KAFKA", "SEARCH", "MLFLOW_URL"):
        assert f"SLUICE_{name}" in environment
    from infra.settings import Settings

    for name in environment:
        assert name.removeprefix("SLUICE_").lower() in Settings.model_fields, name
