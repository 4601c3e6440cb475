"""Elasticsearch, one node: the production index."""

from __future__ import annotations

import shutil
from typing import Final

from infra.stack import java
from infra.stack.missing import check_reachable, is_root
from infra.stack.process import Launch
from infra.stack.server import Place, Server, answers


def _prepare(place: Place) -> Launch:
    home, etc = place.artefacts.fetch("elasticsearch"), place.configure("elasticsearch")
    if is_root():
        check_reachable(home, "Elasticsearch", "SLUICE_STACK_CACHE")
    # What the program needs beside our settings comes with it; the heap goes where it looks for options.
    for file in ("jvm.options", "log4j2.properties"):
        shutil.copy(home / "config" / file, etc / file)
    (etc / "jvm.options.d").mkdir(exist_ok=True)
    (etc / "heap.options").replace(etc / "jvm.options.d" / "heap.options")
    for folder in ("data", "logs", "tmp"):
        (place.folder / folder).mkdir(exist_ok=True)
    place.give_away("Elasticsearch")
    environment = {
        "ES_JAVA_HOME": str(java.find("Elasticsearch", 21)),
        "ES_PATH_CONF": str(etc),
        "ES_TMPDIR": str(place.folder / "tmp"),
        "ELASTICSEARCH_HOST": place.host,
        "ELASTICSEARCH_PORT": str(place.port),
        "ELASTICSEARCH_TRANSPORT_PORT": str(place.second_port("transport")),
        "ELASTICSEARCH_DATA": str(place.data),
        "ELASTICSEARCH_LOGS": str(place.folder / "logs"),
    }
    return Launch([str(home / "bin" / "elasticsearch")], environment, unprivileged=True)


def _ready(place: Place) -> bool:
    return answers(f"http://{place.address}/_cluster/health?local=true", b'"status"')


def _settings(place: Place) -> dict[str, str]:
    return {"SLUICE_SEARCH": "elasticsearch", "SLUICE_ELASTICSEARCH_URL": f"http://{place.address}"}


SERVER: Final = Server(
    name="elasticsearch",
    port=9200,
    memory=1100,
    bundles=("elasticsearch",),
    prepare=_prepare,
    ready=_ready,
    settings=_settings,
)
