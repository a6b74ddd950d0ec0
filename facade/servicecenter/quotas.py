"""How much one tenant may register. Counted exactly, at the moment of writing, and a repeat is never refused.

The original looks at a count that lags, before it looks whether the record is there: at its limit even what exists is
refused, and requests at the same time pass it together. What is shared counts in neither.
Source: servicecomb-service-center, server/plugin/quota/buildin/buildin.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from facade.registry.model import InstanceKey, Microservice, Origin, Tenant
from facade.registry.registry import Registry
from facade.servicecenter.directory import Directory
from facade.servicecenter.wire import Code, Refused


@dataclass(frozen=True, kw_only=True)
class Quotas:
    services: int = 50_000
    """Of a tenant, each version for itself."""
    instances: int = 150_000
    """Of a tenant. Applications with flat names have none of their own to pay for."""
    schemas: int = 100
    """Of a service."""
    tags: int = 100
    """Of a service."""


class Counting:
    """What is there, and what is about to be."""

    def __init__(self, registry: Registry, directory: Directory, quotas: Quotas) -> None:
        self.quotas = quotas
        self._catalogue = registry.catalogue
        self._directory = directory
        self._entering: Counter[InstanceKey] = Counter()

    def admit_service(self, service: Microservice) -> None:
        """To be asked when the service is about to be written, in the turn of its tenant. Raises Refused."""
        if self._directory.is_shared(service):
            return
        tenant = service.key.tenant
        shared = len(self._directory.shared(tenant))
        _admit("SERVICE", self.quotas.services, len(self._catalogue.services(tenant)) - shared)

    def admit_schema(self, service: Microservice, schema_id: str) -> None:
        """Raises Refused."""
        if schema_id not in service.schemas:
            _admit("SCHEMA", self.quotas.schemas, len(set(service.schemas)))

    @contextmanager
    def entering(self, key: InstanceKey, service: Microservice) -> Iterator[None]:
        """Around the registration of an instance. Raises Refused."""
        if key not in self._catalogue.leases and not self._directory.is_shared(service):
            _admit("INSTANCE", self.quotas.instances, self._instances(service.key.tenant, key))
        self._entering[key] += 1
        try:
            yield
        finally:
            self._entering[key] -= 1
            if not self._entering[key]:
                del self._entering[key]

    def _instances(self, tenant: Tenant, newcomer: InstanceKey) -> int:
        """Those that are listed, and those on their way into the store; but for the newcomer."""
        shared = sum(len(self._catalogue.in_service(service.key)) for service in self._directory.shared(tenant))
        coming = sum(
            key.space.tenant == tenant and key != newcomer and key not in self._catalogue.leases
            for key in self._entering
        )
        return self._catalogue.count(Origin.SERVICECENTER, tenant) - shared + coming


def _admit(what: str, most: int, held: int) -> None:
    if held + 1 > most:
        raise Refused(
            Code.NOT_ENOUGH_QUOTA, f"no quota to create {what}, max num is {most}, curNum is {held}, apply num is 1"
        )
