"""One answer ready to send: bytes made once, shared by all who ask for the same thing."""

from __future__ import annotations

import msgspec


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """One document in one representation. Plain and gzipped are two of them, each made when somebody asks for it."""

    body: bytes
    content_type: str
    is_gzipped: bool = False
    revision: int = 0
    """The registry's revision that the body shows."""
