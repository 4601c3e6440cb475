"""JWTs of a configured issuer: only its own, for us, in force, signed with a public-key algorithm by a key it names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from infra.errors import PROBLEMS
from infra.settings import Settings
from policies.oidc import OidcIssuer

AUDIENCE = "sluice"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PSS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, kid: str, algorithm: str) -> dict[str, Any]:
    made: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "alg": algorithm, "use": "sig"}


KEYS = {"rs": (RSA, "RS256"), "ps": (PSS, "PS256"), "es": (EC, "ES256"), "ed": (ED, "EdDSA")}


@dataclass
class Provider:
    """An identity provider on loopback: its documents, and how often its keys were asked for."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk(k, kid, alg) for kid, (k, alg) in KEYS.items()])
    body: bytes | None = None
    asked: int = 0

    def document(self, path: str) -> bytes:
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}).encode()
        self.asked += 1
        return json.dumps({"keys": self.keys}).encode() if self.body is None else self.body

    def token(self, kid: str = "rs", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        key, algorithm = KEYS[kid]
        return jwt.encode(self.claims(**claims), key, algorithm, headers={"kid": kid, **(headers or {})})

    def claims(self, **claims: Any) -> dict[str, Any]:
        now = int(time.time())
        base = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300}
        return {name: value for name, value in {**base, **claims}.items() if value is not None}

    def issuer(self, **options: Any) -> OidcIssuer:
        return OidcIssuer(self.url, AUDIENCE, **options)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.document(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kid", KEYS)
def test_each_public_key_algorithm_is_accepted(provider: Provider, kid: str) -> None:
    assert provider.issuer().user(provider.token(kid)) == "alice"


def test_the_user_stands_in_the_configured_claim(provider: Provider) -> None:
    issuer = provider.issuer(user_claim="preferred_username")
    assert issuer.user(provider.token(preferred_username="bob")) == "bob"
    assert issuer.user(provider.token()) is None


def test_an_email_counts_only_once_it_is_verified(provider: Provider) -> None:
    issuer = provider.issuer(user_claim="email")
    assert issuer.user(provider.token(email="alice@example.org", email_verified=True)) == "alice@example.org"
    for verified in (None, False, "true", 1):
        assert issuer.user(provider.token(email="alice@example.org", email_verified=verified)) is None


def test_several_audiences_may_include_ours(provider: Provider) -> None:
    assert provider.issuer().user(provider.token(aud=["other", AUDIENCE])) == "alice"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"}, {"aud": None}, {"aud": []}, {"iss": "https://elsewhere"}, {"iss": None}, {"exp": None},
        {"exp": 1_000_000_000}, {"nbf": 4_000_000_000}, {"sub": None}, {"sub": "Alice"}, {"sub": "user:alice"},
        {"sub": ""}, {"sub": "a" * 200}, {"sub": "\u0430lice"},
    ],
    ids=str,
)  # fmt: skip
def test_claims_that_prove_nothing_for_us(provider: Provider, claims: dict[str, Any]) -> None:
    assert provider.issuer().user(provider.token(**claims)) is None


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def test_the_public_key_is_no_shared_secret(provider: Provider) -> None:
    """HS256 with the public key as its secret: anybody can make that signature."""
    for secret in (PEM, PEM.strip(), json.dumps(jwk(RSA, "rs", "RS256")).encode()):
        signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rs'})}.{part(provider.claims())}"
        signature = hmac.digest(secret, signed.encode(), hashlib.sha256)
        assert provider.issuer().user(f"{signed}.{part(signature)}") is None


def test_a_shared_secret_among_the_issuers_keys_is_not_used(provider: Provider) -> None:
    secret = b"s" * 32
    provider.keys.append({"kty": "oct", "k": part(secret), "kid": "hs", "alg": "HS256"})
    token = jwt.encode(provider.claims(), secret, "HS256", headers={"kid": "hs"})
    assert provider.issuer().user(token) is None
    assert provider.issuer().user(provider.token()) == "alice"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 5], ids=repr)
def test_unsigned_tokens_prove_nothing(provider: Provider, algorithm: Any) -> None:
    header = part({"alg": algorithm, "kid": "rs"})
    for signature in ("", part(b"x")):
        assert provider.issuer().user(f"{header}.{part(provider.claims())}.{signature}") is None


