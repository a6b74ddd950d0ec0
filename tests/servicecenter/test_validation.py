"""The field rules: what passes, what does not, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from facade.errors import MalformedDocument
from facade.servicecenter import validation
from facade.servicecenter.records import (
    AddDependenciesRequest,
    ConsumerDependency,
    DataCenterInfo,
    FrameWork,
    HealthCheck,
    MicroService,
    MicroServiceInstance,
    MicroServiceKey,
    ModifySchemasRequest,
    Schema,
    ServicePath,
)

GOOD_SERVICES: list[Any] = [
    {},
    {"service_name": "x" * 128},
    {"service_name": "a.b_c-d"},
    *({"version": version} for version in ("", "1", "1.2.3.4", "32767.0.0", "0001")),
    *({"environment": environment} for environment in validation.ENVIRONMENTS),
    {"level": "MIDDLE"},
    {"status": "DOWN"},
    {"description": "ü" * 256},
    {"alias": "shop:orders"},
    {"register_by": "SIDECAR"},
    {"paths": (ServicePath(path="/rest/{id}?a=b"),)},
    {"schemas": ("x" * 160, "a.b-c_d")},
    {"framework": FrameWork(name="Go-Chassis", version="v2.7.0")},
]

BAD_SERVICES: list[Any] = [
    ({"service_name": ""}, "MicroService.ServiceName"),
    ({"service_name": "x" * 129}, "MicroService.ServiceName"),
    *(({"service_name": name}, "MicroService.ServiceName") for name in ("-a", "a-", "a b", "a:b", "a\n")),
    *(({"version": version}, "x[.y[.z]]") for version in ("1.2.3.4.5", "1.a", "32768", "1.", "latest", "1.0+")),
    ({"environment": "prod"}, "MicroService.Environment"),
    ({"environment": "developmenttesting"}, "MicroService.Environment"),
    ({"level": "middle"}, "MicroService.Level"),
    ({"status": "TESTING"}, "MicroService.Status"),
    ({"description": "x" * 257}, "MicroService.Description"),
    ({"alias": "a b"}, "MicroService.Alias"),
    ({"register_by": "X"}, "MicroService.RegisterBy"),
    ({"paths": (ServicePath(path="<>"),)}, "ServicePath.Path"),
    ({"schemas": ("-a",)}, "MicroService.Schemas"),
    ({"schemas": ("a",) * 101}, "MicroService.Schemas"),
    ({"framework": FrameWork(name="x y")}, "FrameWork.Name"),
    ({"service_id": "a b"}, "MicroService.ServiceId"),
    ({"service_id": "x" * 65}, "MicroService.ServiceId"),
    ({"app_id": "-"}, "MicroService.AppId"),
]

GOOD_INSTANCES: list[Any] = [
    {},
    {"host_name": "h" * 253},
    {"endpoints": ("rest://h:1", "highway://h:2")},
    {"status": "OUTOFSERVICE"},
    {"instance_id": "my.inst-1_2"},
    {"health_check": HealthCheck(mode="pull", interval=7, times=9, port=65535, url="/health")},
    {"data_center_info": DataCenterInfo(name="dc1", region="r1", available_zone="az.1")},
]

BAD_INSTANCES: list[Any] = [
    ({"host_name": ""}, "MicroServiceInstance.HostName"),
    ({"host_name": " "}, "MicroServiceInstance.HostName"),
    ({"host_name": "h" * 254}, "MicroServiceInstance.HostName"),
    ({"endpoints": (" ",)}, "MicroServiceInstance.Endpoints"),
    ({"status": "up"}, "MicroServiceInstance.Status"),
    ({"instance_id": "a:b"}, "MicroServiceInstance.InstanceId"),
    ({"health_check": HealthCheck(mode="ping", interval=1)}, "HealthCheck.Mode"),
    ({"health_check": HealthCheck(mode="push", interval=0)}, "HealthCheck.Interval"),
    ({"health_check": HealthCheck(mode="push", interval=1, times=-1)}, "HealthCheck.Times"),
    ({"health_check": HealthCheck(mode="push", interval=1, port=65536)}, "HealthCheck.Port"),
    ({"health_check": HealthCheck(mode="push", interval=1, url="a b")}, "HealthCheck.Url"),
    ({"data_center_info": DataCenterInfo(name="dc1")}, "DataCenterInfo.Region"),
]


def _service(**members: Any) -> MicroService:
    return MicroService(**{"service_name": "orders", **members})


def _instance(**members: Any) -> MicroServiceInstance:
    return MicroServiceInstance(**{"host_name": "h", **members})


@pytest.mark.parametrize("members", GOOD_SERVICES)
def test_a_service_within_the_rules_passes(members: dict[str, Any]) -> None:
    validation.check_service(_service(**members))


@pytest.mark.parametrize(("members", "field"), BAD_SERVICES)
def test_a_service_outside_the_rules_is_refused_by_field(members: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        validation.check_service(_service(**members))

    assert field in str(refused.value)


@pytest.mark.parametrize("members", GOOD_INSTANCES)
def test_an_instance_within_the_rules_passes(members: dict[str, Any]) -> None:
    validation.check_instance(_instance(**members))


@pytest.mark.parametrize(("members", "field"), BAD_INSTANCES)
def test_an_instance_outside_the_rules_is_refused_by_field(members: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        validation.check_instance(_instance(**members))

    assert field in str(refused.value)


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (
            MicroService(service_name="a b"),
            r"field 'MicroService.ServiceName' invalid value 'a b' does not match rule: "
            r"{Min: 1, Max: 128, Regexp: ^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$}",
        ),
        (
            MicroService(service_name="a", version="1.a"),
            "field 'MicroService.Version' invalid value '1.a' does not match rule: "
            "{Max: 64, Regexp: the form x[.y[.z]] where x y and z are 0-32767 range}",
        ),
        (
            MicroService(service_name="a", level="q"),
            "field 'MicroService.Level' invalid value 'q' does not match rule: {Regexp: ^(FRONT|MIDDLE|BACK)$}",
        ),
    ],
    ids=["name", "version", "level"],
)
def test_refusals_read_as_the_originals(service: MicroService, text: str) -> None:
    """Measured on v2.2.0."""
    with pytest.raises(MalformedDocument) as refused:
        validation.check_service(service)

    assert str(refused.value) == text


def test_least_lengths_count_bytes_and_most_lengths_characters() -> None:
    assert validation.Rule(least=2).fits("ü")
    assert validation.Rule(most=1).fits("ü")


@pytest.mark.parametrize("tags", [{"1k": "v"}, {"k": "v v"}, {"k": ""}, {f"k{n}": "v" for n in range(101)}])
def test_tags_outside_the_rules_are_refused(tags: dict[str, str]) -> None:
    with pytest.raises(MalformedDocument, match=r"AddServiceTagsRequest\.Tags"):
        validation.check_tags(tags)


@pytest.mark.parametrize(
    "schemas",
    [(), (Schema(schema_id="a", schema="s"),), (Schema(schema_id="a", schema="s", summary="x"),) * 101],
    ids=["none", "no-summary", "too-many"],
)
def test_a_set_of_schemas_is_refused_without_naming_a_field(schemas: tuple[Schema, ...]) -> None:
    with pytest.raises(MalformedDocument, match=r"^Invalid request\.$"):
        validation.check_schemas("s", ModifySchemasRequest(schemas=schemas))


CONSUMER = MicroServiceKey(app_id="a", service_name="c", version="1.0.0")


@pytest.mark.parametrize("version", ["", "latest", "1.0.0", "1.0.0+", "1.0-2.0"])
def test_dependencies_may_name_a_version_rule(version: str) -> None:
    provider = MicroServiceKey(service_name="p", version=version)
    request = AddDependenciesRequest(dependencies=(ConsumerDependency(consumer=CONSUMER, providers=(provider,)),))

    validation.check_dependencies(request, overwrites=False)


@pytest.mark.parametrize(
    ("dependencies", "text"),
    [
        ((), "AddDependenciesRequest.Dependencies"),
        ((ConsumerDependency(),), "ConsumerDependency.Consumer"),
        ((ConsumerDependency(consumer=CONSUMER),), "ConsumerDependency.Providers"),
        (
            (
                ConsumerDependency(
                    consumer=CONSUMER, providers=(MicroServiceKey(service_name="p", version="0.0.0.0+"),)
                ),
            ),
            "MicroServiceKey.Version",
        ),
    ],
    ids=["none", "no-consumer", "no-provider", "four-parts"],
)
def test_dependencies_outside_the_rules_are_refused(dependencies: tuple[ConsumerDependency, ...], text: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        validation.check_dependencies(AddDependenciesRequest(dependencies=dependencies), overwrites=False)

    assert text in str(refused.value)
