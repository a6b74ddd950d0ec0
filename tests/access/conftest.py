"""Access control over an empty registry, with one account beside root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from facade.access.accounts import Accounts
from facade.access.control import AccessControl
from facade.access.keys import KEY_FILE, PASSWORD_VARIABLE, keep_key, made_key
from facade.registry.registry import Registry

ROOT_PASSWORD = "Str0ng-enough"
PASSWORD = "Ab1@xxxx"


@pytest.fixture(scope="session")
def pem() -> str:
    """One key for all: to make one takes a while."""
    return made_key()


@pytest.fixture
async def access(
    registry: Registry, pem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AccessControl]:
    monkeypatch.setenv(PASSWORD_VARIABLE, ROOT_PASSWORD)
    keep_key(tmp_path / KEY_FILE, pem)
    control = AccessControl(registry)
    await Accounts(registry, control).open(tmp_path)
    yield control
    control.close()


@pytest.fixture
async def accounts(registry: Registry, access: AccessControl) -> Accounts:
    accounts = Accounts(registry, access)
    await accounts.create("anna", PASSWORD, ("developer",))
    return accounts
