"""Which addresses there are, in which formats they answer, and how they refuse."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from facade.eureka.routes import EurekaFront
from facade.registry.registry import Registry
from tests.eureka.routes.client import AS_JSON, Client

pytestmark = pytest.mark.anyio


EMPTY = b'{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}'


@pytest.mark.parametrize(
    "path",
    [
        "/eureka/apps",
        "/eureka/apps/",
        "/eureka//apps",
        "/eureka/v2/apps",
        "/eureka/V1/apps",
        "/eureka/apps;x=y",
        "/eureka/apps?regions=nowhere&foo=bar",
        "/t/default/default/-/eureka/apps",
        "/t/default/default/testing/eureka/v2/apps/",
    ],
)
async def test_addresses_of_the_registry(client: Client, path: str) -> None:
    answer = await client("GET", path, AS_JSON)

    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/json", EMPTY)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/eureka", 404),
        ("GET", "/eureka/", 404),
        ("GET", "/eureka/nosuch", 404),
        ("GET", "/eureka/v2", 404),
        ("GET", "/eureka/vips", 404),
        ("GET", "/eureka/instances", 404),
        ("GET", "/eureka/apps/A", 404),
        ("GET", "/eureka/apps/ALL_APPS", 404),
        ("GET", "/eureka/apps/A/i1", 404),
        ("GET", "/eureka/apps/A/a/b", 404),
        ("GET", "/eureka/instances/i1", 404),
        ("GET", "/t/default/default/-/elsewhere/apps", 404),
        ("PUT", "/eureka/apps/A/i1", 404),
        ("DELETE", "/eureka/apps/A/i1", 404),
        ("PUT", "/eureka/apps/A/i1/status?value=UP", 404),
        ("DELETE", "/eureka/apps/A/i1/status", 404),
        ("PUT", "/eureka/apps/A/i1/metadata?a=b", 404),
        ("PUT", "/eureka/apps", 405),
        ("DELETE", "/eureka/apps/A", 405),
        ("PATCH", "/eureka/apps/A/i1", 405),
        ("POST", "/eureka/apps/A/i1", 405),
        ("POST", "/eureka/apps/delta", 405),
        ("GET", "/eureka/apps/A/i1/status", 405),
        ("PUT", "/eureka/asg/x/status?value=ENABLED", 400),
        ("POST", "/eureka/apps/A", 415),
    ],
)
async def test_errors_are_empty(client: Client, method: str, path: str, status: int) -> None:
    """With a body on a 404 Netflix's own clients never register again (case 25)."""
    answer = await client(method, path)

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (status, b"", "0")
    assert "content-type" not in answer.headers


async def test_allowed_methods_are_told(client: Client) -> None:
    refused, options = await client("PUT", "/eureka/apps"), await client("OPTIONS", "/eureka/apps")

    assert (refused.status_code, options.status_code) == (405, 200)
    assert refused.headers["allow"] == options.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_head_is_get_without_a_body(client: Client) -> None:
    answer = await client("HEAD", "/eureka/apps", AS_JSON)

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(len(EMPTY)))


async def test_unwritable_formats_are_refused_for_reads_and_ignored_for_writes(client: Client) -> None:
    """Case 7."""
    assert (await client("GET", "/eureka/apps", {"Accept": "text/html"})).status_code == 406
    assert (await client.register(headers={"Accept": "text/html"})).status_code == 204


async def test_silence_gets_xml(client: Client) -> None:
    """py_eureka_client sends no Accept and parses XML whatever comes."""
    await client.register()
    answer = await client("GET", "/eureka/apps")

    assert answer.headers["content-type"] == "application/xml"
    assert ElementTree.fromstring(answer.content).findtext("application/instance/instanceId") == "i1"


async def test_gzip_is_labelled(client: Client) -> None:
    raw = await client("GET", "/eureka/apps", AS_JSON | {"Accept-Encoding": "gzip"})
    plain = await client("GET", "/eureka/apps", AS_JSON | {"Accept-Encoding": "gzip;q=0"})

    assert (raw.headers["content-encoding"], raw.content) == ("gzip", EMPTY)  # httpx has inflated it
    assert ("content-encoding" in plain.headers, plain.content) == (False, EMPTY)


@pytest.mark.parametrize(
    ("asked", "is_compact"), [("compact", True), ("COMPACT", True), ("full", False), ("[compact]", False)]
)
async def test_compact_documents_are_for_those_who_ask(client: Client, asked: str, is_compact: bool) -> None:
    await client.register()
    answer = await client("GET", "/eureka/apps", AS_JSON | {"X-Eureka-Accept": asked})
    single = await client("GET", "/eureka/apps/A/i1", AS_JSON | {"X-Eureka-Accept": asked})

    assert (b'"leaseInfo"' not in answer.content) is is_compact
    assert b'"leaseInfo"' in single.content


async def test_there_is_nothing_to_watch_here(registry: Registry) -> None:
    """A websocket handshake has no method; it is turned away, not a fault."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await EurekaFront(registry)({"type": "websocket", "path": "/eureka/apps", "headers": []}, receive, send)

    assert [message["type"] for message in sent] == ["websocket.close"]
