"""An instance born in ServiceCenter, as a document that a real Eureka server can keep, and back. Pure functions.

In:     an instance and, where it is known, its microservice.
Out:    the document that Eureka's readers see anyway (docs/mapping.md 5.4) with all that is needed for the way back in
        its metadata: `_sc.instance` and `_sc.service` are ServiceCenter's own documents as JSON.
Rules:  the way there and back is exact but for the server's timestamps. A packed document is known by its marks, which
        are believed only beside the instance id that they name. Nothing in it can spoil the XML of that server.
"""

from __future__ import annotations

import json
import re

import msgspec
from msgspec.structs import replace

from facade.eureka import mapping as eureka
from facade.eureka.records import TEXT_FIELDS, WIRE_STATUSES, DataCenterInfo, InstanceInfo, Port
from facade.registry.model import Instance, Microservice, Origin, ServiceId, ServiceKey, Space, Status, Tenant
from facade.registry.rules import MARKS, Policy, shown_status
from facade.servicecenter import mapping as servicecenter
from facade.servicecenter.records import CreateServiceRequest, HealthCheck, MicroServiceInstance
from facade.stores.marks import CLUSTER, ID, ORIGIN, VERSION_KEY

VERSION = "1"
"""Of this way of packing."""

_INSTANCE, _SERVICE, _NAME = "_sc.instance", "_sc.service", "_sc.name"
_APP, _ENVIRONMENT, _DOMAIN, _PROJECT = "_sc.appId", "_sc.env", "_sc.domain", "_sc.project"
_SERVICE_ID, _REPORTED, _OVERRIDE, _DIRTY = "_sc.serviceId", "_sc.reported", "_sc.override", "_sc.dirty"
_SOURCE, _SEALED = "_sc.source", "_eureka.metadata"

_XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""Metadata keys become elements. The real server escapes most others, but `` and `a:b` it writes as they are, and then
nobody can read any of its XML. Asked: Netflix/eureka 2.0.6."""

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, not even escaped; the real server writes them all the same."""

_LONGEST_LEASE_S = 2_147_483
"""The server counts milliseconds in 32 bits."""
_INT32 = range(2**31)
_LATEST_S = 2**31 * 4
"""Seconds since 1970 that no honest clock shows, and milliseconds that every reader can count."""

_UNREADABLE = (msgspec.MsgspecError, RecursionError, KeyError, ValueError)

_NO_PORT = Port(0, False)


def pack(instance: Instance, service: Microservice | None, cluster: str = "") -> InstanceInfo:
    """The document to register; `cluster` names the bridge that does it."""
    info = _shown(instance)
    name = listed_name(instance)
    if name != instance.application:
        info = replace(info, vip_address=None, secure_vip_address=None)
    lease = info.lease_info
    return _spoiling_no_xml(
        replace(
            info,
            app=name,
            overridden_status=on_wire(instance.override or Status.UNKNOWN),
            lease_info=replace(lease, duration_s=min(lease.duration_s, _LONGEST_LEASE_S)),
            metadata=info.metadata | _marks(instance, service) | ({CLUSTER: cluster} if cluster else {}),
            last_updated_ms=instance.updated_ms,
            # A document with an older moment than the one held would be left out by the server.
            last_dirty_ms=max(instance.updated_ms, instance.dirty_ms),
        )
    )


def lost(instance: Instance) -> str:
    """What of an instance is lost there, for people; empty when nothing is."""
    pack(instance, None)
    is_listed = eureka.from_instance(instance) is not None
    return "" if is_listed else "it has no address that speaks HTTP, so Eureka's clients do not see it"


def unpack(info: InstanceInfo, policy: Policy) -> tuple[Instance, Microservice | None] | None:
    """The instance that was packed, and its microservice where that was too; None for a document of anything else.

    What an operator has said of it on that server since stands: a status as an override, metadata as its own.
    """
    if not is_packed(info):
        return None
    try:
        return _unpacked(info, policy)
    except _UNREADABLE:
        return None


def is_packed(info: InstanceInfo) -> bool:
    """Whether the marks are there and speak of this very document: metadata is copied from one place to another."""
    marks = info.metadata
    return marks.get(ORIGIN) == Origin.SERVICECENTER and marks.get(ID) == info.effective_id