def test_another_key_under_a_known_id_proves_nothing(provider: Provider) -> None:
    token = jwt.encode(provider.claims(), STRANGER, "RS256", headers={"kid": "rs"})
    assert provider.issuer().user(token) is None


def test_an_algorithm_that_is_not_the_keys_own_proves_nothing(provider: Provider) -> None:
    token = jwt.encode(provider.claims(), RSA, "PS256", headers={"kid": "rs"})
    assert provider.issuer().user(token) is None


def test_keys_that_the_token_brings_along_are_ignored(provider: Provider) -> None:
    own = {"jwk": jwk(STRANGER, "rs", "RS256"), "jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/"}
    token = jwt.encode(provider.claims(), STRANGER, "RS256", headers={"kid": "rs", **own})
    assert provider.issuer().user(token) is None


@pytest.mark.parametrize("token", ["..", "a.b.c", "", "é.é.é", "e30.e30.e30", "." * 1000, "bnVsbA.bnVsbA.bnVsbA"])
def test_broken_tokens_prove_nothing(provider: Provider, token: str) -> None:
    assert provider.issuer().user(token) is None


def test_a_changed_token_proves_nothing(provider: Provider) -> None:
    header, _, signature = provider.token().split(".")
    assert provider.issuer().user(f"{header}.{part(provider.claims(sub='admin'))}.{signature}") is None


def test_keys_are_fetched_once_and_invented_ids_fetch_none(provider: Provider) -> None:
    issuer = provider.issuer()
    for _ in range(5):
        issuer.user(provider.token())
    for n in range(20):
        assert issuer.user(provider.token(headers={"kid": f"invented-{n}"})) is None
    assert provider.asked == 1


def test_a_new_key_is_found_after_a_while(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.oidc._REFRESH_AFTER", 0.0)
    issuer = provider.issuer()
    assert issuer.user(provider.token()) == "alice"
    token = jwt.encode(provider.claims(), STRANGER, "RS256", headers={"kid": "new"})
    assert issuer.user(token) is None
    provider.keys.append(jwk(STRANGER, "new", "RS256"))
    assert issuer.user(token) == "alice"


def test_without_its_keys_nothing_can_be_said(provider: Provider) -> None:
    down = OidcIssuer(provider.url, AUDIENCE, "http://127.0.0.1:1/jwks")
    for _ in range(2):
        with pytest.raises(PROBLEMS["oidc-unavailable"]) as answer:
            down.user(provider.token())
        assert answer.value.headers["Retry-After"] == "5"
        assert "127.0.0.1" not in answer.value.detail + answer.value.hint


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"keys": []}', b"<html>"], ids=str)
def test_keys_that_are_none_are_an_outage_too(provider: Provider, body: bytes) -> None:
    provider.body = body
    with pytest.raises(PROBLEMS["oidc-unavailable"]):
        provider.issuer().user(provider.token())


def test_keys_at_hand_outlast_a_short_outage(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.oidc._REFRESH_AFTER", 0.0)
    issuer = provider.issuer()
    assert issuer.user(provider.token()) == "alice"
    provider.body = b"broken"
    assert issuer.user(provider.token(headers={"kid": "unknown"})) is None
    assert issuer.user(provider.token()) == "alice"


def test_another_issuers_discovery_document_is_refused(provider: Provider) -> None:
    issuer = OidcIssuer(provider.url + "/", AUDIENCE)
    with pytest.raises(PROBLEMS["oidc-unavailable"]):
        issuer.user(provider.token())


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "relative"])
def test_only_web_addresses_are_asked(provider: Provider, url: str) -> None:
    for issuer in (OidcIssuer(url, AUDIENCE), OidcIssuer(provider.url, AUDIENCE, url)):
        with pytest.raises(PROBLEMS["oidc-unavailable"]):
            issuer.user(provider.token())


def test_the_settings_need_an_audience(tmp_path: Path) -> None:
    assert OidcIssuer.of(Settings(state_dir=tmp_path)) is None
    assert OidcIssuer.of(Settings(oidc_issuer="https://id.example.org", oidc_audience=AUDIENCE)) is not None
    with pytest.raises(PROBLEMS["invalid-settings"]):
        OidcIssuer.of(Settings(oidc_issuer="https://id.example.org"))
