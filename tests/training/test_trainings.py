"""Training through the API: governed rows in, a measured and registered model out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Server
from tests.training.conftest import result_of, trained

pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="module")
def statuses(shop: Server) -> dict[str, Any]:
    """What administrator and alice get out of the same recipe and version."""
    return {
        user: result_of(trained(shop, "transaction_status", user, tag="settled", seed=7)) for user in ("admin", "alice")
    }


def test_who_sees_french_rows_trains_on_those_alone(shop: Server, statuses: dict[str, Any]) -> None:
    path = "/v1/tables/curated.transactions/rows?tag=settled&limit=1"
    count = {"Prefer": "count=exact"}
    everywhere = shop.get(path, **count).json()["page"]["total"]
    in_france = shop.get(f"{path}&country=eq.FR", **count).json()["page"]["total"]
    assert 0 < in_france < everywhere
    assert statuses["admin"]["rows"] == everywhere
    assert statuses["alice"]["rows"] == in_france
    assert statuses["alice"]["data_digest"] != statuses["admin"]["data_digest"]


def test_the_same_training_gives_the_same_digest_and_measures(shop: Server, statuses: dict[str, Any]) -> None:
    again = result_of(trained(shop, "transaction_status", "alice", tag="settled", seed=7))
    first = statuses["alice"]
    assert again["version"] != first["version"]
    for name in ("data_digest", "measures", "baselines"):
        assert again[name] == first[name]
