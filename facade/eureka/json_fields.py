"""What the fields of a registration in JSON mean, however a client writes them: coerced as Netflix's decoder does.

READERS has one reader for each field that counts. It is given the field's name and what was written, never null.
Raises: MalformedDocument, naming the field.
Source: Netflix/eureka, EurekaJacksonCodec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from facade.errors import MalformedDocument
from facade.eureka.records import (
    DATA_CENTERS,
    INT32,
    INT64,
    TEXT_FIELDS,
    WIRE_STATUSES,
    Action,
    DataCenterInfo,
    LeaseInfo,
    Port,
)
from facade.registry.model import Status

_DATA_CENTER_CLASSES = (
    "com.netflix.appinfo.AmazonInfo",
    "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
    "com.netflix.appinfo.MyDataCenterInfo",
)
_LEASE_MAX_S = 2_147_483
"""Longer durations overflow the original's 32-bit milliseconds; nobody means more than 24 days."""


class Literal(str):
    """A number with a fraction or an exponent, as it was written: 1.10 must not become 1.1."""


encode = msgspec.json.Encoder(enc_hook=lambda literal: msgspec.Raw(str(literal).encode())).encode


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


def read_status(name: str, value: Any) -> Status:
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
        if number not in INT32:
            raise MalformedDocument(f"{name}: {number} is no port")
        return Port(number, _flag(value.get("@enabled", default.is_enabled)))

    return read


def _flag(value: Any) -> bool:
    match value:
        case Literal():
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
    return number if number in INT32 else 1


def read_timestamp(name: str, value: Any) -> int:
    """Milliseconds; what is no number counts as 0."""
    try:
        moment = _number(value)
    except (ValueError, OverflowError):
        return 0
    return moment if moment in INT64 else 0


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
    if label not in DATA_CENTERS:
        raise MalformedDocument(f"{name}.name: {_shown(label)} is none of {', '.join(DATA_CENTERS)}")
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
        return encode(value).decode()
    except RecursionError:
        raise MalformedDocument("it is nested too deeply") from None


def _kept_lease(name: str, value: Any) -> LeaseInfo:
    """The wishes, and what the server says became of them."""
    wishes = _lease(name, value)
    return LeaseInfo(
        wishes.renewal_interval_s,
        wishes.duration_s,
        *(read_timestamp(name, value.get(moment, 0)) for moment in _LEASE_MOMENTS),
    )


_LEASE_MOMENTS = ("registrationTimestamp", "lastRenewalTimestamp", "evictionTimestamp", "serviceUpTimestamp")


def _action(name: str, value: Any) -> Action:
    return Action(value) if isinstance(value, str) and value in Action.__members__ else Action.ADDED


Readers = dict[str, tuple[str, Callable[[str, Any], Any]]]

READERS: Readers = {
    **{name: (attribute, _text) for name, attribute in TEXT_FIELDS.items()},
    "app": ("app", _upper),
    "appGroupName": ("app_group_name", _upper),
    "sid": ("sid", _sid),
    "status": ("status", read_status),
    "overriddenStatus": ("overridden_status", read_status),
    "overriddenstatus": ("overridden_status", read_status),  # older clients; of two the later one counts
    "port": ("port", _port(Port(7001, True))),
    "securePort": ("secure_port", _port(Port(7002, False))),
    "countryId": ("country_id", _country),
    "dataCenterInfo": ("data_center_info", _data_center),
    "leaseInfo": ("lease_info", _lease),
    "metadata": ("metadata", _metadata),
    "lastDirtyTimestamp": ("last_dirty_ms", read_timestamp),
}

LISTED_READERS: Readers = READERS | {
    "leaseInfo": ("lease_info", _kept_lease),
    "lastUpdatedTimestamp": ("last_updated_ms", read_timestamp),
    "actionType": ("action", _action),
}
