"""Which store a URL gives, and what an operator reads whose URL gives none."""

from pathlib import Path

import pytest

from facade.clock import ManualClock
from facade.errors import StartRefused
from facade.registry.store import Store
from facade.stores.memory import MemoryStore
from facade.stores.sqlite import SqliteStore
from facade.stores.urls import open_store

DATA = Path("/srv/registry-facade")


def opened(url: str) -> Store:
    return open_store(url, DATA, ManualClock())


def test_memory() -> None:
    assert isinstance(opened("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        pytest.param("sqlite:///", "/srv/registry-facade/registry.db", id="in the data directory"),
        pytest.param("sqlite:///var/lib/facade.db", "/var/lib/facade.db", id="absolute, as URLs have it"),
        pytest.param("sqlite:////var/lib/facade.db", "/var/lib/facade.db", id="absolute, as SQLAlchemy has it"),
        pytest.param("sqlite:///var/my%20files/é.db", "/var/my files/é.db", id="quoted"),
        pytest.param("SQLite:///var/lib/facade.db", "/var/lib/facade.db", id="scheme in capitals"),
    ],
)
def test_sqlite(url: str, path: str) -> None:
    store = opened(url)

    assert isinstance(store, SqliteStore)
    assert store.health().text.startswith(f"SQLite at {path}, ")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://localhost:6379", "redis:// is not built yet"),
        ("rediss://:secret@localhost", "rediss:// is not built yet"),
        ("servicecenter+http://localhost:30100", "servicecenter+http:// is not built yet"),
        ("eureka+http://localhost:8761/eureka", "eureka+http:// is not built yet"),
        ("postgres://user:secret@localhost/db", "postgres:// is not known"),
        ("/var/lib/facade.db", "a URL is needed"),
        ("", "a URL is needed"),
        ("memory://elsewhere", "memory:// keeps no file, so nothing may follow it"),
        ("sqlite://var/lib/facade.db", "the path of sqlite:// starts with a third slash"),
        ("sqlite:facade.db", "the path of sqlite:// starts with a third slash"),
        ("sqlite://", "the path of sqlite:// starts with a third slash"),
        ("sqlite:///facade.db?mode=ro", "sqlite:// takes no options after the path"),
        ("sqlite:///facade%00.db", "the path of sqlite:// holds a NUL"),
        ("sqlite://[secret/facade.db", "not a URL"),
    ],
)
def test_a_url_that_names_no_store_of_ours_is_refused(url: str, reason: str) -> None:
    with pytest.raises(StartRefused) as refused:
        opened(url)

    assert str(refused.value).startswith(f"store: {reason}")
    assert "possible are sqlite:///" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
