"""What the tests of policies share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.db import Database
from tests.policies.house import House, a_few_people


@pytest.fixture
def house(tmp_path: Path, filled_database: Callable[..., Database]) -> Iterator[House]:
    house = House(tmp_path, filled_database(a_few_people))
    yield house
    house.lake.close()
