"""Both indexes: one suite holds for both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from search.elasticsearch import ElasticsearchIndex
from search.index import Index
from search.tantivy import TantivyIndex

KINDS: Final = ["tantivy", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)]


@contextmanager
def opened(request: pytest.FixtureRequest, folder: Path) -> Iterator[Index]:
    """An empty index of the kind that the fixture's parameter names; it is gone afterwards."""
    if request.param == "tantivy":
        with closing(TantivyIndex(folder / "index")) as embedded:
            yield embedded
        return
    name = f"t_{os.urandom(8).hex()}"
    with closing(ElasticsearchIndex(request.getfixturevalue("elasticsearch_url"), name)) as real:
        yield real
        for each in real._client.indices.get(index=f"{name}-*"):
            real._client.indices.delete(index=each)


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    with opened(request, tmp_path) as made:
        yield made
