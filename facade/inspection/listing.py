"""Documents of either protocol -> one neutral listing, in which the same instance looks alike whoever tells of it.

Names are flat and upper case (N6); ids are those of an instance's own protocol, also where the other one tells of it;
reserved keys are read and left out. The registries' own entries are no part of a listing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from facade.eureka.records import InstanceInfo
from facade.inspection.contents import Contents, HeldService, is_eureka_born, is_implied, is_servicecenter_born
from facade.inspection.unpacking import key_of, unpacked
from facade.registry.model import Origin, ServiceKey, Status
from facade.registry.rules import MARKS, Policy
from facade.servicecenter.mapping import flat_name, to_status
from facade.servicecenter.records import MicroService, MicroServiceInstance

_OWN_NAMES = frozenset({"SERVICECENTER", "REGISTRY-FACADE", "EUREKA"})
"""How a ServiceCenter, we, and a Eureka server list themselves."""
_OWN_APP = "registry-facade"
"""The app of our own services at a ServiceCenter."""

_ADDED_BY_PROJECTION = frozenset({"version", "zone", "region", "contextPath"})
"""Metadata that a ServiceCenter-born instance has in Eureka's documents beside its owner's (docs/mapping.md 5.4)."""


class ListedInstance(NamedTuple):
    environment: str
    name: str
    """Flat and upper case, as Eureka lists it."""
    instance_id: str
    origin: Origin
    """The protocol by which its owner registered it."""
    told_by: Origin
    """The protocol of the document that this was read from."""
    status: Status
    addresses: frozenset[str]
    """host:port, as its owner stated them; of a Eureka-born one in a ServiceCenter it is the one endpoint that fits."""
    aliases: frozenset[str]
    """The same addresses by host name."""
    metadata: dict[str, str]

    @property
    def spots(self) -> frozenset[str]:
        return self.addresses | self.aliases

    @property
    def is_callable(self) -> bool:
        """Whether Eureka could list it: it has an address that speaks HTTP."""
        return bool(self.addresses)


class ListedService(NamedTuple):
    environment: str
    app: str
    name: str
    version: str
    properties: dict[str, str]
    tags: dict[str, str]
    schemas: dict[str, str]
    """Text by id; a declared id without content has an empty one."""


class Listing(NamedTuple):
    instances: tuple[ListedInstance, ...]
    services: tuple[ListedService, ...]


def listing_of(contents: Contents, policy: Policy) -> Listing:
    """The policy says which apps go by their bare name in Eureka."""
    contents = unpacked(contents, policy)
    owned = [held for held in contents.services if not is_own_service(held.document)]
    instances = [
        *(_from_eureka(one.document, one.environment) for one in contents.applications if not is_own(one.document)),
        *_from_servicecenter(owned, policy.plain_apps),
    ]
    services = (_to_service(held) for held in owned if not is_implied(held.document))
    return Listing(
        tuple(sorted(instances, key=lambda one: one[:3])),
        tuple(sorted(services, key=lambda one: one[:4])),
    )


def told_service(service: ListedService | ServiceKey) -> str:
    """One service, for people."""
    within = f" (environment {service.environment})" if service.environment else ""
    return f"service {service.app}/{service.name} {service.version}{within}"


def is_own(info: InstanceInfo) -> bool:
    """Whether a registry tells of itself."""
    return info.app in _OWN_NAMES or info.app.startswith(f"{_OWN_APP.upper()}.")


def is_own_service(service: MicroService) -> bool:
    return service.app_id == _OWN_APP or service.service_name.upper() in _OWN_NAMES


def _from_eureka(info: InstanceInfo, environment: str) -> ListedInstance:
    is_foreign = is_servicecenter_born(info)
    metadata = _without_reserved(info.metadata)
    stated = info.metadata.get("_sc.endpoints", "") if is_foreign else ""
    ports = [port.number for port in (info.port, info.secure_port) if port.is_enabled]
    by_address = frozenset(f"{_bare(info.ip_addr)}:{port}" for port in ports if info.ip_addr)
    by_name = frozenset(f"{_bare(info.host_name)}:{port}" for port in ports if info.host_name)
    return ListedInstance(
        environment=info.metadata.get("_sc.env", environment),
        name=info.app.upper(),
        instance_id=info.effective_id,
        origin=Origin.SERVICECENTER if is_foreign else Origin.EUREKA,
        told_by=Origin.EUREKA,
        status=_read_status(info.metadata.get("_sc.status") if is_foreign else None, info.status),
        addresses=_endpoint_addresses(_read_endpoints(stated)) or by_address or by_name,
        aliases=by_address | by_name,
        metadata=metadata,
    )


def _from_servicecenter(services: Iterable[HeldService], plain_apps: frozenset[str]) -> Iterator[ListedInstance]:
    for held in services:
        name = flat_name(key_of(held.document), plain_apps)
        for instance in held.instances:
            yield _to_instance(instance, held.document.environment, name)


def _to_instance(instance: MicroServiceInstance, environment: str, name: str) -> ListedInstance:
    is_foreign = is_eureka_born(instance)
    told = instance.properties if is_foreign else {}
    return ListedInstance(
        environment=environment,
        name=told.get("_eureka.app", name).upper(),
        instance_id=told.get("_eureka.instanceId", instance.instance_id),
        origin=Origin.EUREKA if is_foreign else Origin.SERVICECENTER,
        told_by=Origin.SERVICECENTER,
        status=_read_status(told.get("_eureka.status"), to_status(instance.status or "UP")),
        addresses=_endpoint_addresses(instance.endpoints),
        aliases=frozenset(),
        metadata=_without_reserved(instance.properties),
    )


def _to_service(held: HeldService) -> ListedService:
    key = key_of(held.document)
    contents = {schema.schema_id: schema.schema for schema in held.schemas}
    return ListedService(
        key.environment,
        key.app,
        key.name,
        key.version,
        _without_reserved(held.document.properties),
        held.tags,
        dict.fromkeys(held.document.schemas, "") | contents,
    )


def _read_status(told: str | None, shown: Status) -> Status:
    """What its own protocol calls it, where the other one has no word for that."""
    return Status(told) if told in set(Status) else shown


def _read_endpoints(told: str) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(told, type=tuple[str, ...]) if told else ()
    except msgspec.MsgspecError:
        return ()


def _endpoint_addresses(endpoints: Iterable[str]) -> frozenset[str]:
    return frozenset(address for endpoint in endpoints if (address := _http_address(endpoint)))


def _http_address(endpoint: str) -> str:
    """host:port of an endpoint that speaks HTTP, else ""."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("rest", "http", "https") or port is None or not parts.hostname:
        return ""
    return f"{parts.hostname}:{port}"


def _bare(host: str | None) -> str:
    return (host or "").removeprefix("[").removesuffix("]").lower()


def _without_reserved(metadata: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if not name.startswith(MARKS)}


def comparable_metadata(one: ListedInstance, other: ListedInstance) -> dict[str, str]:
    """The metadata of `one` without what only its being told in a foreign protocol put there."""
    if one.origin is one.told_by:
        return one.metadata
    added = _ADDED_BY_PROJECTION - other.metadata.keys()
    return {name: value for name, value in one.metadata.items() if name not in added}
