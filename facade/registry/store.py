"""The Store contract: where records are kept, and the one way that the registry hears of changes.

The registry decides what to write; the store makes it last, numbers it, and tells the follower, in order. Own
writes and the writes of other nodes reach the registry by that same road.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from facade.registry.model import Cause, InstanceKey, Origin, Record, RecordKey, Revision


class Put(NamedTuple):
    """Insert or replace one record."""

    record: Record
    cause: Cause = Cause.REGISTERED
    is_replicated: bool = False
    """Told by a peer: not to be passed on to others."""


class Remove(NamedTuple):
    """End one record. Removing what is not there is no error and no change."""

    key: RecordKey
    cause: Cause = Cause.CANCELLED
    is_replicated: bool = False


Write = Put | Remove


def key_of(write: Write) -> RecordKey:
    return write.record.key if isinstance(write, Put) else write.key


class Commit(NamedTuple):
    """Writes that became true together; none when only the number has moved, so that all nodes are at the same."""

    revision: Revision
    at_ms: int
    writes: tuple[Write, ...]


Follower = Callable[[Commit], None]


class Snapshot(NamedTuple):
    """All that the store holds."""

    epoch: str
    """Names one unbroken history. Revisions of different epochs say nothing about each other."""
    revision: Revision
    records: Sequence[Record]


class StoreHealth(NamedTuple):
    is_writable: bool
    text: str
    """One line for a person: what it is and how it does."""
    waiting: int = 0
    """Writes that were answered and wait for a registry behind us to come back."""
    parked: int = 0
    """Instances that a registry behind us does not take: only we list them."""
    doubted: int = 0
    """Records that are gone behind us and shown all the same, because too many went at once."""
    restored: int = 0
    """Records that a shared store had lost and that this server has put back, since it began."""
    trouble: str = ""
    """Why it cannot be reached, for whoever wanted no more than that; empty while it can."""


class PeerHealth(NamedTuple):
    """How another server is told what we hear."""

    url: str
    is_available: bool
    waiting: int
    """Instances of which it has not been told something yet."""
    age_s: float
    """How long the first of them has waited."""
    text: str


class NodeHealth(NamedTuple):
    """One server of those that share a store, as the others see it."""

    id: str
    """Drawn at its start: a restarted server is another node."""
    name: str
    """host:port of its first address."""
    is_self: bool
    leads: bool
    """Whether it is its turn to end lapsed leases."""
    is_missing: bool
    """Gone without a word: what its clients renew may not reach us, so leases that it heard last are kept."""
    age_s: float
    """Since its last sign."""
    lag_ms: int
    """Between a change and its being shown there, as last measured."""
    revision: Revision
    renewals_last_minute: int


class Cluster(Protocol):
    """What a store that several nodes share does beyond the Store contract: it keeps the leases of all of them."""

    def nodes(self) -> Sequence[NodeHealth]:
        """All that are known, this one first."""

    def renewals_elsewhere(self, origin: Origin) -> int:
        """Renewals in the last minute that other nodes have heard."""

    def note_told(self, until_s: float) -> None:
        """All renewals that this node has heard until then, on its monotonic clock, have been told by `renew`."""

    async def lapsed(self) -> Collection[InstanceKey]:
        """Leases past their deadline by the store's own clock, when it is this node's turn to end them; else nothing.
        Ends none: `Remove` with `Cause.LAPSED` does, unless somebody has renewed in between."""


class Store(Protocol):
    """Keeps records. Any method but `health` may raise StoreUnavailable; nothing of a failed write is ever visible.

    A write returns the revision it made. Revisions grow by one per commit or more and are never reused; renewals make
    none, for no reader can see one. All calls and the follower run on one event loop.
    """

    @property
    def cluster(self) -> Cluster | None:
        """None: nobody but this node writes here."""

    @property
    def data_age_s(self) -> float:
        """How old what it shows may be; 0 while it is not."""

    @property
    def has_data(self) -> bool:
        """False: a registry behind us could not be read yet, so an empty answer would be a lie."""

    def keeps_lease(self, key: InstanceKey) -> bool:
        """Whether the store ends this lease itself and tells the follower: then the registry leaves it alone."""

    async def open(self, follower: Follower) -> Snapshot:
        """Everything held now; `follower` hears of each commit from here on, in order, exactly once.
        Raises StartRefused when what is there cannot be used."""

    async def write(self, writes: Sequence[Write]) -> Revision:
        """Make all of these true, or none. The follower has heard of them before this returns.
        Raises Overtaken when another node has written one of these records and the caller decided without knowing."""

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        """Prolong many leases at once, by what remains of each term from now; return the keys that it does not hold."""

    def health(self) -> StoreHealth: ...

    async def close(self) -> None:
        """Flush and let go. Nothing acknowledged is lost when this is never called."""
