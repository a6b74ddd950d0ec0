"""A store that several servers share, for what is shown of them: one server's memory, and a list to be written."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from facade.clock import Clock
from facade.registry.model import InstanceKey, Origin
from facade.registry.store import NodeHealth
from facade.stores.memory import MemoryStore


class SharedStore(MemoryStore):
    """Its own cluster. Nobody's turn ever comes to end a lease."""

    def __init__(self, clock: Clock, *nodes: NodeHealth) -> None:
        super().__init__(clock)
        self.listed = nodes

    @property
    def cluster(self) -> SharedStore:  # type: ignore[override]  # never None here
        return self

    def nodes(self) -> Sequence[NodeHealth]:
        return self.listed

    def renewals_elsewhere(self, _origin: Origin) -> int:
        return 0

    def note_told(self, until_s: float) -> None: ...

    async def lapsed(self) -> Collection[InstanceKey]:
        return ()


def node(name: str, **changes: object) -> NodeHealth:
    """One that is well and was heard a second ago."""
    found = NodeHealth(
        id=f"id-of-{name}",
        name=name,
        is_self=False,
        leads=False,
        is_missing=False,
        age_s=1.0,
        lag_ms=3,
        revision=7,
        renewals_last_minute=120,
    )
    return found._replace(**changes)  # type: ignore[arg-type]  # as the record has them
