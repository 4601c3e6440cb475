"""Passwords of people: checked when they are chosen, kept as Argon2id, and never logged."""

from __future__ import annotations

from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from infra.errors import Invalid

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
_hasher = PasswordHasher()  # Argon2id with the parameters of RFC 9106's second choice: 64 MiB, about 50 ms


class BadPassword(Invalid):
    code, title = "bad-password", "The password can't be used"


def hash_password(password: str, user_name: str) -> str:
    """The hash to keep.

    Args:
        password: as typed, 12 to 256 characters.
        user_name: whose it will be; the password may not contain it.

    Raises:
        BadPassword: it is too short, too long, too simple, or contains the name.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        reason = f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters."
    elif user_name in password.lower():
        reason = "A password may not contain the user's name."
    elif len(set(password)) < 5:
        reason = "A password needs at least five different characters."
    elif any(0xD800 <= ord(c) <= 0xDFFF for c in password):
        reason = "A password is Unicode text."
    else:
        return _hasher.hash(password)
    raise BadPassword(reason, hint="Take four or five words that have nothing to do with each other.")


def password_matches(password_hash: str | None, password: str) -> bool:
    """Whether the password is right; takes the same time where there is no hash to compare with."""
    if len(password) > MAX_LENGTH:
        password = ""
    try:
        matches = _hasher.verify(password_hash or _nobody(), password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return matches and password_hash is not None


@cache
def _nobody() -> str:
    """A hash of no one's password, so that an unknown user costs as much work as a known one."""
    return _hasher.hash("nobody has this password")
