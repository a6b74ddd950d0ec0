"""The field rules of ServiceCenter's documents and queries, refused in the original's words.

A text names the Go type and field, the value and the rule; only the first fault is told. Minimum lengths count bytes,
maximum lengths characters. Where we are more generous than the original, a comment says so.
Source: servicecomb-service-center, server/service/validator/*.go, pkg/validate/*.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from facade.errors import MalformedDocument
from facade.servicecenter.records import (
    AddDependenciesRequest,
    BatchFindInstancesRequest,
    DataCenterInfo,
    DelServicesRequest,
    HealthCheck,
    HeartbeatSetElement,
    MicroService,
    MicroServiceInstance,
    MicroServiceKey,
    ModifySchemaRequest,
    ModifySchemasRequest,
)

ENVIRONMENTS = ("", "development", "testing", "acceptance", "production")

_MAX_INT32 = 2**31 - 1


class Rule(NamedTuple):
    """What one field may hold. `told` stands for the pattern in the refusal where the original has words for it."""

    pattern: str = ""
    least: int = 0
    most: int = 0
    told: str = ""

    def fits(self, value: str) -> bool:
        return (
            len(value.encode()) >= self.least
            and (not self.most or len(value) <= self.most)
            and (not self.pattern or re.fullmatch(self.pattern, value, re.ASCII) is not None)
        )

    def __str__(self) -> str:
        parts = (
            f"Min: {self.least}" if self.least else "",
            f"Max: {self.most}" if self.most else "",
            f"Regexp: {self.told or self.pattern}" if self.told or self.pattern else "",
        )
        return "{" + ", ".join(filter(None, parts)) + "}"


_NAME_PATTERN = r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$"
_VERSION_PART = r"(?:3276[0-7]|327[0-5]\d|32[0-6]\d\d|3[01]\d{3}|[012]\d{4}|0*\d{1,4})"
_VERSION_PATTERN = rf"{_VERSION_PART}(?:\.{_VERSION_PART}){{0,3}}"
_SHORT_VERSION = rf"{_VERSION_PART}(?:\.{_VERSION_PART}){{0,2}}"
_VERSION_WORDS = "the form x[.y[.z]] where x y and z are 0-32767 range"
_VERSION_RULE_WORDS = (
    "the form x[.y[.z]] or x[.y[.z]]+ or x[.y[.z]]-x[.y[.z]] or 'latest' where x y and z are 0-32767 range"
)
_ANY_TEXT = Rule(r"[\s\S]*\S[\s\S]*", told=r"\S+")

ID = Rule(r"^\S*$", most=64)
REQUIRED_ID = ID._replace(least=1)
APP = Rule(_NAME_PATTERN, most=160)
REQUIRED_APP = APP._replace(least=1)
NAME = Rule(_NAME_PATTERN, least=1, most=128)
NAME_OR_ALIAS = Rule(r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.:]*[a-zA-Z0-9]$", least=1, most=289)
VERSION = Rule(f"|{_VERSION_PATTERN}", most=64, told=_VERSION_WORDS)
REQUIRED_VERSION = VERSION._replace(least=1)
VERSION_RULE = Rule(
    rf"|latest|{_SHORT_VERSION}\+?|{_SHORT_VERSION}-{_SHORT_VERSION}", most=128, told=_VERSION_RULE_WORDS
)
# The original's star lets `developmenttesting` pass; ours takes exactly one of the four.
ENVIRONMENT = Rule("^(development|testing|acceptance|production)?$")
DESCRIPTION = Rule(most=256)
LEVEL = Rule("^(FRONT|MIDDLE|BACK)?$", told="^(FRONT|MIDDLE|BACK)$")
SERVICE_STATUS = Rule("^(UP|DOWN)?$")
SCHEMAS = Rule(r"^[a-zA-Z0-9]{1,160}$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]{0,158}[a-zA-Z0-9]$", most=160)
SCHEMA_ID = Rule(r"^[a-zA-Z0-9]+$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$", least=1, most=160)
SCHEMA_TEXT = Rule(least=1)
SUMMARY = Rule("^[a-zA-Z0-9]*$", most=128)
PATH = Rule(r"^[A-Za-z0-9.,?'\\/+&amp;%$#=~_\-@{}]*$")
ALIAS = Rule(r"^[a-zA-Z0-9_\-.:]*$", most=128)
REGISTER_BY = Rule("^(SDK|SIDECAR|PLATFORM)*$", most=64)
FRAMEWORK_NAME = Rule(_NAME_PATTERN, most=64)
FRAMEWORK_VERSION = Rule(most=64)
TAG = Rule(r"^[a-zA-Z][a-zA-Z0-9_\-.]{0,63}$")
INSTANCE_ID = Rule(r"^[A-Za-z0-9_.-]*$", most=64)
REQUIRED_INSTANCE_ID = INSTANCE_ID._replace(least=1)
# The original's 64 refuses many a host in Kubernetes; 253 is the longest that DNS knows.
HOST_NAME = Rule(_ANY_TEXT.pattern, least=1, most=253, told=_ANY_TEXT.told)
STATUS = Rule("^(UP|DOWN|STARTING|TESTING|OUTOFSERVICE)$")
STATUS_OR_NONE = Rule("^(UP|DOWN|STARTING|TESTING|OUTOFSERVICE)?$")
CHECK_MODE = Rule("^(push|pull)$")
CHECK_URL = Rule(r"^\S*$")
DATA_CENTRE = Rule("^[A-Za-z0-9_.-]+$", least=1, most=128)
BATCH_ID = Rule(r"^\S{1,64}$", told=r"^\S{1,64}$")

MOST_SCHEMAS = 100
MOST_TAGS = 100
MOST_DEPENDENCIES = 100


def check(field: str, value: str, rule: Rule) -> None:
    """Raises MalformedDocument when the value does not fit; `field` is Type.Field of the original's request."""
    if not rule.fits(value):
        raise _misfit(field, value, rule)


