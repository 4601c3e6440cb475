"""Trino: the production engine, over the metastore's catalog."""

from __future__ import annotations

from typing import Final

from infra.stack import java
from infra.stack.hive import uri
from infra.stack.process import Launch
from infra.stack.server import Place, Server, answers, jvm_options


def _prepare(place: Place) -> Launch:
    home, etc = place.artefacts.fetch("trino"), place.configure("trino")
    program = str(java.find("Trino", 24) / "bin" / "java")
    place.data.mkdir(exist_ok=True)
    environment = {
        "TRINO_PORT": str(place.port),
        "TRINO_BIND": place.host,
        "TRINO_ADDRESS": place.host,
        "TRINO_NODE_ID": "coordinator",
        "TRINO_DATA": str(place.data),
        "HIVE_METASTORE_URI": uri(place.others["hive"]),
    }
    command = [program, *jvm_options(etc / "jvm.config"), f"-Dconfig={etc / 'config.properties'}"]
    command += [f"-D{option}" for option in jvm_options(etc / "node.properties")]
    command += [f"-Dlog.levels-file={etc / 'log.properties'}"]
    command += [
        f"-Dcatalog.config-dir={etc / 'catalog'}",
        f"-Dplugin.dir={home / 'plugin'}",
        "-cp",
        f"{home}/lib/*",
        "io.trino.server.TrinoServer",
    ]
    return Launch(command, environment)


def _ready(place: Place) -> bool:
    return answers(f"http://{place.address}/v1/info", b'"starting":false')


def _settings(place: Place) -> dict[str, str]:
    # The files of `sluice trino config` make it ask Sluice; until they lie there, Sluice governs each query itself.
    asks = (place.folder / "etc" / "access-control.properties").exists()
    return {
        "SLUICE_ENGINE": "trino",
        "SLUICE_TRINO_URL": f"http://{place.address}",
        "SLUICE_TRINO_ENFORCEMENT": "opa" if asks else "rewrite",
    }


SERVER: Final = Server(
    name="trino",
    port=8080,
    memory=2600,
    needs=("hive",),
    bundles=("trino",),
    prepare=_prepare,
    ready=_ready,
    settings=_settings,
)
