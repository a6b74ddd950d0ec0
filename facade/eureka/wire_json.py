"""Eureka's JSON: bytes <> records.

In:     what any client writes: unknown fields of any type are ignored, scalars are coerced as Netflix's decoder does.
Out:    fields, types and their order exactly as the real server's; Spring's clients reject a document with any other.
Raises: MalformedDocument; the text names the field, and is empty where the bytes are no registration at all.
Source: Netflix/eureka, EurekaJacksonCodec and the converters of com.netflix.discovery.converters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from facade.errors import MalformedDocument
from facade.eureka.records import (
    TEXT_FIELDS,
    WIRE_STATUSES,
    Action,
    BatchItem,
    BatchResult,
    DataCenterInfo,
    InstanceInfo,
    LeaseInfo,
    Port,
)
from facade.registry.model import Status

NO_METADATA = {"@class": "java.util.Collections$EmptyMap"}
COMPACT_AMAZON = ("instance-id", "public-ipv4", "public-hostname", "local-ipv4", "availability-zone")

_DATA_CENTERS = ("Netflix", "Amazon", "MyOwn")
_DATA_CENTER_CLASSES = (
    "com.netflix.appinfo.AmazonInfo",
    "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
    "com.netflix.appinfo.MyDataCenterInfo",
)
_LEASE_MAX_S = 2_147_483
"""Longer durations overflow the original's 32-bit milliseconds; nobody means more than 24 days."""
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")


class _Literal(str):
    """A number with a fraction or an exponent, as it was written: 1.10 must not become 1.1."""


_decoder = msgspec.json.Decoder(float_hook=_Literal)
_encode = msgspec.json.Encoder(enc_hook=lambda literal: msgspec.Raw(str(literal).encode())).encode


# In


def decode_registration(body: bytes) -> InstanceInfo:
    """Read {"instance": {…}}. What a client left out is None or Netflix's default."""
    match _parse(body):
        case {"instance": dict() as document, **others} if not others:
            return _to_instance(document)
    raise MalformedDocument("")


def decode_batch(body: bytes) -> list[BatchItem]:
    """Read {"replicationList": […]} of a peer."""
    match _parse(body):
        case {"replicationList": list() as items}:
            return [_to_batch_item(item) for item in items]
    raise MalformedDocument("")


def decode_listed(text: bytes) -> InstanceInfo:
    """Read one instance as a server lists it: with its lease, its action, the moment of its last change."""
    match _parse(text):
        case dict() as document:
            return _to_instance(document, _LISTED_READERS)
    raise MalformedDocument("expected an instance")


def decode_batch_results(body: bytes) -> list[BatchResult]:
    """Read {"responseList": […]}, a server's answer to what it was told as its peer."""
    match _parse(body):
        case {"responseList": list() as results}:
            return [_to_batch_result(result) for result in results]
    raise MalformedDocument("expected a responseList")


