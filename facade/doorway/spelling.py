"""Heads of answers as bytes, their names spelt as Go spells them: X-Resource-Revision.

Java-Chassis looks it up in just this spelling, and ServiceCenter, a Go program, sends it so; Starlette and uvicorn
lower-case all names.
"""

import asyncio
import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

FIELD_NAME = re.compile(rb"(?<=\r\n)[^:\r\n]+(?=:)")


def refusal(status: int, reason: str) -> bytes:
    """A whole answer, after which the connection ends; the reason is its body."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(reason)}\r\nConnection: close\r\n\r\n{reason}"
    ).encode("ascii")


@lru_cache(maxsize=4_096)
def head_around_date(status: int, fields: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, bytes]:
    """What stands before the date, and what after it: as uvicorn and SpeltTransport write it."""
    return STATUS_LINE[status], _lines(fields) + b"\r\n"


class DateLines:
    """The header fields that uvicorn puts before all others; it makes a new list of them each second."""

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def of(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        if fields is not self._fields:
            self._fields, self._lines = fields, _lines(fields)
        return self._lines


def _lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(spelt(name) + b": " + value + b"\r\n" for name, value in fields)


class SpeltTransport(asyncio.Transport):
    """What one response is written to. Respells the names in its head."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.is_head_due = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_head_due and not (head := bytes(data)).startswith(b"HTTP/1.1 100 "):
            self.is_head_due = False
            data = respelt(head)
        self.transport.write(data)

    def close(self) -> None:
        self.transport.close()

    def is_closing(self) -> bool:
        return self.transport.is_closing()


@lru_cache(maxsize=256)
def respelt(head: bytes) -> bytes:
    """Most answers of one second have one of a few heads."""
    return FIELD_NAME.sub(lambda name: spelt(name[0]), head)


@lru_cache(maxsize=256)
def spelt(name: bytes) -> bytes:
    """x-resource-revision as X-Resource-Revision."""
    return name.title()
