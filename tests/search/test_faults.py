"""What becomes of search, and of everything else, while an index is down, read-only, damaged or busy."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

import search.elasticsearch
from catalog.lake import Lake
from infra.observe import Event, Failed, subscribe
from infra.settings import Settings
from infra.stack.stack import Stack
from search.elasticsearch import ElasticsearchIndex
from search.follow import Follower
from search.problems import IndexBusy, SearchUnavailable
from search.tantivy import TantivyIndex
from sql.query import RowsQuestion
from tests.search.conftest import House, settled

ARROW = pa.schema([("id", pa.int64()), ("name", pa.string())])


def rows(*ids: int) -> pa.Table:
    return pa.Table.from_pylist([{"id": n, "name": "Ann"} for n in ids], ARROW)


def soon(holds: Callable[[], bool], seconds: float = 180.0) -> None:
    """Waits until something holds; that an index does not answer meanwhile is no answer."""

    def held() -> bool:
        with suppress(SearchUnavailable):
            return holds()
        return False

    deadline = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.05)


def reads(house: House) -> int:
    """How many rows the rows door gives."""
    from catalog.resources import Resource
    from policies.principal import Principal
    from sql.access import Access
    from tests.sql.house import Record

    access = Access(Principal("ann"), "rows", "r", Record())
    page = house.search._door.rows(access, Resource.table("raw.t"), RowsQuestion(limit=100)).page()
    return int(page.rows.num_rows)


@pytest.fixture
def failures() -> Iterator[list[Failed]]:
    seen: list[Failed] = []

    def notice(event: Event) -> None:
        if isinstance(event, Failed):
            seen.append(event)

    stop = subscribe(notice)
    yield seen
    stop()


class Wire:
    """A way to a server that can be cut, or held, so that nothing comes through for now."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self._open = (host, port), True
        self._links: list[socket.socket] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open = False
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        self._links.clear()

    def mend(self) -> None:
        self._open = True

    def hold(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self.release()
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._open:
                    near.close()
                    continue
                far = socket.create_connection(self._to)
                self._links += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket) -> None:
        with suppress(OSError):
            while data := a.recv(65_536):
                self._flowing.wait()
                b.sendall(data)


@contextmanager
def following(house: House) -> Iterator[None]:
    with Follower(house.indexer, every=0.05, most=0.2):
        yield


@pytest.fixture
def wire(elasticsearch_url: str) -> Iterator[Wire]:
    there = urlsplit(elasticsearch_url)
    with closing(Wire(there.hostname or "", there.port or 9200)) as made:
        yield made


def test_an_index_that_was_never_there_is_told_of_and_nothing_else_stops(lake: Lake) -> None:
    lake.iceberg.create_table("raw.t", ARROW).append(rows(1, 2))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with closing(ElasticsearchIndex(dead, "t")) as index, settled(lake, index) as house:
        with pytest.raises(SearchUnavailable) as told:
            house.ask("ann")
        assert (told.value.status, told.value.headers) == (503, {"Retry-After": "5"})
        assert dead not in str(told.value) + told.value.hint
        with pytest.raises(SearchUnavailable):
            house.indexer.step()
        assert reads(house) == 2


@pytest.mark.elasticsearch
def test_search_comes_back_with_elasticsearch_and_catches_up(
    lake: Lake, wire: Wire, unique_name: str, failures: list[Failed]
) -> None:
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    with closing(ElasticsearchIndex(wire.url, unique_name)) as index, settled(lake, index) as house:
        with following(house):
            soon(lambda: house.find("ann") == [1])
            wire.cut()
            table.append(rows(2))
            with pytest.raises(SearchUnavailable):
                house.ask("ann")
            soon(lambda: any(isinstance(event.error, SearchUnavailable) for event in failures))
            assert reads(house) == 2
            wire.mend()
            soon(lambda: house.find("ann") == [1, 2])
            assert house.ask("ann").behind == ()
        dropped(index)


