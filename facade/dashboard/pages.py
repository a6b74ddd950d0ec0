"""How a page is written: in the reader's language, a little at a time, with headers that let nothing foreign in.

Every value of a client is escaped by the templates, and no URL of theirs becomes a link. Nothing here knows what is on
a page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from facade.dashboard.languages import TEXTS, chosen, text_in
from facade.registry.model import Tenant

TURN_S = 0.002

LONGEST_QUESTION = 100

CONTENT_SECURITY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser would not even tell us that it is our own form that it sends.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_Piece = TypeVar("_Piece")


class Asked(NamedTuple):
    """What the address of a page says: it holds all that there is to know of a reader."""

    path: str
    query: dict[str, str]
    accepted_languages: str
    server: str
    """By the address that the reader used: every port serves everything, so it is right for clients too."""

    @classmethod
    def of(cls, request: Request) -> Asked:
        # The path is the scope's: a client can make `request.url` say something else.
        headers = request.headers
        return cls(
            path=request.scope["path"],
            query=dict(request.query_params),
            accepted_languages=headers.get("accept-language", ""),
            server=f"{request.scope['scheme']}://{headers.get('host', '127.0.0.1:8761')}",
        )

    @property
    def language(self) -> str:
        return chosen(self.query.get("lang", ""), self.accepted_languages)

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.query.get("domain") or "default", self.query.get("project") or "default")

    @property
    def wanted(self) -> str:
        """What is searched for, under the name that each page has for it."""
        return (self.query.get("filter") or self.query.get("q") or "")[:LONGEST_QUESTION]

    @property
    def page(self) -> int:
        """From 1 on; whatever is no number is the first."""
        stated = self.query.get("page", "")[:9]
        return max(int(stated), 1) if stated.isascii() and stated.isdigit() else 1

    def link(self, path: str, /, **query: object) -> str:
        """An address on this server that keeps the tenant and the language of this page."""
        kept = {name: self.query[name] for name in ("domain", "project", "lang") if self.query.get(name)}
        stated = {name: str(value) for name, value in (kept | query).items() if value not in ("", None)}
        return quote(path) + (f"?{urlencode(stated)}" if stated else "")

    def same(self, /, **query: object) -> str:
        """This page, with something else asked of it."""
        return self.link(self.path, **(self.query | query))


class Pages:
    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"clock": _clock, "moment": _moment, "json": _json}

    async def write(self, template: str, asked: Asked, status: int = 200, **shown: Any) -> Response:
        """The whole page, made while others have their turn: all of 10 000 instances takes half a second."""
        language = asked.language
        pieces = self._templates.get_template(template).generate(
            asked=asked,
            base=asked.server,
            language=language,
            languages=[(name, texts["language"]) for name, texts in TEXTS.items()],
            link=asked.link,
            t=text_in(language),
            **shown,
        )
        made = "".join(await in_turns(pieces))
        headers = PAGE_HEADERS | {"Content-Language": language, "Vary": "Accept-Language"}
        return Response(made, status, media_type="text/html", headers=headers)


async def in_turns(pieces: Iterable[_Piece]) -> list[_Piece]:
    """All of something that takes long, made while others have their turn."""
    made, until_s = [], time.monotonic() + TURN_S
    for piece in pieces:
        made.append(piece)
        if time.monotonic() >= until_s:
            await asyncio.sleep(0)
            until_s = time.monotonic() + TURN_S
    return made


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S")


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _moment(at_ms: int) -> str:
    """A whole date; nothing where there is none. What came from another server may be any number."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at_ms > 0 else ""
    except (OverflowError, ValueError, OSError):
        return ""
