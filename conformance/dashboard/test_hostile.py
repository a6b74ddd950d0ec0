"""Whatever clients say of themselves is shown as text, and nobody follows their addresses (B9, S15, S17)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from .conftest import OpenPage, Registrations
from .payloads import PAYLOADS

EUREKA_FIELDS = (
    "hostName",
    "ipAddr",
    "appGroupName",
    "vipAddress",
    "secureVipAddress",
    "homePageUrl",
    "statusPageUrl",
    "healthCheckUrl",
    "secureHealthCheckUrl",
    "asgName",
    "sid",
)

# A browser's own parser says what an answer would become. It takes what is for readers without scripts for elements.
MADE_BY_US = """(page) => {
  const all = [...page.querySelectorAll("*")].filter((one) => !one.closest("noscript"));
  return {
    foreign: all.map((one) => one.localName).filter((name) =>
      ["img", "image", "iframe", "object", "embed", "video", "audio", "style", "base", "marquee", "template", "math",
       "use", "animate", "select"].includes(name)),
    scripts: page.scripts.length,
    handlers: all.flatMap((one) => one.getAttributeNames()).filter((name) => name.startsWith("on")),
    links: all.flatMap((one) => ["href", "src", "action", "formaction"].map((name) => one.getAttribute(name))).filter(
      (address) => address !== null && !/^(\\/(?!\\/)|#|data:,$)/.test(address)),
  };
}"""
SHOWN = f"(() => ({MADE_BY_US})(document))()"
FETCHED = f"""async ([paths, selector]) => {{
  const pages = [];
  for (const path of paths) {{
    const answer = await fetch(path);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    pages.push([({MADE_BY_US})(page), page.querySelector(selector)?.textContent]);
  }}
  return pages;
}}"""
CLEAN = {"foreign": [], "scripts": 1, "handlers": [], "links": []}


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[str, list[bytes]]]:
    """An address that nobody may visit, and what visitors said."""
    visits: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                try:
                    visitor, _ = listening.accept()
                except OSError:
                    return
                with visitor:
                    visitor.settimeout(1)
                    visits.append(visitor.recv(1_000))

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", visits
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def service_id(registrations: Registrations, canary: tuple[str, list[bytes]]) -> str:
    """Every payload in every field of either protocol; of the fields that have rules, what they let pass."""
    for number, payload in enumerate(PAYLOADS):
        for field in EUREKA_FIELDS:
            registrations.eureka(f"HOSTILE-{number}", f"{field}-{number}", **{field: payload})
        registrations.eureka(f"HOSTILE-{number}", payload)
        registrations.eureka(f"HOSTILE-{number}", f"named-{number}", app=payload, metadata={payload: payload})
        registrations.eureka(f"HOSTILE-{number}", f"at-{number}", dataCenterInfo={"@class": payload, "name": payload})
    urls = dict.fromkeys(field for field in EUREKA_FIELDS if field.endswith("Url"))
    registrations.eureka("CANARY", "canary", **dict.fromkeys(urls, canary[0]))
    names = [f"schema-{number}" for number in range(len(PAYLOADS))]
    service_id = registrations.service("hostile", description="d", properties={one: one for one in PAYLOADS})
    for name, payload in zip(names, PAYLOADS, strict=True):
        assert registrations.schema(service_id, name, payload) == 200
        registrations.instance(service_id, hostName=payload, endpoints=[payload], properties={payload: payload})
        registrations.instance(
            service_id, dataCenterInfo={"name": payload, "region": payload, "availableZone": payload}
        )
        registrations.find(service_id, payload)
    registrations.instance(service_id, endpoints=[canary[0].replace("http", "rest")])
    return service_id


def shown(page: Page) -> str:
    return page.evaluate("document.body.textContent")


def test_every_payload_is_text_on_the_overview(service_id: str, open_page: OpenPage) -> None:
    page = open_page("/")

    text = shown(page)
    assert [payload for payload in PAYLOADS if payload not in text] == []
    assert page.evaluate(SHOWN) == CLEAN


@pytest.mark.parametrize("tab", ["instances", "properties"])
def test_every_payload_is_text_on_the_page_of_a_service(service_id: str, open_page: OpenPage, tab: str) -> None:
    page = open_page(f"/services/{service_id}?tab={tab}")

    text = shown(page)
    for number in range(2, 4):
        if tab == "instances" and page.locator(f'a[href$="page={number}"]').count():
            page.goto(f"/services/{service_id}?tab={tab}&page={number}")
            text += shown(page)
    assert [payload for payload in PAYLOADS if payload not in text] == []
    assert page.evaluate(SHOWN) == CLEAN


def test_every_payload_is_text_as_a_schema(service_id: str, open_page: OpenPage) -> None:
    paths = [f"/services/{service_id}/schemas/schema-{number}" for number in range(len(PAYLOADS))]

    got = open_page(paths[0]).evaluate(FETCHED, [paths, "pre.schema"])

    assert got == [[CLEAN, payload] for payload in PAYLOADS]


def test_every_payload_is_text_as_a_description(registrations: Registrations, open_page: OpenPage) -> None:
    services = [registrations.service(f"described-{number}", description=one) for number, one in enumerate(PAYLOADS)]
    paths = [f"/services/{service_id}" for service_id in services]

    got = open_page(paths[0]).evaluate(FETCHED, [paths, ".description"])

    assert got == [[CLEAN, payload] for payload in PAYLOADS]


@pytest.mark.parametrize("path", ["/services", "/topology", "/lastn", "/services?q=eureka"])
def test_the_other_pages_are_all_ours_too(service_id: str, open_page: OpenPage, path: str) -> None:
    assert open_page(path).evaluate(SHOWN) == CLEAN


@pytest.mark.parametrize("where", ["q", "filter", "lang", "domain", "project", "tab", "page"])
def test_every_payload_is_text_in_an_address(service_id: str, open_page: OpenPage, where: str) -> None:
    path = {"filter": "/", "tab": f"/services/{service_id}"}.get(where, "/topology")
    paths = [f"{path}?{urlencode({where: payload})}" for payload in PAYLOADS[:: 5 if where == "filter" else 1]]

    got = open_page("/services").evaluate(FETCHED, [paths, "h1"])

    assert got == [[CLEAN, "registry-facade"]] * len(paths)


def test_nobody_follows_the_addresses_of_clients(
    service_id: str, canary: tuple[str, list[bytes]], open_page: OpenPage
) -> None:
    """S15: a registered URL is data."""
    open_page("/?filter=canary")

    assert canary[1] == []
