"""Login with a password: the same work and the same answer whether or not the user exists, and not too often."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from typing import Final

from infra.db import Database
from infra.errors import TooMany, Unauthenticated
from infra.keys import Keys
from infra.schema import User
from policies.passwords import password_matches
from policies.tokens import Issued, issue

# Attempts within the window: of one user from one address (a success starts anew), and of one address altogether.
_PER_USER_AND_ADDRESS: Final = 5
_PER_ADDRESS: Final = 100
_WINDOW: Final = 300.0  # seconds
_MOST_REMEMBERED: Final = 10_000
_AT_ONCE: Final = 2  # each check of a password takes a core and 64 MiB


class LoginFailed(Unauthenticated):
    code, title = "login-failed", "The login failed"


class LoginThrottled(TooMany):
    code, title = "login-throttled", "Too many failed logins"


class Throttle:
    """Counts attempts within a sliding window, in this process; forgets the oldest keys when there are too many.

    Args:
        window: its length in seconds.
    """

    def __init__(self, window: float = _WINDOW) -> None:
        self._window = window
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str, limit: int, at: float) -> float:
        """Counts an attempt and returns 0; or, where the limit is used up, counts nothing and returns the seconds
        until the next one is allowed."""
        with self._lock:
            attempts = self._attempts.setdefault(key, deque())
            self._attempts.move_to_end(key)
            while attempts and attempts[0] <= at - self._window:
                attempts.popleft()
            if len(attempts) >= limit:
                return attempts[0] + self._window - at
            attempts.append(at)
            if len(self._attempts) > _MOST_REMEMBERED:
                self._attempts.popitem(last=False)
            return 0.0

    def forget(self, key: str) -> None:
        with self._lock:
            self._attempts.pop(key, None)


class Login:
    """Gives tokens for passwords.

    Args:
        db: holds the users.
        keys: for the tokens.
        lifetime: how long such a token lasts.
    """

    def __init__(self, db: Database, keys: Keys, lifetime: timedelta) -> None:
        self._db = db
        self._keys = keys
        self._lifetime = lifetime
        self._throttle = Throttle()
        self._at_once = threading.BoundedSemaphore(_AT_ONCE)

    def login(self, user: str, password: str, *, address: str, now: datetime) -> Issued:
        """A fresh token for a user.

        Args:
            user: the name.
            password: the password.
            address: where the request comes from.
            now: when.

        Raises:
            LoginFailed: the name or the password is wrong, or the user is disabled: the same answer for each.
            LoginThrottled: too many attempts failed; says when the next one is allowed.
        """
        at, pair = now.timestamp(), f"{address}\n{user[:128]}"
        seconds = self._throttle.wait(pair, _PER_USER_AND_ADDRESS, at) or self._throttle.wait(address, _PER_ADDRESS, at)
        if seconds:
            raise LoginThrottled(
                "Too many logins failed.",
                hint="Wait as long as Retry-After says. An administrator can set a new password or give you a token.",
                headers={"Retry-After": str(int(seconds) + 1)},
            )
        with self._db.reading() as session:
            known = session.get(User, user[:128])
            password_hash = known.password_hash if known is not None and not known.disabled else None
        with self._at_once:
            matches = password_matches(password_hash, password)
        if not matches:
            raise _failed()
        with self._db.writing() as session:
            known = session.get(User, user)  # again: it may have changed since, and with it who may come in
            if known is None or known.disabled or known.password_hash != password_hash:
                raise _failed()
            self._throttle.forget(pair)
            return issue(session, self._keys, user, now=now, lifetime=self._lifetime, label="login")


def _failed() -> LoginFailed:
    return LoginFailed(
        "The user or the password is wrong.",
        hint="Check both. An administrator can set a new password: PATCH /v1/users/{name}.",
        headers={"WWW-Authenticate": "Bearer"},
    )
