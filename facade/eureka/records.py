"""Eureka's documents as typed records: field for field what is on the wire. No I/O.

None means that the client did not say. What we write is complete, but for what the original leaves out as well.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from facade.registry.model import Status

WIRE_STATUSES = frozenset({Status.UP, Status.DOWN, Status.STARTING, Status.OUT_OF_SERVICE, Status.UNKNOWN})
"""All that Eureka knows: a client of Spring's rejects the whole registry for any other word."""

DATA_CENTERS = ("Netflix", "Amazon", "MyOwn")
COMPACT_AMAZON = ("instance-id", "public-ipv4", "public-hostname", "local-ipv4", "availability-zone")
"""What a compact answer tells of Amazon's metadata."""

INT32 = range(-(2**31), 2**31)
INT64 = range(-(2**63), 2**63)

TEXT_FIELDS = {
    "instanceId": "instance_id",
    "hostName": "host_name",
    "app": "app",
    "ipAddr": "ip_addr",
    "sid": "sid",
    "appGroupName": "app_group_name",
    "homePageUrl": "home_page_url",
    "statusPageUrl": "status_page_url",
    "healthCheckUrl": "health_check_url",
    "secureHealthCheckUrl": "secure_health_check_url",
    "vipAddress": "vip_address",
    "secureVipAddress": "secure_vip_address",
    "asgName": "asg_name",
}
"""Wire name to attribute of InstanceInfo, for the fields that are plain text."""


class Action(StrEnum):
    """What last happened to an instance, as its readers are told."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Port(msgspec.Struct, frozen=True):
    number: int
    is_enabled: bool


class DataCenterInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an instance runs. `metadata` is Amazon's alone: Java clients reject it anywhere else."""

    name: str | None = None
    metadata: dict[str, str] = {}

    @property
    def is_amazon(self) -> bool:
        return self.name == "Amazon"

    @property
    def java_class(self) -> str:
        """Clients choose their decoder by this name."""
        if self.is_amazon:
            return "com.netflix.appinfo.AmazonInfo"
        return "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"


class LeaseInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first two are the client's wish, the others are the server's. The defaults are Netflix's."""

    renewal_interval_s: int = 30
    duration_s: int = 90
    registered_ms: int = 0
    renewed_ms: int = 0
    evicted_ms: int = 0
    service_up_ms: int = 0


class InstanceInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One instance, in the order of the wire."""

    instance_id: str | None = None
    host_name: str | None = None
    app: str = ""
    ip_addr: str | None = None
    sid: str | None = None
    status: Status = Status.UP
    overridden_status: Status = Status.UNKNOWN
    """UNKNOWN: there is no override."""
    port: Port = Port(7001, True)
    secure_port: Port = Port(7002, False)
    country_id: int = 1
    data_center_info: DataCenterInfo | None = None
    lease_info: LeaseInfo = LeaseInfo()
    metadata: dict[str, str] = {}
    app_group_name: str | None = None
    home_page_url: str | None = None
    status_page_url: str | None = None
    health_check_url: str | None = None
    secure_health_check_url: str | None = None
    vip_address: str | None = None
    secure_vip_address: str | None = None
    last_updated_ms: int = 0
    last_dirty_ms: int | None = None
    action: Action = Action.ADDED
    asg_name: str | None = None

    @property
    def effective_id(self) -> str:
        """The id that its heartbeats use; "" when there is none.

        Source: Netflix/eureka, InstanceInfo.getId.
        """
        amazon_id = self.data_center_info.metadata.get("instance-id") if self.data_center_info else None
        return self.instance_id or amazon_id or self.host_name or ""

    @property
    def vips(self) -> list[str]:
        return self.vip_address.split(",") if self.vip_address else []

    @property
    def secure_vips(self) -> list[str]:
        return self.secure_vip_address.split(",") if self.secure_vip_address else []


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """One event that a peer tells of. `instance_info` comes with a registration only."""

    action: str | None = None
    app_name: str | None = None
    instance_id: str | None = None
    last_dirty_ms: int | None = None
    overridden_status: Status = Status.UNKNOWN
    status: Status | None = None
    """None also for a word that Eureka does not know."""
    instance_info: InstanceInfo | None = None


class BatchResult(msgspec.Struct, frozen=True):
    """What became of one item; `entity` is our newer copy, when that is the answer."""

    status: int
    entity: InstanceInfo | None = None


Hear = Callable[[str, BatchItem], BatchResult | None]
"""Told what a peer says, and from which address; None when that is nobody it listens to."""

HearOf = Callable[[], Hear | None]
"""Who hears it now: registries behind us come and go while we run."""


def nobody() -> None:
    """No Eureka stands behind us."""