def check_each(field: str, values: Iterable[str], rule: Rule) -> None:
    for value in values:
        check(field, value, rule)


def check_service(service: MicroService, most_schemas: int = MOST_SCHEMAS) -> None:
    check("MicroService.ServiceId", service.service_id, ID)
    check("MicroService.AppId", service.app_id, APP)
    check("MicroService.ServiceName", service.service_name, NAME)
    check("MicroService.Version", service.version, VERSION)
    check("MicroService.Description", service.description, DESCRIPTION)
    check("MicroService.Level", service.level, LEVEL)
    _check_count("MicroService.Schemas", len(service.schemas), SCHEMAS._replace(most=most_schemas))
    check_each("MicroService.Schemas", service.schemas, SCHEMAS)
    check_each("ServicePath.Path", (path.path for path in service.paths), PATH)
    check("MicroService.Status", service.status, SERVICE_STATUS)
    check("MicroService.Alias", service.alias, ALIAS)
    check("MicroService.Environment", service.environment, ENVIRONMENT)
    check("MicroService.RegisterBy", service.register_by, REGISTER_BY)
    if service.framework is not None:
        check("FrameWork.Name", service.framework.name, FRAMEWORK_NAME)
        check("FrameWork.Version", service.framework.version, FRAMEWORK_VERSION)


def check_instance(instance: MicroServiceInstance) -> None:
    check("MicroServiceInstance.InstanceId", instance.instance_id, INSTANCE_ID)
    check("MicroServiceInstance.ServiceId", instance.service_id, ID)
    check_each("MicroServiceInstance.Endpoints", instance.endpoints, _ANY_TEXT)
    check("MicroServiceInstance.HostName", instance.host_name, HOST_NAME)
    check("MicroServiceInstance.Status", instance.status, STATUS_OR_NONE)
    if instance.health_check is not None:
        _check_health_check(instance.health_check)
    if instance.data_center_info is not None:
        _check_data_centre(instance.data_center_info)


def check_tags(tags: dict[str, str], most: int = MOST_TAGS) -> None:
    _check_count("AddServiceTagsRequest.Tags", len(tags), TAG._replace(most=most))
    for text in (*tags, *tags.values()):
        if not TAG.fits(text):
            raise _misfit("AddServiceTagsRequest.Tags", text, TAG._replace(most=most))


def check_schema(schema_id: str, request: ModifySchemaRequest) -> None:
    check("ModifySchemaRequest.SchemaId", schema_id, SCHEMA_ID)
    check("ModifySchemaRequest.Schema", request.schema, SCHEMA_TEXT)
    check("ModifySchemaRequest.Summary", request.summary, SUMMARY)


def check_schemas(service_id: str, request: ModifySchemasRequest, most: int = MOST_SCHEMAS) -> None:
    """All or nothing, and no field is named: the original has one text for every fault."""
    fits = (
        REQUIRED_ID.fits(service_id)
        and 0 < len(request.schemas) <= most
        and all(
            SCHEMA_ID.fits(one.schema_id)
            and SCHEMA_TEXT.fits(one.schema)
            and SUMMARY._replace(least=1).fits(one.summary)
            for one in request.schemas
        )
    )
    if not fits:
        raise MalformedDocument("Invalid request.")


