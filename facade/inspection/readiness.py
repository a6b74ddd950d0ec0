"""What a server of ours says of how it does: `/readyz`, which is open to everybody. One of before knows less of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from facade.errors import MalformedDocument
from facade.outbound import Outbound, Reply

NOT_READY = 503
"""Of a server that knows nothing yet: its document says why."""


class StoreState(msgspec.Struct, rename="camel", frozen=True):
    text: str
    data_age_seconds: float = 0.0
    waiting: int = 0


class SelfPreservation(msgspec.Struct, rename="camel", frozen=True):
    on: bool
    text: str
    renewals_last_minute: int = 0
    """Of all nodes."""


class Node(msgspec.Struct, rename="camel", frozen=True):
    """A server of those that share a store, as the one that was asked knows it."""

    id: str
    name: str
    is_self: bool = msgspec.field(name="self")
    leads: bool
    missing: bool
    age_seconds: float
    lag_milliseconds: int
    revision: int
    renewals_last_minute: int


class Readiness(msgspec.Struct, rename="camel", frozen=True):
    status: str
    store: StoreState
    self_preservation: Mapping[str, SelfPreservation] = {}
    instances: Mapping[str, int] = {}
    """By the protocol that they were registered in."""
    nodes: tuple[Node, ...] = ()
    revision: int = 0


async def ask_readiness(outbound: Outbound) -> Readiness:
    """Raises StoreUnavailable."""
    return await outbound.ask("GET", "/readyz", _read, accepts=(NOT_READY,))


def _read(reply: Reply) -> Readiness:
    try:
        return _decoder.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedDocument(f"answered {reply.status} to a question for its health") from None


_decoder = msgspec.json.Decoder(Readiness)
