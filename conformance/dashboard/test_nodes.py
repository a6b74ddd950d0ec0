"""The table of the servers that share a store, over a real Redis, followed while one of them dies."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from conformance.peers.processes import Processes, Running, facade
from conformance.peers.redis import redis

from .conftest import OpenPage


@pytest.fixture(scope="module")
def nodes(processes: Processes, free_port: Callable[[], int]) -> list[Running]:
    store = processes.start(redis(free_port(), is_durable=False)).url
    return [processes.start(facade([free_port()], {}, [store])) for _ in range(2)]


@pytest.fixture(scope="module")
def url(nodes: list[Running]) -> str:
    return nodes[0].url


def row_of(page: Page, node: Running) -> Locator:
    return page.locator("table.nodes tbody tr", has_text=node.url.rpartition(":")[2])


def test_the_nodes_are_shown_in_both_languages(nodes: list[Running], open_page: OpenPage) -> None:
    page = open_page("/")

    expect(page.locator("table.nodes tbody tr")).to_have_count(2)
    expect(row_of(page, nodes[0])).to_contain_text("this one")
    expect(page.locator("table.nodes .UP")).to_have_text("ends lapsed leases")
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("heading", name="节点")).to_be_visible()


def test_a_node_that_dies_is_missing_without_a_reload(nodes: list[Running], open_page: OpenPage) -> None:
    page = open_page("/")
    expect(page.locator("table.nodes tbody tr")).to_have_count(2)

    nodes[1].kill()

    expect(row_of(page, nodes[1])).to_contain_text("missing")
    expect(row_of(page, nodes[1])).to_contain_text(re.compile(r"\d+ s ago"))
    expect(page.get_by_text("leases that it heard last are kept")).to_be_visible()
