"""The tenants of a ServiceCenter that are read: it lists none, so they are those that a record has named.

Rules:  one is read from the first write there that was taken, or because we hold records of it from before; never for
        having been asked for. After a while without any record it is left. What a server refuses of one tenant says
        nothing of the others: its records stay as they were. There are only so many.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from facade.clock import Clock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.registry.model import Instance, InstanceKey, Record, RecordKey, SchemaId, ServiceId, ServiceName, Tenant
from facade.registry.rules import Policy
from facade.servicecenter.client import ReadingRefused, ServiceCenterClient, check_tenant
from facade.servicecenter.wire import Code
from facade.stores.reading_servicecenter import Reading

MOST_TENANTS = 100
"""Each costs two calls a second."""
EMPTY_FOR_S = 600.0
"""So long one without records is still read: an application that restarts behind us comes back in less."""

log = logging.getLogger(__name__)

Lookup = Callable[[RecordKey], Record | None]


class Tenants:
    def __init__(self, client: ServiceCenterClient, policy: Policy, clock: Clock) -> None:
        self._client = client
        self._policy = policy
        self._clock = clock
        self._records: dict[RecordKey, Record] = {}
        self._expected: dict[Tenant, set[RecordKey]] = {}
        """Of tenants that were never read: what we hold of them."""
        self._needed_s: dict[Tenant, float] = {}
        """When each that is read had a record, or was written, last."""
        self._refused: dict[Tenant, str] = {}
        self._writers = Counter[Tenant]()
        self._readings: dict[Tenant, Reading] = {}
        """Of those that are read, and of those where a first write is under way."""
        self._follow(Tenant())

    @property
    def names(self) -> Collection[ServiceName]:
        return {name for reading in self._readings.values() for name in reading.names}

    @property
    def truncated(self) -> int:
        return sum(len(reading.truncated) for reading in self._readings.values())

    def cluster_of(self, record: Instance) -> str:
        reading = self._readings.get(record.key.space.tenant)
        return reading.clusters.get(record.key, "") if reading is not None else ""

    def expect(self, keys: Iterable[RecordKey]) -> None:
        """What we hold from before: where that is of too many tenants, those with the most of it are read."""
        held = defaultdict[Tenant, set[RecordKey]](set, {Tenant(): set()})
        for key in keys:
            held[tenant_of(key)].add(key)
        ranked = sorted(filter(is_sayable, held), key=lambda tenant: (tenant != Tenant(), -len(held[tenant])))
        for tenant in ranked[:MOST_TENANTS]:
            self._expected[tenant] = held[tenant]
            self._follow(tenant)
        if ranked[MOST_TENANTS:]:
            log.error("too many tenants, some are not read tenants=%s", ranked[MOST_TENANTS:])

    def of(self, tenant: Tenant) -> Reading:
        """What is known of a tenant: nothing of one that is not read."""
        return self._readings.get(tenant) or Reading(self._client, tenant, self._policy, {})

    @contextmanager
    def writing(self, tenant: Tenant) -> Iterator[None]:
        """Around a write: when it succeeds, the tenant is read from now on. Raises UpstreamRefused."""
        check_tenant(tenant)
        if tenant not in self._readings:
            self._add(tenant)
        self._writers[tenant] += 1
        try:
            yield
            self._needed_s[tenant] = self._clock.monotonic_s()
        finally:
            self._writers[tenant] -= 1
            if not self._writers[tenant]:
                del self._writers[tenant]
                if tenant not in self._needed_s:
                    del self._readings[tenant]

    # Reading

    async def refresh(self, lookup: Lookup, *, is_whole: bool) -> tuple[Mapping[RecordKey, Record], set[RecordKey]]:
        """All records that there are now, and which have changed since. Raises StoreUnavailable."""
        followed = {tenant: self._readings[tenant] for tenant in list(self._needed_s)}
        for tenant, reading in followed.items():
            await self._refresh(tenant, reading, lookup, is_whole=is_whole)
        if self._refused.keys() == followed.keys():
            raise StoreUnavailable("; ".join(self._refused.values()))
        changed = {key for reading in followed.values() for key in reading.changed}
        for reading in followed.values():
            reading.changed.clear()
        self._leave_empty()
        return self._records | self._held_of_unread(lookup) if self._expected else self._records, changed

    async def _refresh(self, tenant: Tenant, reading: Reading, lookup: Lookup, *, is_whole: bool) -> None:
        try:
            await reading.refresh(lookup, is_whole=is_whole)
        except (UpstreamRefused, ReadingRefused) as error:
            if tenant not in self._refused:
                log.error("one tenant cannot be read, its records stay as they were tenant=%s reason=%s", tenant, error)
            self._refused[tenant] = str(error)
            return
        self._refused.pop(tenant, None)
        self._expected.pop(tenant, None)
        if not reading.is_empty:
            self._needed_s[tenant] = self._clock.monotonic_s()

    def _held_of_unread(self, lookup: Lookup) -> dict[RecordKey, Record]:
        held = ((key, lookup(key)) for keys in self._expected.values() for key in keys)
        return {key: record for key, record in held if record is not None}

    def _leave_empty(self) -> None:
        since_s = self._clock.monotonic_s() - EMPTY_FOR_S
        for tenant in [one for one, needed_s in self._needed_s.items() if needed_s < since_s]:
            if tenant != Tenant() and tenant not in self._refused and not self._writers[tenant]:
                log.info("no longer read, it has had no records for %.0f s tenant=%s", EMPTY_FOR_S, tenant)
                del self._needed_s[tenant], self._readings[tenant]

    # Which there are

    def _follow(self, tenant: Tenant) -> None:
        if tenant not in self._readings:
            self._add(tenant)
        self._needed_s[tenant] = self._clock.monotonic_s()

    def _add(self, tenant: Tenant) -> None:
        if len(self._readings) >= MOST_TENANTS:
            raise UpstreamRefused(f"more than {MOST_TENANTS} tenants: {tenant} is not kept", Code.INVALID_PARAMETERS)
        self._readings[tenant] = Reading(self._client, tenant, self._policy, self._records)


def tenant_of(key: RecordKey) -> Tenant:
    match key:
        case InstanceKey():
            return key.space.tenant
        case SchemaId():
            return key.service.tenant
        case ServiceId():
            return key.tenant
    raise AssertionError(f"{key} names no record that is kept there")


def is_sayable(tenant: Tenant) -> bool:
    """Whether calls can name it."""
    try:
        check_tenant(tenant)
    except UpstreamRefused:
        return False
    return True
