"""Which store a URL gives, and what an operator reads whose URL gives none."""

from pathlib import Path

import pytest

from facade.clock import ManualClock
from facade.errors import StartRefused
from facade.registry.model import Origin
from facade.registry.rules import Policy
from facade.registry.store import Store
from facade.stores.memory import MemoryStore
from facade.stores.opening import Behind, open_store
from facade.stores.sqlite import SqliteStore
from facade.stores.urls import UpstreamUrl, mirror_store, upstreams

DATA = Path("/srv/registry-facade")


def opened(url: str) -> Store:
    return open_store([url], DATA, ManualClock(), Policy())


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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            "servicecenter+http://sc.example:30100",
            UpstreamUrl(Origin.SERVICECENTER, ("http://sc.example:30100",)),
            id="one ServiceCenter",
        ),
        pytest.param(
            "servicecenter+https://root:Pass%40word@a.example:30100,b.example",
            UpstreamUrl(
                Origin.SERVICECENTER, ("https://a.example:30100", "https://b.example:30100"), ("root", "Pass@word")
            ),
            id="two of one, with an account",
        ),
        pytest.param(
            "eureka+http://eureka.example",
            UpstreamUrl(Origin.EUREKA, ("http://eureka.example:8761/eureka",)),
            id="Eureka where it is by default",
        ),
        pytest.param(
            "eureka+http://a:8761,b:8762,[::1]:8763/registry/eureka/",
            UpstreamUrl(
                Origin.EUREKA,
                (
                    "http://a:8761/registry/eureka",
                    "http://b:8762/registry/eureka",
                    "http://[::1]:8763/registry/eureka",
                ),
            ),
            id="the last path holds for all",
        ),
        pytest.param(
            "servicecenter+http://root:secret@a,root:secret@b",
            UpstreamUrl(Origin.SERVICECENTER, ("http://a:30100", "http://b:30100"), ("root", "secret")),
            id="the same account at each",
        ),
    ],
)
def test_a_registry_behind_us(url: str, expected: UpstreamUrl) -> None:
    assert upstreams([url]) == [expected]


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        pytest.param(["servicecenter+http://"], "servicecenter+http:// is followed by HOST:PORT", id="no host"),
        pytest.param(["eureka+http://h:port/eureka"], "eureka+http:// is followed by HOST:PORT", id="no port"),
        pytest.param(["eureka+http://u:secret@h/eureka?x=1"], "eureka+http:// is followed by HOST:PORT", id="a query"),
        pytest.param(
            ["eureka+http://a:secret1@h/eureka,b:secret2@i/eureka"],
            "eureka+http:// takes one account",
            id="two accounts",
        ),
        pytest.param(["eureka+http://h/eureka,b:secret@i"], "eureka+http:// takes one account", id="a late account"),
        pytest.param(
            ["eureka+http://h/eureka", "memory://"], "a registry behind us and a store of our own", id="mixed"
        ),
        pytest.param(["eureka+http://h/eureka", "eureka+http://i/eureka"], "one URL for each protocol", id="two alike"),
        pytest.param(["memory://", "sqlite:///"], "registrations live in one store of our own", id="two of our own"),
    ],
)
def test_stores_that_do_not_go_together_are_refused(urls: list[str], reason: str) -> None:
    with pytest.raises(StartRefused) as refused:
        open_store(urls, DATA, ManualClock(), Policy())

    assert str(refused.value).startswith(f"store: {reason}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("urls", "name"),
    [
        (["eureka+http://h/eureka"], "mirror-eureka.db"),
        (["eureka+http://h/eureka,another"], "mirror-eureka.db"),
        (["servicecenter+https://h"], "mirror-servicecenter.db"),
        (["servicecenter+http://h", "eureka+http://h"], "mirror-both.db"),
    ],
)
def test_what_we_keep_of_a_registry_is_found_again_when_its_nodes_have_changed(urls: list[str], name: str) -> None:
    """Schemas, tags and services without instances have no other place where a Eureka is behind us."""
    store = mirror_store(upstreams(urls), DATA, ManualClock())

    assert store.health().text.startswith(f"SQLite at {DATA / name}, ")


def test_copies_need_two_registries() -> None:
    with pytest.raises(StartRefused, match="publish: copies go between two registries"):
        open_store(["eureka+http://h/eureka"], DATA, ManualClock(), Policy(), Behind(publish=True))
