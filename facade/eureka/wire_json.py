"""Eureka's JSON: bytes <> records.

In:     what any client writes: unknown fields of any type are ignored, the others read by json_fields.
Out:    fields, types and their order exactly as the real server's; Spring's clients reject a document with any other.
Raises: MalformedDocument; the text names the field, and is empty where the bytes are no registration at all.
Source: Netflix/eureka, EurekaJacksonCodec and the converters of com.netflix.discovery.converters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from facade.errors import MalformedDocument
from facade.eureka.json_fields import LISTED_READERS, READERS, Literal, Readers, encode, read_status, read_timestamp
from facade.eureka.records import (
    COMPACT_AMAZON,
    WIRE_STATUSES,
    BatchItem,
    BatchResult,
    DataCenterInfo,
    InstanceInfo,
    Port,
)
from facade.registry.model import Status

NO_METADATA = {"@class": "java.util.Collections$EmptyMap"}
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")

_decoder = msgspec.json.Decoder(float_hook=Literal)


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
            return _to_instance(document, LISTED_READERS)
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


def _to_instance(document: Mapping[str, Any], readers: Readers | None = None) -> InstanceInfo:
    if document.get("app") is None:
        raise MalformedDocument("")
    readers = readers or READERS
    fields: dict[str, Any] = {}
    for name, value in document.items():
        reader = readers.get(name)
        if reader is not None and value is not None:
            attribute, read = reader
            fields[attribute] = read(name, value)
    return InstanceInfo(**fields)


def _to_batch_item(item: Any) -> BatchItem:
    if not isinstance(item, dict):
        raise MalformedDocument("replicationList: expected objects")
    dirty_ms, status, info = item.get("lastDirtyTimestamp"), item.get("status"), item.get("instanceInfo")
    return BatchItem(
        action=_text_or_none(item.get("action")),
        app_name=_text_or_none(item.get("appName")),
        instance_id=_text_or_none(item.get("id")),
        last_dirty_ms=None if dirty_ms is None else read_timestamp("lastDirtyTimestamp", dirty_ms),
        overridden_status=read_status("overriddenStatus", item.get("overriddenStatus")),
        status=Status(status) if isinstance(status, str) and status in WIRE_STATUSES else None,
        instance_info=_to_instance(info, LISTED_READERS) if isinstance(info, dict) else None,
    )


def _to_batch_result(result: Any) -> BatchResult:
    match result:
        case {"statusCode": int() as status, **rest}:
            entity = rest.get("responseEntity")
            return BatchResult(status, _to_instance(entity, LISTED_READERS) if isinstance(entity, dict) else None)
    raise MalformedDocument("responseList: expected objects with a statusCode")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


# Out


def encode_instance(info: InstanceInfo) -> bytes:
    """One instance in full, without a root key."""
    return encode(_to_document(info))


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
    return encode(_without_nulls(document))


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
    return encode({"replicationList": [_without_nulls(entry) for entry in entries]})


def encode_batch_results(results: Sequence[BatchResult]) -> bytes:
    """The answer to a peer: one entry per item, in the same order."""
    entries: list[dict[str, Any]] = []
    for result in results:
        entries.append({"statusCode": result.status})
        if result.entity is not None:
            entries[-1]["responseEntity"] = _to_document(result.entity)
    return encode({"responseList": entries})


def encode_object(value: Mapping[str, Any]) -> bytes:
    return encode(value)


def encode_text(value: str) -> bytes:
    return encode(value)


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
