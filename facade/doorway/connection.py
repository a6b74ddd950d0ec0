"""The HTTP protocol class given to uvicorn: guards on what a peer may send, how much of it and how slowly.

In:   bytes of one connection, from anybody.
Out:  requests for uvicorn's own parser and cycle, whole heads only; or a refusal, which is a short HTTP answer with
      `Connection: close`; and response heads whose names are spelt as Go spells them (`X-Resource-Revision`).
Rules: whatever a peer does, a connection costs bounded memory and ends. Time is one deadline per connection, moved
      as a request goes on, and one sweep a second finds those who are past theirs. A peer who is refused is still
      listened to for a moment, unread: closing at once would reset the connection and could lose the answer.

The lane: a request that has no body and whose answer only has to be looked up is answered here, at once; a head that
      was read before is not parsed again. Whatever is in doubt goes the long way.

Start reading at `Doorway.data_received`. A class made by `doorway` serves one event loop, on any number of ports.
"""

import asyncio
import logging
import re
from collections import deque
from http import HTTPStatus
from math import inf as NEVER  # noqa: N812  # a moment, in capitals as the constant that it is here
from typing import Any, ClassVar, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn import __version__ as uvicorn_version
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from facade.doorway.hall import Hall, Limits
from facade.doorway.known import KNOWN_HEAD_BYTES, Heads
from facade.doorway.spelling import DateLines, SpeltTransport, head_around_date, refusal
from facade.errors import StartRefused
from facade.rendered import Lane, Question

LINGER_S = 2.0
LINGER_BYTES = 1 << 20
PIPELINED = 100  # requests of one connection that may wait for their turn; each costs a cycle of a few kilobytes
SMALL = 16 * 1024  # bytes: a body is copied behind its head up to here

# Java's HttpClient offers h2c with its first request. The parser stops at such an offer and the body is lost, so
# offers other than websocket are taken out of the head; a server may ignore them (RFC 9110, 7.8).
FOREIGN_UPGRADE = re.compile(rb"\r\nupgrade:(?![ \t]*websocket[ \t]*(?:\r\n|\Z))[^\r\n]*", re.IGNORECASE)
TLS_HELLO = b"\x16\x03"

# What this module overrides or reads of uvicorn, none of which uvicorn promises to keep.
INTERNALS = {
    HttpToolsProtocol: (
        *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing"),
        *("on_message_begin", "on_headers_complete", "on_message_complete", "on_response_complete"),
        *("handle_websocket_upgrade", "_get_upgrade", "_should_upgrade"),
        *("_start_asgi_task", "_unset_keepalive_if_required"),
        *("loop", "parser", "transport", "flow", "client", "scope", "headers", "cycle", "pipeline"),
        *("expect_100_continue", "server_state"),
    ),
    RequestResponseCycle: (
        *("transport", "message_event", "keep_alive", "scope"),
        *("disconnected", "response_started", "response_complete"),
    ),
}

log = logging.getLogger(__name__)


def doorway(limits: Limits, lane: Lane | None = None) -> type[HttpToolsProtocol]:
    """The class for `uvicorn.Config(http=...)`. Raises StartRefused where uvicorn is not as we know it."""
    if missing := missing_internals():
        raise StartRefused(
            f"uvicorn {uvicorn_version} lacks {', '.join(missing)}: refusing to serve without limits on requests"
        )
    shared = {"limits": limits, "hall": Hall(limits), "lane": lane, "known": Heads(), "dates": DateLines()}
    return type("Doorway", (Doorway,), shared)


def missing_internals() -> list[str]:
    """Names in INTERNALS that this uvicorn has neither as a method nor as an attribute set by `__init__`."""
    return [
        f"{owner.__name__}.{name}"
        for owner, names in INTERNALS.items()
        for name in names
        if not hasattr(owner, name) and name not in vars(owner)["__init__"].__code__.co_names
    ]


