"""An instance as a document that a real ServiceCenter can keep, and back from there. Pure functions.

In:     an instance of either protocol. One of ServiceCenter's own needs no packing, only its limits are kept.
Out:    for one born in Eureka, the document that ServiceCenter's readers see anyway (docs/mapping.md 5.2), with all
        that is needed for the way back in its properties: `_eureka.doc` is the rest of Eureka's document, packed.
Rules:  what ServiceCenter would refuse is refused here, before anything is sent. The way there and back is exact but
        for the server's timestamps; what is too large loses page URLs first, then Amazon's metadata, then the rest of
        the document, and its own metadata last (docs/mapping.md 5.7). Marks are believed only beside the id they name.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from facade.errors import MalformedDocument, UpstreamRefused
from facade.eureka import mapping as eureka
from facade.eureka.records import DataCenterInfo, InstanceInfo, LeaseInfo, Port
from facade.registry import rules
from facade.registry.model import DataCentre, Instance, Microservice, Origin, ServiceId, ServiceKey, Status
from facade.registry.rules import MARKS, Policy
from facade.servicecenter import mapping as servicecenter
from facade.servicecenter.client import REGISTER_BYTES, encode_registration
from facade.servicecenter.records import HealthCheck, MicroServiceInstance
from facade.servicecenter.validation import check_instance
from facade.servicecenter.wire import Code
from facade.stores.marks import CLUSTER, ID, ORIGIN, TRUNCATED, VERSION_KEY

VERSION = "1"
"""Of this way of packing."""

HOST_NAME_LENGTH = 64
"""The longest host name that a real ServiceCenter takes; DNS knows four times as much."""

_APP, _INSTANCE_ID, _DOCUMENT = "_eureka.app", "_eureka.instanceId", "_eureka.doc"
_STATUS, _OVERRIDE = "_eureka.status", "_eureka.overriddenStatus"

_MOST_UNPACKED = 64 << 10
"""Far more than can be packed into one document by us; less than a forger could make of it."""
_LONGEST_INTERVAL_S = 2_147_483
_MOST_TIMES = 2**31 - 1
_LARGEST = 2**63 - 1
"""In milliseconds: no store counts further."""

_PAGES = ("home_page_url", "status_page_url", "health_check_url", "secure_health_check_url")
_NO_PORT = Port(0, False)

_encode = msgspec.json.Encoder().encode
_decode_rest = msgspec.json.Decoder(InstanceInfo).decode


# There


def pack(instance: Instance, cluster: str = "") -> MicroServiceInstance:
    """The document to register, within the limits of a real server; `cluster` names the bridge that does it.

    Raises UpstreamRefused where that cannot be.
    """
    document = _within_rules(servicecenter.from_instance(instance, "", ""))
    try:
        check_instance(document)
    except MalformedDocument as error:
        raise UpstreamRefused(str(error), Code.INVALID_PARAMETERS) from None
    if instance.key.origin is Origin.EUREKA:
        return _with_rest(document, instance, cluster)
    if not _fits(document):
        raise UpstreamRefused(
            f"the instance takes more than the {REGISTER_BYTES} bytes that ServiceCenter reads", Code.INVALID_PARAMETERS
        )
    return document


def is_truncated(document: MicroServiceInstance) -> bool:
    """Whether something of the instance did not fit."""
    return TRUNCATED in document.properties


def lost(instance: Instance) -> str:
    """What of an instance is lost there, for people; empty when nothing is. Raises UpstreamRefused."""
    is_cut = is_truncated(pack(instance))
    return f"its document is larger than the {REGISTER_BYTES} bytes that ServiceCenter reads" if is_cut else ""


def is_packed(document: MicroServiceInstance) -> bool:
    return document.properties.get(ORIGIN) == Origin.EUREKA


def marks(document: MicroServiceInstance) -> dict[str, str]:
    """What was packed beside the instance's own metadata: whoever replaces the properties at the server loses it."""
    return {key: value for key, value in document.properties.items() if key.startswith(MARKS)}


