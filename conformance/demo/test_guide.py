"""The story as tests: each chapter in each set-up, in both start orders, and with hello-server in another app.

Those that are marked are mixed of what the others show; `make conformance-full` runs them.
The chapters of one stage run in their order; the last kills account-server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import pytest

from conformance.conftest import RanAgainst, skip_without
from conformance.demo.setups import Ports, set_up
from conformance.demo.stage import CLIENTS, Stage
from conformance.demo.story import CHAPTERS, a_server_that_forgot_everything_gets_both_back
from conformance.peers.processes import MissingToolError, account_server, hello_server

# The first run builds the clients.
pytestmark = pytest.mark.timeout(900)


Start = Callable[..., AbstractContextManager[Stage]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Start:
    """`with start(order, hello_app, setup) as stage` starts the servers and both clients, on free ports."""

    def start(
        order: Sequence[str] = CLIENTS, hello_app: str = "eureka", setup: str = "embedded"
    ) -> AbstractContextManager[Stage]:
        ports = Ports(**{name: free_port() for name in vars(Ports())})
        return set_up(tmp_path_factory.mktemp("demo"), ports, order, hello_app, setup)

    return start


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """What builds the clients; a machine without may go on, but not CI."""
    try:
        account_server(8090, "")
        hello_server(8091, "")
    except MissingToolError as missing:
        skip_without(missing)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((CLIENTS, "eureka"), id="embedded"),
        pytest.param((CLIENTS[::-1], "eureka"), id="hello-server-first", marks=pytest.mark.full),
        pytest.param((CLIENTS, "shop"), id="hello-server-in-shop"),
        pytest.param((CLIENTS[::-1], "eureka", "servicecenter"), id="servicecenter-behind"),
        pytest.param((CLIENTS, "eureka", "eureka"), id="eureka-behind"),
        pytest.param((CLIENTS[::-1], "eureka", "both"), id="both-behind", marks=pytest.mark.full),
        pytest.param((CLIENTS, "eureka", "guarded"), id="guarded"),
        pytest.param((CLIENTS, "eureka", "publish"), id="published", marks=pytest.mark.full),
        pytest.param((CLIENTS, "eureka", "two-nodes"), id="two-nodes"),
    ],
)
def stage(request: pytest.FixtureRequest, start: Start, ran_against: RanAgainst) -> Iterator[Stage]:
    with start(*request.param) as stage:
        for upstream in stage.upstreams.values():
            ran_against("demo", f"ours in front of {upstream.title}")
        yield stage


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.__name__)
def test_the_guides_story(stage: Stage, chapter: Callable[[Stage], None]) -> None:
    """Both clients are real, and neither knows the other's registry."""
    chapter(stage)


def test_a_server_that_forgot_everything_gets_both_back(start: Start) -> None:
    with start() as stage:
        a_server_that_forgot_everything_gets_both_back(stage)
