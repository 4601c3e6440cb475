"""Tokens of a configured OpenID Connect issuer: its JWTs are accepted where they name a user of ours."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import Final

import jwt

from infra.errors import InvalidSettings, Unavailable
from infra.settings import Settings
from policies.people import USER_NAME

# Public-key algorithms only: with HS256 among them, the issuer's public key would pass for a shared secret.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_CLOCK_SKEW = 10  # seconds
_TIMEOUT = 3.0  # seconds
_REFRESH_AFTER = 30.0  # seconds between looks for a key of an unknown id
_RETRY_AFTER = 5.0  # seconds: while the issuer is down, requests fail at once between attempts


class OidcUnavailable(Unavailable):
    code, title = "oidc-unavailable", "The identity provider does not answer"


class OidcIssuer:
    """Verifies JWTs of one issuer.

    Args:
        issuer: the `iss` that a token must have.
        audience: the `aud` that it must name.
        jwks_url: where the public keys are; None to ask the issuer's discovery document.
        user_claim: the claim that holds the user's name; for `email`, `email_verified` must be true.
    """

    def __init__(self, issuer: str, audience: str, jwks_url: str | None = None, user_claim: str = "sub") -> None:
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._user_claim = user_claim
        self._keys: jwt.PyJWKClient | None = None
        self._down_until = 0.0
        self._refresh_at = 0.0
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> OidcIssuer | None:
        """The issuer that the settings name, if any.

        Raises:
            InvalidSettings: there is an issuer but no audience: then tokens for other services would be accepted.
        """
        if settings.oidc_issuer is None:
            return None
        if settings.oidc_audience is None:
            raise InvalidSettings(
                "SLUICE_OIDC_ISSUER is set and SLUICE_OIDC_AUDIENCE is not.",
                hint="Set SLUICE_OIDC_AUDIENCE to the name under which the issuer knows this Sluice.",
            )
        return cls(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, settings.oidc_user_claim)

    def user(self, token: str) -> str | None:
        """The name that a JWT proves; None where it proves nothing.

        Raises:
            OidcUnavailable: the issuer's keys can't be fetched.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid")) if header.get("alg") in ALGORITHMS else None
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key=key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=_CLOCK_SKEW,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError:
            return None
        name = claims.get(self._user_claim)
        verified = self._user_claim != "email" or claims.get("email_verified") is True
        return name if verified and isinstance(name, str) and USER_NAME.fullmatch(name) else None

    def _key(self, kid: object) -> jwt.PyJWK | None:
        with self._lock:
            keys = self._fetched()
            if kid is None:
                return keys[0] if len(keys) == 1 else None
            found = [key for key in keys if key.key_id == kid]
            if not found and time.monotonic() >= self._refresh_at:
                # Perhaps the issuer has a new key; whatever ids callers invent, it is asked once in a while only.
                found = [key for key in self._fetched(refresh=True) if key.key_id == kid]
            return found[0] if found else None

    def _fetched(self, *, refresh: bool = False) -> list[jwt.PyJWK]:
        if time.monotonic() < self._down_until:
            raise self._unavailable()
        if refresh:
            self._refresh_at = time.monotonic() + _REFRESH_AFTER
        try:
            if self._keys is None:
                self._keys = jwt.PyJWKClient(self._jwks_url or self._discover(), timeout=_TIMEOUT)
                self._refresh_at = time.monotonic() + _REFRESH_AFTER
            return self._keys.get_signing_keys(refresh)
        except (jwt.PyJWTError, OSError, ValueError, KeyError) as error:
            if refresh:
                return []  # the keys at hand are still good
            self._down_until = time.monotonic() + _RETRY_AFTER
            raise self._unavailable() from error

    def _discover(self) -> str:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        if not url.startswith(("https://", "http://")):
            raise ValueError("an issuer is an https address")
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 - the scheme was checked
            document = json.load(answer)
        if document.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        return str(document["jwks_uri"])

    def _unavailable(self) -> OidcUnavailable:
        return OidcUnavailable(
            "The keys of the configured OpenID Connect issuer can't be fetched.",
            hint="Try again in a moment, or send a token of Sluice's own.",
            headers={"Retry-After": str(int(_RETRY_AFTER))},
        )
