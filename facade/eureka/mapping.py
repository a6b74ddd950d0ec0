"""Eureka's records <> the registry's model. Pure functions; what each field becomes is stated in docs/mapping.md.

An instance that was born here keeps its whole document in `native`, so the way there and back is exact. One that was
born in ServiceCenter is shown as a Eureka client would have registered it, from the neutral fields alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.structs import replace

from facade.eureka.records import Action, DataCenterInfo, InstanceInfo, LeaseInfo, Port
from facade.eureka.wire import RegistrationRefused
from facade.registry.leases import Lease
from facade.registry.model import DataCentre, Instance, InstanceKey, LeaseTerms, Origin, ServiceKey, Space, Status
from facade.registry.rules import Policy, is_shared, ordinary

_SERVICE_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_\-.]{0,126}[a-zA-Z0-9])?")
_NOT_IN_SERVICE_NAME = re.compile(r"[^a-zA-Z0-9_\-.]")
_DATA_CENTRE_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_UNROUTABLE = ("0.0.0.0", "::", "")  # noqa: S104  an address that only its owner can use

_THE_REGISTRY_ITSELF = "SERVICECENTER"
"""How a real ServiceCenter lists itself. Nobody calls it through a registry."""

_decode_native = msgspec.json.Decoder(InstanceInfo).decode
_encode = msgspec.json.Encoder().encode


# Eureka's document -> the registry's record


def check(info: InstanceInfo, application: str) -> None:
    """Refuse what no client could use, in the original's words and order.

    Source: Netflix/eureka, ApplicationResource.addInstance.
    """
    if not info.effective_id:
        raise RegistrationRefused("Missing instanceId")
    if not info.host_name:
        raise RegistrationRefused("Missing hostname")
    if not info.ip_addr:
        raise RegistrationRefused("Missing ip address")
    if not info.app:
        raise RegistrationRefused("Missing appName")
    if info.app != application:
        raise RegistrationRefused(f"Mismatched appName, expecting {application} but was {info.app}")
    if info.data_center_info is None:
        raise RegistrationRefused("Missing dataCenterInfo")
    if info.data_center_info.name is None:
        raise RegistrationRefused("Missing dataCenterInfo Name")


def to_instance(info: InstanceInfo, space: Space, policy: Policy, now_ms: int, source_address: str = "") -> Instance:
    """A registration that has been checked, as the record to register."""
    instance_id = info.effective_id
    return Instance(
        key=InstanceKey(Origin.EUREKA, space, info.app, instance_id),
        application=info.app,
        service=ServiceKey(
            space.domain, space.project, space.environment, policy.eureka_app, natural_name(info), policy.eureka_version
        ),
        portable_id=hashlib.sha256(f"eureka\0{info.app}\0{instance_id}".encode()).hexdigest()[:32],
        host=info.host_name or "",
        endpoints=_to_endpoints(info),
        metadata=ordinary(info.metadata, policy),
        data_centre=_to_data_centre(info),
        status=info.status,
        reported=info.status,
        override=None if info.overridden_status is Status.UNKNOWN else info.overridden_status,
        lease=to_lease_terms(info.lease_info, policy),
        dirty_ms=now_ms if info.last_dirty_ms is None else info.last_dirty_ms,
        source_address=source_address,
        native=_to_native(info, instance_id),
    )


def with_metadata(instance: Instance, changes: dict[str, str]) -> Instance:
    """An instance with some metadata added or replaced; all else stays, also what follows from the other metadata."""
    merged = instance.metadata | changes
    if merged == instance.metadata:
        return instance
    if instance.key.origin is not Origin.EUREKA:
        return replace(instance, metadata=merged)
    rest = replace(_decode_native(instance.native), metadata=merged)
    return replace(instance, metadata=merged, data_centre=_to_data_centre(rest))


def natural_name(info: InstanceInfo) -> str:
    """The name by which people know the application: Eureka's own is upper-cased, its VIP mostly is not."""
    vip = info.vip_address or ""
    name = vip if vip.upper() == info.app else info.app.lower()
    if _SERVICE_NAME.fullmatch(name):
        return name
    suffix = hashlib.sha1(info.app.encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{_NOT_IN_SERVICE_NAME.sub('-', name)[:120].strip('-_.') or 'app'}-{suffix}"


def to_lease_terms(lease: LeaseInfo, policy: Policy) -> LeaseTerms:
    """Seconds on the wire, milliseconds from here on."""
    stated_ms = lease.duration_s * 1000
    # Netflix adds the duration when renewing and again when testing for expiry, so a renewed lease lives twice as long
    # as it states. Its authors keep that; a shorter life here would end instances that a Netflix peer still lists.
    # Source: Netflix/eureka, Lease.renew and Lease.isExpired.
    return LeaseTerms(lease.renewal_interval_s * 1000, stated_ms, stated_ms if policy.exact_leases else 2 * stated_ms)


def _to_endpoints(info: InstanceInfo) -> tuple[str, ...]:
    """One endpoint, secure when there is a secure one, as Spring prefers it: of several, go-chassis would take the last
    and spring-cloud-huawei the first."""
    host = f"[{info.ip_addr}]" if ":" in (info.ip_addr or "") else info.ip_addr
    if info.secure_port.is_enabled:
        return (f"rest://{host}:{info.secure_port.number}?sslEnabled=true",)
    return (f"rest://{host}:{info.port.number}",) if info.port.is_enabled else ()


def _to_data_centre(info: InstanceInfo) -> DataCentre | None:
    """Only where a zone is known, and only in words that ServiceCenter takes."""
    data_center = info.data_center_info or DataCenterInfo()
    zone = info.metadata.get("zone") or data_center.metadata.get("availability-zone") or ""
    if not _DATA_CENTRE_WORD.fullmatch(zone):
        return None
    region = info.metadata.get("region") or zone[:-1]
    if not _DATA_CENTRE_WORD.fullmatch(region):
        region = "default"
    return DataCentre(data_center.name or "MyOwn", region, zone)


def _to_native(info: InstanceInfo, instance_id: str) -> bytes:
    """The document without what the neutral fields hold."""
    data_center = info.data_center_info
    if data_center is not None and data_center.is_amazon and "instance-id" not in data_center.metadata:
        data_center = replace(data_center, metadata={**data_center.metadata, "instance-id": instance_id})
    rest = replace(
        info,
        instance_id=None,
        host_name=None,
        app="",
        status=Status.UP,
        overridden_status=Status.UNKNOWN,
        port=_default_if_equal(info.port, _DEFAULTS.port),
        secure_port=_default_if_equal(info.secure_port, _DEFAULTS.secure_port),
        data_center_info=data_center,
        lease_info=LeaseInfo(),
        metadata={},
        last_updated_ms=0,
        last_dirty_ms=None,
        action=Action.ADDED,
    )
    return _encode(rest)


_DEFAULTS = InstanceInfo()


def _default_if_equal(port: Port, default: Port) -> Port:
    """The very default is left out of the bytes; an equal one would stand there, and the bytes differ for nothing."""
    return default if port == default else port


# The registry's record -> Eureka's document


def is_visible(instance: Instance, policy: Policy) -> bool:
    """Whether Eureka's readers may see an instance: those born here always, others where the operator shares them."""
    return instance.key.origin is Origin.EUREKA or is_shared(instance.application, policy)


def from_instance(
    instance: Instance, lease: Lease | None = None, action: Action = Action.ADDED, ended_ms: int = 0
) -> InstanceInfo | None:
    """An instance as Eureka's readers see it; None for one that no HTTP client could call.

    With its lease the document tells of renewals; `ended_ms` is when the instance left, 0 while it is there.
    """
    is_native = instance.key.origin is Origin.EUREKA
    rest = _from_eureka(instance) if is_native else _from_servicecenter(instance)
    if rest is None:
        return None
    return replace(
        rest,
        instance_id=instance.key.instance_id,
        app=instance.application,
        status=_on_wire(instance.status),
        overridden_status=_on_wire(instance.override or Status.UNKNOWN),
        lease_info=_from_lease(instance, lease, ended_ms),
        last_updated_ms=ended_ms or instance.updated_ms,
        action=action,
    )


def _on_wire(status: Status) -> Status:
    """TESTING is ServiceCenter's own: who tests takes no calls."""
    return Status.OUT_OF_SERVICE if status is Status.TESTING else status


def _from_eureka(instance: Instance) -> InstanceInfo:
    rest = _decode_native(instance.native)
    return replace(rest, host_name=instance.host, metadata=instance.metadata, last_dirty_ms=instance.dirty_ms)


def _from_lease(instance: Instance, lease: Lease | None, ended_ms: int) -> LeaseInfo:
    """Both durations are as stated by the client; ServiceCenter's terms count one interval more than Eureka's."""
    terms = instance.lease
    is_native = instance.key.origin is Origin.EUREKA
    duration_ms = terms.first_ms if is_native else terms.first_ms - terms.interval_ms
    begun_ms = lease.registered_ms if lease is not None else instance.registered_ms
    up_ms = begun_ms if instance.status is Status.UP else 0
    return LeaseInfo(
        renewal_interval_s=terms.interval_ms // 1000,
        duration_s=duration_ms // 1000,
        registered_ms=begun_ms,
        # The original states the moment of the renewal plus the duration here, and people compare with it.
        renewed_ms=lease.renewed_ms + duration_ms if lease is not None and lease.renewed_ms else begun_ms,
        evicted_ms=ended_ms,
        service_up_ms=lease.service_up_ms if lease is not None else up_ms,
    )


class _Endpoint(NamedTuple):
    host: str
    port: int
    is_secure: bool
    prefix: str
    """The path under which its HTTP interface begins; "" for the root."""


def _from_servicecenter(instance: Instance) -> InstanceInfo | None:
    if instance.service.name == _THE_REGISTRY_ITSELF:
        return None
    http = [endpoint for endpoint in map(_to_endpoint, instance.endpoints) if endpoint is not None]
    plain = next((endpoint for endpoint in http if not endpoint.is_secure), None)
    secure = next((endpoint for endpoint in http if endpoint.is_secure), None)
    first = plain or secure
    if first is None:
        return None
    host = instance.source_address if first.host in _UNROUTABLE else first.host
    if host in _UNROUTABLE:
        return None
    url_host = f"[{host}]" if ":" in host else host
    scheme = "https" if first.is_secure else "http"
    vip = _vip_of(instance)
    return InstanceInfo(
        host_name=url_host,  # Spring connects to this one
        ip_addr=host,
        port=Port(first.port, plain is not None),
        secure_port=Port(secure.port, True) if secure is not None else Port(443, False),
        data_center_info=DataCenterInfo("MyOwn"),
        metadata=_described(instance, first),
        home_page_url=f"{scheme}://{url_host}:{first.port}{first.prefix}/",
        vip_address=vip,
        secure_vip_address=vip,
        last_dirty_ms=instance.dirty_ms or instance.updated_ms,
    )


def _to_endpoint(url: str) -> _Endpoint | None:
    """rest://10.0.0.1:8080?sslEnabled=true&urlPrefix=/shop; None for what speaks no HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("rest", "http", "https") or port is None:
        return None
    query = parse_qs(parts.query)
    is_secure = parts.scheme == "https" or query.get("sslEnabled", [""])[0].lower() == "true"
    prefix = query.get("urlPrefix", [""])[0].strip("/")
    return _Endpoint(parts.hostname or "", port, is_secure, f"/{prefix}" if prefix else "")


def _vip_of(instance: Instance) -> str:
    """The natural form of the flat name: `name`, or `app.name` where that is what it is listed under."""
    name = instance.service.name
    return name if name.upper() == instance.application else f"{instance.service.app}.{name}"


def _described(instance: Instance, endpoint: _Endpoint) -> dict[str, str]:
    """Its properties, and what Eureka has no field for. Reserved keys are ours to set, the others its owner's."""
    service, centre = instance.service, instance.data_centre
    described = {"version": service.version, **instance.metadata}
    if centre is not None:
        described = {"zone": centre.zone, "region": centre.region} | described
    if endpoint.prefix:
        described = {"contextPath": endpoint.prefix} | described
    described |= {
        "_sc.appId": service.app,
        "_sc.serviceId": instance.key.group,
        "_sc.endpoints": _encode(instance.endpoints).decode(),
    }
    if service.environment:
        described["_sc.env"] = service.environment
    if instance.host:
        described["_sc.hostName"] = instance.host
    if instance.status is Status.TESTING:
        described["_sc.status"] = instance.status
    return described


# One thing registered twice


def addresses(info: InstanceInfo) -> frozenset[tuple[str, int]]:
    """Where it can be called. Two of one name that share an address are one thing, registered in both worlds."""
    ports = [port.number for port in (info.port, info.secure_port) if port.is_enabled]
    hosts = [host for host in (info.host_name, info.ip_addr) if host]
    return frozenset((host, port) for host in hosts for port in ports)
