"""One request and its answer, between ASGI and the handlers: the path split once, the rest read when somebody asks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.types import Receive, Scope, Send

from facade.access.rules import EVERYTHING, Grant
from facade.errors import MalformedDocument
from facade.eureka import wire
from facade.eureka.records import WIRE_STATUSES
from facade.eureka.wire import BadQuery, Format, Variant
from facade.registry.model import Space, Status

DEFAULT_SPACE = Space()

_RESOURCES = frozenset({"apps", "instances", "vips", "svips", "peerreplication", "status", "asg", "serverinfo"})
_VERSION = re.compile(r"[vV]\d+")


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


OK = Answer(200)
NO_CONTENT = Answer(204)
FORBIDDEN = Answer(403)
NOT_FOUND = Answer(404)
CHALLENGE = ((b"www-authenticate", b'Basic realm="registry-facade", charset="UTF-8"'),)
"""With each 401 (RFC 7617)."""
GZIPPED = ((b"content-encoding", b"gzip"),)


class Ask:
    """One request, read as far as somebody asks."""

    def __init__(
        self, scope: Scope, receive: Receive, space: Space, segments: list[str], grant: Grant = EVERYTHING
    ) -> None:
        """`grant` is what its asker may do with this resource; nobody is limited where access is not controlled."""
        self.space = space
        self.segments = segments
        self.grant = grant
        self._scope = scope
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        """All values of a header; None without it."""
        values = [value.decode("latin-1") for key, value in self._scope["headers"] if key == name]
        return ", ".join(values) if values else None

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The first value of each parameter."""
        pairs = parse_qsl(self._scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)
        return dict(reversed(pairs)) if pairs else {}

    @property
    def format(self) -> Format:
        return wire.negotiated_format(self.header(b"accept"))

    @property
    def asked(self) -> tuple[Variant, bool]:
        """The variant of a registry document that is asked for."""
        is_compact = (self.header(b"x-eureka-accept") or "").lower() == "compact"
        return Variant(self.format, is_compact), wire.takes_gzip(self.header(b"accept-encoding"))

    @property
    def is_replicated(self) -> bool:
        return self.header(b"x-netflix-discovery-replication") == "true"

    @property
    def source_address(self) -> str:
        client = self._scope.get("client")
        return client[0] if client else ""

    def status(self, name: str) -> Status | None:
        """A status in the query, None for any other word."""
        text = self.query.get(name, "")
        return Status(text) if text in WIRE_STATUSES else None

    @property
    def dirty_ms(self) -> int | None:
        """The client's lastDirtyTimestamp; None when there is none, or none that is a number."""
        text = self.query.get("lastDirtyTimestamp", "")
        return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else None

    @property
    def stated_dirty_ms(self) -> int:
        """The same where garbage has to be refused before anything is changed; 0 when it is not stated."""
        if "lastDirtyTimestamp" not in self.query:
            return 0
        if self.dirty_ms is None:
            raise BadQuery("lastDirtyTimestamp: expected milliseconds")
        return self.dirty_ms

    async def body(self, most: int) -> bytes:
        """The body, inflated. Raises BodyTooLarge, MalformedDocument, UnsupportedMedia."""
        parts, length = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":  # what came may be a whole document, but not the one announced
                raise MalformedDocument("the body breaks off")
            part = message.get("body", b"")
            length += len(part)
            if length > most:
                raise wire.BodyTooLarge(f"more than {most} bytes")
            parts.append(part)
            if not message.get("more_body", False):
                break
        body = b"".join(parts)
        match (self.header(b"content-encoding") or "identity").lower():
            case "identity":
                return body
            case "gzip" | "x-gzip":
                return wire.inflated(body, most)
            case encoding:
                raise wire.UnsupportedMedia(f"cannot read the encoding {encoding}")


def split_path(scope: Scope) -> tuple[Space, list[str]]:
    """The name space and the segments after it. Matrix parameters and doubled slashes mean nothing to us."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    # The doorway leaves the "?" of an empty query here, for ServiceCenter.
    segments = [_decoded(segment) for segment in raw.removesuffix(b"?").split(b"/") if segment]
    space = DEFAULT_SPACE
    if segments[:1] == ["t"] and len(segments) > 4:
        domain, project, environment = segments[1:4]
        space = Space(domain, project, "" if environment == "-" else environment)
        segments = segments[4:]
    if segments[:1] != ["eureka"]:
        return space, []
    # Only before a resource is it a version: an application may be called V2.
    if len(segments) > 2 and segments[2] in _RESOURCES and _VERSION.fullmatch(segments[1]):
        return space, segments[2:]
    return space, segments[1:]


def _decoded(segment: bytes) -> str:
    return unquote_to_bytes(segment.partition(b";")[0]).decode("utf-8", "replace")


def answer_without_handler(method: str, methods: Iterable[str]) -> Answer:
    if not methods:
        return NOT_FOUND
    allowed = [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
    allow = ((b"allow", ", ".join(allowed).encode()),)
    return Answer(200 if method == "OPTIONS" else 405, headers=allow)


def fields_of(answer: Answer) -> tuple[tuple[bytes, bytes], ...]:
    """The header of an answer."""
    fields = answer.headers
    if answer.status != 204:
        fields = (*fields, (b"content-length", b"%d" % len(answer.body)))
    if answer.content_type is not None:
        fields = (*fields, (b"content-type", answer.content_type.encode()))
    if answer.content_type == "text/plain":  # a refusal in the client's own words: no browser may take it for a page
        fields = (*fields, (b"x-content-type-options", b"nosniff"))
    return fields


async def send_answer(answer: Answer, send: Send, *, with_body: bool) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": fields_of(answer)})
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})
