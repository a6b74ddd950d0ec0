"""For the operators of the server itself: what is wrong, where data lives, and all of it at once (scctl reads that).

In:   one request each. Out: the original's documents, over what we hold: keys as its etcd would have them.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from facade.registry.model import Microservice, ServiceName
from facade.registry.registry import Registry
from facade.servicecenter import wire
from facade.servicecenter.directory import Directory
from facade.servicecenter.documents import Documents
from facade.servicecenter.exchange import OK, Answer, Ask, found
from facade.servicecenter.mapping import OWN_KEY, from_key, from_service
from facade.servicecenter.pace import Pace, large
from facade.servicecenter.records import MicroService, MicroServiceKey
from facade.servicecenter.wire import Code, Refused

BACKEND_REFUSES = "BackendConnectionRefuse"
ANY_VERSION = "0.0.0+"
"""How the original notes a provider: whatever version is asked for, all are meant."""

_CLUSTER = "default"
_ROOT = "/cse-sr"


class _Entry(NamedTuple):
    """One key of the original's store: in which part of a dump it stands, and what it holds."""

    part: str
    key: str
    revision: int
    value: msgspec.Raw | MicroService | dict[str, str] | dict[str, list[MicroServiceKey]] | str

    def encoded(self) -> msgspec.Raw:
        kept = {"key": self.key, "rev": self.revision, "cluster": _CLUSTER}
        return msgspec.Raw(wire.encode(kept | ({"value": self.value} if self.value else {})))


class Admin:
    def __init__(
        self, registry: Registry, directory: Directory, documents: Documents, version: str, stores: tuple[str, ...]
    ) -> None:
        """`stores` say where records live, as people may see it."""
        self._registry = registry
        self._catalogue = registry.catalogue
        self._directory = directory
        self._documents = documents
        self._version = version
        self._stores = stores
        self._alarm = ""
        self._is_cleared = False

    # What is wrong

    async def list_alarms(self, ask: Ask) -> Answer:
        """An alarm stays listed as cleared when its reason is gone, until somebody takes notice of it."""
        health = self._registry.store_health()
        if not health.is_writable:
            self._alarm, self._is_cleared = health.text, False
        elif self._alarm:
            self._is_cleared = True
        if not self._alarm:
            return found({})
        status = "CLEARED" if self._is_cleared else "ACTIVATED"
        return found({"alarms": [{"status": status, "id": BACKEND_REFUSES, "fields": {"detail": self._alarm}}]})

    async def clear_alarms(self, ask: Ask) -> Answer:
        self._alarm = ""
        return OK

    async def syncer_health(self, ask: Ask) -> Answer:
        """There is no syncer. The original answers 500003 then, which looks like a server out of order."""
        return found({"peers": []})

    # Where data lives

    async def clusters(self, ask: Ask) -> Answer:
        return found({"clusters": {_CLUSTER: list(self._stores)}})

    async def dump(self, ask: Ask) -> Answer:
        """Everything of every tenant, which only the default one may see."""
        if ask.tenant != OWN_KEY.tenant:
            raise Refused(Code.FORBIDDEN, "Required admin permission")
        asked = ask.query.get("options", "").strip()
        options = set(asked.split(",")) if asked else {"cache"}
        document: dict[str, object] = {}
        if options & {"all", "info"}:
            document["info"] = version_set(self._version)
        if options & {"all", "cache"}:
            document["cache"] = await self._cache()
        return await large(ask, wire.encode(document))

    async def _cache(self) -> dict[str, list[msgspec.Raw]]:
        pace = Pace()
        parts: dict[str, list[msgspec.Raw]] = {}
        for tenant in self._catalogue.tenants() | {OWN_KEY.tenant}:
            for service in self._directory.each(tenant, with_shared=True):
                for entry in self._entries(service):
                    parts.setdefault(entry.part, []).append(entry.encoded())
                    if pace.is_due:
                        await pace.rest()
        for name in self._catalogue.relied_on():
            consumers = (self._directory.service(consumer) for consumer in self._catalogue.consumers(name))
            rule = {"Dependency": [from_key(one.name, one.alias) for one in consumers if one is not None]}
            key = _rule_key("p", name, ANY_VERSION)
            entry = _Entry("dependencyRules", key, self._registry.revision, rule)
            parts.setdefault(entry.part, []).append(entry.encoded())
            if pace.is_due:
                await pace.rest()
        return parts

    def _entries(self, service: Microservice) -> Iterator[_Entry]:
        name, service_id = service.name, service.key.service_id
        revision = self._catalogue.service_revision(name.unversioned)
        place = f"{name.domain}/{name.project}"
        path = f"{place}/{name.environment}/{name.app}"
        yield _Entry("services", f"{_ROOT}/ms/files/{place}/{service_id}", revision, from_service(service))
        yield _Entry("serviceIndexes", f"{_ROOT}/ms/indexes/{path}/{name.name}/{name.version}", revision, service_id)
        if service.alias:
            alias_key = f"{_ROOT}/ms/alias/{path}/{service.alias}/{name.version}"
            yield _Entry("serviceAliases", alias_key, revision, service_id)
        if service.tags:
            yield _Entry("serviceTags", f"{_ROOT}/ms/tags/{place}/{service_id}", revision, service.tags)
        held = self._catalogue.dependencies(service.key)
        if held is not None and held.providers:
            rule = {"Dependency": [from_key(provider.version(ANY_VERSION)) for provider in held.providers]}
            key = _rule_key("c", name.unversioned, name.version)
            yield _Entry("dependencyRules", key, self._registry.revision, rule)
        for schema in tuple(self._catalogue.schemas_of(service.key)):  # others write meanwhile
            key = f"{_ROOT}/ms/schema-sum/{place}/{service_id}/{schema.key.schema_id}"
            yield _Entry("summaries", key, revision, schema.summary)
        view = self._directory.instances(service.key)
        if view is not None:
            for shown in view.shown:
                key = f"{_ROOT}/inst/files/{place}/{service_id}/{shown.instance.portable_id}"
                yield _Entry("instances", key, view.revision, msgspec.Raw(self._documents.instance(shown).body))


def _rule_key(side: str, name: ServiceName, version: str) -> str:
    path = "/".join((name.domain, name.project, side, name.environment, name.app, name.name, version))
    return f"{_ROOT}/ms/dep-rules/{path}"


def version_set(version: str) -> dict[str, str]:
    return {
        "version": version,
        "buildTag": "registry-facade",
        "os": platform.system().lower(),
        "arch": platform.machine(),
    }
