"""What stores/upstream.py asks of the registry behind us: one contract, one module for each protocol.

A backend speaks records to the one side and its protocol to the other. It decides nothing: which of two states is
right, what waits, what is believed is decided in `mirror.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from facade.registry.model import Instance, Origin, Record, RecordKey


class Seen(NamedTuple):
    """What the registry behind us holds, as one reading found it."""

    records: Mapping[RecordKey, Record]
    """All of it, each as the record it is to us. The backend goes on using this mapping: look, do not keep."""
    changed: Collection[RecordKey] | None
    """Keys that may differ from the reading before, gone ones included; None: compare all."""


class Backend(Protocol):
    """Any call may raise StoreUnavailable: nobody answered in a way to rely on, and nothing is known."""

    origin: Origin
    """The protocol it speaks."""

    title: str
    """For people: `ServiceCenter at http://10.0.0.5:30100`, without credentials."""

    lag_s: float
    """How long after a write of ours a reading may still show what was before."""

    whole_every_s: float
    """How often all is read anew, in case the quick readings between have missed something."""

    lookup: Callable[[RecordKey], Record | None]
    """What we hold under a key; set by the mirror. An instance may need its service to be written in full."""

    def cluster_of(self, record: Instance) -> str:
        """The bridge that wrote an instance there as a copy, as its marks say; "" where they name none."""

    def takes(self, key: RecordKey) -> bool:
        """Whether records of this kind can be kept there at all."""

    @property
    def truncated(self) -> int:
        """Instances that it holds only in part, because they are too large for it."""

    def expect(self, keys: Iterable[RecordKey]) -> None:
        """What we hold from before the first reading: it tells whose records to ask for."""

    def rebuilt(self) -> Collection[Record]:
        """Records of kinds that it does not take, as far as they can be told from those it holds."""

    async def read(self, *, is_whole: bool) -> Seen:
        """What it holds now. `is_whole` trusts nothing that was read before."""

    async def put(self, record: Record, before: Record | None) -> None:
        """Insert or replace; `before` is what it is known to hold, None when nothing is known.

        Raises UpstreamRefused when it does not take such a record, now or later: its words say why.
        """

    async def remove(self, record: Record) -> None:
        """End a record; one that is gone already is no error."""

    async def renew(self, instances: Sequence[Instance]) -> Collection[Instance]:
        """Renew their leases; returns those that it does not know."""

    async def holds(self, record: Record) -> bool:
        """Asked live, past all its caches."""

    def as_kept(self, record: Record) -> Record:
        """The record as a reading would show it, were it written now: less what does not fit there. Pure.

        Raises UpstreamRefused for an instance that does not fit at all.
        """

    def lost(self, record: Instance) -> str:
        """What of an instance that it takes cannot be kept or seen there, for people; empty when nothing is. Pure."""

    async def watch(self, hint: Callable[[], None]) -> None:
        """Call `hint` whenever something may have changed there; runs until cancelled, and may do nothing at all."""

    async def close(self) -> None: ...
