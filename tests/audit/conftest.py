"""A log in a folder of its own, and records to put into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.keys import Keys
from infra.settings import Settings
from policies.audit.log import AuditLog


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, audit_checkpoint_records=10)


@pytest.fixture
def keys() -> Keys:
    return Keys(b"an installation's secret, 32 bytes or more")


@pytest.fixture
def log(settings: Settings, keys: Keys) -> Iterator[AuditLog]:
    log = AuditLog(settings, keys)
    log.start()
    yield log
    log.close()
