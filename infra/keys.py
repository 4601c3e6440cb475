"""Keys derived from the one secret, one for each purpose, so that none can stand in for another."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path


class Keys:
    """Derives a 32-byte key for each purpose by HMAC-SHA256 (the expand step of RFC 5869).

    Args:
        secret: the installation's secret, at least 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("the secret needs at least 32 bytes")
        self._secret = secret
        self.tokens = self._derive("tokens")
        self.cursors = self._derive("cursors")
        self.etags = self._derive("etags")
        self.masks = self._derive("masks")
        self.audit = self._derive("audit")
        self.opa = self._derive("opa")
        self.events = self._derive("trino-events")

    def _derive(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, f"sluice/{purpose}\x01".encode(), hashlib.sha256)


def load_or_create(path: Path) -> Keys:
    """The keys of this installation, made on first use.

    Args:
        path: the secret's file, readable by its owner alone.

    Returns:
        The derived keys. Two processes that start at once agree: the file is created exclusively.
    """
    try:
        return Keys(path.read_bytes())
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return Keys(path.read_bytes())
