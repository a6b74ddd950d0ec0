"""One answer ready to send: bytes made once, shared by all who ask for the same thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
from starlette.types import Message, Scope


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """One document in one representation. Plain and gzipped are two of them, each made when somebody asks for it."""

    body: bytes
    content_type: str
    is_gzipped: bool = False
    revision: int = 0
    """The registry's revision that the body shows."""


class Reply(NamedTuple):
    """A whole answer but for its date."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""


Question = Callable[[], Reply | None]
"""Answers one request, and each one like it from then on, as things then are; None: this time it must wait."""


async def no_body() -> Message:
    """All that there is to receive of a request for the lane."""
    return {"type": "http.request", "body": b"", "more_body": False}


class Lane(Protocol):
    """Answers at once, without ASGI, what only has to be looked up; by the same functions as the routes."""

    @property
    def is_open(self) -> bool:
        """False while every answer has to go the long way."""

    def question(self, scope: Scope) -> Question | None:
        """How to answer a request without a body; None for what may have to wait."""