@pytest.mark.elasticsearch
def test_an_elasticsearch_that_does_not_answer_in_time_is_not_waited_for(
    lake: Lake, wire: Wire, unique_name: str, failures: list[Failed], monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("_PATIENCE", "_WRITER_PATIENCE"):
        monkeypatch.setattr(search.elasticsearch, patience, 1.0)
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    with closing(ElasticsearchIndex(wire.url, unique_name)) as index, settled(lake, index) as house:
        with following(house):
            soon(lambda: house.find("ann") == [1])
            wire.hold()
            table.append(rows(2))
            with pytest.raises(SearchUnavailable):
                house.ask("ann")
            soon(lambda: any(isinstance(event.error, SearchUnavailable) for event in failures))
            assert reads(house) == 2
            wire.release()
            soon(lambda: house.find("ann") == [1, 2])
        dropped(index)


@pytest.mark.elasticsearch
@pytest.mark.parametrize("ours", [True, False], ids=["with-a-head", "with-nothing-of-ours"])
def test_an_index_of_another_mapping_is_left_alone_and_a_new_one_made(
    lake: Lake, elasticsearch_url: str, unique_name: str, *, ours: bool
) -> None:
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    with closing(ElasticsearchIndex(elasticsearch_url, unique_name)) as index, settled(lake, index) as house:
        house.follow()
        client, alias = index._client, index._alias
        head = client.get(index=alias, id="head")["_source"]
        dropped(index)
        fields = {
            "row": {"type": "boolean"},
            "words": {"type": "keyword"},
            "head": {"type": "object", "enabled": False},
        }
        other = f"{unique_name}-other"
        client.indices.create(index=other, mappings={"properties": fields}, aliases={alias: {}})
        if ours:
            client.index(index=other, id="head", document=head)
        table.append(rows(2))
        time.sleep(0.3)
        with suppress(SearchUnavailable):
            assert house.ask("ann").total == 0
        assert reads(house) == 2
        with following(house):
            soon(lambda: house.find("ann") == [1, 2])
        assert house.ask("ann").behind == ()
        assert client.indices.exists(index=other)
        client.indices.delete(index=other)
        dropped(index)


@pytest.fixture(scope="module")
def own_elasticsearch(elasticsearch_url: str) -> Iterator[Stack]:
    """One that nobody shares, so that its disk may be full, and it may be killed."""
    del elasticsearch_url  # what can't have the shared one can't have this one
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)  # it never runs as root
        stack = Stack(Settings(state_dir=folder, lake_dir=folder / "lake", stack_dir=folder))
        stack.up(["elasticsearch"], ports={"elasticsearch": 0})
        yield stack
        stack.down(["elasticsearch"])


@pytest.mark.elasticsearch
def test_a_full_disk_is_survived(lake: Lake, own_elasticsearch: Stack) -> None:
    url = own_elasticsearch.environment(["elasticsearch"])["SLUICE_ELASTICSEARCH_URL"]
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    with closing(ElasticsearchIndex(url, "full")) as index, settled(lake, index) as house, following(house):
        soon(lambda: house.find("ann") == [1])
        disk = "cluster.routing.allocation.disk"
        full = {f"{disk}.watermark.{level}": "10pb" for level in ("low", "high", "flood_stage")}  # free, at least
        full |= {f"{disk}.threshold_enabled": "true"}
        often = {"cluster.info.update.interval": "10s"}  # the least
        index._client.cluster.put_settings(persistent=full | often)
        soon(lambda: blocked(index))
        table.append(rows(2))
        soon(lambda: [behind.reason for behind in house.ask("ann").behind] == ["newer-version"])
        assert house.find("ann") == [1]
        assert reads(house) == 2
        index._client.cluster.put_settings(persistent=dict.fromkeys(full) | often)
        soon(lambda: house.find("ann") == [1, 2])


@pytest.mark.elasticsearch
def test_an_elasticsearch_that_is_killed_in_the_middle_of_a_load_is_caught_up_with(
    lake: Lake, own_elasticsearch: Stack
) -> None:
    url, many = own_elasticsearch.environment(["elasticsearch"])["SLUICE_ELASTICSEARCH_URL"], 40_000
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    with closing(ElasticsearchIndex(url, "killed")) as index, settled(lake, index) as house, following(house):
        soon(lambda: house.find("ann") == [1])
        table.append(rows(*range(2, many + 1)))
        soon(lambda: written(index) > many / 4)
        own_elasticsearch.process("elasticsearch").kill()
        with pytest.raises(SearchUnavailable) as told:
            house.ask("ann")
        assert told.value.status == 503
        assert reads(house) == 100
        own_elasticsearch.up(["elasticsearch"])
        soon(lambda: house.ask("ann").total == many)
        assert house.ask("ann").behind == ()
        assert house.find(f"id:{many}") == [many]