def check_deletions(request: DelServicesRequest) -> None:
    if not request.service_ids:
        raise _misfit("DelServicesRequest.ServiceIds", "[]", BATCH_ID._replace(least=1))
    check_each("DelServicesRequest.ServiceIds", request.service_ids, BATCH_ID)


def check_dependencies(request: AddDependenciesRequest, *, overwrites: bool) -> None:
    count = Rule(least=1, most=MOST_DEPENDENCIES)
    owner = "CreateDependenciesRequest" if overwrites else "AddDependenciesRequest"
    _check_count(f"{owner}.Dependencies", len(request.dependencies), count)
    for dependency in request.dependencies:
        if dependency.consumer is None:
            raise _misfit("ConsumerDependency.Consumer", "<nil>", Rule(least=1))
        _check_key(dependency.consumer, REQUIRED_APP, NAME, REQUIRED_VERSION)
        _check_count("ConsumerDependency.Providers", len(dependency.providers), Rule(least=0 if overwrites else 1))
        for provider in dependency.providers:
            _check_key(provider, APP, NAME, VERSION_RULE)


def check_batch_find(consumer_id: str, request: BatchFindInstancesRequest) -> None:
    if not request.services and not request.instances:
        raise MalformedDocument("Required services or instances")
    check("BatchFindInstancesRequest.ConsumerServiceId", consumer_id, ID)
    for one in request.services:
        if one.service is None:
            raise _misfit("FindService.Service", "<nil>", Rule(least=1))
        check("MicroServiceKey.Environment", one.service.environment, ENVIRONMENT)
        check("MicroServiceKey.AppId", one.service.app_id, REQUIRED_APP)
        check("MicroServiceKey.ServiceName", one.service.service_name, NAME_OR_ALIAS)
    for other in request.instances:
        if other.instance is None:
            raise _misfit("FindInstance.Instance", "<nil>", Rule(least=1))
        check_element(other.instance)


def check_find(asked: MicroServiceKey, tags: Iterable[str]) -> None:
    """What is found by name. The version is not looked at: clients send rules of their own making."""
    check("FindInstancesRequest.AppId", asked.app_id, REQUIRED_APP)
    check("FindInstancesRequest.ServiceName", asked.service_name, NAME_OR_ALIAS)
    check_each("FindInstancesRequest.Tags", tags, TAG)
    check("FindInstancesRequest.Environment", asked.environment, ENVIRONMENT)


def check_element(element: HeartbeatSetElement) -> None:
    check("HeartbeatSetElement.ServiceId", element.service_id, REQUIRED_ID)
    check("HeartbeatSetElement.InstanceId", element.instance_id, REQUIRED_INSTANCE_ID)


def _check_key(key: MicroServiceKey, app: Rule, name: Rule, version: Rule) -> None:
    check("MicroServiceKey.Environment", key.environment, ENVIRONMENT)
    check("MicroServiceKey.AppId", key.app_id, app)
    check("MicroServiceKey.ServiceName", key.service_name, name)
    check("MicroServiceKey.Version", key.version, version)


def _check_health_check(health: HealthCheck) -> None:
    check("HealthCheck.Mode", health.mode, CHECK_MODE)
    _check_number("HealthCheck.Port", health.port, 0, 65535)
    _check_number("HealthCheck.Interval", health.interval, 1, _MAX_INT32)
    _check_number("HealthCheck.Times", health.times, 0, _MAX_INT32)
    check("HealthCheck.Url", health.url, CHECK_URL)


def _check_data_centre(centre: DataCenterInfo) -> None:
    check("DataCenterInfo.Name", centre.name, DATA_CENTRE)
    check("DataCenterInfo.Region", centre.region, DATA_CENTRE)
    check("DataCenterInfo.AvailableZone", centre.available_zone, DATA_CENTRE)


def _check_count(field: str, count: int, rule: Rule) -> None:
    if count < rule.least or (rule.most and count > rule.most):
        raise _misfit(field, f"[{count or ''}]", rule)


def _check_number(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _misfit(field, str(value), Rule(least=least, most=most))


def _misfit(field: str, value: str, rule: Rule) -> MalformedDocument:
    return MalformedDocument(f"field '{field}' invalid value '{value}' does not match rule: {rule}")
