"""Registrations for the generator: mostly plain, each with up to three odd fields, in JSON and in XML."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from conformance.eureka.client import AMAZON_CLASS, DATA_CENTER_CLASS, Document

STATUSES = ("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN")
TIMES = (900, 1000, 1000, 1000, 1100, 2000)
ABSENT = object()

_TEXTS = ("x", "", None, ABSENT, 5, 1.5, True, "ü <&\"> ' 名", " a ", "https://h:1/p?q=1&r=2")
_PORT: tuple[Any, ...] = (
    {"$": "8080", "@enabled": True},
    {"$": 8443, "@enabled": "false"},
    {"@enabled": "true", "$": 1},
    {"$": 0, "@enabled": "TRUE"},
    {"$": 80.7, "@enabled": 1},
    {"$": "x", "@enabled": None},
    {"$": None, "@enabled": "true"},
    {"$": True, "@enabled": 0},
    {"$": -1},
    {"@enabled": "false"},
    {"$": 99999999999, "@enabled": "true"},
    {},
    None,
    8080,
    ABSENT,
)
_AMAZON_METADATA: tuple[dict[str, str], ...] = (
    {"instance-id": "i-1-@APP@", "ami-id": "ami-1"},
    {"availability-zone": "us-east-1c", "public-ipv4": "192.0.2.1", "mac": "m", "own": "kept"},
    {},
)

# Not here, for the original fails or we mean to differ: no @class (case 43), metadata elsewhere than in Amazon's (47),
# Amazon's in another order or without metadata (51), the name Amazon under another class (52), empty arrays, which keep
# a core of the original busy for ever (56), unknown fields that hold objects or arrays (60), keys and characters that
# XML cannot hold (72), metadata that are a text, which hide the fields after them (69), more than 2147483 s (76).
ODD: dict[str, tuple[Any, ...]] = {
    "instanceId": (ABSENT, None, ""),
    "hostName": ("", None, ABSENT, 5, True),
    "app": ("@app@", "", None, ABSENT, "OTHER", 5),
    "ipAddr": ("", None, ABSENT, 5, "not an address", "::1"),
    "status": (*STATUSES, *STATUSES, "up", "UP ", "BOGUS", "", 5, None, ABSENT),
    "overriddenStatus": (*STATUSES, "up", "", None, 5),
    "overriddenstatus": (*STATUSES, "down", None),
    "port": _PORT,
    "securePort": _PORT,
    "countryId": (7, "7", 1.5, None, "x", ""),
    "dataCenterInfo": (
        *({"@class": AMAZON_CLASS, "name": "Amazon", "metadata": metadata} for metadata in _AMAZON_METADATA),
        {"name": "MyOwn", "@class": "com.netflix.appinfo.MyDataCenterInfo"},
        {"@class": DATA_CENTER_CLASS, "name": "Netflix"},
        {"@class": DATA_CENTER_CLASS, "name": "myown"},
        {"@class": DATA_CENTER_CLASS, "name": None},
        {"@class": DATA_CENTER_CLASS},
        {"@class": "x.Unknown", "name": "MyOwn"},
        ABSENT,
        None,
    ),
    "leaseInfo": (
        {},
        None,
        {"renewalIntervalInSecs": 10, "durationInSecs": 300},
        {"renewalIntervalInSecs": "15", "durationInSecs": "60"},
        {"renewalIntervalInSecs": 0, "durationInSecs": -5},
        {"durationInSecs": 45.9},
        {"renewalIntervalInSecs": None, "durationInSecs": None},
        {"durationInSecs": 60, "registrationTimestamp": 5, "serviceUpTimestamp": 6, "evictionTimestamp": 7},
        {"colour": "blue", "renewalIntervalInSecs": 3600, "durationInSecs": 7200},
    ),
    "metadata": (
        {"zone": "z1"},
        {"a": 1, "b": True, "c": None, "d": 1.50, "@class": "z"},
        {"my_key": "v", "a b": "v", "$k": "v", "1x": "v", "management.port": "8081", "schlüssel": "wört"},
        {"k": "", "l": " two  words ", "m": "<&\"'>", "n": "a\nb\tc"},
        {"emoji": "\U0001f600 und mehr"},
        {"k": 12345678901234567890, "l": -0.0, "m": False},
        {"@class": "java.util.Collections$EmptyMap"},
        {},
        None,
    ),
    "sid": ("na", "unknown", "", "s1", None, 5),
    "appGroupName": ("group", "GROUP", "", None, "unknown"),
    "homePageUrl": _TEXTS,
    "statusPageUrl": _TEXTS,
    "healthCheckUrl": _TEXTS,
    "secureHealthCheckUrl": _TEXTS,
    "secureVipAddress": ("s-@app@", None, "", 5, ABSENT),
    "vipAddress": (None, "", ABSENT),
    "asgName": ("asg", "", None, 5),
    "isCoordinatingDiscoveryServer": (True, "true", False, "x", None),
    "lastUpdatedTimestamp": (1, "1", "x", None),
    "lastDirtyTimestamp": (1000, "1100", "garbage", "", None, ABSENT, 0, -1, "0900", 1000.5, True),
    "actionType": ("ADDED", "MODIFIED", "DELETED", "bogus", None),
    "colour": ("blue", 1, None, True),
    "identifyingAttribute": ("x", None),
}

_XML_TEXTS = ("x", "", " a ", "&lt;&amp;&gt;&quot;&apos; ü 名", "https://h:1/p?q=1&amp;r=2", "<![CDATA[<c>]]>")
_XML_PORT = (
    "<{0}>81</{0}>",
    "<{0} enabled='false'>82</{0}>",
    "<{0} enabled='TRUE'>83</{0}>",
    "<{0} enabled='x'>84</{0}>",
    "<{0} enabled='true'/>",
    "<{0}>x</{0}>",
    "",
)
_XML_ODD: dict[str, tuple[str, ...]] = {
    "instanceId": ("", "<instanceId></instanceId>", "<instanceId/>"),
    "hostName": ("", "<hostName/>", "<hostName>h &amp; h</hostName>"),
    "app": ("", "<app/>", "<app>@app@</app>", "<app>OTHER</app>"),
    "ipAddr": ("", "<ipAddr/>", "<ipAddr>x</ipAddr>"),
    "status": (
        *(f"<status>{status}</status>" for status in (*STATUSES, *STATUSES, "up", "Down", "UP ", "BOGUS", "")),
        "",
    ),
    "overriddenstatus": tuple(f"<overriddenstatus>{s}</overriddenstatus>" for s in (*STATUSES, "down", "x", "")),
    "overriddenStatus": tuple(f"<overriddenStatus>{s}</overriddenStatus>" for s in (*STATUSES, "down", "x", "")),
    "port": tuple(form.format("port") for form in _XML_PORT),
    "securePort": tuple(form.format("securePort") for form in _XML_PORT),
    "countryId": ("<countryId>7</countryId>", ""),
    "dataCenterInfo": (
        f"<dataCenterInfo class='{AMAZON_CLASS}'><name>Amazon</name><metadata>"
        "<instance-id>i-1-@APP@</instance-id><own>kept</own></metadata></dataCenterInfo>",
        "<dataCenterInfo><name>Netflix</name></dataCenterInfo>",
        "<dataCenterInfo class='x'><name>MyOwn</name></dataCenterInfo>",
        "<dataCenterInfo class='x'><name>myown</name></dataCenterInfo>",
        "<dataCenterInfo/>",
        "",
    ),
    "leaseInfo": (
        "<leaseInfo><renewalIntervalInSecs>10</renewalIntervalInSecs><durationInSecs>300</durationInSecs></leaseInfo>",
        "<leaseInfo><durationInSecs>0</durationInSecs></leaseInfo>",
        "<leaseInfo/>",
        "<leaseInfo></leaseInfo>",
    ),
    "metadata": (
        "<metadata><zone>z1</zone><a>1</a></metadata>",
        "<metadata><my__key>v</my__key><a_.0020b>v</a_.0020b><_-k>v</_-k><my_key>w</my_key></metadata>",
        "<metadata><k/><l> two  words </l><m>&lt;&amp;&gt;</m></metadata>",
        "<metadata><k><nested>x</nested></k><l>y</l></metadata>",
        "<metadata class='java.util.Collections$EmptyMap'/>",
        "<metadata/>",
    ),
    "secureVipAddress": ("<secureVipAddress>s-@app@</secureVipAddress>", "<secureVipAddress/>"),
    "vipAddress": ("", "<vipAddress/>"),
    "asgName": ("<asgName>asg</asgName>", "<asgName/>"),
    "isCoordinatingDiscoveryServer": ("<isCoordinatingDiscoveryServer>true</isCoordinatingDiscoveryServer>",),
    "lastUpdatedTimestamp": ("<lastUpdatedTimestamp>1</lastUpdatedTimestamp>",),
    "lastDirtyTimestamp": (
        *(f"<lastDirtyTimestamp>{time}</lastDirtyTimestamp>" for time in ("1000", "1100", "x", "", "0", "-1")),
        "",
    ),
    "actionType": ("<actionType>DELETED</actionType>", "<actionType>bogus</actionType>"),
    "sid": ("<sid>na</sid>", "<sid>s1</sid>", "<sid/>"),
    "appGroupName": ("<appGroupName>group</appGroupName>",),
    "colour": ("<colour>blue</colour>", "<colour><a>1</a><b/></colour>", "<!-- a comment -->"),
} | {
    name: tuple(f"<{name}>{text}</{name}>" for text in _XML_TEXTS)
    for name in ("homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl")
}


def host_of(instance_id: str) -> str:
    return f"h-{instance_id.lower()}"


def json_instance(random: Random, instance_id: str, *, oddities: int | None = None) -> Document:
    """An instance as a JSON client writes it, its fields in any order now and then."""
    document: Document = {
        "instanceId": instance_id,
        "hostName": host_of(instance_id),
        "app": "@APP@",
        "ipAddr": "10.0.0.1",
        "status": random.choice(("UP", "UP", "UP", *STATUSES)),
        "port": {"$": 8080, "@enabled": "true"},
        "vipAddress": "v-@app@",
        "dataCenterInfo": {"@class": DATA_CENTER_CLASS, "name": "MyOwn"},
        "lastDirtyTimestamp": str(random.choice(TIMES)),
    }
    for field in _some(random, list(ODD), oddities):
        value = random.choice(ODD[field])
        if value is ABSENT:
            document.pop(field, None)
        else:
            document[field] = value
    if random.random() < 0.1:
        fields = list(document.items())
        random.shuffle(fields)
        document = dict(fields)
    return document


def json_registration(random: Random, instance_id: str) -> str:
    """The body of a registration; now and then one that cannot be read."""
    text = json.dumps({"instance": json_instance(random, instance_id)}, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.04:
        return random.choice(
            (text[:-3], "", "{}", "[]", '"x"', text + " trailing", text[:-1] + ',"b":1}', "\ufeff" + text, "{'a':1}")
        )
    return text


def xml_registration(random: Random, instance_id: str) -> str:
    elements = {
        "instanceId": f"<instanceId>{instance_id}</instanceId>",
        "hostName": f"<hostName>{host_of(instance_id)}</hostName>",
        "app": "<app>@APP@</app>",
        "ipAddr": "<ipAddr>10.0.0.1</ipAddr>",
        "status": f"<status>{random.choice(('UP', 'UP', 'UP', *STATUSES))}</status>",
        "port": "<port enabled='true'>8080</port>",
        "vipAddress": "<vipAddress>v-@app@</vipAddress>",
        "dataCenterInfo": f"<dataCenterInfo class='{DATA_CENTER_CLASS}'><name>MyOwn</name></dataCenterInfo>",
        "lastDirtyTimestamp": f"<lastDirtyTimestamp>{random.choice(TIMES)}</lastDirtyTimestamp>",
    }
    for field in _some(random, list(_XML_ODD), None):
        elements[field] = random.choice(_XML_ODD[field])
    between = random.choice(("", "", "\n  "))
    text = f"<instance>{between}{between.join(elements.values())}{between}</instance>"
    if random.random() < 0.04:
        return random.choice((text[:-4], "", "<x/>", "<instance/>", "<?xml version='1.0'?>" + text, "text", f"{text}x"))
    return text


def _some(random: Random, fields: list[str], count: int | None) -> list[str]:
    return random.sample(fields, random.choice((0, 0, 0, 1, 1, 2, 3)) if count is None else count)
