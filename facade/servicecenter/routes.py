"""The HTTP front under /v4/{project} and, for the registry, its older form, /registry/v3.

In:   any request below those paths and /v1, and /health, /version and /openapi/servicecenter.yaml.
Out:  what the handler of its route answers; 404, 405 and refusals in the original's words.
Rules: routes are matched on the decoded path, segment by segment: no prefixes, no trailing slash. Handlers catch
      nothing; a FacadeError becomes its answer here.

To find where a call is answered, look it up in the table in `_routes`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from facade.access.accounts import Accounts
from facade.access.control import AccessControl, Visitor
from facade.access.rules import FIND_MANY, GOVERNANCE, OPEN, OPS, RENEW, SCHEMA, SERVICE, Needs
from facade.errors import FacadeError, StoreUnavailable
from facade.registry.model import Instance, ServiceId, Tenant
from facade.registry.registry import Registry
from facade.rendered import Question, no_body
from facade.servicecenter import watch, wire
from facade.servicecenter.accounts import AccountCalls
from facade.servicecenter.admin import Admin, version_set
from facade.servicecenter.admission import Admission
from facade.servicecenter.directory import Directory, Own
from facade.servicecenter.discovery import Discovery
from facade.servicecenter.documents import Documents
from facade.servicecenter.exchange import (
    CORS_METHODS,
    JSON_TYPE,
    NOT_AN_UPGRADE,
    NOT_FOUND,
    OK,
    ROUTER_TEXT_TYPE,
    Answer,
    Ask,
    BodyTooLarge,
    deliver,
    found,
    header,
    not_allowed,
)
from facade.servicecenter.govern import Governance
from facade.servicecenter.instances import Instances
from facade.servicecenter.lane import Lane
from facade.servicecenter.mapping import from_service, own_instance, own_service
from facade.servicecenter.paths import Branch, Handler, place_of, segments_of, tenant_of
from facade.servicecenter.policies import Policies
from facade.servicecenter.quotas import Counting, Quotas
from facade.servicecenter.relations import Relations
from facade.servicecenter.schemas import Schemas
from facade.servicecenter.services import Services

LONGEST_URI = 2047
CORS_HEADERS = ("origin", "accept", "content-type", "x-domain-name", "x-consumerid")

_DESCRIPTION = (Path(__file__).parent / "openapi.yaml").read_bytes()

READ_HEADERS = frozenset({b"accept-encoding", b"origin", b"user-agent", b"x-consumerid"})
"""What the answers of the lane depend on, beside the tenant."""


@dataclass(frozen=True, kw_only=True)
class ServiceCenterOptions:
    """How this front presents itself."""

    version: str = "2.2.0"
    endpoints: tuple[str, ...] = ()
    """Addresses that clients may be told, such as rest://10.0.0.5:30100/; without one they keep those they have."""
    host: str = field(default_factory=socket.gethostname)
    list_virtual: bool = False
    """List flat-named applications under every name by which consumers rely on them, not once each (N12)."""
    shared_services: frozenset[str] = frozenset()
    """Names in the default tenant, app and environment that every tenant finds."""
    stores: tuple[str, ...] = ("memory://",)
    """Where records live, without passwords: operators are told."""
    quotas: Quotas = field(default_factory=Quotas)


