"""Bytes <> records, from tables read both ways; the ids say which client writes so."""

from __future__ import annotations

import contextlib
import json
from itertools import product
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facade.errors import (
    FacadeError,
    InstanceNotFound,
    MalformedDocument,
    ServiceNotFound,
    StoreFull,
    StoreUnavailable,
    UpstreamRefused,
)
from facade.servicecenter import wire
from facade.servicecenter.records import (
    BatchFindInstancesRequest,
    CreateServiceRequest,
    DataCenterInfo,
    Document,
    FindService,
    FrameWork,
    HealthCheck,
    HeartbeatSetElement,
    HeartbeatSetRequest,
    MicroService,
    MicroServiceInstance,
    MicroServiceKey,
    RegisterInstanceRequest,
    ServicePath,
)

BOTH_WAYS: list[Any] = [
    pytest.param(
        b'{"service":{"appId":"default","serviceName":"calculator","version":"1.0.0","schemas":["calc"],'
        b'"status":"UP","properties":{"allowCrossApp":"true"},"alias":"default:calculator",'
        b'"environment":"development","framework":{"name":"Go-Chassis","version":"v2.7.0"}}}',
        CreateServiceRequest(
            service=MicroService(
                app_id="default",
                service_name="calculator",
                version="1.0.0",
                schemas=("calc",),
                status="UP",
                properties={"allowCrossApp": "true"},
                alias="default:calculator",
                environment="development",
                framework=FrameWork(name="Go-Chassis", version="v2.7.0"),
            )
        ),
        id="go-chassis-creates-a-service",
    ),
    pytest.param(
        b'{"instance":{"endpoints":["rest://10.0.0.1:8080"],"hostName":"h","properties":{"nodeIP":"10.0.0.1"}}}',
        RegisterInstanceRequest(
            instance=MicroServiceInstance(
                endpoints=("rest://10.0.0.1:8080",), host_name="h", properties={"nodeIP": "10.0.0.1"}
            )
        ),
        id="go-chassis-registers",
    ),
    pytest.param(
        b'{"services":[{"service":{"appId":"default","serviceName":"CseConfigCenter","version":"0+"}}]}',
        BatchFindInstancesRequest(
            services=(
                FindService(service=MicroServiceKey(app_id="default", service_name="CseConfigCenter", version="0+")),
            )
        ),
        id="go-chassis-asks-for-its-configuration-centre",
    ),
    pytest.param(
        b'{"instance":{"instanceId":"i1","endpoints":["rest://h:1?sslEnabled=true"],"hostName":"h","status":"UP",'
        b'"healthCheck":{"mode":"push","interval":15,"times":3},'
        b'"dataCenterInfo":{"name":"dc1","region":"r1","availableZone":"az1"}}}',
        RegisterInstanceRequest(
            instance=MicroServiceInstance(
                instance_id="i1",
                endpoints=("rest://h:1?sslEnabled=true",),
                host_name="h",
                status="UP",
                health_check=HealthCheck(mode="push", interval=15, times=3),
                data_center_info=DataCenterInfo(name="dc1", region="r1", available_zone="az1"),
            )
        ),
        id="java-chassis-3-registers",
    ),
    pytest.param(
        b'{"service":{"paths":[{"path":"/rest","property":{"checksession":"false"}}],"LBStrategy":{"a":"b"}}}',
        CreateServiceRequest(
            service=MicroService(
                paths=(ServicePath(path="/rest", property={"checksession": "false"}),), lb_strategy={"a": "b"}
            )
        ),
        id="java-chassis-2-paths",
    ),
    pytest.param(
        b'{"instances":[{"serviceId":"s","instanceId":"i"}]}',
        HeartbeatSetRequest(instances=(HeartbeatSetElement(service_id="s", instance_id="i"),)),
        id="heartbeat-set",
    ),
]


@pytest.mark.parametrize(("body", "record"), BOTH_WAYS)
def test_documents_are_read_and_written_alike(body: bytes, record: Document) -> None:
    assert wire.decode(type(record), body) == record
    assert wire.encode(record) == body


