"""Calls to another ServiceCenter, each as one method. It decides nothing and remembers nothing but its token.

In:     typed documents and ids; every call says whose tenant it is about.
Out:    typed documents. What the server says does not exist is None, or ServiceNotFound, or InstanceNotFound; what it
        refuses is UpstreamRefused in its own words and code.
Raises: StoreUnavailable from every call: nobody answered as a ServiceCenter does, or not with this account.
Source: the protocol's error codes and answers, go-chassis/cari, discovery; measured with v2.2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from facade.clock import Clock, SystemClock
from facade.errors import InstanceNotFound, ServiceNotFound, StoreUnavailable, UpstreamRefused
from facade.outbound import Outbound, Reply
from facade.registry.model import ServiceKey, ServiceName, Tenant
from facade.servicecenter.answers import (
    Found,
    Refusal,
    Version,
    decode_service,
    read_any_instances,
    read_details_if_any,
    read_instance,
    read_instance_id,
    read_instances,
    read_nothing,
    read_renewed,
    read_schema,
    read_schemas,
    read_service,
    read_service_id,
    read_services,
    read_tags,
    read_version,
    reads_found,
    reads_or_refusal,
    to_error,
)
from facade.servicecenter.login import Login
from facade.servicecenter.records import (
    BatchFindInstancesRequest,
    CreateServiceRequest,
    FindService,
    HeartbeatSetElement,
    HeartbeatSetRequest,
    MicroService,
    MicroServiceInstance,
    ModifySchemaRequest,
    RegisterInstanceRequest,
    Schema,
)
from facade.servicecenter.wire import Code

MOST_HEARTBEATS = 1000
"""In one set. The server has no limit but the body's, and answers thousands slowly."""
MOST_FINDS = 1000
"""In one batch find: with names as long as the server allows they come to half of the 2 MiB that it reads."""
MOST_FINDS_IN_FULL = 100
"""In one where most have to be answered in full: a large answer would keep everybody waiting while it is decoded."""
ANY_VERSION = "0.0.0.0+"
"""What servers before 2.1 ask for in a find; later ones look at no version."""
REGISTER_BYTES = 5120
PROPERTIES_BYTES = 3072
"""The largest bodies that the server reads for POST instance and for PUT properties."""
STORED_BYTES = (3 << 19) - (32 << 10)
"""The largest schema or service that the server's etcd keeps, with room for what is written beside it: above its
1.5 MiB the server answers 500003, as if it were out of order."""
_LIVE = {"noCache": "1"}
"""Past its caches. They lag, and a change that is worked out from a cached record undoes the change before."""
_URI_BYTES = 2047

_T = TypeVar("_T")

ServiceList = dict[bytes, MicroService]
"""All services of a tenant by the bytes they came as. Their order is random, so lists are compared one by one."""


class ReadingRefused(StoreUnavailable):
    """The server is well, but does not tell us what we ask for."""