class ServiceCenterFront:
    """An ASGI application for all of this room's paths. The registry must be open: this follows its feed."""

    def __init__(
        self, registry: Registry, options: ServiceCenterOptions | None = None, access: AccessControl | None = None
    ) -> None:
        """Without `access` everybody may do everything, and the routes of accounts do not exist."""
        self.registry = registry
        self._access = access
        self.options = options or ServiceCenterOptions()
        own = _own(self.options, registry.clock.now_ms())
        self.directory = Directory(registry, own, self.options.list_virtual, self.options.shared_services)
        self._admission = Admission(access, self.directory)
        counting = Counting(registry, self.directory, self.options.quotas)
        documents = Documents(registry)
        self.watchers = watch.Watchers(registry, self.directory, documents)
        self.instances = Instances(registry, self.directory, counting)
        self.services = Services(registry, self.directory, self.instances, counting)
        self.schemas = Schemas(registry, self.directory, counting)
        self.discovery = Discovery(registry, self.directory, documents)
        relations = Relations(registry, self.directory)
        self.policies = Policies(registry)
        self.admin = Admin(registry, self.directory, documents, self.options.version, self.options.stores)
        self.governance = Governance(
            self.directory, documents, relations, self.schemas, self._admission.reach_of_schemas
        )
        self._server = f"SERVICECENTER/{self.options.version}".encode()
        self._lane = Lane(registry, self.instances, self.discovery, self._server)
        self._table = self._routes()

    def document_of(self, service_id: ServiceId) -> Mapping[str, Any] | None:
        """What clients get of a service, registered or implied; for people to read."""
        service = self.directory.service(service_id)
        return msgspec.to_builtins(from_service(service)) if service is not None else None

    def _routes(self) -> Branch:
        services, schemas, instances, discovery = self.services, self.schemas, self.instances, self.discovery
        governance, admin, policies = self.governance, self.admin, self.policies
        table: list[tuple[str, str, Handler, Needs]] = [
            # Heartbeats and polls outnumber all else.
            ("PUT", "microservices/*/instances/*/heartbeat", instances.renew, SERVICE),
            ("GET", "instances", discovery.find, SERVICE),
            ("POST", "instances/action", discovery.find_many, FIND_MANY),
            ("PUT", "heartbeats", instances.renew_many, SERVICE),
            ("GET", "microservices/*/instances", discovery.list_instances, SERVICE),
            ("GET", "microservices/*/instances/*", discovery.show_instance, SERVICE),
            ("POST", "microservices/*/instances", instances.register, SERVICE),
            ("DELETE", "microservices/*/instances/*", instances.cancel, SERVICE),
            ("PUT", "microservices/*/instances/*/properties", instances.set_properties, SERVICE),
            ("PUT", "microservices/*/instances/*/status", instances.set_status, SERVICE),
            ("PUT", "instances/status", instances.set_many_statuses, SERVICE),
            ("GET", "existence", services.exists, SERVICE),
            ("GET", "microservices", services.list_all, SERVICE),
            ("POST", "microservices", services.create, SERVICE),
            ("DELETE", "microservices", services.delete_many, SERVICE),
            ("GET", "microservices/*", services.show, SERVICE),
            ("DELETE", "microservices/*", services.delete, SERVICE),
            ("PUT", "microservices/*/properties", services.set_properties, SERVICE),
            ("GET", "microservices/*/schemas", schemas.list_all, SCHEMA),
            ("POST", "microservices/*/schemas", schemas.replace_all, SCHEMA),
            ("GET", "microservices/*/schemas/*", schemas.show, SCHEMA),
            ("PUT", "microservices/*/schemas/*", schemas.put, SCHEMA),
            ("DELETE", "microservices/*/schemas/*", schemas.delete, SCHEMA),
            ("GET", "microservices/*/tags", services.show_tags, SERVICE),
            ("POST", "microservices/*/tags", services.add_tags, SERVICE),
            ("PUT", "microservices/*/tags/*", services.set_tag, SERVICE),
            ("DELETE", "microservices/*/tags/*", services.drop_tags, SERVICE),
            ("GET", "microservices/*/providers", discovery.list_providers, SERVICE),
            ("GET", "microservices/*/consumers", discovery.list_consumers, SERVICE),
            ("POST", "dependencies", discovery.add_dependencies, SERVICE),
            ("PUT", "dependencies", discovery.set_dependencies, SERVICE),
            # Both of these are WebSockets; a plain request is told so.
            ("GET", "microservices/*/watcher", self.ask_for_upgrade, SERVICE),
            ("GET", "microservices/*/instances/*/heartbeat", self.ask_for_upgrade, RENEW),
            ("GET", "version", self.version, OPEN),
            ("GET", "health", self.health, OPEN),
            ("GET", "health/readiness", self.ready, OPEN),
            ("GET", "/govern/microservices", governance.list_services, SERVICE),
            ("GET", "/govern/microservices/*", governance.show_service, SERVICE),
            ("GET", "/govern/relations", governance.relations, SERVICE),
            ("GET", "/govern/apps", governance.apps, SERVICE),
            ("GET", "/govern/statistics", governance.statistics, SERVICE),
            ("GET", "/admin/alarms", admin.list_alarms, OPS),
            ("DELETE", "/admin/alarms", admin.clear_alarms, OPS),
            ("GET", "/admin/clusters", admin.clusters, OPS),
            ("GET", "/admin/dump", admin.dump, OPS),
            ("GET", "/syncer/health", admin.syncer_health, OPEN),
            ("GET", "/openapi/servicecenter.yaml", self.description, OPEN),
            ("POST", "/gov/*", policies.create, GOVERNANCE),
            ("GET", "/gov/*", policies.list_all, GOVERNANCE),
            ("GET", "/gov/*/*", policies.show, GOVERNANCE),
            ("PUT", "/gov/*/*", policies.set, GOVERNANCE),
            ("DELETE", "/gov/*/*", policies.delete, GOVERNANCE),
        ]
        if self._access is not None:
            table += AccountCalls(Accounts(self.registry, self._access), self._access).routes()
        v4_only = {"instances/action", "instances/status", "dependencies", "version", "health", "health/readiness"}
        root = Branch()
        for method, pattern, handler, needs in table:
            branch = root.at(segments_of(pattern))
            branch.methods[method] = handler
            branch.needs[method] = needs
            if pattern in v4_only or (handler == self.ask_for_upgrade and pattern.endswith("/heartbeat")):
                branch.v4_only.add(method)
        return root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._upgrade(WebSocket(scope, receive, send))
            return
        try:
            answer = await self._answer(scope, receive)
        except FacadeError as error:
            answer = _refusal(error)
        except ClientDisconnect:
            return
        await deliver(answer, scope, send, self._server)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if (fault := _uri_fault(scope)) is not None:
            return fault
        method = scope["method"]
        if method == "OPTIONS":
            return _preflight(scope)
        place = place_of(scope["path"])
        branch, ids = self._table.find(place)
        handlers = branch.allowed(is_v4=place.is_v4) if branch is not None and place is not None else {}
        if place is None or not handlers:
            return NOT_FOUND
        handler = handlers.get(method)
        if handler is None or branch is None:
            return not_allowed(list(handlers))
        tenant = tenant_of(scope, place)
        visitor, grant = await self._admission.admit(scope, branch.needs.get(method), tenant, ids)
        needs_no_data = (self.version, self.health, self.ready, self.description, self.admin.list_alarms)
        if not self.registry.has_data and handler not in needs_no_data:
            raise StoreUnavailable("the registry behind this server has not answered yet, so nothing is known")
        return await handler(Ask(scope, receive, tenant, ids, visitor, grant))

    def question(self, scope: Scope) -> Question | None:
        """For the lane: how to answer a heartbeat or a find, by the functions that the handlers call."""
        place = place_of(scope["path"])
        if place is None or _uri_fault(scope) is not None:
            return None
        branch, ids = self._table.find(place)
        handler = branch.methods.get(scope["method"]) if branch is not None else None
        # The question may be kept for as long as its asker lives, so it keeps nothing that nobody reads.
        read = {name: scope[name] for name in ("method", "query_string")}
        read["headers"] = [(name, value) for name, value in scope["headers"] if name in READ_HEADERS]
        tenant = tenant_of(scope, place)
        needs = branch.needs.get(scope["method"]) if branch is not None else None
        grant = self._admission.recall(scope, needs, tenant, ids)
        if grant is None:
            return None
        ask = Ask(read, no_body, tenant, ids, grant=grant)
        if handler == self.instances.renew:
            return self._lane.heartbeat(ask)
        if handler == self.discovery.find:
            return self._lane.find(ask)
        return None

    async def _upgrade(self, socket: WebSocket) -> None:
        place = place_of(socket.scope["path"])
        tenant = tenant_of(socket.scope, place) if place is not None else Tenant()
        branch, ids = self._table.find(place)
        visitor: Visitor | None = None
        lasts_s: float | None = None
        if branch is not None and branch.methods.get("GET") == self.ask_for_upgrade:
            try:
                visitor, _ = await self._admission.admit(socket.scope, branch.needs.get("GET"), tenant, ids)
                lasts_s = self._admission.lasts_s(visitor, socket.scope)
            except FacadeError as error:
                refusal = _refusal(error)
                answer = Response(refusal.body, refusal.status, media_type=refusal.content_type.decode())
                await socket.send_denial_response(answer)
                return
        match place.rest if place is not None else ():
            case ("microservices", service_id, "watcher") if service_id:
                may_see = self._admission.may_see(visitor)
                consumer = ServiceId(tenant, service_id)
                await watch.watch(socket, consumer, self.directory, self.watchers, may_see, lasts_s)
            case ("microservices", service_id, "instances", instance_id, "heartbeat") if service_id and instance_id:

                def renew() -> Instance:
                    grant = self._admission.check_again(visitor, RENEW, socket.scope)
                    return self.instances.beat(tenant, grant, service_id, instance_id)

                await watch.beat(socket, renew)
            case _:
                await socket.send_denial_response(Response(NOT_FOUND.body, NOT_FOUND.status, media_type="text/plain"))

    # What needs no registry

    async def ask_for_upgrade(self, ask: Ask) -> Answer:
        return NOT_AN_UPGRADE

    async def ready(self, ask: Ask) -> Answer:
        """Clients probe this to see whether an address is alive; the original has no such path, and they know it."""
        return OK

    async def version(self, ask: Ask) -> Answer:
        return found(
            {
                **version_set(self.options.version),
                "apiVersion": "4.0.0" if ask.scope["path"].startswith("/v4/") else "3.0.0",
            }
        )

    async def description(self, ask: Ask) -> Answer:
        """These routes as an OpenAPI document. It tells nothing of this server, so everybody may read it."""
        return Answer(200, b"application/yaml", _DESCRIPTION)

    async def health(self, ask: Ask) -> Answer:
        """ServiceCenter's own instances: clients learn its addresses here."""
        return await self.discovery.own_instances(ask)


