"""What the connections through one doorway share: their limits, who is inside, how many from where, and the sweep.

Time is one deadline for each connection; one sweep a second finds those who are past theirs, and tells of refusals.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

SWEEP_S = 1.0
MORE_HANDSHAKES = 64
"""Of TLS, beyond the connections that there may be: who ends one can be told that there are too many."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may cost us. Times are absolute: a byte now and then buys nobody more."""

    head_bytes: int = 64 * 1024
    fields: int = 100
    body_bytes: int = 4 * 1024 * 1024  # a chunked body pays for its framing too
    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0  # above the 30 s between two renewals, and above the 60 s for which Java pools a connection
    connections: int = 10_000
    connections_per_address: int = 1_000


class Peer(Protocol):
    """One connection, as the hall knows it."""

    loop: asyncio.AbstractEventLoop
    address: str
    deadline: float
    """Loop time at which the sweep loses patience."""

    def expire(self, now: float) -> None:
        """The deadline has passed."""


class Hall:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside: set[Peer] = set()
        self.upgraded: set[Peer] = set()  # websockets: counted, but their time is not ours to limit
        self.by_address: Counter[str] = Counter()
        self.refusals: Counter[tuple[int, str]] = Counter()
        self.last_refused: dict[tuple[int, str], str] = {}  # the address, for each kind of refusal
        self.sweeper: asyncio.TimerHandle | None = None

    def enter(self, peer: Peer) -> str | None:
        """Count a connection in; the answer says what there is too much of, if anything."""
        self.inside.add(peer)
        self.by_address[peer.address] += 1
        if self.sweeper is None:
            self.sweeper = peer.loop.call_later(SWEEP_S, self.sweep, peer.loop)
        if len(self.inside) + len(self.upgraded) > self.limits.connections:
            return "too many connections"
        if self.by_address[peer.address] > self.limits.connections_per_address:
            return "too many connections from this address"
        return None

    def has_place(self, address: str, entering: int, entering_thence: int) -> bool:
        """Whether another one may begin a handshake, beside so many who have not ended theirs."""
        inside = len(self.inside) + len(self.upgraded) + entering
        return (
            inside < self.limits.connections + MORE_HANDSHAKES
            and self.by_address[address] + entering_thence < self.limits.connections_per_address + MORE_HANDSHAKES
        )

    def leave(self, peer: Peer) -> None:
        self.inside.discard(peer)
        self.upgraded.discard(peer)
        self.by_address[peer.address] -= 1
        if not self.by_address[peer.address]:
            del self.by_address[peer.address]

    def upgrade(self, peer: Peer) -> None:
        self.inside.discard(peer)
        self.upgraded.add(peer)

    def note_refusal(self, peer: Peer, status: int, reason: str) -> None:
        """Counted here, told by the sweep: an attack must not become a flood of log lines."""
        self.refusals[status, reason] += 1
        self.last_refused[status, reason] = peer.address

    def sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sweeper = loop.call_later(SWEEP_S, self.sweep, loop)  # first, so that no error below can end the sweeps
        now = loop.time()
        for peer in [peer for peer in self.inside if peer.deadline <= now]:
            peer.expire(now)
        for (status, reason), times in self.refusals.items():
            address = self.last_refused[status, reason]
            log.warning("refused status=%d reason=%r times=%d last_address=%s", status, reason, times, address)
        self.refusals.clear()
        self.last_refused.clear()
        if not self.inside and not self.upgraded:
            self.sweeper.cancel()
            self.sweeper = None
