"""The story as tests: each chapter, in both start orders, and with hello-server in an app that Eureka knows nothing of.

The chapters of one stage run in their order; the last kills account-server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from conformance.demo.story import CHAPTERS, CLIENTS, Ports, Stage, set_up
from conformance.peers.processes import MissingToolError

# The first run builds the clients.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((CLIENTS, "eureka"), id="account-server-first"),
        pytest.param((CLIENTS[::-1], "eureka"), id="hello-server-first"),
        pytest.param((CLIENTS, "shop"), id="hello-server-in-shop"),
    ],
)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Stage]:
    """A server of ours with both clients registered, on free ports."""
    order, hello_app = request.param
    ports = Ports(free_port(), free_port(), free_port(), free_port())
    try:
        with set_up(tmp_path_factory.mktemp("demo"), ports, order, hello_app) as stage:
            yield stage
    except MissingToolError as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.__name__)
def test_the_guides_story(stage: Stage, chapter: Callable[[Stage], None]) -> None:
    """Both clients are real, and neither knows the other's registry."""
    chapter(stage)
