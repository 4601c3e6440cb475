"""Kafka, one node in KRaft mode: the pipeline's beginning."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from typing import Final

from infra.stack import java
from infra.stack.missing import ServerFailed
from infra.stack.process import Launch
from infra.stack.server import Place, Server, accepts, jvm_options


def _prepare(place: Place) -> Launch:
    home, etc = place.artefacts.fetch("kafka"), place.configure("kafka")
    program = str(java.find("Kafka", 17) / "bin" / "java")
    environment = {
        "KAFKA_LISTEN": place.address,
        "KAFKA_ADVERTISED": place.address,
        "KAFKA_CONTROLLER": f"{place.host}:{place.second_port('controller')}",
        "KAFKA_DATA": str(place.data),
    }
    command = [program, *jvm_options(etc / "jvm.config"), f"-Dlog4j2.configurationFile={etc / 'log4j2.properties'}"]
    command += ["-cp", f"{home}/lib/*"]
    if not (place.data / "meta.properties").exists():
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        formatting = ["format", "--config", str(etc / "server.properties"), "--cluster-id", cluster]
        made = subprocess.run(  # noqa: S603 - our own words
            [*command, "kafka.tools.StorageTool", *formatting],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=place.folder,
        )
        if made.returncode != 0:
            raise ServerFailed(
                f"Kafka can't make its data: {(made.stderr or made.stdout).strip()[-800:]}",
                hint="Mend what it says, then run sluice stack up again.",
            )
    return Launch([*command, "kafka.Kafka", str(etc / "server.properties")], environment)


def _settings(place: Place) -> dict[str, str]:
    return {"SLUICE_KAFKA": place.address}


SERVER: Final = Server(
    name="kafka", port=9092, memory=700, bundles=("kafka",), prepare=_prepare, ready=accepts, settings=_settings
)
