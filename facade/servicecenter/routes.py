"""The HTTP front under /v4/{project}/registry and its older form, /registry/v3.

In:   any request below those paths, and /health and /version.
Out:  what the handler of its route answers; 404, 405 and refusals in the original's words.
Rules: routes are matched on the decoded path, segment by segment: no prefixes, no trailing slash. Handlers catch
      nothing; a FacadeError becomes its answer here.

To find where a call is answered, look it up in the table in `_routes`.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from facade.errors import FacadeError, StoreUnavailable
from facade.registry.model import Revision, ServiceId, Tenant
from facade.registry.registry import Registry
from facade.rendered import Question, Reply, no_body
from facade.servicecenter import watch, wire
from facade.servicecenter.directory import Directory, Own
from facade.servicecenter.discovery import Discovery
from facade.servicecenter.documents import Documents
from facade.servicecenter.exchange import (
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
    reply,
)
from facade.servicecenter.instances import Instances
from facade.servicecenter.mapping import own_instance, own_service
from facade.servicecenter.schemas import Schemas
from facade.servicecenter.services import Services

LONGEST_URI = 2047
CORS_METHODS = ("GET", "POST", "PUT", "DELETE", "UPDATE")
CORS_HEADERS = ("origin", "accept", "content-type", "x-domain-name", "x-consumerid")

READ_HEADERS = frozenset({b"accept-encoding", b"origin", b"user-agent", b"x-consumerid"})
"""What the answers of the lane depend on, beside the tenant."""

TOLD_BYTES, TOLD_EACH_BYTES = 32 << 20, 1_024

Handler = Callable[[Ask], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class ServiceCenterOptions:
    """How this front presents itself."""

    version: str = "2.2.0"
    endpoints: tuple[str, ...] = ()
    """Addresses that clients may be told, such as rest://10.0.0.5:30100/; without one they keep those they have."""
    host: str = field(default_factory=socket.gethostname)
    list_virtual: bool = False
    """List flat-named applications under every name by which consumers rely on them, not once each (N12)."""


class _Place(NamedTuple):
    """Where a path leads: one of the two forms of the API, the tenant, and the segments after that."""

    is_v4: bool
    project: str
    rest: tuple[str, ...]


class _Branch:
    """One segment of the table of routes."""

    def __init__(self) -> None:
        self.methods: dict[str, Handler] = {}
        self.v4_only: set[str] = set()
        self.branches: dict[str, _Branch] = {}

    def at(self, segments: tuple[str, ...]) -> _Branch:
        """The branch for a pattern, grown as needed."""
        branch = self
        for segment in segments:
            branch = branch.branches.setdefault(segment, _Branch())
        return branch

    def allowed(self, *, is_v4: bool) -> Mapping[str, Handler]:
        if is_v4 or not self.v4_only:
            return self.methods
        return {method: handler for method, handler in self.methods.items() if method not in self.v4_only}


class _Told:
    """Answers to questions of the lane at one revision of the registry: until the next there are no others.

    Most are empty (304). The others share their bytes with the kept documents, but count as if they did not: what
    those have dropped for want of room must not live on here.
    """

    def __init__(self) -> None:
        self._revision: Revision = 0
        self._replies: dict[Ask, Reply] = {}
        self._bytes = 0

    def get(self, ask: Ask, revision: Revision) -> Reply | None:
        return self._replies.get(ask) if revision == self._revision else None

    def keep(self, ask: Ask, revision: Revision, reply: Reply) -> None:
        if revision != self._revision:
            self._revision, self._replies, self._bytes = revision, {}, 0
        size = TOLD_EACH_BYTES + len(reply.body)
        if self._bytes + size <= TOLD_BYTES:
            self._bytes += size
            self._replies[ask] = reply


