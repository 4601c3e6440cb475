"""Runs as OpenLineage has them (openlineage.io), sent to a receiver such as Marquez or DataHub.

Nothing waits for the receiver, and nothing fails because of it: events queue up, and those for which there is no room,
or which it does not take, are lost; a failure of each outage is told.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import urlsplit

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import DatasetFacet, RunFacet, dataset_version_dataset, error_message_run
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

from infra.lineage import Data, RunChanged
from infra.observe import Event, Failed, observe, subscribe
from infra.settings import Settings

PRODUCER: Final = "urn:sluice"
_WAITING: Final = 10_000  # events
_LAST_WORDS: Final = 5.0  # seconds that closing waits for what is still to be sent


class OpenLineage:
    """A subscriber that sends, from a thread of its own, between `with` and its end.

    Args:
        settings: with an address.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.openlineage_url is not None  # noqa: S101 - `telling` looks
        key = settings.openlineage_api_key
        auth = ApiKeyTokenProvider({"api_key": key.get_secret_value()}) if key else TokenProvider({})
        self._transport = HttpTransport(HttpConfig(url=settings.openlineage_url, auth=auth))
        self._names = _Names(settings)
        self._waiting: queue.Queue[RunEvent | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._send, name="openlineage", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._unsubscribe = subscribe(self)
        return self

    def __exit__(self, *_why: object) -> None:
        self._unsubscribe()
        try:
            self._waiting.put(None, timeout=_LAST_WORDS)
        except queue.Full:
            return  # the receiver is away, and the thread ends with the process
        self._thread.join(_LAST_WORDS)

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunChanged):
            with suppress(queue.Full):  # the outage was told already
                self._waiting.put_nowait(self._names.run_event(event, datetime.now(UTC)))

    def _send(self) -> None:
        well = True
        while (event := self._waiting.get()) is not None:
            try:
                self._transport.emit(event)
                well = True
            except Exception as error:
                if well:
                    observe(Failed(where="openlineage", error=error))
                well = False
        self._transport.close()


class _Names:
    """What datasets are called, after OpenLineage's naming of Kafka's topics and of Hive's tables.

    Other catalogs have no address that the specification knows; their tables, and models, get the namespace of the
    settings. An address of a catalog can hold a password, so that no other is ever sent.
    """

    def __init__(self, settings: Settings) -> None:
        self._own = settings.openlineage_namespace
        metastore = urlsplit(settings.catalog_uri or "")
        hive = settings.catalog == "hive" and metastore.hostname
        broker = (settings.kafka or "").partition(",")[0]
        self._namespaces = {
            "table": f"hive://{metastore.hostname}:{metastore.port or 9083}" if hive else self._own,
            "topic": f"kafka://{broker}",
            "model": self._own,
        }
        self._prefixes = {"table": "" if hive else "lake.", "topic": "", "model": "models."}

    def run_event(self, event: RunChanged, at: datetime) -> RunEvent:
        return RunEvent(
            eventType=RunState[event.state],
            eventTime=at.isoformat(),
            run=Run(str(event.run), _error(event.problem)),
            job=Job(self._own, event.job),
            inputs=[InputDataset(*self._named(data), facets=_version(data)) for data in event.inputs],
            outputs=[OutputDataset(*self._named(data), facets=_version(data)) for data in event.outputs],
            producer=PRODUCER,
        )

    def _named(self, data: Data) -> tuple[str, str]:
        return self._namespaces[data.kind], self._prefixes[data.kind] + data.name


def _version(data: Data) -> dict[str, DatasetFacet]:
    if data.version is None:
        return {}
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(data.version, producer=PRODUCER)}


def _error(code: str | None) -> dict[str, RunFacet]:
    if code is None:
        return {}
    return {"errorMessage": error_message_run.ErrorMessageRunFacet(code, "PYTHON", producer=PRODUCER)}
