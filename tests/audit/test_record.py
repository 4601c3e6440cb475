"""What is kept of a request, and what never is."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.audit.record import Intent
from policies.audit.redact import BODY_LIMIT, is_secret, recorded_body, recorded_url


def intent(**members: Any) -> dict[str, Any]:
    defaults = {"request_id": "r1", "door": "rows", "method": "GET", "url": "/v1/tables", "decision": "allow"}
    record: dict[str, Any] = json.loads(Intent(**{**defaults, **members}).content())
    return record


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "new_password", "passwordHash", "token", "access-token", "accessToken", "client_secret",
     "Authorization", "API_KEY", "apiKey", "private-key", "id_token", "jwt", "set-cookie", "client_assertion"],
)  # fmt: skip
def test_fields_that_hold_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["token_id", "name", "country", "passport_number", "tokens_used", "key"])
def test_fields_that_hold_none(name: str) -> None:
    assert not is_secret(name)


def test_a_login_is_kept_without_its_password() -> None:
    body = recorded_body(b'{"user":"alice","password":"hunter2","more":[{"Token":"t"}]}')
    assert body == {"json": {"user": "alice", "password": "[redacted]", "more": [{"Token": "[redacted]"}]}}


def test_a_form_is_kept_without_its_password() -> None:
    body = recorded_body(b"username=alice&password=hunter2", "application/x-www-form-urlencoded; charset=utf-8")
    assert body == {"form": [["username", "alice"], ["password", "[redacted]"]]}


SECRET = "hunter2-hunter2"
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
paths = st.lists(st.one_of(st.just(None), st.text()), max_size=5)
holders = st.sampled_from(["password", "Secret", "api_key", "refreshToken", "Authorization"])
secrets = st.sampled_from([SECRET, [SECRET], {"value": SECRET}, {"deep": [{"er": SECRET}]}])


@given(values, paths, holders, secrets)
def test_a_secret_at_any_depth_is_redacted(noise: Any, path: list[str | None], holder: str, secret: Any) -> None:
    body: Any = {holder: secret, "beside": noise}
    for step in path:
        body = [noise, body] if step is None else {step: body}
    content = Intent("r", "admin", "POST", "/", "allow", body=json.dumps(body).encode()).content()
    assert SECRET.encode() not in content


def test_a_large_body_is_kept_by_its_digest_and_size() -> None:
    body = orjson.dumps({"sql": "x" * BODY_LIMIT})
    kept = recorded_body(body)
    assert kept is not None
    assert kept["bytes"] == len(body) and len(str(kept["sha256"])) == 64


def test_binary_bodies_are_kept_by_digest_unless_they_speak_of_secrets() -> None:
    assert set(recorded_body(b"\x00\xffPAR1") or ()) == {"bytes", "sha256"}
    assert recorded_body(b'{"user":"alice","pass_word":"hunter2"') == {"bytes": 37, "withheld": True}


def test_json_too_deep_to_read_is_no_error() -> None:
    deep = b'{"a":' * 2000 + b"1" + b"}" * 2000
    assert recorded_body(deep) is not None


def test_the_query_of_an_address_is_kept_except_secrets() -> None:
    url = "/v1/tables/raw.t/rows?email=eq.a%40b.c&access_token=abc&tok%65n=abc&limit=3"
    assert recorded_url(url) == (
        "/v1/tables/raw.t/rows?email=eq.a%40b.c&access_token=[redacted]&tok%65n=[redacted]&limit=3"
    )


def test_bearer_tokens_in_values_are_redacted() -> None:
    assert "abcdefghij" not in str(recorded_body(b'{"note":"curl -H \'Authorization: Bearer abcdefghij\'"}'))


@given(st.text(st.characters(exclude_categories=[])))
def test_a_record_is_one_line_of_printable_ascii(text: str) -> None:
    content = Intent(text, text, text, text, "allow", sql_asked=text, resources=(text,)).content()
    assert content.isascii() and content.decode().isprintable()


def test_long_sql_is_cut_and_named_by_its_digest() -> None:
    kept = intent(sql_asked="s" * 100_000)["sql_asked"]
    assert len(kept) < 66_000 and "100000 characters, sha256 " in kept


def test_empty_members_are_left_out() -> None:
    assert set(intent()) == {"kind", "at", "request_id", "door", "method", "url", "decision"}
