"""Rights over HTTP: given, seen, explained, repeated and taken away; in force with the next request."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Server

BOB = {"principal": "user:bob", "resource": "table:raw.transactions", "actions": ["read"]}
ROWS = "/v1/tables/raw.transactions/rows"


def test_a_right_is_given_and_taken_away_with_the_next_request(server: Server) -> None:
    assert server.get(ROWS, "bob").status_code == 404
    made = server.call("POST", "/v1/grants", json={**BOB, "columns": ["country"]})
    assert made.status_code == 201
    answer = server.get(ROWS, "bob")
    assert answer.status_code == 200
    assert [column["name"] for column in answer.json()["columns"]] == ["country"]
    assert server.call("DELETE", f"/v1/grants/{made.json()['id']}").status_code == 204
    assert server.get(ROWS, "bob").status_code == 404
    assert server.call("DELETE", f"/v1/grants/{made.json()['id']}").json()["code"] == "grant-not-found"


def test_the_same_request_with_the_same_key_is_done_once(server: Server) -> None:
    headers = {"Idempotency-Key": "give-bob-1"}
    first = server.call("POST", "/v1/grants", json=BOB, headers=headers)
    again = server.call("POST", "/v1/grants", json=BOB, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = server.call("POST", "/v1/grants", json={**BOB, "reason": "another"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    grants = server.get("/v1/grants?principal=user:bob").json()["data"]
    assert len(grants) == 1
    # Somebody else's key of the same text is another key.
    assert server.call("POST", "/v1/grants", "bob", json=BOB, headers=headers).status_code == 403
    server.call("DELETE", f"/v1/grants/{first.json()['id']}")


def test_what_does_not_fit_changes_nothing(server: Server) -> None:
    before = server.get("/v1/grants").json()
    cases: list[tuple[dict[str, Any], str]] = [
        ({**BOB, "principal": "user:nobody"}, "bad-grant"),
        ({**BOB, "actions": ["reed"]}, "bad-grant"),
        ({**BOB, "actions": ["export"]}, "bad-grant"),
        ({**BOB, "actions": []}, "invalid"),
        ({**BOB, "effect": "maybe"}, "invalid"),
        ({**BOB, "resource": "table:raw"}, "bad-resource-pattern"),
        ({**BOB, "resource": "raw.transactions"}, "bad-resource-pattern"),
        ({**BOB, "columns": ["colour"]}, "bad-grant"),
        ({**BOB, "row_filter": "country = (SELECT 'FR')"}, "row-filter-refused"),
        ({**BOB, "row_filter": "1; DROP TABLE users"}, "row-filter-refused"),
        ({**BOB, "masks": {"email": "rot13"}}, "mask-refused"),
        ({**BOB, "masks": {"amount": "mask-alphanum"}}, "mask-refused"),
        ({**BOB, "expires_at": "2020-01-01T00:00:00Z"}, "bad-grant"),
        ({**BOB, "expires_at": 1893456000}, "invalid"),
        ({**BOB, "until": "2030-01-01T00:00:00Z"}, "invalid"),
    ]
    for body, code in cases:
        answer = server.call("POST", "/v1/grants", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), body
    assert server.get("/v1/grants").json()["data"] == before["data"]


def test_nobody_gives_what_they_do_not_hold(server: Server) -> None:
    assert server.call("POST", "/v1/grants", "alice", json=BOB).json()["code"] == "delegation-refused"


def test_everybody_sees_what_they_were_given_and_not_what_they_are_denied(server: Server) -> None:
    denied = {
        "principal": "user:bob",
        "resource": "table:curated.transactions",
        "effect": "deny",
        "actions": ["discover"],
    }
    made = [server.call("POST", "/v1/grants", json=body).json()["id"] for body in (BOB, denied)]
    assert [grant["id"] for grant in server.get("/v1/grants", "bob").json()["data"]] == made[:1]
    assert {*made} <= {grant["id"] for grant in server.get("/v1/grants?limit=1000").json()["data"]}
    for grant in made:
        server.call("DELETE", f"/v1/grants/{grant}")


def test_a_decision_is_explained(server: Server) -> None:
    question = {"principal": "user:alice", "action": "read", "resource": "table:raw.transactions"}
    answer = server.call("POST", "/v1/access/explain", "alice", json=question).json()
    assert answer["allowed"] and answer["row_filters"] and answer["masks"] == {"email": ["mask-alphanum"]}
    assert len(answer["rules"]) == 1
    refused = server.call("POST", "/v1/access/explain", json={**question, "principal": "user:bob"}).json()
    assert not refused["allowed"]
    given = server.call("POST", "/v1/grants", json=refused["grant"])  # what it says would change it, does
    assert given.status_code == 201
    assert server.get(ROWS, "bob").status_code == 200
    server.call("DELETE", f"/v1/grants/{given.json()['id']}")
    nosy = server.call("POST", "/v1/access/explain", "bob", json=question)
    assert nosy.status_code == 404


def test_a_token_is_no_broader_than_what_made_it(server: Server) -> None:
    made = server.call("POST", "/v1/tokens", "alice", json={"label": "narrow", "scope": {"actions": ["discover"]}})
    assert made.status_code == 201
    server.tokens["narrow"] = made.json()["token"]
    assert server.get(ROWS, "narrow").status_code == 403
    assert server.get("/v1/tables/raw.transactions", "narrow").status_code == 200
    wider = server.call("POST", "/v1/tokens", "narrow", json={"scope": {"actions": ["read"]}})
    assert (wider.status_code, wider.json()["code"]) == (403, "token-too-broad")
    listed = server.get("/v1/tokens", "alice").text
    assert made.json()["id"] in listed and made.json()["token"] not in listed
    assert server.call("DELETE", f"/v1/tokens/{made.json()['id']}", "bob").status_code == 404
    assert server.call("DELETE", f"/v1/tokens/{made.json()['id']}", "alice").status_code == 204
    assert server.get("/v1/tables/raw.transactions", "narrow").status_code == 401


def test_a_disabled_user_is_nobody_at_once(server: Server) -> None:
    server.call("PATCH", "/v1/users/bob", json={"disabled": True})
    assert server.get("/v1/resources", "bob").status_code == 401
    server.call("PATCH", "/v1/users/bob", json={"disabled": False})
    assert server.get("/v1/grants", "bob").status_code == 200


def test_the_last_administrator_stays(server: Server) -> None:
    for method, path, more in (
        ("PATCH", "/v1/users/admin", {"json": {"disabled": True}}),
        ("DELETE", "/v1/users/admin", {}),
        ("PATCH", "/v1/roles/admin", {"json": {"members": []}}),
    ):
        answer = server.call(method, path, **more)
        assert (answer.status_code, answer.json()["code"]) == (409, "last-admin")