def written(index: ElasticsearchIndex) -> int:
    """Documents that Elasticsearch has taken, whether or not they count yet."""
    return int(index._client.indices.stats(index=index._alias)["_all"]["primaries"]["indexing"]["index_total"])


def blocked(index: ElasticsearchIndex) -> bool:
    """Whether Elasticsearch has closed the index, since its disk is full."""
    (settings,) = index._client.indices.get_settings(index=index._alias).values()
    return "read_only_allow_delete" in settings["settings"]["index"].get("blocks", {})


def dropped(index: ElasticsearchIndex) -> None:
    for each in index._behind_alias():
        index._client.indices.delete(index=each)


@pytest.mark.elasticsearch
def test_a_read_only_elasticsearch_is_searched_and_said_to_be_behind(
    lake: Lake, elasticsearch_url: str, unique_name: str
) -> None:
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    with closing(ElasticsearchIndex(elasticsearch_url, unique_name)) as index, settled(lake, index) as house:
        house.follow()
        (name,) = index._behind_alias()
        index._client.indices.put_settings(index=name, settings={"index.blocks.read_only_allow_delete": True})
        table.append(rows(2))
        with pytest.raises(SearchUnavailable):
            house.indexer.step()
        answer = house.ask("ann")
        assert (answer.total, [behind.reason for behind in answer.behind]) == (1, ["newer-version"])
        index._client.indices.put_settings(index=name, settings={"index.blocks.read_only_allow_delete": None})
        house.follow()
        assert house.find("ann") == [1, 2]
        index._client.indices.delete(index=name)


@pytest.mark.elasticsearch
def test_an_index_that_somebody_deleted_is_made_again(lake: Lake, elasticsearch_url: str, unique_name: str) -> None:
    lake.iceberg.create_table("raw.t", ARROW).append(rows(1))
    with closing(ElasticsearchIndex(elasticsearch_url, unique_name)) as index, settled(lake, index) as house:
        house.follow()
        for _ in range(2):
            (name,) = index._behind_alias()
            index._client.indices.delete(index=name)
            time.sleep(0.3)
            answer = house.ask("ann")
            assert (answer.total, [behind.reason for behind in answer.behind]) == (0, ["indexing"])
            house.follow()
            assert house.find("ann") == [1]
        index._client.indices.delete(index=index._behind_alias()[0])


def test_a_damaged_embedded_index_is_told_of_and_made_again_where_it_is_deleted(lake: Lake, tmp_path: Path) -> None:
    lake.iceberg.create_table("raw.t", ARROW).append(rows(1))
    folder = tmp_path / "index"
    with closing(TantivyIndex(folder)) as index, settled(lake, index) as house:
        house.follow()
    for path in folder.glob("*/meta.json"):
        path.write_text("{ damaged", encoding="utf-8")
    with closing(TantivyIndex(folder)) as index, settled(lake, index) as house:
        with pytest.raises(SearchUnavailable):
            house.ask("ann")
        assert reads(house) == 1
        shutil.rmtree(folder)
        house.follow()
        assert house.find("ann") == [1]


def test_one_process_writes_and_the_other_waits_until_it_may(lake: Lake, tmp_path: Path) -> None:
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    first, second = (TantivyIndex(tmp_path / "index") for _ in range(2))
    with closing(second), settled(lake, first) as writing, settled(lake, second) as waiting:
        writing.follow()
        soon(lambda: waiting.find("ann") == [1])
        table.append(rows(2))
        with pytest.raises(IndexBusy):
            waiting.indexer.step()
        first.close()
        with Follower(waiting.indexer, every=0.05, most=0.2):
            soon(lambda: waiting.find("ann") == [1, 2])


@pytest.mark.elasticsearch
def test_one_worker_at_a_time_writes_elasticsearch(lake: Lake, elasticsearch_url: str, unique_name: str) -> None:
    table = lake.iceberg.create_table("raw.t", ARROW)
    table.append(rows(1))
    first, second = (ElasticsearchIndex(elasticsearch_url, unique_name) for _ in range(2))
    with settled(lake, first) as writing, settled(lake, second) as waiting:
        writing.follow()
        table.append(rows(2))
        with pytest.raises(IndexBusy):
            waiting.indexer.step()
        first.close()
        waiting.follow()
        assert waiting.find("ann") == [1, 2]
    for each in second._behind_alias():
        second._client.indices.delete(index=each)
    second.close()