def _parse(body: bytes) -> Any:
    """Untyped JSON. A leading byte order mark and whatever follows the document are ignored, as the original does."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        end = _TRAILING.search(str(error))
        if end is None:
            raise MalformedDocument("") from None
    # The byte named is the one after the first that does not belong to the document.
    return _parse(body[: int(end[1]) - 1])


def _to_instance(document: Mapping[str, Any], readers: _Readers | None = None) -> InstanceInfo:
    if document.get("app") is None:
        raise MalformedDocument("")
    readers = readers or _READERS
    fields: dict[str, Any] = {}
    for name, value in document.items():
        reader = readers.get(name)
        if reader is not None and value is not None:
            attribute, read = reader
            fields[attribute] = read(name, value)
    return InstanceInfo(**fields)


def _text(name: str, value: Any) -> str:
    match value:
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case None:
            return "null"
    raise MalformedDocument(f"{name}: expected text, got {_shown(value)}")


def _upper(name: str, value: Any) -> str:
    return _text(name, value).upper()


def _sid(name: str, value: Any) -> str | None:
    text = _text(name, value)
    return None if text in ("na", "unknown") else text


def _status(name: str, value: Any) -> Status:
    """Only the exact word counts; whatever else is written is UNKNOWN."""
    return Status(value) if isinstance(value, str) and value in WIRE_STATUSES else Status.UNKNOWN


def _number(value: Any) -> int:
    """A number or a text that is one, its fraction cut off. Raises ValueError."""
    match value:
        case int():
            return int(value)
        case str():
            return int(value) if value.lstrip("-").isdigit() else int(float(value))
    raise ValueError


def _port(default: Port) -> Callable[[str, Any], Port]:
    def read(name: str, value: Any) -> Port:
        """{"$": 8080, "@enabled": "true"}; the number may be text, the flag a boolean, either may be missing."""
        if not isinstance(value, dict) or not value.keys() <= {"$", "@enabled"}:
            raise MalformedDocument(f'{name}: expected {{"$": 8080, "@enabled": "true"}}, got {_shown(value)}')
        try:
            number = _number(value.get("$", default.number))
        except (ValueError, OverflowError):
            number = 0
        if number not in _INT32:
            raise MalformedDocument(f"{name}: {number} is no port")
        return Port(number, _flag(value.get("@enabled", default.is_enabled)))

    return read


def _flag(value: Any) -> bool:
    match value:
        case _Literal():
            return float(value) != 0
        case str():
            return value == "true"
    return bool(value) and not isinstance(value, list | dict)


def _country(name: str, value: Any) -> int:
    """A number nobody uses; what is none counts as 0."""
    try:
        number = _number(value)
    except (ValueError, OverflowError):
        return 0
    return number if number in _INT32 else 1


def _timestamp(name: str, value: Any) -> int:
    """Milliseconds; what is no number counts as 0."""
    try:
        moment = _number(value)
    except (ValueError, OverflowError):
        return 0
    return moment if moment in _INT64 else 0


def _data_center(name: str, value: Any) -> DataCenterInfo:
    """The class may be missing, the keys in any order, metadata where it does not belong; nothing is instantiated.

    EJS and Steeltoe users write the default class with the name Amazon. The original takes that, and then cannot
    write the registry any more; here it is Amazon.
    """
    if not isinstance(value, dict):
        raise MalformedDocument(f"{name}: expected an object, got {_shown(value)}")
    java_class = value.get("@class")
    if java_class not in (None, *_DATA_CENTER_CLASSES):
        raise MalformedDocument(f"{name}.@class: {_shown(java_class)} is none of {', '.join(_DATA_CENTER_CLASSES)}")
    label = "Amazon" if java_class == "com.netflix.appinfo.AmazonInfo" else value.get("name")
    if label is None:
        return DataCenterInfo()
    if label not in _DATA_CENTERS:
        raise MalformedDocument(f"{name}.name: {_shown(label)} is none of {', '.join(_DATA_CENTERS)}")
    metadata = value.get("metadata") if label == "Amazon" else None
    if not isinstance(metadata, dict):
        metadata = {}
    return DataCenterInfo(label, {key: _nested_text(item) for key, item in metadata.items() if item is not None})


def _lease(name: str, value: Any) -> LeaseInfo:
    """Only the wishes are read: the timestamps are the server's."""
    if not isinstance(value, dict):
        raise MalformedDocument(f"{name}: expected an object, got {_shown(value)}")
    return LeaseInfo(
        renewal_interval_s=lease_seconds(value.get("renewalIntervalInSecs"), default=30),
        duration_s=lease_seconds(value.get("durationInSecs"), default=90),
    )


def lease_seconds(value: Any, *, default: int) -> int:
    """A wish in seconds: what is missing, no number or not positive becomes the default."""
    try:
        seconds = _number(value)
    except (ValueError, OverflowError):
        return default
    return min(seconds, _LEASE_MAX_S) if seconds > 0 else default


