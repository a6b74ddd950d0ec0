"""A browser, pages that report whatever should not happen on them, and a server with something to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from conformance.conftest import StartOurs, skip_without
from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import MissingToolError, tool

MY_OWN = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}

OpenPage = Callable[..., Page]

# Other suites run beside this one.
WITHIN_MS = 1000 * PATIENCE_S
expect.set_options(timeout=WITHIN_MS)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Ends with this package: while it runs, playwright keeps an event loop that other suites must not find."""
    try:
        chromium = tool("chromium")
    except MissingToolError as missing:
        skip_without(missing)
    with sync_playwright() as playwright:
        # Chromium refuses to be root inside its own sandbox; all that it opens here is ours.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[OpenPage]:
    """`open_page(path)` shows a page. Afterwards nothing may have been reported: no word on the console, no error, no
    dialog, no breach of the content security policy, no request to anybody but our server."""
    reported: list[str] = []
    contexts = []

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{url}/", "data:,")):
            reported.append(f"request to {request.url}")

    def open_page(path: str, **how: Any) -> Page:
        context = browser.new_context(base_url=url, **({"locale": "en"} | how))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        page.on("console", lambda message: reported.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: reported.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (reported.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", on_request)
        page.goto(path, wait_until="domcontentloaded")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert reported == []


class Registrations:
    """Registers in either protocol, as clients do."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url)

    def eureka(self, application: str, instance_id: str, **members: Any) -> int:
        instance = {
            "instanceId": instance_id,
            "hostName": "h",
            "app": application,
            "ipAddr": "10.0.0.1",
            "status": "UP",
            "port": {"$": 8080, "@enabled": "true"},
            "dataCenterInfo": MY_OWN,
        }
        answer = self.http.post(f"/eureka/apps/{application}", json={"instance": instance | members})
        return answer.status_code

    def status(self, application: str, instance_id: str) -> str:
        path = f"/eureka/apps/{application}/{instance_id}"
        return str(self.http.get(path, headers={"Accept": "application/json"}).json()["instance"]["status"])

    def service(self, name: str, app: str = "shop", **members: Any) -> str:
        service = {"serviceName": name, "appId": app, "version": "1.0.0"} | members
        answer = self.http.post("/v4/default/registry/microservices", json={"service": service})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["serviceId"])

    def instance(self, service_id: str, **members: Any) -> int:
        instance = {"hostName": "h", "endpoints": ["rest://10.0.0.2:9090"]} | members
        path = f"/v4/default/registry/microservices/{service_id}/instances"
        return self.http.post(path, json={"instance": instance}).status_code

    def schema(self, service_id: str, schema_id: str, text: str) -> int:
        path = f"/v4/default/registry/microservices/{service_id}/schemas/{schema_id}"
        return self.http.put(path, json={"schema": text, "summary": ""}).status_code

    def find(self, consumer_id: str, name: str, app: str = "shop") -> int:
        query = {"appId": app, "serviceName": name, "version": "0+"}
        headers = {"X-ConsumerId": consumer_id}
        return self.http.get("/v4/default/registry/instances", params=query, headers=headers).status_code


@pytest.fixture(scope="module")
def url(start_ours: StartOurs) -> str:
    """Of a server of its own for each module: what is on a page is what the module registered."""
    return start_ours().url


@pytest.fixture(scope="module")
def registrations(url: str) -> Iterator[Registrations]:
    registrations = Registrations(url)
    yield registrations
    registrations.http.close()
