"""The ServiceCenter under test, and names of its own for each test: no case needs an empty server."""

from __future__ import annotations

import pytest

from .asking import ServiceCenter, Shop, unique


@pytest.fixture(scope="session")
def sc(servicecenter_url: str, servicecenter_kind: str) -> ServiceCenter:
    """The server, seen from the default domain and project, with enough instances to keep self-protection off.

    The original holds deletes back while they are four in five of its instances; forty that stay prevent that.
    """
    server = ServiceCenter(servicecenter_url, servicecenter_kind)
    if servicecenter_kind == "real":
        stays = server.create_service(unique("stays"), "stays")
        for _ in range(40):
            instance = {"hostName": "stays", "healthCheck": {"mode": "push", "interval": 300, "times": 3}}
            server.post(f"microservices/{stays}/instances", {"instance": instance})
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
