"""What a peer has not been told yet. No I/O.

In:     of an instance, what happened: registered, renewed, cancelled, overridden.
Out:    batch items that say how things are when they are told, not how they were when they happened.
Rules:  one place in the row for each instance, by what happened to it first, so that nobody who renews fast holds up
        others; of an instance each thing once, in the order of the latest of each.
Source: Netflix/eureka, PeerEurekaNode and its task dispatchers, which queue each event apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from facade.clock import Clock
from facade.eureka.mapping import from_instance
from facade.eureka.records import BatchItem
from facade.registry.catalogue import Catalogue
from facade.registry.model import InstanceKey, Status

REGISTER = "Register"
HEARTBEAT = "Heartbeat"
CANCEL = "Cancel"
OVERRIDE = "StatusUpdate"
"""An override began or ended; which of them is told depends on how it is then."""
OVERRIDE_ENDED = "DeleteStatusOverride"

BATCH = 250
"""Items in one call: as many as the original sends, and has to answer within 200 ms by Spring's time limit."""
MOST_WAITING = 50_000
"""Instances. Of those that wait longest nothing is told any more; a renewal finds out what the peer has missed."""
CANCEL_KEPT_S = 30.0
"""A later Cancel might end an instance that has registered with the peer meanwhile. Source: maxTimeForReplication."""

ENDED_KEPT = 10_000
"""Ends that are remembered while a list is taken over; anybody can end what is not there."""

_Happened = dict[str, float]
"""Action to the moment when it first happened and was not told."""


class Taken(NamedTuple):
    """Items to tell now, with the key of each, and what they were made from."""

    items: list[BatchItem]
    keys: list[InstanceKey]
    happened: dict[InstanceKey, _Happened]


class Waiting:
    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._happened: dict[InstanceKey, _Happened] = {}

    def __len__(self) -> int:
        """Instances of which something is to be told."""
        return len(self._happened)

    @property
    def age_s(self) -> float:
        """How long the first has waited; 0 when none does."""
        first = next(iter(self._happened.values()), None)
        return self._clock.monotonic_s() - min(first.values()) if first else 0.0

    def add(self, key: InstanceKey, action: str, since_s: float | None = None) -> None:
        happened = self._happened.get(key)
        if happened is None:
            happened = self._happened[key] = {}
            if len(self._happened) > MOST_WAITING:
                del self._happened[next(iter(self._happened))]
        if action == HEARTBEAT and REGISTER in happened:  # which begins a lease
            return
        since_s = self._clock.monotonic_s() if since_s is None else since_s
        if action == CANCEL:
            happened.clear()
        elif action == REGISTER:
            happened.pop(HEARTBEAT, None)
        happened[action] = min(happened.pop(action, since_s), since_s)

    def take(self) -> Taken:
        """The next batch; empty when nothing waits."""
        taken = Taken([], [], {})
        while self._happened and len(taken.items) <= BATCH - 4:  # an instance has four items at most
            key = next(iter(self._happened))
            happened = taken.happened[key] = self._happened.pop(key)
            for item in self._items(key, happened):
                taken.items.append(item)
                taken.keys.append(key)
        return taken

    def put_back(self, taken: Taken) -> None:
        """It was not told after all: it comes first, and what has happened since comes on top."""
        later, self._happened = self._happened, taken.happened
        self._add_all(later)

    def add_from(self, other: Waiting) -> None:
        """What waits there waits here, too."""
        self._add_all(other._happened)

    def _add_all(self, later: Mapping[InstanceKey, _Happened]) -> None:
        for key, happened in later.items():
            for action, since_s in happened.items():
                self.add(key, action, since_s)

    def _items(self, key: InstanceKey, happened: _Happened) -> Iterator[BatchItem]:
        held = self._catalogue.instance(key)
        for action, since_s in happened.items():
            if action == CANCEL:
                is_new = self._clock.monotonic_s() - since_s <= CANCEL_KEPT_S
                if is_new and (held is None or REGISTER in happened):
                    yield BatchItem(action=CANCEL, app_name=key.group, instance_id=key.instance_id)
                continue
            info = from_instance(held, self._catalogue.lease(key)) if held is not None else None
            if info is None:
                continue
            status = info.status
            if action == OVERRIDE and info.overridden_status is Status.UNKNOWN:
                action = OVERRIDE_ENDED
            elif action == OVERRIDE:  # not what shows: an owner that is DOWN stays so whatever an operator says
                status = info.overridden_status
            yield BatchItem(
                action=action,
                app_name=key.group,
                instance_id=key.instance_id,
                last_dirty_ms=info.last_dirty_ms,
                overridden_status=info.overridden_status if action == HEARTBEAT else Status.UNKNOWN,
                status=status,
                instance_info=info if action == REGISTER else None,
            )


class Backlog:
    """What some server has not heard."""

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self.waiting = Waiting(catalogue, clock)
        self.ended: dict[InstanceKey, None] | None = {}
        """What has ended here; None once its list is taken over. Lists may be half a minute old."""

    def tell(self, key: InstanceKey, action: str) -> None:
        self.waiting.add(key, action)

    def note_renewal(self, key: InstanceKey) -> None:
        self.waiting.add(key, HEARTBEAT)

    def note_end(self, key: InstanceKey) -> None:
        if self.ended is not None:
            self.ended[key] = None
            if len(self.ended) > ENDED_KEPT:
                del self.ended[next(iter(self.ended))]

    def take_over(self, earlier: Backlog) -> None:
        self.waiting.add_from(earlier.waiting)
        self.ended = dict(earlier.ended or {})
