"""Eureka's XML: bytes <> records.

In:     registrations. xmltodict reads them, after a pass that refuses what could hurt: depth, number, declarations.
Out:    exactly the real server's indentation, order and escaping of names, except where that would not be XML.
Raises: MalformedDocument.
Source: Netflix/eureka, com.netflix.discovery.converters (XStream), and XStream's XmlFriendlyNameCoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from xml.parsers import expat

import xmltodict

from facade.errors import MalformedDocument
from facade.eureka.json_fields import lease_seconds
from facade.eureka.records import (
    COMPACT_AMAZON,
    DATA_CENTERS,
    INT32,
    INT64,
    TEXT_FIELDS,
    WIRE_STATUSES,
    DataCenterInfo,
    InstanceInfo,
    LeaseInfo,
    Port,
)
from facade.registry.model import Status

DEPTH_MAX = 16
"""A registration is four elements deep."""
ELEMENTS_MAX = 2_000
"""A registration has about forty elements and its metadata."""

# Beyond ASCII, the letters that old and new parsers alike take in a name.
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0131"
_GREEK_CYRILLIC = "\u0391-\u03a1\u03a3-\u03ce\u0410-\u044f"
_EAST_ASIAN = "\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
_LETTERS = _LATIN + _GREEK_CYRILLIC + _EAST_ASIAN
_ODD_IN_NAME = re.compile(f"^[^{_LETTERS}]|[^{_LETTERS}0-9.\\-]")
_ESCAPED_IN_NAME = re.compile(r"__|_-|(?:_\.[0-9a-fA-F]{4})+")
_ODD_IN_TEXT = re.compile("[&<>\"'\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_TEXT_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\r": "&#xd;"}


# In


def decode_registration(body: bytes) -> InstanceInfo:
    """Read <instance>…</instance>. Unknown elements are ignored, whatever is in them."""
    root = _parse(body)
    name, value = next(iter(root.items()))
    if name not in ("instance", "com.netflix.appinfo.InstanceInfo"):
        raise MalformedDocument("")
    return _to_instance(_children(value))


def _parse(body: bytes) -> dict[str, Any]:
    try:
        _check(body)
        parsed: dict[str, Any] = xmltodict.parse(body, encoding=None, strip_whitespace=False)
    except (expat.ExpatError, ValueError, LookupError):
        raise MalformedDocument("") from None
    return parsed


def _check(body: bytes) -> None:
    """Refuse what a registration never has, before anything is built from it."""
    depth = elements = 0

    def open_element(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > DEPTH_MAX or elements > ELEMENTS_MAX:
            raise MalformedDocument("")

    def close_element(name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*declaration: object) -> None:
        raise MalformedDocument("")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = open_element, close_element
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.Parse(body, True)


def _to_instance(elements: dict[str, Any]) -> InstanceInfo:
    fields: dict[str, Any] = {}
    for name, value in elements.items():
        if name in TEXT_FIELDS:
            fields[TEXT_FIELDS[name]] = _text(value) or ""  # an empty VIP is listed as empty, not left out
        elif name == "status":
            fields["status"] = _status(value)
        elif name in ("overriddenstatus", "overriddenStatus"):
            fields["overridden_status"] = _status(value)
        elif name == "port":
            fields["port"] = Port(_port_number(name, value), _attribute(value, "enabled") != "false")
        elif name == "securePort":
            fields["secure_port"] = Port(_port_number(name, value), _attribute(value, "enabled") == "true")
        elif name == "countryId":
            fields["country_id"] = _integer(value, 1)
        elif name == "dataCenterInfo":
            fields["data_center_info"] = _data_center(_children(value))
        elif name == "leaseInfo":
            fields["lease_info"] = _lease(_children(value))
        elif name == "metadata":
            fields["metadata"] = _metadata(_children(value))
        elif name == "lastDirtyTimestamp":
            fields["last_dirty_ms"] = _integer(value, None)
    if "app" not in elements:
        raise MalformedDocument("")
    fields["app"] = (fields["app"] or "").upper()
    if fields.get("sid") in ("na", "unknown"):
        fields["sid"] = None
    return InstanceInfo(**fields)


def _children(value: Any) -> dict[str, Any]:
    """Child elements by name, the last of each; attributes and the blanks between elements left out."""
    if not isinstance(value, dict):
        return {}
    return {
        name: child[-1] if isinstance(child, list) else child
        for name, child in value.items()
        if not name.startswith(("@", "#"))
    }


def _text(value: Any) -> str | None:
    """The text of an element, not trimmed; None when there is none."""
    text = value.get("#text") if isinstance(value, dict) else value
    return text or None


def _attribute(value: Any, name: str) -> str | None:
    return value.get(f"@{name}") if isinstance(value, dict) else None


def _integer(value: Any, default: Any) -> Any:
    """Digits and a sign, as Java reads numbers: no blanks around them, no underscores between."""
    text = _text(value) or ""
    try:
        number = int(text if text.lstrip("+-").isdecimal() else "")
    except ValueError:
        return default
    return number if number in INT64 else default


def _status(value: Any) -> Status:
    word = (_text(value) or "").upper()
    return Status(word) if word in WIRE_STATUSES else Status.UNKNOWN


def _port_number(name: str, value: Any) -> int:
    number = _integer(value, None)
    if number is None or number not in INT32:
        raise MalformedDocument(f"{name}: expected a number")
    return int(number)


def _data_center(elements: dict[str, Any]) -> DataCenterInfo | None:
    if not elements:
        return None
    name = _text(elements.get("name"))
    if name is None:
        return DataCenterInfo()
    if name.lower() == "amazon":
        return DataCenterInfo("Amazon", _metadata(_children(elements.get("metadata"))))
    if name not in DATA_CENTERS:
        raise MalformedDocument(f"dataCenterInfo.name: {name[:60]} is none of {', '.join(DATA_CENTERS)}")
    return DataCenterInfo(name)


def _lease(elements: dict[str, Any]) -> LeaseInfo:
    return LeaseInfo(
        renewal_interval_s=lease_seconds(_text(elements.get("renewalIntervalInSecs")), default=30),
        duration_s=lease_seconds(_text(elements.get("durationInSecs")), default=90),
    )


def _metadata(elements: dict[str, Any]) -> dict[str, str]:
    """Values are text and stay text: 1.10 is no number. What is nested counts as empty."""
    return {_unescape_name(name): "" if _children(value) else _text(value) or "" for name, value in elements.items()}


def _unescape_name(name: str) -> str:
    def character(escaped: re.Match[str]) -> str:
        if escaped[0] in ("__", "_-"):
            return "_" if escaped[0] == "__" else "$"
        units = b"".join(bytes.fromhex(unit) for unit in escaped[0].split("_.")[1:])
        return units.decode("utf-16-be", "replace")

    return _ESCAPED_IN_NAME.sub(character, name)


# Out


def encode_instance(info: InstanceInfo, indent: str = "    ") -> bytes:
    """One instance in full, ending with a line feed; indented as in a registry document unless told otherwise."""
    lease, data_center = info.lease_info, info.data_center_info or DataCenterInfo("MyOwn")
    inner, innermost = f"{indent}  ", f"{indent}    "
    amazon = _block("metadata", data_center.metadata, innermost) if data_center.is_amazon else ""
    text = "".join(
        (
            f"{indent}<instance>\n",
            _element(inner, "instanceId", info.instance_id),
            _element(inner, "hostName", info.host_name),
            _element(inner, "app", info.app),
            _element(inner, "ipAddr", info.ip_addr),
            _element(inner, "sid", info.sid),
            f"{inner}<status>{info.status}</status>\n",
            f"{inner}<overriddenstatus>{info.overridden_status}</overriddenstatus>\n",
            f"{inner}{_port('port', info.port)}\n",
            f"{inner}{_port('securePort', info.secure_port)}\n",
            f"{inner}<countryId>{info.country_id}</countryId>\n",
            f'{inner}<dataCenterInfo class="{data_center.java_class}">\n',
            f"{innermost}<name>{data_center.name}</name>\n",
            amazon,
            f"{inner}</dataCenterInfo>\n",
            f"{inner}<leaseInfo>\n",
            f"{innermost}<renewalIntervalInSecs>{lease.renewal_interval_s}</renewalIntervalInSecs>\n",
            f"{innermost}<durationInSecs>{lease.duration_s}</durationInSecs>\n",
            f"{innermost}<registrationTimestamp>{lease.registered_ms}</registrationTimestamp>\n",
            f"{innermost}<lastRenewalTimestamp>{lease.renewed_ms}</lastRenewalTimestamp>\n",
            f"{innermost}<evictionTimestamp>{lease.evicted_ms}</evictionTimestamp>\n",
            f"{innermost}<serviceUpTimestamp>{lease.service_up_ms}</serviceUpTimestamp>\n",
            f"{inner}</leaseInfo>\n",
            _block("metadata", info.metadata, inner),
            _element(inner, "appGroupName", info.app_group_name),
            _element(inner, "homePageUrl", info.home_page_url),
            _element(inner, "statusPageUrl", info.status_page_url),
            _element(inner, "healthCheckUrl", info.health_check_url),
            _element(inner, "secureHealthCheckUrl", info.secure_health_check_url),
            _element(inner, "vipAddress", info.vip_address),
            _element(inner, "secureVipAddress", info.secure_vip_address),
            f"{inner}<isCoordinatingDiscoveryServer>false</isCoordinatingDiscoveryServer>\n",
            f"{inner}<lastUpdatedTimestamp>{info.last_updated_ms}</lastUpdatedTimestamp>\n",
            f"{inner}<lastDirtyTimestamp>{info.last_dirty_ms or 0}</lastDirtyTimestamp>\n",
            f"{inner}<actionType>{info.action}</actionType>\n",
            _element(inner, "asgName", info.asg_name),
            f"{indent}</instance>\n",
        )
    )
    return text.encode()


def encode_compact_instance(info: InstanceInfo) -> bytes:
    """One instance reduced to what a client needs for calling it, on one line."""
    data_center = info.data_center_info or DataCenterInfo("MyOwn")
    amazon = _compact_metadata(data_center.metadata, COMPACT_AMAZON) if data_center.is_amazon else ""
    text = "".join(
        (
            "<instance>",
            _compact("instanceId", info.instance_id),
            _compact("app", info.app),
            _compact("ipAddr", info.ip_addr),
            _compact("vipAddress", info.vip_address),
            _compact("secureVipAddress", info.secure_vip_address),
            f'<dataCenterInfo class="{data_center.java_class}">',
            f"<name>{data_center.name}</name>{amazon}</dataCenterInfo>",
            _compact("hostName", info.host_name),
            f"<status>{info.status}</status>",
            f"<lastUpdatedTimestamp>{info.last_updated_ms}</lastUpdatedTimestamp>",
            f"<actionType>{info.action}</actionType>",
            _compact("asgName", info.asg_name),
            _port("port", info.port),
            _port("securePort", info.secure_port),
            "</instance>",
        )
    )
    return text.encode()


def escape_text(text: str) -> str:
    """Text as an element's content. Control characters that no XML document may hold are dropped."""
    return _ODD_IN_TEXT.sub(lambda odd: _TEXT_ENTITIES.get(odd[0], ""), text)