class ServiceCenterClient:
    def __init__(
        self, outbound: Outbound, credentials: tuple[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        """`credentials` are account and password, where the server asks for them (RBAC)."""
        self.outbound = outbound
        self._login = Login(outbound, credentials, clock or SystemClock()) if credentials else None

    async def headers(self, tenant: Tenant) -> dict[str, str]:
        """Whose records a call is about, and the proof of who we are."""
        proof = await self._login.headers() if self._login is not None else {}
        return {"X-Domain-Name": _header(tenant.domain)} | proof

    async def version(self) -> Version:
        # Without a token: the call is open to all, but with one it belongs to nothing that a developer may see.
        return await self.outbound.ask("GET", "/v4/default/registry/version", read_version)

    # Services

    async def services(self, tenant: Tenant, last: ServiceList | None = None) -> ServiceList:
        """All of them but ServiceCenter itself; `last` itself when nothing has changed since."""

        def read(reply: Reply) -> ServiceList:
            came = set(map(bytes, read_services(reply).services))
            if last is not None and came == last.keys():
                return last
            known = last or {}
            return {raw: known[raw] if raw in known else decode_service(raw) for raw in came}

        return await self._ask("GET", tenant, ("microservices",), read, is_reading=True)

    async def service(self, tenant: Tenant, service_id: str) -> MicroService | None:
        try:
            answer = await self._ask("GET", tenant, ("microservices", service_id), read_service, query=_LIVE)
        except ServiceNotFound:
            return None
        return answer.service

    async def existing(self, key: ServiceKey) -> str | None:
        """The id of the service of this key; names stand before aliases."""
        query = {"type": "microservice", "appId": key.app, "serviceName": key.name, "version": key.version}
        query |= {"env": key.environment} if key.environment else {}
        try:
            return (await self._ask("GET", key.tenant, ("existence",), read_service_id, query=query)).service_id
        except ServiceNotFound:
            return None

    async def create_service(self, tenant: Tenant, document: MicroService, tags: dict[str, str] | None = None) -> str:
        """Returns the id, which is that of the service which is there already when one is; that one is not changed.

        Raises UpstreamRefused above STORED_BYTES.
        """
        body = _encode(CreateServiceRequest(service=document, tags=tags or {}))
        _check_stored(f"service {document.service_name}", len(body))
        return (await self._ask("POST", tenant, ("microservices",), read_service_id, body)).service_id

    async def delete_service(self, tenant: Tenant, service_id: str, *, force: bool = False) -> None:
        """Raises ServiceNotFound. With `force` its instances go with it, and nobody's dependence counts."""
        query = {"force": "true"} if force else {}
        await self._ask("DELETE", tenant, ("microservices", service_id), read_nothing, query=query)

    async def set_service_properties(self, tenant: Tenant, service_id: str, properties: dict[str, str]) -> None:
        """Replace them all. Raises ServiceNotFound, and UpstreamRefused above PROPERTIES_BYTES."""
        body = encode_properties(properties)
        await self._ask("PUT", tenant, ("microservices", service_id, "properties"), read_nothing, body, _LIVE)

    async def all_tags(self, tenant: Tenant) -> dict[str, dict[str, str]] | None:
        """The tags of all services that have any, by serviceId; None where one call does not tell them: the server has
        no governance views, or not for this account. Then `tags_of` does."""
        path = _path("v4", tenant.project, "govern", "microservices") + "?options=tags"
        try:
            details = await self._call("GET", tenant, path, read_details_if_any)
        except (UpstreamRefused, ServiceNotFound):
            return None
        if details is None:
            return None
        return {detail.micro_service.service_id: detail.tags for detail in details.all_services_detail if detail.tags}

    async def tags_of(self, tenant: Tenant, service_id: str) -> dict[str, str]:
        """Raises ServiceNotFound."""
        return (await self._ask("GET", tenant, ("microservices", service_id, "tags"), read_tags)).tags

    async def add_tags(self, tenant: Tenant, service_id: str, tags: dict[str, str]) -> None:
        """Replace them all, by none when none are given. Raises ServiceNotFound."""
        body = _encode({"tags": tags})
        await self._ask("POST", tenant, ("microservices", service_id, "tags"), read_nothing, body)

    # Schemas

    async def schemas(self, tenant: Tenant, service_id: str) -> tuple[Schema, ...]:
        """Those with a content and those that are only declared. Raises ServiceNotFound."""
        path = ("microservices", service_id, "schemas")
        return (await self._ask("GET", tenant, path, read_schemas, query={"withSchema": "1"})).schemas

    async def has_schema(self, tenant: Tenant, service_id: str, schema_id: str) -> bool:
        path = ("microservices", service_id, "schemas", schema_id)
        try:
            await self._ask("GET", tenant, path, read_schema)
        except ServiceNotFound:
            return False
        return True

    async def put_schema(self, tenant: Tenant, service_id: str, schema_id: str, text: str, summary: str = "") -> None:
        """Raises ServiceNotFound, and UpstreamRefused above STORED_BYTES."""
        _check_stored(f"schema {schema_id}", len(text.encode()))
        body = _encode(ModifySchemaRequest(schema=text, summary=summary))
        await self._ask("PUT", tenant, ("microservices", service_id, "schemas", schema_id), read_nothing, body)

    async def delete_schema(self, tenant: Tenant, service_id: str, schema_id: str) -> None:
        """Raises ServiceNotFound also when it is the schema that is not there."""
        await self._ask("DELETE", tenant, ("microservices", service_id, "schemas", schema_id), read_nothing)

    # Instances

    async def instances(self, tenant: Tenant, service_id: str) -> tuple[MicroServiceInstance, ...]:
        path = ("microservices", service_id, "instances")
        return (await self._ask("GET", tenant, path, read_instances)).instances

    async def find(self, tenant: Tenant, consumer_id: str, name: ServiceName) -> None:
        """Find as a consumer, so that the server tells it of changes. Raises ServiceNotFound for either of the two."""
        query = {"appId": name.app, "serviceName": name.name, "version": ANY_VERSION}
        query |= {"env": name.environment} if name.environment else {}
        headers = {"X-ConsumerId": consumer_id}
        await self._ask("GET", tenant, ("instances",), read_any_instances, query=query, headers=headers)

    def watchers(self, tenant: Tenant, consumer_id: str) -> tuple[str, ...]:
        """The addresses of a consumer's watch, each as good as the other: WebSockets, to be opened with our headers."""
        path = _path("v4", tenant.project, "registry", "microservices", consumer_id, "watcher")
        return tuple(base.replace("http", "ws", 1) + path for base in self.outbound.bases)

    async def find_changed(self, tenant: Tenant, asked: Sequence[FindService]) -> list[Found | None]:
        """An answer for each that was asked for: None where its `rev` still holds, nobody where its service is gone.

        Whoever asks is no consumer, so nothing is filtered.
        """
        answers: list[Found | None] = []
        in_full = sum(1 for one in asked if not one.rev)
        for some in _batches(asked, MOST_FINDS if in_full <= MOST_FINDS_IN_FULL else MOST_FINDS_IN_FULL):
            body = _encode(BatchFindInstancesRequest(services=some))
            answers += await self._ask(
                "POST",
                tenant,
                ("instances", "action"),
                reads_found(len(some)),
                body,
                {"type": "query"},
                is_reading=True,
            )
        return answers

    async def find_instance(self, tenant: Tenant, service_id: str, instance_id: str) -> MicroServiceInstance | None:
        """Asked live."""
        path = ("microservices", service_id, "instances", instance_id)
        try:
            return (await self._ask("GET", tenant, path, read_instance, query=_LIVE)).instance
        except (ServiceNotFound, InstanceNotFound):
            return None

    async def register(self, tenant: Tenant, service_id: str, document: MicroServiceInstance) -> str:
        """Returns its id. One that is alive already is only renewed, not changed. Raises ServiceNotFound."""
        body = encode_registration(document)
        path = ("microservices", service_id, "instances")
        return (await self._ask("POST", tenant, path, read_instance_id, body)).instance_id

    async def unregister(self, tenant: Tenant, service_id: str, instance_id: str) -> None:
        """Raises InstanceNotFound."""
        await self._ask("DELETE", tenant, ("microservices", service_id, "instances", instance_id), read_nothing)

    async def set_status(self, tenant: Tenant, service_id: str, instance_id: str, status: str) -> None:
        """Raises InstanceNotFound."""
        path = ("microservices", service_id, "instances", instance_id, "status")
        await self._ask("PUT", tenant, path, read_nothing, query={"value": status} | _LIVE)

    async def set_properties(
        self, tenant: Tenant, service_id: str, instance_id: str, properties: dict[str, str]
    ) -> None:
        """Replace them all. Raises InstanceNotFound, and UpstreamRefused above PROPERTIES_BYTES."""
        path = ("microservices", service_id, "instances", instance_id, "properties")
        await self._ask("PUT", tenant, path, read_nothing, encode_properties(properties), _LIVE)

    async def heartbeats(self, tenant: Tenant, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Renew many, as (serviceId, instanceId); returns those that the server did not renew."""
        failed: set[tuple[str, str]] = set()
        for some in _batches(list(dict.fromkeys(pairs)), MOST_HEARTBEATS):
            failed |= set(some) - await self._renewed(tenant, some)
        return failed

    async def _renewed(self, tenant: Tenant, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        elements = tuple(HeartbeatSetElement(service_id=service, instance_id=one) for service, one in pairs)
        body = _encode(HeartbeatSetRequest(instances=elements))
        try:
            return await self._ask("PUT", tenant, ("heartbeats",), read_renewed, body)
        except ServiceNotFound:
            # To accounts that are no administrators, one unknown service spoils the whole set.
            if len(pairs) == 1:
                return set()
            half = len(pairs) // 2
            return await self._renewed(tenant, pairs[:half]) | await self._renewed(tenant, pairs[half:])
        except UpstreamRefused as error:
            raise StoreUnavailable(f"refused with {error}") from error

    async def close(self) -> None:
        await self.outbound.close()

    # How a call is made

    async def _ask(
        self,
        method: str,
        tenant: Tenant,
        path: tuple[str, ...],
        read: Callable[[Reply], _T],
        body: bytes | None = None,
        query: dict[str, str] | None = None,
        *,
        headers: dict[str, str] | None = None,
        is_reading: bool = False,
    ) -> _T:
        asked = _path("v4", tenant.project, "registry", *path)
        if query:
            asked += "?" + urlencode(query, quote_via=quote, safe="")
        return await self._call(method, tenant, asked, read, body, headers, is_reading=is_reading)

    async def _call(
        self,
        method: str,
        tenant: Tenant,
        path: str,
        read: Callable[[Reply], _T],
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        is_reading: bool = False,
    ) -> _T:
        """`is_reading`: the call asks for no one thing, so any refusal means that nothing is known."""
        if len(path) > _URI_BYTES:
            raise UpstreamRefused(f"{len(path)} bytes are too long for an address", Code.INVALID_PARAMETERS)
        for is_last in (False, True):
            said = await self.headers(tenant) | (headers or {})
            answer = await self.outbound.ask(method, path, reads_or_refusal(read), headers=said, content=body)
            if not isinstance(answer, Refusal):
                return answer
            if answer.is_of_us and self._login is not None and not is_last:
                self._login.forget(said)
            elif answer.is_of_us:
                raise StoreUnavailable(f"refused with {answer.text}")
            elif is_reading:
                raise ReadingRefused(f"refused with {answer.text}")
            else:
                raise to_error(answer)
        raise AssertionError("the last attempt returns or raises")


def check_tenant(tenant: Tenant) -> None:
    """Raises UpstreamRefused for one that no call can name."""
    _path(tenant.project)
    _header(tenant.domain)


def encode_registration(document: MicroServiceInstance) -> bytes:
    """The body of POST instance: at most REGISTER_BYTES are taken."""
    return _encode(RegisterInstanceRequest(instance=document))


def encode_properties(properties: dict[str, str]) -> bytes:
    """The body of PUT properties: at most PROPERTIES_BYTES are taken."""
    return _encode({"properties": properties})


_encode = msgspec.json.Encoder().encode


def _path(*parts: str) -> str:
    """Raises UpstreamRefused for what cannot stand in a path: the server reads paths after it has unquoted them."""
    for part in parts:
        check_sayable(part)
    return "/" + "/".join(quote(part, safe=",") for part in parts)


def check_sayable(part: str) -> None:
    """Raises UpstreamRefused for what no path can hold. The server falls over at a control character in a key."""
    if part in ("", ".", "..") or "/" in part or not part.isprintable():
        raise UpstreamRefused(f"{part[:60]!r} cannot stand in an address", Code.INVALID_PARAMETERS)


def _header(domain: str) -> str:
    if not (domain.isascii() and domain.isprintable()) or domain != domain.strip():
        raise UpstreamRefused(f"{domain!r} cannot be said in a header", Code.INVALID_PARAMETERS)
    return domain


def _check_stored(what: str, size: int) -> None:
    if size > STORED_BYTES:
        raise UpstreamRefused(
            f"{what}: {size} bytes are more than the {STORED_BYTES} that are kept there", Code.INVALID_PARAMETERS
        )


def _batches(items: Sequence[_T], most: int) -> Iterable[tuple[_T, ...]]:
    return (tuple(items[start : start + most]) for start in range(0, len(items), most))
