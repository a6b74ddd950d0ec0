"""One request and its answer, as HTTP has them: what all handlers of this room share.

In:   an ASGI scope, read as far as the handler needs it.
Out:  ASGI messages. Header names are spelt as Go spells them; clients look for `X-Resource-Revision` in just that form.
"""

from __future__ import annotations

import gzip
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from facade.access.control import Visitor
from facade.access.rules import EVERYTHING, Grant
from facade.errors import MalformedDocument
from facade.registry.model import Tenant
from facade.rendered import Reply
from facade.servicecenter import wire
from facade.servicecenter.records import Document

JSON_TYPE = b"application/json; charset=UTF-8"
EMPTY_TYPE = b"text/plain; charset=UTF-8"
ROUTER_TEXT_TYPE = b"text/plain; charset=utf-8"

SMALL_BODY = 64 * 1024
"""For bodies that describe one instance or one set of properties. The original's 5 and 3 KiB refuse honest metadata."""
LARGE_BODY = 2 * 1024 * 1024
"""Source: server.request.maxBodyBytes of the original."""

CORS_METHODS = ("GET", "POST", "PUT", "DELETE", "UPDATE")
"""What pages from elsewhere may do, and see the answers to."""

GZIP_FROM = 1400
"""Bytes; below this a packet is a packet. Source: the original's compress handler."""

BREAKS_ON_OUT_OF_SERVICE = "microservice-client/1.0.0"
"""The Java library whose users' status enumeration lacks OUTOFSERVICE: one such instance stops their whole refresh."""


class Ask:
    """One request. `ids` are the parts of the path that its route leaves open, in order."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        tenant: Tenant,
        ids: tuple[str, ...],
        visitor: Visitor | None = None,
        grant: Grant = EVERYTHING,
    ) -> None:
        """`grant` is what `visitor` may do on this route; nobody is limited where access is not controlled."""
        self.scope = scope
        self.tenant = tenant
        self.ids = ids
        self.visitor = visitor
        self.grant = grant
        self._receive = receive

    @cached_property
    def query(self) -> dict[str, str]:
        """Of a name given twice the first counts."""
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return dict(reversed(pairs))

    def values(self, name: str) -> list[str]:
        """All values of a name that may be given several times."""
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return [value for given, value in pairs if given == name]

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true")

    def header(self, name: bytes) -> str:
        return header(self.scope, name)

    @cached_property
    def consumer_id(self) -> str:
        return self.header(b"x-consumerid")

    @property
    def tags_asked(self) -> list[str]:
        """Tags that a provider must carry, as they stand in the query."""
        listed = self.query.get("tags", "")
        return listed.split(",") if listed else []

    @cached_property
    def tags(self) -> frozenset[str]:
        return frozenset(self.tags_asked)

    @cached_property
    def revision(self) -> str:
        """The revision that the asker holds; empty when it wants everything in any case."""
        return "" if self.flag("noCache") or self.flag("cacheOnly") else self.query.get("rev", "")

    @cached_property
    def hides_out_of_service(self) -> bool:
        return self.header(b"user-agent").startswith(BREAKS_ON_OUT_OF_SERVICE)

    @cached_property
    def accepts_gzip(self) -> bool:
        return accepts_gzip(self.scope)

    @property
    def address(self) -> str:
        """Of the asker, as far as its proxies tell."""
        for told in (self.header(b"x-forwarded-for").partition(",")[0].strip(), self.header(b"x-real-ip")):
            with suppress(ValueError):
                return str(ip_address(told))
        return self.peer

    @property
    def peer(self) -> str:
        """The address of the connection: what a header says of it anybody may have written."""
        return peer(self.scope)

    async def body(self, most: int) -> bytes:
        """The whole body. Raises MalformedDocument, in Go's words, as soon as there is too much of it."""
        chunks = []
        left = most
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            left -= len(chunk)
            if left < 0:
                raise BodyTooLarge("http: request body too large")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


class BodyTooLarge(MalformedDocument):
    """The rest of the body has not been read: the connection is of no more use."""


class Answer(NamedTuple):
    status: int
    content_type: bytes = b""
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_gzipped: bool = False
    """The body is compressed already, because the asker takes it so."""


OK = Answer(200, EMPTY_TYPE)
NOT_FOUND = Answer(404, ROUTER_TEXT_TYPE, b"404 page not found\n", ((b"X-Content-Type-Options", b"nosniff"),))
NOT_AN_UPGRADE = Answer(400, ROUTER_TEXT_TYPE, b"Bad Request\n", ((b"Sec-Websocket-Version", b"13"),))


def found(document: Document | dict[str, object]) -> Answer:
    return Answer(200, JSON_TYPE, wire.encode(document))


def not_allowed(methods: list[str]) -> Answer:
    allow = (b"Allow", ", ".join(methods).encode())
    return Answer(405, ROUTER_TEXT_TYPE, b"Method Not Allowed\n", (allow, (b"X-Content-Type-Options", b"nosniff")))


def header(scope: Scope, name: bytes) -> str:
    """The first header of this name, which is given in lower case; empty when there is none."""
    for key, value in scope["headers"]:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return ""


def peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def accepts_gzip(scope: Scope) -> bool:
    return "gzip" in header(scope, b"accept-encoding")


def reply(answer: Answer, scope: Scope, server: bytes) -> Reply:
    """The answer as this asker takes it: compressed or not, and open to other origins where it names its own."""
    body = answer.body
    headers = [(b"Server", server), (b"Vary", b"Accept-Encoding"), (b"Vary", b"Origin"), *answer.headers]
    if header(scope, b"origin") and scope["method"] in CORS_METHODS:
        headers.append((b"Access-Control-Allow-Origin", b"*"))
    if answer.content_type:
        headers.append((b"Content-Type", answer.content_type))
    is_gzipped = answer.is_gzipped
    if not is_gzipped and len(body) >= GZIP_FROM and accepts_gzip(scope):
        body, is_gzipped = compress(body), True
    if is_gzipped:
        headers.append((b"Content-Encoding", b"gzip"))
    if answer.status != 304:
        headers.append((b"Content-Length", str(len(body)).encode()))
    return Reply(answer.status, tuple(headers), body)


async def deliver(answer: Answer, scope: Scope, send: Send, server: bytes) -> None:
    status, fields, body = reply(answer, scope, server)
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


def compress(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=5, mtime=0)
