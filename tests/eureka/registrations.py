"""Registrations for the Eureka room's tests: an ordinary one, with what a test wants changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from facade.eureka.mapping import to_instance
from facade.eureka.records import DataCenterInfo, InstanceInfo, Port
from facade.eureka.wire_json import decode_registration
from facade.registry.model import Instance, Space
from facade.registry.rules import Policy

DEFAULT_CLASS = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
AMAZON_CLASS = "com.netflix.appinfo.AmazonInfo"
NOW_MS = 1_750_000_000_000


def document(app: str = "A", instance_id: str = "i1", *, without: Iterable[str] = (), **changes: Any) -> dict[str, Any]:
    """What stands under the root key; new fields come last."""
    fields: dict[str, Any] = {
        "instanceId": instance_id,
        "hostName": "h1",
        "app": app,
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "port": {"$": 8080, "@enabled": "true"},
        "vipAddress": "v1",
        "dataCenterInfo": {"@class": DEFAULT_CLASS, "name": "MyOwn"},
        "lastDirtyTimestamp": "1000",
    } | changes
    return {name: value for name, value in fields.items() if name not in without}


def body(app: str = "A", instance_id: str = "i1", **changes: Any) -> bytes:
    """A registration as a client sends it."""
    return msgspec.json.encode({"instance": document(app, instance_id, **changes)})


def read(**changes: Any) -> InstanceInfo:
    """The same, read."""
    return decode_registration(body(**changes))


def instance(app: str = "A", instance_id: str = "i1", space: Space | None = None, **changes: Any) -> Instance:
    """The same, as the record to register."""
    return to_instance(decode_registration(body(app, instance_id, **changes)), space or Space(), Policy(), NOW_MS)


PLAIN = InstanceInfo(
    instance_id="i1",
    host_name="h1",
    app="A",
    ip_addr="10.0.0.1",
    port=Port(8080, True),
    vip_address="v1",
    data_center_info=DataCenterInfo("MyOwn"),
    last_dirty_ms=1000,
)
"""`document()` as a record."""
