"""One answer ready to send: bytes made once, shared by all who ask for the same thing."""

from __future__ import annotations

import msgspec


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """The body in one representation. `gzipped` is None for a body that is not worth it, or not asked for yet."""

    body: bytes
    content_type: str
    gzipped: bytes | None = None
    revision: int = 0
    """The registry's revision that the body shows."""