class ServiceCenterFront:
    """An ASGI application for all of this room's paths. The registry must be open: this follows its feed."""

    def __init__(self, registry: Registry, options: ServiceCenterOptions | None = None) -> None:
        self.registry = registry
        self.options = options or ServiceCenterOptions()
        self.directory = Directory(registry, _own(self.options, registry.clock.now_ms()), self.options.list_virtual)
        documents = Documents(registry)
        self.watchers = watch.Watchers(registry, self.directory, documents)
        self.instances = Instances(registry, self.directory)
        self.services = Services(registry, self.directory, self.instances)
        self.schemas = Schemas(registry, self.directory)
        self.discovery = Discovery(registry, self.directory, documents)
        self._server = f"SERVICECENTER/{self.options.version}".encode()
        self._told = _Told()
        self._table = self._routes()

    def _routes(self) -> _Branch:
        services, schemas, instances, discovery = self.services, self.schemas, self.instances, self.discovery
        table: list[tuple[str, str, Handler]] = [
            # Heartbeats and polls outnumber all else.
            ("PUT", "microservices/*/instances/*/heartbeat", instances.renew),
            ("GET", "instances", discovery.find),
            ("POST", "instances/action", discovery.find_many),
            ("PUT", "heartbeats", instances.renew_many),
            ("GET", "microservices/*/instances", discovery.list_instances),
            ("GET", "microservices/*/instances/*", discovery.show_instance),
            ("POST", "microservices/*/instances", instances.register),
            ("DELETE", "microservices/*/instances/*", instances.cancel),
            ("PUT", "microservices/*/instances/*/properties", instances.set_properties),
            ("PUT", "microservices/*/instances/*/status", instances.set_status),
            ("PUT", "instances/status", instances.set_many_statuses),
            ("GET", "existence", services.exists),
            ("GET", "microservices", services.list_all),
            ("POST", "microservices", services.create),
            ("DELETE", "microservices", services.delete_many),
            ("GET", "microservices/*", services.show),
            ("DELETE", "microservices/*", services.delete),
            ("PUT", "microservices/*/properties", services.set_properties),
            ("GET", "microservices/*/schemas", schemas.list_all),
            ("POST", "microservices/*/schemas", schemas.replace_all),
            ("GET", "microservices/*/schemas/*", schemas.show),
            ("PUT", "microservices/*/schemas/*", schemas.put),
            ("DELETE", "microservices/*/schemas/*", schemas.delete),
            ("GET", "microservices/*/tags", services.show_tags),
            ("POST", "microservices/*/tags", services.add_tags),
            ("PUT", "microservices/*/tags/*", services.set_tag),
            ("DELETE", "microservices/*/tags/*", services.drop_tags),
            ("GET", "microservices/*/providers", discovery.list_providers),
            ("GET", "microservices/*/consumers", discovery.list_consumers),
            ("POST", "dependencies", discovery.add_dependencies),
            ("PUT", "dependencies", discovery.set_dependencies),
            # Both of these are WebSockets; a plain request is told so.
            ("GET", "microservices/*/watcher", self.ask_for_upgrade),
            ("GET", "microservices/*/instances/*/heartbeat", self.ask_for_upgrade),
            ("GET", "version", self.version),
            ("GET", "health", self.health),
            ("GET", "health/readiness", self.ready),
        ]
        v4_only = {"instances/action", "instances/status", "dependencies", "version", "health", "health/readiness"}
        root = _Branch()
        for method, pattern, handler in table:
            branch = root.at(tuple(pattern.split("/")))
            branch.methods[method] = handler
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
        place = _place(scope["path"])
        branch, ids = self._branch(place)
        handlers = branch.allowed(is_v4=place.is_v4) if branch is not None and place is not None else {}
        if place is None or not handlers:
            return NOT_FOUND
        handler = handlers.get(method)
        if handler is None:
            return not_allowed(list(handlers))
        if not self.registry.has_data and handler not in (self.version, self.health, self.ready):
            raise StoreUnavailable("the registry behind this server has not answered yet, so nothing is known")
        return await handler(Ask(scope, receive, _tenant(scope, place), ids))

    def question(self, scope: Scope) -> Question | None:
        """For the lane: how to answer a heartbeat or a find, by the functions that the handlers call."""
        place = _place(scope["path"])
        if place is None or _uri_fault(scope) is not None:
            return None
        branch, ids = self._branch(place)
        handler = branch.methods.get(scope["method"]) if branch is not None else None
        # The question may be kept for as long as its asker lives, so it keeps nothing that nobody reads.
        read = {name: scope[name] for name in ("method", "query_string")}
        read["headers"] = [(name, value) for name, value in scope["headers"] if name in READ_HEADERS]
        ask = Ask(read, no_body, _tenant(scope, place), ids)
        if handler == self.instances.renew:
            return self._heartbeat(ask)
        if handler == self.discovery.find:
            return self._find(ask)
        return None

    def _heartbeat(self, ask: Ask) -> Question:
        renewed = reply(OK, ask.scope, self._server)
        beat = self.instances.beats(ask)

        def answer() -> Reply | None:
            try:
                beat()
            except FacadeError:
                return None
            return renewed

        return answer

    def _find(self, ask: Ask) -> Question:
        find = self.discovery.finds(ask)

        def answer() -> Reply | None:
            revision = self.registry.revision
            if (told := self._told.get(ask, revision)) is not None:
                return told
            try:
                found = find()
            except FacadeError:
                return None
            if found is None:
                return None
            answered = reply(found, ask.scope, self._server)
            self._told.keep(ask, revision, answered)
            return answered

        return answer

    def _branch(self, place: _Place | None) -> tuple[_Branch | None, tuple[str, ...]]:
        """The branch of the table that a path leads to, and the segments that stand for a `*`."""
        branch: _Branch | None = self._table
        ids = []
        for segment in place.rest if place is not None else ():
            if branch is None:
                break
            inner = branch.branches.get(segment)
            if inner is None and segment and (inner := branch.branches.get("*")) is not None:
                ids.append(segment)
            branch = inner
        return branch, tuple(ids)

    async def _upgrade(self, socket: WebSocket) -> None:
        place = _place(socket.scope["path"])
        tenant = _tenant(socket.scope, place) if place is not None else Tenant()
        match place.rest if place is not None else ():
            case ("microservices", service_id, "watcher") if service_id:
                await watch.watch(socket, ServiceId(tenant, service_id), self.directory, self.watchers)
            case ("microservices", service_id, "instances", instance_id, "heartbeat") if service_id and instance_id:
                await watch.beat(socket, lambda: self.instances.beat(tenant, service_id, instance_id))
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
                "version": self.options.version,
                "buildTag": "registry-facade",
                "os": platform.system().lower(),
                "arch": platform.machine(),
                "apiVersion": "4.0.0" if ask.scope["path"].startswith("/v4/") else "3.0.0",
            }
        )

    async def health(self, ask: Ask) -> Answer:
        """ServiceCenter's own instances: clients learn its addresses here."""
        return await self.discovery.own_instances(ask)


def _own(options: ServiceCenterOptions, now_ms: int) -> Own:
    service = own_service(options.version, now_ms)
    if not options.endpoints:
        return Own(service, None)
    return Own(service, own_instance(service, options.endpoints, options.host, now_ms))


def _place(path: str) -> _Place | None:
    match tuple(path.split("/")):
        case ("", "v4", project, "registry", *rest) if project and rest:
            return _Place(True, project, tuple(rest))
        case ("", "registry", "v3", *rest) if rest:
            return _Place(False, "default", tuple(rest))
        case ("", "health" | "version" as name):
            return _Place(True, "default", (name,))
    return None


def _tenant(scope: Scope, place: _Place) -> Tenant:
    domain = header(scope, b"x-domain-name")
    if not scope["path"].startswith("/v4/"):
        domain = header(scope, b"x-tenant-name") or domain
    return Tenant(domain or "default", place.project)


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
    if not header(scope, b"origin") or not wanted:
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