@pytest.mark.parametrize(
    ("body", "service"),
    [
        pytest.param(
            b'{"service":{"ServiceName":"n","APPID":"a","lbstrategy":{"k":"v"}}}',
            MicroService(service_name="n", app_id="a", lb_strategy={"k": "v"}),
            id="names-in-any-case-as-go-reads-them",
        ),
        pytest.param(
            b'{"service":{"serviceId":null,"level":null,"properties":null,"schemas":null,"framework":null,'
            b'"serviceName":"n"}}',
            MicroService(service_name="n"),
            id="java-chassis-3-sends-nulls",
        ),
        pytest.param(
            b'{"service":{"serviceName":"n","rules":[{}],"stage":"prod","ttl":63}}',
            MicroService(service_name="n"),
            id="java-chassis-2-sends-members-of-its-own",
        ),
        pytest.param(
            b'{"service":{"serviceName":"first","serviceName":"last"}}',
            MicroService(service_name="last"),
            id="the-last-of-two-counts",
        ),
        pytest.param(
            b'{"service":{"schemas":[null,"x"],"properties":{"k":null}}}',
            MicroService(schemas=("", "x"), properties={"k": ""}),
            id="null-inside-is-empty-text",
        ),
    ],
)
def test_what_clients_write_otherwise_is_read_as_meant(body: bytes, service: MicroService) -> None:
    assert wire.decode(CreateServiceRequest, body).service == service


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"", "unexpected end of JSON input", id="empty"),
        pytest.param(b'{"service":', "unexpected end of JSON input", id="cut-off"),
        pytest.param(b"nope", "JSON is malformed", id="no-json"),
        pytest.param(
            b"[]",
            "json: cannot unmarshal array into Go value of type discovery.CreateServiceRequest",
            id="array",
        ),
        pytest.param(
            b'{"service":[]}',
            "json: cannot unmarshal array into Go struct field CreateServiceRequest.service "
            "of type discovery.MicroService",
            id="array-for-object",
        ),
        pytest.param(
            b'{"service":{"serviceName":5}}',
            "json: cannot unmarshal number into Go struct field MicroService.service.serviceName of type string",
            id="number-for-text",
        ),
        pytest.param(
            b'{"service":{"properties":{"a":true}}}',
            "json: cannot unmarshal bool into Go struct field MicroService.service.properties of type string",
            id="truth-for-text",
        ),
        pytest.param(
            b'{"service":{"schemas":"x"}}',
            "json: cannot unmarshal string into Go struct field MicroService.service.schemas of type []string",
            id="text-for-list",
        ),
        pytest.param(
            b'{"instances":[{"healthCheck":{"interval":1.5}}]}',
            "json: cannot unmarshal number into Go struct field HealthCheck.instances.healthCheck.interval "
            "of type int32",
            id="fraction",
        ),
        pytest.param(
            b'{"instances":[{"healthCheck":{"interval":99999999999}}]}',
            "json: cannot unmarshal number into Go struct field HealthCheck.instances.healthCheck.interval "
            "of type int32",
            id="too-large-a-number",
        ),
        pytest.param(b'{"service":{"serviceName":NaN}}', "JSON is malformed", id="nan"),
        pytest.param(b'{"a":"\\ud800"}', "unexpected end of JSON input", id="lone-surrogate"),
        pytest.param(b'{"a":"\xff"}', "invalid UTF-8", id="bad-utf8"),
        pytest.param(b'{"instances":[' + b"{}," * 10_000 + b"{}]}", "more than 10000 items", id="endless-list"),
        pytest.param(b"[" * 100_000, "exceeded max depth", id="depth-bomb"),
        pytest.param(b'{"a":' * 100_000, "exceeded max depth", id="depth-bomb-of-objects"),
    ],
)
def test_what_does_not_fit_is_told_in_gos_words(body: bytes, text: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        wire.decode(CreateServiceRequest, body)

    assert text in str(refused.value)


def test_one_map_in_two_spellings_is_one_map() -> None:
    """Go adds the second to the first; of lists and texts the last counts."""
    body = b'{"service":{"properties":{"a":"1","b":"2"},"Properties":{"b":"3"},"schemas":["x"],"SCHEMAS":["y"]}}'

    service = wire.decode(CreateServiceRequest, body).service
    assert service == MicroService(properties={"a": "1", "b": "3"}, schemas=("y",))


def test_a_map_in_a_thousand_spellings_is_read_in_the_time_of_one() -> None:
    """Two megabytes of them held everybody else up for three seconds."""
    spellings = ["".join(letters) for letters in product(*((one, one.upper()) for one in "properties"))]
    maps = {name: {f"{at}.{item}": "" for item in range(180)} for at, name in enumerate(spellings)}
    body = json.dumps({"service": maps}).encode()

    began_s = process_time()
    service = wire.decode(CreateServiceRequest, body).service
    took_s = process_time() - began_s

    assert service is not None
    assert len(service.properties) == 184_320
    assert took_s < 0.6


def test_null_is_no_entry_of_a_list_of_documents() -> None:
    with pytest.raises(MalformedDocument, match="invalid nil pointer"):
        wire.decode(HeartbeatSetRequest, b'{"instances":[null]}')


def test_empty_members_are_left_out() -> None:
    """Clients take a null list for a fault, and an empty one for nothing."""
    service = MicroService(service_name="n", schemas=(), properties={}, description="", framework=None)

    assert wire.encode(service) == b'{"serviceName":"n"}'


TEXTS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
SERVICES = st.builds(
    MicroService,
    service_name=st.text(),
    schemas=st.lists(st.text()).map(tuple),
    properties=TEXTS,
    lb_strategy=TEXTS,
    paths=st.lists(st.builds(ServicePath, path=st.text(), property=TEXTS), max_size=2).map(tuple),
    framework=st.none() | st.builds(FrameWork, name=st.text(), version=st.text()),
)


@given(SERVICES)
def test_whatever_is_written_is_read_back(service: MicroService) -> None:
    request = CreateServiceRequest(service=service)

    assert wire.decode(CreateServiceRequest, wire.encode(request)) == request


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["service", "tags", "instances", "x"]), inner),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    """Nothing else may come out: an error of another kind would be a 500."""
    with contextlib.suppress(MalformedDocument):
        wire.decode(CreateServiceRequest, json.dumps(value).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("error", "status", "code", "detail"),
    [
        pytest.param(MalformedDocument("bad"), 400, "400001", "bad", id="malformed"),
        pytest.param(ServiceNotFound("gone"), 400, "400012", "gone", id="service"),
        pytest.param(InstanceNotFound("s", "i"), 400, "400017", "leaseId not exist, instance not exist", id="instance"),
        pytest.param(wire.Refused(wire.Code.TAG_NOT_EXISTS, "no tag"), 400, "400018", "no tag", id="own-code"),
        pytest.param(StoreUnavailable("away"), 500, "500011", "away", id="unavailable"),
        pytest.param(StoreFull("full"), 507, "500011", "full", id="no-room-left"),
    ],
)
def test_a_refusal_has_its_code_as_text_and_its_status_from_it(
    error: FacadeError, status: int, code: str, detail: str
) -> None:
    refusal = wire.to_refusal(error)

    assert (refusal.status, refusal.error.error_code, refusal.error.detail) == (status, code, detail)


@pytest.mark.parametrize(
    ("code", "status"), [(400100, 400), (403205, 403), (200000, 500), (0, 400), (500003, 500), (4_000_000, 500)]
)
def test_what_another_server_refuses_is_never_answered_as_well(code: int, status: int) -> None:
    assert wire.to_refusal(UpstreamRefused("words", code)).status == status


def test_a_refusal_is_compact() -> None:
    """The Go client looks for "errorCode":"400012" in the raw bytes."""
    assert b'"errorCode":"400012"' in wire.encode(wire.to_refusal(ServiceNotFound("x")).error)