def _within_rules(document: MicroServiceInstance) -> MicroServiceInstance:
    """As the server adjusts it, or would have to; it sets the timestamps itself."""
    check = document.health_check or servicecenter.PUSH_BY_DEFAULT
    check = replace(check, interval=min(check.interval, _LONGEST_INTERVAL_S), times=min(check.times, _MOST_TIMES))
    return replace(
        document,
        host_name=document.host_name[:HOST_NAME_LENGTH],
        health_check=servicecenter.adjusted(check),
        timestamp="",
        mod_timestamp="",
    )


def _with_rest(document: MicroServiceInstance, instance: Instance, cluster: str) -> MicroServiceInstance:
    """The largest of the possible documents that fits."""
    own = {key: value for key, value in instance.metadata.items() if not key.startswith(MARKS)}
    told = _told(instance) | ({CLUSTER: cluster} if cluster else {})
    for number, rest in enumerate(_ever_less(instance)):
        packed = {_DOCUMENT: rest} if rest else {}
        loss = {TRUNCATED: "true"} if number else {}
        candidate = replace(document, properties={**own, **told, **packed, **loss})
        if _fits(candidate):
            return candidate
    return _with_less_metadata(candidate, own)


def _told(instance: Instance) -> dict[str, str]:
    told = {
        _APP: instance.application,
        _INSTANCE_ID: instance.key.instance_id,
        ORIGIN: Origin.EUREKA.value,
        ID: instance.portable_id,
        VERSION_KEY: VERSION,
    }
    if instance.override is not None:
        told[_OVERRIDE] = instance.override.value
    if instance.status is not _implied(instance.reported, instance.override) or instance.status is Status.UNKNOWN:
        told[_STATUS] = instance.status.value
    return told


def _implied(reported: Status, override: Status | None) -> Status:
    return rules.shown_status(Origin.EUREKA, reported, override, None)


def _ever_less(instance: Instance) -> Iterator[str]:
    """The rest of the document, packed: all of it, then less and less; "" in the end."""
    info = eureka.from_instance(instance)
    assert info is not None, "an instance born in Eureka is always shown there"
    rest = replace(
        info,
        instance_id=None,
        app="",
        status=instance.reported,
        overridden_status=Status.UNKNOWN,
        lease_info=LeaseInfo(info.lease_info.renewal_interval_s, info.lease_info.duration_s),
        metadata={},
        last_updated_ms=0,
    )
    yield _packed(rest)
    rest = replace(rest, **dict.fromkeys(_PAGES))
    yield _packed(rest)
    if info.data_center_info is not None:
        yield _packed(replace(rest, data_center_info=DataCenterInfo(info.data_center_info.name)))
    yield ""


def _packed(rest: InstanceInfo) -> str:
    return urlsafe_b64encode(zlib.compress(_encode(rest), 9)).decode()


def _with_less_metadata(document: MicroServiceInstance, own: dict[str, str]) -> MicroServiceInstance:
    """The largest entries go first: so most of them stay."""
    sizes = {key: len(_encode({key: value})) - 1 for key, value in own.items()}  # its braces, against a comma
    too_much = len(encode_registration(document)) - REGISTER_BYTES
    dropped = set()
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        if too_much <= 0:
            break
        too_much -= sizes[key]
        dropped.add(key)
    if too_much > 0:
        raise UpstreamRefused(
            f"even without metadata it takes more than the {REGISTER_BYTES} bytes that ServiceCenter reads",
            Code.INVALID_PARAMETERS,
        )
    return replace(document, properties={k: v for k, v in document.properties.items() if k not in dropped})


def _fits(document: MicroServiceInstance) -> bool:
    return len(encode_registration(document)) <= REGISTER_BYTES


# Back