class Doorway(HttpToolsProtocol):
    """One connection. It is in a head or in a body; `deadline` is when the sweep loses patience (loop time)."""

    limits: ClassVar[Limits]
    hall: ClassVar[Hall]
    lane: ClassVar[Lane | None]
    known: ClassVar[Heads]
    dates: ClassVar[DateLines]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.address = self.client[0] if self.client else "local socket"
        self.held = b""  # the beginning of a head whose end has not come
        self.in_head = True
        self.head = b""  # the one that the parser is reading
        self.running: RequestResponseCycle  # the one that the application answers
        self.is_idle = False  # the next byte begins a request; not so at first: that one is awaited since now
        self.is_head_whole = False
        self.is_chunked = False
        self.is_refused = False
        self.bytes_left = 0  # of the body; once refused, of our patience
        self.unsent: float = NEVER
        self.deadline = self.loop.time() + self.limits.head_s
        if complaint := self.hall.enter(self):
            # No lingering here: the caps are there to spare descriptors.
            self.is_refused = True
            self.hall.note_refusal(self, HTTPStatus.SERVICE_UNAVAILABLE, complaint)
            transport.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, complaint))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.hall.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if len(data) <= KNOWN_HEAD_BYTES:
            question = self.known.get(data)
            if question is not None and self.is_between() and self.answer_at_once(question):
                self.is_idle = True
                self.deadline = self.loop.time() + self.limits.idle_s
                return
        if self.is_refused:
            self.bytes_left -= len(data)
            if self.bytes_left < 0:
                self.transport.abort()
            return
        if self.held:
            data, self.held = self.held + data, b""
        at = 0
        try:
            while at < len(data):
                at = self.take_head(data, at) if self.in_head else self.take_body(data, at)
        except RefusedError as error:
            self.refuse(error.status, error.reason)
        except HttpParserUpgrade:
            self.handle_websocket_upgrade()
        except HttpParserError as error:  # what a callback of the parser raises arrives as its context
            cause = error.__context__
            if isinstance(cause, RefusedError):
                self.refuse(cause.status, cause.reason)
            else:
                self.refuse(HTTPStatus.BAD_REQUEST, "malformed request")

    def take_head(self, data: bytes, at: int) -> int:
        """Give the parser the head that begins here, or hold it until it is whole. Returns where to go on."""
        while data.startswith(b"\r\n", at):
            at += 2  # blank lines before a request mean nothing (RFC 9112, 2.2), nor do they buy time
        if at == len(data):
            return at
        if self.is_idle:
            self.is_idle = False
            self.deadline = self.loop.time() + self.limits.head_s
        end = data.find(b"\r\n\r\n", at)
        if (len(data) if end < 0 else end) - at > self.limits.head_bytes:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head too large")
        if end < 0:
            if data.startswith(TLS_HELLO, at):  # whoever sent it waits for our part of the handshake
                raise RefusedError(HTTPStatus.BAD_REQUEST, "this port has no TLS")
            if data.find(b"\n\n", at) >= 0:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "lines must end in CR LF")
            self.held = data[at:]
            return len(data)
        head = data[at:end]
        if head.count(b"\r\n") > self.limits.fields:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields")
        offered = head
        if b"upgrade" in head.lower():
            offered = FOREIGN_UPGRADE.sub(b"", head)
        self.is_head_whole = True
        self.head = head
        try:
            self.parser.feed_data(offered + b"\r\n\r\n")
        finally:
            self.head = b""  # whatever is started later was asked by another one
        return end + 4

    def take_body(self, data: bytes, at: int) -> int:
        """Give the parser what belongs to the body. Only the parser knows where a chunked one ends."""
        end = len(data) if self.is_chunked else min(len(data), at + self.bytes_left)
        self.bytes_left -= end - at
        if self.bytes_left < 0:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body too large")
        self.parser.feed_data(data[at:end])
        return end

    # Called by the parser

    def on_message_begin(self) -> None:
        if not self.is_head_whole:
            # It came in one piece with the end of a chunked body, so nobody has looked at its head. A server may
            # close after any answer, and who pipelines has to ask again (RFC 9112, 9.3.2).
            raise RefusedError(HTTPStatus.BAD_REQUEST, "request behind a chunked body")
        self.is_head_whole = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        fields = dict(self.headers)
        length = int(fields.get(b"content-length", 0))  # digits: the parser has seen to it
        if length > self.limits.body_bytes:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body too large")
        if len(self.pipeline) >= PIPELINED:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at once")
        self.is_chunked = b"transfer-encoding" in fields
        if self.parser.should_upgrade() and (
            not self._should_upgrade() or self.is_answering() or length or self.is_chunked
        ):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "cannot upgrade")
        self.bytes_left = self.limits.body_bytes if self.is_chunked else length
        self.in_head = False
        self.deadline = self.loop.time() + self.limits.body_s
        super().on_headers_complete()
        if self.url.endswith(b"?") and "raw_path" in self.scope:
            self.scope["raw_path"] += b"?"  # lost otherwise; ServiceCenter refuses an empty query
        if self.is_chunked:
            # Trailers would be added to the headers of a request that is already being handled: drop them.
            self.headers = cast(list[tuple[bytes, bytes]], deque[Any](maxlen=0))  # uvicorn only appends

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.in_head = True
        self.rest()

    # Called by uvicorn and the transport

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the sweep replaces a timer per response
        self.rest()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unsent = self.transport.get_write_buffer_size()
        if self.in_head:
            self.deadline = self.loop.time() + self.limits.idle_s

    def resume_writing(self) -> None:
        super().resume_writing()
        self.rest()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self.hall.upgrade(self)
        successor = self.transport.get_protocol()
        told_lost = successor.connection_lost

        def lost(exc: Exception | None) -> None:
            # The transport tells its new protocol of the end, and the place must be free at once: go-chassis dials a
            # watch that was refused again without a pause.
            self.hall.leave(self)
            told_lost(exc)

        successor.connection_lost = lost  # type: ignore[method-assign]  # of one object alone

    def _get_upgrade(self) -> bytes | None:
        upgrade = super()._get_upgrade()
        return upgrade and upgrade.strip()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        question = self.question_of(cycle)
        if question is not None and self.answer_at_once(question):
            cycle.response_started = cycle.response_complete = True
            self.known.add(self.head + b"\r\n\r\n", question)
            return
        self.running = cycle
        cycle.transport = SpeltTransport(cycle.transport)
        super()._start_asgi_task(cycle, app)

    # The lane

    def question_of(self, cycle: RequestResponseCycle) -> Question | None:
        """What the head that was just read asks, if it is for the lane: no body, and nothing to settle before."""
        if self.lane is None or not self.head or self.bytes_left or self.is_chunked or self.url.endswith(b"?"):
            return None
        if not cycle.keep_alive or self.expect_100_continue or self.parser.should_upgrade():
            return None
        return self.lane.question(cast(dict[str, Any], cycle.scope))

    def answer_at_once(self, question: Question) -> bool:
        """False: the lane is closed, the peer is slow to take what it was sent, or the answer has to wait."""
        if self.lane is None or not self.lane.is_open or self.flow.write_paused:
            return False
        try:
            reply = question()
        except Exception:  # most likely the long way meets it again, and answers 500
            log.exception("fault in the lane")
            return False
        if reply is None:
            return False
        start, fields = head_around_date(reply.status, reply.fields)
        head = b"".join((start, self.dates.of(self.server_state.default_headers), fields))
        self.server_state.total_requests += 1
        if len(reply.body) < SMALL:
            self.transport.write(head + reply.body)
        else:
            self.transport.writelines((head, reply.body))  # a megabyte is not copied
        return True

    # Patience, and its end

    def is_between(self) -> bool:
        """Nothing of a request is under way, so the next byte begins one."""
        return self.in_head and not self.held and not self.is_refused and not self.is_answering()

    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def rest(self) -> None:
        """Between two requests: wait for the handler, which has limits of its own, or for the peer."""
        if self.in_head and not self.held and not self.is_refused:
            self.is_idle = True
            self.deadline = NEVER if self.is_answering() else self.loop.time() + self.limits.idle_s

    def expire(self, now: float) -> None:
        """The deadline has passed. Who owes us a part of a request is told so; who still takes an answer may go on."""
        unsent = self.transport.get_write_buffer_size()
        if self.is_refused:
            self.transport.abort()
        elif not self.in_head:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "body too slow")
        elif self.held:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "head too slow")
        elif not unsent:
            self.transport.close()
        elif unsent < self.unsent:
            self.unsent, self.deadline = unsent, now + self.limits.idle_s
        else:
            self.transport.abort()

    def refuse(self, status: int, reason: str) -> None:
        """Answer the request that is being read, if its turn has come, and take no more from this peer."""
        self.hall.note_refusal(self, status, reason)
        self.is_refused, self.held, self.bytes_left = True, b"", LINGER_BYTES
        self.deadline = self.loop.time() + LINGER_S
        if self.in_head and self.is_answering():
            self.cycle.keep_alive = False  # requests before it come first; the last answer closes
            self.deadline = NEVER
        elif not self.in_head and self.pipeline:
            self.pipeline.popleft()  # this one; requests before it come first, as above
            last = self.pipeline[0][0] if self.pipeline else self.running
            last.keep_alive = False
            self.deadline = NEVER
        elif not self.in_head and self.cycle.response_started:
            self.transport.close()
        else:
            if not self.in_head:
                self.cycle.disconnected = True  # the handler is told, and its own answer is dropped
                self.cycle.message_event.set()
            self.flow.resume_reading()
            self.transport.write(refusal(status, reason))
            if self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()


class RefusedError(Exception):
    """This request is not answered by the application."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
