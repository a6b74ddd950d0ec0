"""ServiceCenter's documents as typed records: field for field what is on the wire. No I/O.

Member order is the original's. Classes carry the names of the original's Go types, because its error texts name them.
Empty members are left out on the wire, so each field's default is its empty value.
Source: go-chassis/cari, discovery/types.go, service.go, instance.go, batch_find.go.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A JSON object as the protocol has it: camelCase names, empty members left out."""


# What is kept


class FrameWork(Document, frozen=True):
    name: str = ""
    version: str = ""


class ServicePath(Document, frozen=True):
    path: str = ""
    property: dict[str, str] = {}


class MicroServiceKey(Document, frozen=True):
    """A qualified name. `tenant` is domain/project, set by the server."""

    tenant: str = ""
    environment: str = ""
    app_id: str = ""
    service_name: str = ""
    alias: str = ""
    version: str = ""


class MicroService(Document, frozen=True):
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


class HealthCheck(Document, frozen=True):
    """How the lease is kept: by `push` the owner sends heartbeats, by `pull` somebody does so for it."""

    mode: str = ""
    port: int = 0
    interval: int = 0
    times: int = 0
    url: str = ""


class DataCenterInfo(Document, frozen=True):
    name: str = ""
    region: str = ""
    available_zone: str = ""


class MicroServiceInstance(Document, frozen=True):
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


class Schema(Document, frozen=True):
    schema_id: str = ""
    summary: str = ""
    schema: str = ""


# What is asked


class CreateServiceRequest(Document, frozen=True):
    service: MicroService | None = None
    tags: dict[str, str] = {}
    instances: tuple[MicroServiceInstance, ...] = ()


class UpdateServicePropsRequest(Document, frozen=True):
    properties: dict[str, str] = {}


class DelServicesRequest(Document, frozen=True):
    service_ids: tuple[str, ...] = ()
    force: bool = False


class ModifySchemaRequest(Document, frozen=True):
    schema: str = ""
    summary: str = ""


class ModifySchemasRequest(Document, frozen=True):
    schemas: tuple[Schema, ...] = ()


class AddServiceTagsRequest(Document, frozen=True):
    tags: dict[str, str] = {}


class ConsumerDependency(Document, frozen=True):
    consumer: MicroServiceKey | None = None
    providers: tuple[MicroServiceKey, ...] = ()


class AddDependenciesRequest(Document, frozen=True):
    dependencies: tuple[ConsumerDependency, ...] = ()


class Policy(Document, frozen=True):
    """A governance policy. What its spec holds depends on its kind."""

    name: str = ""
    status: str = ""
    selector: dict[str, str] = {}
    spec: dict[str, Any] = {}


class RegisterInstanceRequest(Document, frozen=True):
    instance: MicroServiceInstance | None = None


class UpdateInstancePropsRequest(Document, frozen=True):
    properties: dict[str, str] = {}


class InstanceMatches(Document, frozen=True):
    properties: dict[str, str] = {}


class UpdateInstancesStatusRequest(Document, frozen=True):
    """Set the status of all instances that carry every one of these properties."""

    matches: InstanceMatches | None = None
    status: str = ""


class HeartbeatSetElement(Document, frozen=True):
    """One instance of a heartbeat set or batch find, and one of a heartbeat set's answer."""

    service_id: str = ""
    instance_id: str = ""
    err_message: str = ""


class HeartbeatSetRequest(Document, frozen=True):
    instances: tuple[HeartbeatSetElement, ...] = ()


class FindService(Document, frozen=True):
    service: MicroServiceKey | None = None
    rev: str = ""


class FindInstance(Document, frozen=True):
    instance: HeartbeatSetElement | None = None
    rev: str = ""


class BatchFindInstancesRequest(Document, frozen=True):
    services: tuple[FindService, ...] = ()
    instances: tuple[FindInstance, ...] = ()


# Accounts. Source: go-chassis/cari, rbac/*.go.


class Account(Document, frozen=True):
    """Timestamps are seconds, as text. A password comes in and never goes out."""

    id: str = ""
    name: str = ""
    password: str = ""
    roles: tuple[str, ...] = ()
    token_expiration_time: str = ""
    current_password: str = ""
    status: str = ""
    create_time: str = ""
    update_time: str = ""


class BatchCreateAccountsRequest(Document, frozen=True):
    accounts: tuple[Account, ...] = ()


class Resource(Document, frozen=True):
    type: str = ""
    labels: dict[str, str] = {}


class Permission(Document, frozen=True):
    resources: tuple[Resource, ...] = ()
    verbs: tuple[str, ...] = ()


class Role(Document, frozen=True):
    id: str = ""
    name: str = ""
    perms: tuple[Permission, ...] = ()
    create_time: str = ""
    update_time: str = ""


# What is answered, where it is not simply one of the above under a name


class DelServicesRspInfo(Document, frozen=True):
    err_message: str = ""
    service_id: str = ""


class Error(Document, frozen=True):
    """A refusal. The code is text, and its first three digits are the status."""

    error_code: str
    error_message: str
    detail: str = ""


class FindFailedResult(Document, frozen=True):
    """The entries of a batch find that failed in one way, by their places in the request."""

    indexes: tuple[int, ...]
    error: Error


class WatchInstanceResponse(Document, frozen=True):
    """An event on the watch. `instance` is always there: go-chassis ends its process on one without."""

    action: str
    key: MicroServiceKey
    instance: msgspec.Raw