def _own(options: ServiceCenterOptions, now_ms: int) -> Own:
    service = own_service(options.version, now_ms)
    if not options.endpoints:
        return Own(service, None)
    return Own(service, own_instance(service, options.endpoints, options.host, now_ms))


def _uri_fault(scope: Scope) -> Answer | None:
    """URIs that the original calls invalid. It carries such requests out all the same; we do not."""
    path, query = scope.get("raw_path") or scope["path"].encode(), scope["query_string"]
    uri = path + b"?" + query if query else path
    if len(uri) > LONGEST_URI or b"//" in query or uri.endswith((b";", b"&", b"?", b"+", b"@")):
        return Answer(400, ROUTER_TEXT_TYPE, b"Invalid Request URI " + uri)
    return None


def _preflight(scope: Scope) -> Answer:
    """CORS: what was asked for, where it is allowed. The same on every path."""
    wanted = header(scope, b"access-control-request-method")
    if not wanted:
        return Answer(200, headers=((b"Access-Control-Allow-Origin", b"*"),) if header(scope, b"origin") else ())
    if not header(scope, b"origin"):
        return Answer(200)
    vary = ((b"Vary", b"Access-Control-Request-Method"), (b"Vary", b"Access-Control-Request-Headers"))
    names = [name.strip() for name in header(scope, b"access-control-request-headers").split(",") if name.strip()]
    if wanted not in CORS_METHODS or any(name.lower() not in CORS_HEADERS for name in names):
        return Answer(200, headers=vary)
    allowed = [(b"Access-Control-Allow-Origin", b"*"), (b"Access-Control-Allow-Methods", wanted.encode())]
    if names:
        allowed.append((b"Access-Control-Allow-Headers", ", ".join(name.title() for name in names).encode()))
    return Answer(200, headers=(*vary, *allowed))


def _refusal(error: FacadeError) -> Answer:
    status, document = wire.to_refusal(error)
    answer = Answer(status, JSON_TYPE, wire.encode(document))
    return answer._replace(headers=((b"Connection", b"close"),)) if isinstance(error, BodyTooLarge) else answer