def listed_name(instance: Instance) -> str:
    """NAME in the default space; NAME@ENVIRONMENT in others, so that nobody who asks for NAME finds it by accident."""
    space = instance.service.space
    if space == Space():
        return instance.application
    parts = [*(space.tenant if space.tenant != Tenant() else ()), space.environment]
    where = re.sub(r"[^A-Za-z0-9_.-]", "-", "-".join(part for part in parts if part))
    return f"{instance.application}@{where}".upper()


def on_wire(status: Status) -> Status:
    """The nearest word that Eureka knows."""
    return status if status in WIRE_STATUSES else Status.OUT_OF_SERVICE


def with_status_of(instance: Instance, info: InstanceInfo) -> Instance:
    """An instance that was packed, as the server shows it now: an override that we did not set is an operator's.

    The server records none that names the status it shows already, so one of ours may be missing without being lifted.
    """
    stated, ours = info.overridden_status, on_wire(instance.override or Status.UNKNOWN)
    if stated is ours or (stated is Status.UNKNOWN and info.status is on_wire(instance.status)):
        return instance
    override = None if stated is Status.UNKNOWN else stated
    status = shown_status(Origin.SERVICECENTER, instance.reported, override, None)
    return replace(instance, override=override, status=status)


# Metadata of instances born in Eureka


def seal(info: InstanceInfo) -> InstanceInfo:
    """Metadata that would spoil the server's XML goes as JSON under one key. Exact there and back."""
    spoiling = {key: value for key, value in info.metadata.items() if not _is_plain(key, value)}
    if not spoiling:
        return info
    plain = {key: value for key, value in info.metadata.items() if key not in spoiling}
    return replace(info, metadata=plain | {_SEALED: json.dumps(spoiling, separators=(",", ":"))})


def unseal(info: InstanceInfo) -> InstanceInfo:
    text = info.metadata.get(_SEALED)
    if text is None:
        return info
    try:
        sealed = msgspec.json.decode(text, type=dict[str, str])
    except _UNREADABLE:
        return info
    plain = {key: value for key, value in info.metadata.items() if key != _SEALED}
    return replace(info, metadata=plain | sealed)


def spoils_xml(info: InstanceInfo) -> bool:
    """Whether any of its texts holds what XML cannot."""
    texts = (getattr(info, attribute) for attribute in TEXT_FIELDS.values())
    return any(_NOT_XML.search(text) for text in texts if text)


# In


def _shown(instance: Instance) -> InstanceInfo:
    """As Eureka's readers see it, with the metadata that can stand there as it is."""
    flat = {key: value for key, value in instance.metadata.items() if _is_plain(key, value)}
    plain = replace(instance, metadata=flat)
    return eureka.from_instance(plain) or _without_address(plain)


def _marks(instance: Instance, service: Microservice | None) -> dict[str, str]:
    key, name = instance.key, instance.service
    document = servicecenter.from_instance(_with_native(instance), key.group, name.version)
    marks = {
        ORIGIN: Origin.SERVICECENTER.value,
        ID: key.instance_id,
        VERSION_KEY: VERSION,
        _APP: name.app,
        _NAME: name.name,
        _SERVICE_ID: key.group,
        _INSTANCE: _json(replace(document, status=servicecenter.from_status(instance.reported))),
        _ENVIRONMENT: name.environment,
        _DOMAIN: name.domain if name.tenant != Tenant() else "",
        _PROJECT: name.project if name.tenant != Tenant() else "",
        # ServiceCenter's document has no word for it.
        _REPORTED: instance.reported.value if instance.reported is Status.UNKNOWN else "",
        _OVERRIDE: instance.override.value if instance.override is not None else "",
        _DIRTY: str(instance.dirty_ms) if instance.dirty_ms else "",
        _SOURCE: instance.source_address,
    }
    if service is not None:
        marks[_SERVICE] = _json(CreateServiceRequest(service=servicecenter.from_service(service), tags=service.tags))
    return {mark: value for mark, value in marks.items() if value}


def _with_native(instance: Instance) -> Instance:
    return instance if instance.native else replace(instance, native=b"{}")


def _json(document: msgspec.Struct) -> str:
    """In ASCII alone, so that XML can hold whatever is in it."""
    return json.dumps(msgspec.to_builtins(document), separators=(",", ":"))


