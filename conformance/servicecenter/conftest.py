"""The ServiceCenter under test, and names of its own for each test: no case needs an empty server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .asking import ServiceCenter, Shop, outnumber_deletes, unique
from .stories import Stories, told

READS_STORIES = "test_leases.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What reads the stories comes last: they take 45 s."""
    items.sort(key=lambda item: item.path.name == READS_STORIES)


@pytest.fixture(scope="session", autouse=True)
def stories(request: pytest.FixtureRequest) -> Iterator[Stories | None]:
    """What was seen of leases that lapse, or are kept; None where no test reads it."""
    if not any(item.path.name == READS_STORIES for item in request.session.items):
        yield None
        return
    with told(request.getfixturevalue("sc")) as stories:
        yield stories


@pytest.fixture(scope="session")
def sc(servicecenter_url: str, servicecenter_kind: str) -> ServiceCenter:
    """The server, seen from the default domain and project, with enough instances to keep self-protection off."""
    server = ServiceCenter(servicecenter_url, servicecenter_kind)
    if servicecenter_kind == "real":
        outnumber_deletes(server)
    return server


@pytest.fixture
def app() -> str:
    return unique("app")


@pytest.fixture
def shop(sc: ServiceCenter, app: str) -> Shop:
    return Shop.create(sc, app)


@pytest.fixture
def empty_project(sc: ServiceCenter) -> ServiceCenter:
    """The same server, seen from a project that holds nothing yet."""
    return ServiceCenter(sc.url, sc.kind, project=unique("project"))