def unpack(document: MicroServiceInstance, service: ServiceKey, policy: Policy) -> Instance | None:
    """The instance that was packed; None for a document of anything else. `service` is where the server lists it.

    What an operator has said of it at that server since stands as an override; UP takes an override back.
    """
    properties = document.properties
    app, instance_id = properties.get(_APP), properties.get(_INSTANCE_ID)
    if not is_packed(document) or not app or not instance_id or properties.get(ID) != document.instance_id:
        return None
    own = {key: value for key, value in properties.items() if not key.startswith(MARKS)}
    rest = _unpacked(properties.get(_DOCUMENT, "")) or _rest_of(document, service, app, policy)
    info = replace(rest, instance_id=instance_id, app=app, metadata=own)
    instance = eureka.to_instance(info, service.space, policy, 0)
    if instance.portable_id != document.instance_id:  # marks that somebody has put under an id of his own
        return None
    centre = document.data_center_info
    instance = replace(
        instance,
        service=service,
        endpoints=document.endpoints,
        data_centre=DataCentre(centre.name, centre.region, centre.available_zone) if centre else None,
        override=_status(properties.get(_OVERRIDE)),
    )
    return _with_status(instance, document)


def _with_status(instance: Instance, document: MicroServiceInstance) -> Instance:
    packed = _status(document.properties.get(_STATUS)) or _implied(instance.reported, instance.override)
    instance = replace(instance, status=packed)
    if document.status == servicecenter.from_status(packed):
        return instance
    said = servicecenter.to_status(document.status)
    return rules.restored(instance, Status.UP) if said is Status.UP else rules.overridden(instance, said)


def _status(text: str | None) -> Status | None:
    return Status(text) if text and text in Status.__members__ else None


def _unpacked(text: str) -> InstanceInfo | None:
    """None for what is not there, or not to be read."""
    try:
        unpacking = zlib.decompressobj()
        encoded = unpacking.decompress(urlsafe_b64decode(text), _MOST_UNPACKED)
        rest = _decode_rest(encoded) if unpacking.eof else None
    except (ValueError, zlib.error, msgspec.MsgspecError, RecursionError):
        return None
    return rest if rest is not None and _is_sane(rest) else None


def _is_sane(rest: InstanceInfo) -> bool:
    lease = rest.lease_info
    longest_ms = 2000 * max(abs(lease.renewal_interval_s), abs(lease.duration_s))
    return max(longest_ms, abs(rest.last_dirty_ms or 0)) <= _LARGEST


def _rest_of(document: MicroServiceInstance, service: ServiceKey, app: str, policy: Policy) -> InstanceInfo:
    """What the plain fields say, where the rest did not fit or was lost."""
    bare = replace(document, properties={})
    qualified = servicecenter.to_instance(
        bare, Microservice(key=ServiceId(service.tenant, ""), name=service), "", policy
    )
    shown = eureka.from_instance(qualified) or InstanceInfo(
        ip_addr=document.host_name, port=_NO_PORT, secure_port=_NO_PORT, data_center_info=DataCenterInfo("MyOwn")
    )
    vip = service.name if service.name.upper() == app else app.lower()
    check = document.health_check or HealthCheck(interval=30, times=3)
    centre = document.data_center_info
    return replace(
        shown,
        host_name=document.host_name,
        status=_reported(document),
        overridden_status=Status.UNKNOWN,
        data_center_info=DataCenterInfo(centre.name if centre and centre.name in ("Amazon", "Netflix") else "MyOwn"),
        lease_info=LeaseInfo(check.interval, check.interval * check.times),
        home_page_url=None,
        vip_address=vip,
        secure_vip_address=vip,
        last_dirty_ms=0,
    )


def _reported(document: MicroServiceInstance) -> Status:
    """The likeliest word of the owner: with an override, what it covers is not known."""
    if _OVERRIDE in document.properties:
        return Status.UP
    return _status(document.properties.get(_STATUS)) or servicecenter.to_status(document.status or "UP")