def _is_plain(key: str, value: str) -> bool:
    return not key.startswith(MARKS) and bool(_XML_NAME.fullmatch(key)) and not _NOT_XML.search(value)


def _without_address(instance: Instance) -> InstanceInfo:
    """One that no HTTP client can call: no VIP and no open port, so that no balancer picks it."""
    host = instance.host or instance.source_address or "none"
    with_address = eureka.from_instance(replace(instance, endpoints=("rest://none:1",)))
    return replace(
        with_address or InstanceInfo(instance_id=instance.key.instance_id, data_center_info=DataCenterInfo("MyOwn")),
        host_name=host,
        ip_addr=instance.source_address or host,
        port=_NO_PORT,
        secure_port=_NO_PORT,
        home_page_url=None,
        vip_address=None,
        secure_vip_address=None,
    )


def _spoiling_no_xml(info: InstanceInfo) -> InstanceInfo:
    """Its texts are made for readers only; the exact ones are in the marks."""
    texts = {attribute: getattr(info, attribute) for attribute in TEXT_FIELDS.values()}
    cleaned = {attribute: _NOT_XML.sub("?", text) for attribute, text in texts.items() if text}
    metadata = {key: _NOT_XML.sub("?", value) for key, value in info.metadata.items()}
    return replace(info, metadata=metadata, **cleaned)


# Out


def _unpacked(info: InstanceInfo, policy: Policy) -> tuple[Instance, Microservice | None]:
    marks = info.metadata
    document = msgspec.json.decode(marks[_INSTANCE], type=MicroServiceInstance)
    _check_counts(document.health_check)
    name = ServiceKey(
        marks.get(_DOMAIN) or Tenant().domain,
        marks.get(_PROJECT) or Tenant().project,
        marks.get(_ENVIRONMENT, ""),
        marks[_APP],
        marks[_NAME],
        document.version,
    )
    service = Microservice(key=ServiceId(name.tenant, marks[_SERVICE_ID]), name=name)
    instance = servicecenter.to_instance(document, service, info.effective_id, policy, marks.get(_SOURCE, ""))
    reported = Status(marks[_REPORTED]) if _REPORTED in marks else instance.reported
    override = Status(marks[_OVERRIDE]) if _OVERRIDE in marks else None
    instance = replace(
        instance,
        reported=reported,
        override=override,
        status=shown_status(Origin.SERVICECENTER, reported, override, None),
        dirty_ms=_moment_ms(marks.get(_DIRTY, ""), 1),
        registered_ms=_moment_ms(document.timestamp, 1000),
        updated_ms=info.last_dirty_ms or 0,
    )
    instance = with_status_of(_with_metadata_of(instance, info), info)
    return instance, _unpacked_service(marks.get(_SERVICE), service, policy)


def _with_metadata_of(instance: Instance, info: InstanceInfo) -> Instance:
    """What was changed or added in plain sight since wins over what was packed. The server can take nothing away."""
    written = _shown(instance).metadata
    changed = {
        key: value for key, value in info.metadata.items() if not key.startswith(MARKS) and written.get(key) != value
    }
    return replace(instance, metadata=instance.metadata | changed) if changed else instance


def _check_counts(check: HealthCheck | None) -> None:
    """Raises ValueError for what readers of either protocol would stumble over, and not only here."""
    if check is not None and not all(number in _INT32 for number in (check.interval, check.times, check.port)):
        raise ValueError("a health check with numbers that no server takes")


def _moment_ms(text: str, unit_ms: int) -> int:
    """0 for an empty one. Raises ValueError for one that no clock shows."""
    moment_ms = int(text or 0) * unit_ms
    if not 0 <= moment_ms <= _LATEST_S * 1000:
        raise ValueError("a moment that no clock shows")
    return moment_ms


def _unpacked_service(text: str | None, known: Microservice, policy: Policy) -> Microservice | None:
    if text is None:
        return None
    request = msgspec.json.decode(text, type=CreateServiceRequest)
    document = request.service
    if document is None or servicecenter.to_key(document, known.key.tenant) != known.name:
        return None
    rebuilt = servicecenter.to_service(document, known.key.tenant, request.tags, 0, policy)
    return replace(
        rebuilt,
        registered_ms=_moment_ms(document.timestamp, 1000),
        updated_ms=_moment_ms(document.mod_timestamp, 1000),
    )
