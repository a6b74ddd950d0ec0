"""Whatever is sent, the answer is the sender's fault and not ours, and everybody else can still read the registry."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import Message, Scope

from facade.clock import ManualClock
from facade.eureka.routes import EurekaFront
from facade.registry.registry import Registry
from facade.stores.memory import MemoryStore
from tests.eureka.registrations import AMAZON_CLASS, DEFAULT_CLASS, body, document

pytestmark = pytest.mark.anyio

FIELDS = [*document(), "securePort", "metadata", "leaseInfo", "countryId", "overriddenStatus", "sid", "asgName", "odd"]
INNER = ["$", "@enabled", "@class", "name", "metadata", "instance-id", "durationInSecs", "zone", ""]
WORDS = ["UP", "Amazon", "MyOwn", "true", "A", AMAZON_CLASS, DEFAULT_CLASS, "a,b", "::1", "-5", "1e999"]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER) | texts, inner, max_size=4),
    max_leaves=8,
)


class Front:
    """A server with one good instance in it."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.registry = Registry(MemoryStore(clock), clock)

    async def __aenter__(self) -> Front:
        await self.registry.open()
        self._front = EurekaFront(self.registry)
        await self("POST", "/eureka/apps/GOOD", body("GOOD", "good"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.registry.close()

    async def __call__(
        self, method: str, path: str, content: bytes = b"", content_type: str = "application/json", accept: str = ""
    ) -> tuple[int, bytes]:
        sent: list[Any] = []
        raw, _, query = path.encode().partition(b"?")
        headers = [(b"content-type", content_type.encode()), (b"accept", accept.encode())]
        scope: Scope = {
            "type": "http", "method": method, "path": path, "raw_path": raw, "query_string": query, "headers": headers,
        }  # fmt: skip

        async def receive() -> Message:
            return {"type": "http.request", "body": content}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._front(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    async def assert_readable(self) -> None:
        """Every list, in every variant, parses and holds the good instance."""
        for path in ("/eureka/apps", "/eureka/apps/delta"):
            status, in_json = await self("GET", path, accept="application/json")
            assert status == 200
            assert "GOOD" in [found["name"] for found in msgspec.json.decode(in_json)["applications"]["application"]]
            status, in_xml = await self("GET", path)
            assert status == 200
            assert "GOOD" in [found.findtext("name") for found in ElementTree.fromstring(in_xml).findall("application")]


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=5))
@settings(max_examples=300, deadline=None)
async def test_any_value_in_any_field(changes: dict[str, Any]) -> None:
    async with Front() as front:
        status, _ = await front("POST", "/eureka/apps/A", msgspec.json.encode({"instance": document() | changes}))

        assert status in (204, 400)
        await front.assert_readable()


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/xml"]), st.integers(0, 400))
@example(b"\x00", "application/xml", 10)
@settings(max_examples=300, deadline=None)
async def test_any_bytes_anywhere_in_a_body(noise: bytes, content_type: str, at: int) -> None:
    good = body() if content_type == "application/json" else XML
    async with Front() as front:
        status, _ = await front("POST", "/eureka/apps/A", good[:at] + noise + good[at:], content_type)

        assert status in (204, 400)
        await front.assert_readable()


NAMES = [*FIELDS, *INNER[3:-1], "enabled", "class", "com.netflix.appinfo.InstanceInfo", "a__b", "_.0000", "_.d800"]
contents = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)


def _element(parts: tuple[str, str, list[str]]) -> str:
    name, attribute, children = parts
    stated = quoteattr(attribute)
    return f"<{name} class={stated} enabled={stated}>{''.join(children)}</{name}>"


elements = st.recursive(
    contents.map(escape),
    lambda inner: st.tuples(st.sampled_from(NAMES), contents, st.lists(inner, max_size=3)).map(_element),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), elements), max_size=5))
@settings(max_examples=300, deadline=None)
async def test_any_element_anywhere_in_xml(more: list[tuple[str, str]]) -> None:
    stated = "".join(f"<{name}>{inside}</{name}>" for name, inside in more)
    async with Front() as front:
        content = XML.replace(b"</instance>", f"{stated}</instance>".encode())
        status, _ = await front("POST", "/eureka/apps/A", content, "application/xml")

        assert status in (204, 400)
        await front.assert_readable()


XML = (
    b"<instance><instanceId>i1</instanceId><hostName>h1</hostName><app>A</app><ipAddr>10.0.0.1</ipAddr>"
    b"<port enabled='true'>80</port><dataCenterInfo class='x'><name>MyOwn</name></dataCenterInfo>"
    b"<metadata><a>b</a></metadata></instance>"
)

segments = st.sampled_from(
    ["apps", "A", "GOOD", "good", "status", "metadata", "delta", "vips", "v2", "..", "%2F", "%", "%ff", ";", ""]
)
methods = st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "odd"])
queries = st.text(st.sampled_from("value=UPlastDirtyTimestamp&;%+-0123é"), max_size=30)


@given(methods, st.lists(segments, max_size=5), queries)
@settings(max_examples=500, deadline=None)
async def test_any_path_and_query(method: str, path: list[str], query: str) -> None:
    async with Front() as front:
        status, _ = await front(method, "/".join(["/eureka", *path]) + "?" + query)

        assert status in (200, 400, 404, 405)
