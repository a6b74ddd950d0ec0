"""ServiceCenter's documents as typed records: field for field what is on the wire. No I/O.

Member order is the original's. Classes carry the names of the original's Go types, because its error texts name them.
Empty members are left out on the wire, so each field's default is its empty value.
Source: go-chassis/cari, discovery/types.go, service.go, instance.go, batch_find.go.
"""

from __future__ import annotations

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A JSON object as the protocol has it: camelCase names, empty members left out."""


# What is kept


class FrameWork(Document):
    name: str = ""
    version: str = ""


class ServicePath(Document):
    path: str = ""
    property: dict[str, str] = {}


class MicroServiceKey(Document):
    """A qualified name. `tenant` is domain/project, set by the server."""

    tenant: str = ""
    environment: str = ""
    app_id: str = ""
    service_name: str = ""
    alias: str = ""
    version: str = ""


class MicroService(Document):
    """The standing record of one version of an application. Timestamps are seconds, as text."""

    service_id: str = ""
    app_id: str = ""
    service_name: str = ""
    version: str = ""
    description: str = ""
    level: str = ""
    schemas: tuple[str, ...] = ()
    paths: tuple[ServicePath, ...] = ()
    status: str = ""
    properties: dict[str, str] = {}
    timestamp: str = ""
    providers: tuple[MicroServiceKey, ...] = ()
    alias: str = ""
    lb_strategy: dict[str, str] = msgspec.field(default_factory=dict, name="LBStrategy")
    mod_timestamp: str = ""
    environment: str = ""
    register_by: str = ""
    framework: FrameWork | None = None


class HealthCheck(Document):
    """How the lease is kept: by `push` the owner sends heartbeats, by `pull` somebody does so for it."""

    mode: str = ""
    port: int = 0
    interval: int = 0
    times: int = 0
    url: str = ""


class DataCenterInfo(Document):
    name: str = ""
    region: str = ""
    available_zone: str = ""


class MicroServiceInstance(Document):
    """A running copy. Timestamps are seconds, as text; `version` is the version of its service."""

    instance_id: str = ""
    service_id: str = ""
    endpoints: tuple[str, ...] = ()
    host_name: str = ""
    status: str = ""
    properties: dict[str, str] = {}
    health_check: HealthCheck | None = None
    timestamp: str = ""
    data_center_info: DataCenterInfo | None = None
    mod_timestamp: str = ""
    version: str = ""


class Schema(Document):
    schema_id: str = ""
    summary: str = ""
    schema: str = ""


# What is asked


class CreateServiceRequest(Document):
    service: MicroService | None = None
    tags: dict[str, str] = {}
    instances: tuple[MicroServiceInstance, ...] = ()


class UpdateServicePropsRequest(Document):
    properties: dict[str, str] = {}


class DelServicesRequest(Document):
    service_ids: tuple[str, ...] = ()
    force: bool = False


class ModifySchemaRequest(Document):
    schema: str = ""
    summary: str = ""


class ModifySchemasRequest(Document):
    schemas: tuple[Schema, ...] = ()


class AddServiceTagsRequest(Document):
    tags: dict[str, str] = {}


class ConsumerDependency(Document):
    consumer: MicroServiceKey | None = None
    providers: tuple[MicroServiceKey, ...] = ()


class AddDependenciesRequest(Document):
    dependencies: tuple[ConsumerDependency, ...] = ()


class RegisterInstanceRequest(Document):
    instance: MicroServiceInstance | None = None


class UpdateInstancePropsRequest(Document):
    properties: dict[str, str] = {}


class InstanceMatches(Document):
    properties: dict[str, str] = {}


class UpdateInstancesStatusRequest(Document):
    """Set the status of all instances that carry every one of these properties."""

    matches: InstanceMatches | None = None
    status: str = ""


class HeartbeatSetElement(Document):
    """One instance of a heartbeat set or batch find, and one of a heartbeat set's answer."""

    service_id: str = ""
    instance_id: str = ""
    err_message: str = ""


class HeartbeatSetRequest(Document):
    instances: tuple[HeartbeatSetElement, ...] = ()


class FindService(Document):
    service: MicroServiceKey | None = None
    rev: str = ""


class FindInstance(Document):
    instance: HeartbeatSetElement | None = None
    rev: str = ""


class BatchFindInstancesRequest(Document):
    services: tuple[FindService, ...] = ()
    instances: tuple[FindInstance, ...] = ()


# What is answered, where it is not simply one of the above under a name


class DelServicesRspInfo(Document):
    err_message: str = ""
    service_id: str = ""


class Error(Document, omit_defaults=True):
    """A refusal. The code is text, and its first three digits are the status."""

    error_code: str
    error_message: str
    detail: str = ""


class FindFailedResult(Document):
    """The entries of a batch find that failed in one way, by their places in the request."""

    indexes: tuple[int, ...]
    error: Error


class WatchInstanceResponse(Document):
    """An event on the watch. `instance` is always there: go-chassis ends its process on one without."""

    action: str
    key: MicroServiceKey
    instance: msgspec.Raw