def _metadata(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise MalformedDocument(f"{name}: expected an object, got {_shown(value)}")
    return {key: _nested_text(item) for key, item in value.items() if key != "@class"}


def _nested_text(value: Any) -> str:
    """A scalar by its literal text, anything deeper as JSON."""
    return _encoded(value) if isinstance(value, list | dict) else _text("metadata", value)


def _shown(value: Any) -> str:
    """A value for an error text: short, whatever was sent."""
    text = _encoded(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _encoded(value: Any) -> str:
    """Writing goes one level less deep than reading, so not all that was read can be written."""
    try:
        return _encode(value).decode()
    except RecursionError:
        raise MalformedDocument("it is nested too deeply") from None


def _kept_lease(name: str, value: Any) -> LeaseInfo:
    """The wishes, and what the server says became of them."""
    wishes = _lease(name, value)
    return LeaseInfo(
        wishes.renewal_interval_s,
        wishes.duration_s,
        *(_timestamp(name, value.get(moment, 0)) for moment in _LEASE_MOMENTS),
    )


_LEASE_MOMENTS = ("registrationTimestamp", "lastRenewalTimestamp", "evictionTimestamp", "serviceUpTimestamp")


def _action(name: str, value: Any) -> Action:
    return Action(value) if isinstance(value, str) and value in Action.__members__ else Action.ADDED


_Readers = dict[str, tuple[str, Callable[[str, Any], Any]]]

_READERS: _Readers = {
    **{name: (attribute, _text) for name, attribute in TEXT_FIELDS.items()},
    "app": ("app", _upper),
    "appGroupName": ("app_group_name", _upper),
    "sid": ("sid", _sid),
    "status": ("status", _status),
    "overriddenStatus": ("overridden_status", _status),
    "overriddenstatus": ("overridden_status", _status),  # older clients; of two the later one counts
    "port": ("port", _port(Port(7001, True))),
    "securePort": ("secure_port", _port(Port(7002, False))),
    "countryId": ("country_id", _country),
    "dataCenterInfo": ("data_center_info", _data_center),
    "leaseInfo": ("lease_info", _lease),
    "metadata": ("metadata", _metadata),
    "lastDirtyTimestamp": ("last_dirty_ms", _timestamp),
}

_LISTED_READERS: _Readers = _READERS | {
    "leaseInfo": ("lease_info", _kept_lease),
    "lastUpdatedTimestamp": ("last_updated_ms", _timestamp),
    "actionType": ("action", _action),
}


def _to_batch_item(item: Any) -> BatchItem:
    if not isinstance(item, dict):
        raise MalformedDocument("replicationList: expected objects")
    dirty_ms, status, info = item.get("lastDirtyTimestamp"), item.get("status"), item.get("instanceInfo")
    return BatchItem(
        action=_text_or_none(item.get("action")),
        app_name=_text_or_none(item.get("appName")),
        instance_id=_text_or_none(item.get("id")),
        last_dirty_ms=None if dirty_ms is None else _timestamp("lastDirtyTimestamp", dirty_ms),
        overridden_status=_status("overriddenStatus", item.get("overriddenStatus")),
        status=Status(status) if isinstance(status, str) and status in WIRE_STATUSES else None,
        instance_info=_to_instance(info, _LISTED_READERS) if isinstance(info, dict) else None,
    )


def _to_batch_result(result: Any) -> BatchResult:
    match result:
        case {"statusCode": int() as status, **rest}:
            entity = rest.get("responseEntity")
            return BatchResult(status, _to_instance(entity, _LISTED_READERS) if isinstance(entity, dict) else None)
    raise MalformedDocument("responseList: expected objects with a statusCode")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


# Out


def encode_instance(info: InstanceInfo) -> bytes:
    """One instance in full, without a root key."""
    return _encode(_to_document(info))


def encode_compact_instance(info: InstanceInfo) -> bytes:
    """One instance reduced to what a client needs for calling it."""
    document = {
        "instanceId": info.instance_id,
        "app": info.app,
        "ipAddr": info.ip_addr,
        "vipAddress": info.vip_address,
        "secureVipAddress": info.secure_vip_address,
        "dataCenterInfo": _data_center_document(info.data_center_info, COMPACT_AMAZON),
        "hostName": info.host_name,
        "status": info.status,
        "lastUpdatedTimestamp": info.last_updated_ms,
        "actionType": info.action,
        "asgName": info.asg_name,
        "port": _port_document(info.port),
        "securePort": _port_document(info.secure_port),
    }
    return _encode(_without_nulls(document))


def encode_batch(items: Iterable[BatchItem]) -> bytes:
    """What one peer tells another. No key more than these: the original rejects the whole batch for one."""
    entries = [
        {
            "appName": item.app_name,
            "id": item.instance_id,
            "lastDirtyTimestamp": item.last_dirty_ms,
            "overriddenStatus": None if item.overridden_status is Status.UNKNOWN else item.overridden_status,
            "status": item.status,
            "instanceInfo": _to_document(item.instance_info) if item.instance_info else None,
            "action": item.action,
        }
        for item in items
    ]
    return _encode({"replicationList": [_without_nulls(entry) for entry in entries]})


def encode_batch_results(results: Sequence[BatchResult]) -> bytes:
    """The answer to a peer: one entry per item, in the same order."""
    entries: list[dict[str, Any]] = []
    for result in results:
        entries.append({"statusCode": result.status})
        if result.entity is not None:
            entries[-1]["responseEntity"] = _to_document(result.entity)
    return _encode({"responseList": entries})


def encode_object(value: Mapping[str, Any]) -> bytes:
    return _encode(value)


def encode_text(value: str) -> bytes:
    return _encode(value)


def _to_document(info: InstanceInfo) -> dict[str, Any]:
    lease = info.lease_info
    return _without_nulls(
        {
            "instanceId": info.instance_id,
            "hostName": info.host_name,
            "app": info.app,
            "ipAddr": info.ip_addr,
            "sid": info.sid,
            "status": info.status,
            "overriddenStatus": info.overridden_status,
            "port": _port_document(info.port),
            "securePort": _port_document(info.secure_port),
            "countryId": info.country_id,
            "dataCenterInfo": _data_center_document(info.data_center_info),
            "leaseInfo": {
                "renewalIntervalInSecs": lease.renewal_interval_s,
                "durationInSecs": lease.duration_s,
                "registrationTimestamp": lease.registered_ms,
                "lastRenewalTimestamp": lease.renewed_ms,
                "evictionTimestamp": lease.evicted_ms,
                "serviceUpTimestamp": lease.service_up_ms,
            },
            "metadata": info.metadata or NO_METADATA,
            "appGroupName": info.app_group_name,
            "homePageUrl": info.home_page_url,
            "statusPageUrl": info.status_page_url,
            "healthCheckUrl": info.health_check_url,
            "secureHealthCheckUrl": info.secure_health_check_url,
            "vipAddress": info.vip_address,
            "secureVipAddress": info.secure_vip_address,
            "isCoordinatingDiscoveryServer": "false",
            "lastUpdatedTimestamp": str(info.last_updated_ms),
            "lastDirtyTimestamp": str(info.last_dirty_ms or 0),
            "actionType": info.action,
            "asgName": info.asg_name,
        }
    )


def _port_document(port: Port) -> dict[str, Any]:
    # Go clients insist on a string here, others on a number there.
    return {"$": port.number, "@enabled": "true" if port.is_enabled else "false"}


def _data_center_document(info: DataCenterInfo | None, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """`metadata` stands last and with Amazon only: Java clients reject the whole registry otherwise."""
    info = info or DataCenterInfo("MyOwn")
    document: dict[str, Any] = {"@class": info.java_class, "name": info.name}
    if info.is_amazon:
        document["metadata"] = (
            info.metadata if keys is None else {k: info.metadata[k] for k in keys if k in info.metadata}
        )
    return document


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}
