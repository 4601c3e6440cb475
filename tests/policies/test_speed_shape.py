"""What a decision costs does not grow with the rules. Ratios of the processor's time: the figures are bench/'s."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import insert

from catalog.resources import Resource
from infra.schema import Grant, User
from policies.decide import decide
from policies.index import PolicyIndex
from policies.principal import Principal
from tests.policies.house import NOW, House


def fill(house: House, grants: int) -> PolicyIndex:
    kinds = ("table:ns{}.t", "table:ns{}.*", "file:landing/d{}/**", "file:landing/d{}/*.csv")
    users = max(10, grants // 100)
    with house.db.writing() as session:
        session.execute(
            insert(User),
            [{"name": f"u{n}", "attributes": {}, "disabled": False, "created_at": NOW} for n in range(users)],
        )
        session.execute(
            insert(Grant),
            [
                {
                    "id": f"g{n}",
                    "principal": f"user:u{n % users}",
                    "resource": kinds[n % 4].format(n),
                    "actions": ["read"],
                    "effect": "allow",
                    "masks": {},
                    "bindings": {},
                    "reason": "",
                    "granted_by": "user:admin",
                    "created_at": NOW,
                }
                for n in range(grants)
            ],
        )
        from policies.version import bump

        bump(session)
    return house.store.current()


def cost(index: PolicyIndex, questions: int = 2000) -> float:
    """Seconds of the processor for a question that was never asked before, the best of three."""
    best = 1.0
    for turn in range(3):
        asked = [
            (Principal(f"u{n % 10}"), Resource("file", f"landing/d{n}/x{turn}.csv"), NOW + timedelta(seconds=turn))
            for n in range(questions)
        ]
        start = time.thread_time()
        for who, resource, now in asked:
            decide(index, who, "read", resource, now=now)
        best = min(best, (time.thread_time() - start) / questions)
    return best


@pytest.mark.parametrize("filled_database", ["sqlite"], indirect=True)  # what is measured is in memory
@pytest.mark.parametrize("many", [100_000])
def test_decisions_are_flat_from_100_to_100_000_rules(house: House, many: int) -> None:
    few = cost(fill(house, 100))
    with house.db.writing() as session:
        for table in (Grant, User):
            session.execute(table.__table__.delete().where(table.__table__.c[0].op("GLOB")("[gu][0-9]*")))
    assert cost(fill(house, many)) < max(3 * few, 0.0001)