@lru_cache(maxsize=10_000)
def escape_name(name: str) -> str:
    """A metadata key as an element's name. Users of Prometheus see these names: they are as the original writes them.

    Except for the colon, which would be a name space that nobody declares.
    """
    return _ODD_IN_NAME.sub(lambda odd: _escaped(odd[0]), name)


def _escaped(character: str) -> str:
    if character in "_$":
        return "__" if character == "_" else "_-"
    units = character.encode("utf-16-be")
    return "".join(f"_.{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _element(indent: str, name: str, text: str | None) -> str:
    return "" if text is None else f"{indent}<{name}>{escape_text(text)}</{name}>\n"


def _compact(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{escape_text(text)}</{name}>"


def _port(name: str, port: Port) -> str:
    return f'<{name} enabled="{"true" if port.is_enabled else "false"}">{port.number}</{name}>'


def _block(name: str, metadata: dict[str, str], indent: str) -> str:
    """A map as elements. An empty key has no name that XML could write, so it is left out."""
    if not metadata:
        return f'{indent}<{name} class="java.util.Collections$EmptyMap"/>\n'
    entries = "".join(_element(f"{indent}  ", escape_name(key), value) for key, value in metadata.items() if key)
    return f"{indent}<{name}>\n{entries}{indent}</{name}>\n"


def _compact_metadata(metadata: dict[str, str], keys: Iterable[str]) -> str:
    return f"<metadata>{''.join(_compact(key, metadata.get(key)) for key in keys)}</metadata>"
