"""The HTTP front under /eureka: one ASGI endpoint, one routing function, one handler for each row of Netflix's table.

A path is split once, raw, so that an id may hold a %2F. Renewals come first. Handlers read the request, make one call
and pick the answer; what goes wrong is raised as a FacadeError and answered in `__call__`, mostly with an empty body.

The default front, /eureka, lists what is in no environment; /t/{domain}/{project}/{environment}/eureka lists others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from facade.errors import FacadeError, InstanceNotFound, MalformedDocument
from facade.eureka import mapping, wire, wire_json
from facade.eureka.documents import PARTS_AT_ONCE, Documents, SpaceDocuments, Unfinished
from facade.eureka.exchange import (
    DEFAULT_SPACE,
    FORBIDDEN,
    GZIPPED,
    NO_CONTENT,
    NOT_FOUND,
    OK,
    Answer,
    Ask,
    answer_without_handler,
    fields_of,
    send_answer,
    split_path,
)
from facade.eureka.listing import Asked
from facade.eureka.peers import Peers
from facade.eureka.records import BatchItem, BatchResult, DataCenterInfo, Hear, InstanceInfo
from facade.eureka.wire import BadQuery, Format
from facade.registry import rules
from facade.registry.model import Cause, Instance, InstanceKey, Origin, Space, Status
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth
from facade.registry.turns import Turns
from facade.rendered import Question, Rendered, Reply, no_body

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EurekaOptions:
    """What an operator may decide about this front."""

    read_gate_s: float = 0.0
    """After a start with an empty registry lists are refused for so long: clients keep the ones they have."""
    disable_delta: bool = False
    delta_window_s: float = 180.0
    sync_when_timestamp_differs: bool = True
    """Compare a renewal's lastDirtyTimestamp with the one held."""


Read = Callable[[SpaceDocuments, Asked, int | None], Rendered | None]
"""One of the lists; the number says how many parts of it may be made now, None any number."""

IN_PARTS_S = 2.0
"""How long a reader waits for a document that is made in parts, while others change it."""
Handler = Callable[..., Awaitable[Answer]]
Methods = dict[str, Handler]


class EurekaFront:
    """Made over an open registry: it remembers whether that was empty, and follows it from then on."""

    def __init__(
        self,
        registry: Registry,
        options: EurekaOptions | None = None,
        hear: Hear | None = None,
        peers: Peers | None = None,
    ) -> None:
        """`hear` is told first what peers say, where a Eureka stands behind us: these may be its servers."""
        self.registry = registry
        self._hear = hear
        self._peers = peers
        self.options = options or EurekaOptions()
        self._documents = Documents(registry, self.options.delta_window_s)
        self._making = Turns()
        self._began_empty = not len(registry.catalogue)
        self._began_unregistered = not registry.catalogue.count(Origin.EUREKA)
        self._instance: Methods = {"PUT": self.renew, "GET": self.instance, "DELETE": self.cancel}
        self._override: Methods = {"PUT": self.override, "DELETE": self.lift_override}
        self._application: Methods = {"GET": self.read, "POST": self.register}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        space, segments = split_path(scope)
        methods, names = self._resource(segments)
        ask = Ask(scope, receive, space, segments)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method in methods:
            try:
                answer = await methods[method](ask, *names)
            except FacadeError as error:
                answer = Answer(*wire.encode_refusal(error, is_xml=wire.is_xml(ask.header(b"content-type"))))
        else:
            answer = answer_without_handler(method, methods)
        await send_answer(answer, send, with_body=scope["method"] != "HEAD")

    def _resource(self, segments: list[str]) -> tuple[Methods, list[str]]:
        """What a path names: its methods, and the names in it. No methods: there is no such resource."""
        match segments:
            case ["apps", application, instance_id]:
                return self._instance, [application.upper(), instance_id]
            case ["apps"] | ["apps", "delta"] | ["vips" | "svips", _]:
                return {"GET": self.read}, []
            case ["apps", application]:
                return self._application, [application.upper()]
            case ["apps", application, instance_id, "status"]:
                return self._override, [application.upper(), instance_id]
            case ["apps", application, instance_id, "metadata"]:
                return {"PUT": self.amend_metadata}, [application.upper(), instance_id]
            case ["instances", instance_id]:
                return {"GET": self.instance_anywhere}, [instance_id]
            case ["peerreplication", "batch"]:
                return {"POST": self.batch}, []
            case ["asg", _, "status"]:
                return {"PUT": self.scaling_group}, []
            case ["status"]:
                return {"GET": self.status}, []
            case ["serverinfo", "statusoverrides"]:
                return {"GET": self.status_overrides}, []
        return {}, []

    def question(self, scope: Scope) -> Question | None:
        """For the lane: how to answer an owner's renewal, or a list, by the functions that answer them below."""
        space, segments = split_path(scope)
        ask = Ask(scope, no_body, space, segments)
        match scope["method"], segments:
            case "PUT", ["apps", application, instance_id] if not ask.is_replicated:
                key = InstanceKey(Origin.EUREKA, space, application.upper(), instance_id)
                dirty_ms = ask.dirty_ms
                return lambda: _RENEWED if self._renew_own(key, dirty_ms) is OK else _UNKNOWN
            case "GET", _ if (read := _read_of(segments)) is not None:
                asked = ask.asked
                return lambda: self._reply_at_hand(space, asked, read)
        return None

    def _reply_at_hand(self, space: Space, asked: Asked, read: Read) -> Reply | None:
        try:
            return _reply(self._list(space, asked, read, parts=0))
        except Unfinished:
            return None

    # Leases

    async def renew(self, ask: Ask, application: str, instance_id: str) -> Answer:
        """200 when renewed; an empty 404 makes the client register again; a peer with an older copy gets ours."""
        key = InstanceKey(Origin.EUREKA, ask.space, application, instance_id)
        if not ask.is_replicated:
            return self._renew_own(key, ask.dirty_ms)
        renewal = await self._renew_replicated(key, ask.dirty_ms, ask.status("overriddenstatus") or Status.UNKNOWN)
        if renewal.entity is None:
            return Answer(renewal.status)
        return Answer(renewal.status, wire.encode_single_instance(ask.format, renewal.entity), ask.format)

    def _renew_own(self, key: InstanceKey, dirty_ms: int | None) -> Answer:
        """An owner's renewal, from memory."""
        try:
            _, ahead_ms = self._renew(key, dirty_ms)
        except InstanceNotFound:
            return NOT_FOUND
        if self._peers is not None:
            self._peers.note_renewal(key)
        return NOT_FOUND if ahead_ms > 0 else OK

    async def _renew_replicated(self, key: InstanceKey, dirty_ms: int | None, override: Status) -> BatchResult:
        """A renewal that a peer passes on."""
        held, ahead_ms = self._renew(key, dirty_ms)
        if ahead_ms > 0:
            if override is not Status.UNKNOWN:
                await self.registry.amend(
                    key, lambda instance: rules.overridden(instance, override), is_replicated=True
                )
            return BatchResult(404)
        return BatchResult(409, self._info(held)) if ahead_ms < 0 else BatchResult(200)

    def _renew(self, key: InstanceKey, dirty_ms: int | None) -> tuple[Instance, int]:
        """The instance, and by how much the sender's data are ahead of it; a renewal counts also when they are.

        Raises InstanceNotFound. Source: Netflix/eureka, InstanceResource.renewLease and validateDirtyTimestamp.
        """
        held = self.registry.catalogue.instance(key)
        if held is not None and held.status is Status.UNKNOWN:
            raise InstanceNotFound(key.group, key.instance_id)
        held = self.registry.renew(key)
        if dirty_ms is None or not self.options.sync_when_timestamp_differs:
            return held, 0
        return held, dirty_ms - held.dirty_ms

    async def register(self, ask: Ask, application: str) -> Answer:
        """204 also for one that is known, or older than what is known."""
        body_format, charset = wire.body_format(ask.header(b"content-type"))
        body = await ask.body(wire.REGISTRATION_MAX_BYTES)
        info = wire.decode_registration(body, body_format, charset)
        await self._register(ask, application, info, is_replicated=ask.is_replicated)
        return NO_CONTENT

    async def _register(self, ask: Ask, application: str, info: InstanceInfo, *, is_replicated: bool) -> None:
        mapping.check(info, application)
        registry = self.registry
        candidate = mapping.to_instance(info, ask.space, registry.policy, registry.clock.now_ms(), ask.source_address)
        await registry.register(candidate, is_replicated=is_replicated)
        if self._peers is not None and not is_replicated:
            self._peers.note_renewal(candidate.key)  # of one that changes nothing they would not hear

    async def cancel(self, ask: Ask, application: str, instance_id: str) -> Answer:
        try:
            key = self._find(ask.space, application, instance_id).key
            await self.registry.cancel(key, is_replicated=ask.is_replicated)
        except InstanceNotFound:
            self._note_end(InstanceKey(Origin.EUREKA, ask.space, application, instance_id))
            raise
        return OK

    def _note_end(self, key: InstanceKey) -> None:
        if self._peers is not None:
            self._peers.note_end(key)

    # What operators say

    async def override(self, ask: Ask, application: str, instance_id: str) -> Answer:
        """A status that holds whatever the owner reports. UNKNOWN is refused: its owner could never renew again."""
        held = self._find(ask.space, application, instance_id)
        status = ask.status("value")
        if status is None or status is Status.UNKNOWN:
            raise BadQuery("value: expected UP, DOWN, STARTING or OUT_OF_SERVICE")
        dirty_ms = ask.stated_dirty_ms
        self._renew_native(held)
        await self.registry.amend(
            held.key, lambda it: rules.overridden(it, status, dirty_ms), is_replicated=ask.is_replicated
        )
        return OK

    async def lift_override(self, ask: Ask, application: str, instance_id: str) -> Answer:
        """Without `value` the owner's next renewals get a 404, so that it registers and says how it is."""
        held = self._find(ask.space, application, instance_id)
        status = ask.status("value") if "value" in ask.query else Status.UNKNOWN
        if status is None:
            raise BadQuery("value: expected a status")
        dirty_ms = ask.stated_dirty_ms
        self._renew_native(held)
        await self.registry.amend(
            held.key, lambda it: rules.restored(it, status, dirty_ms), is_replicated=ask.is_replicated
        )
        return OK

    async def amend_metadata(self, ask: Ask, application: str, instance_id: str) -> Answer:
        """Each parameter is a key. The original registers the instance anew for this, so its readers see ADDED."""
        held = self._find(ask.space, application, instance_id)
        changes = rules.ordinary(dict(ask.query), self.registry.policy)
        self._renew_native(held)
        await self.registry.amend(held.key, lambda it: mapping.with_metadata(it, changes), Cause.REGISTERED)
        return OK

    async def scaling_group(self, ask: Ask) -> Answer:
        """As every server that does not run on AWS."""
        return Answer(400)

    # Reading

    async def read(self, ask: Ask, *_: str) -> Answer:
        """Any list: full, delta, one application, one VIP.

        What has to be made first is made a few parts at a time, for one reader: others who want the same wait for that.
        Where changes come faster than that, the rest is made at once in the end.
        """
        read = _read_of(ask.segments)
        if read is None:
            return NOT_FOUND
        try:
            return self._list(ask.space, ask.asked, read, parts=0)
        except Unfinished:
            pass
        async with self._making.of((ask.space, *ask.segments, ask.asked)):
            give_up_s = self.registry.clock.monotonic_s() + IN_PARTS_S
            while self.registry.clock.monotonic_s() < give_up_s:
                try:
                    return self._list(ask.space, ask.asked, read, parts=PARTS_AT_ONCE)
                except Unfinished:
                    await asyncio.sleep(0)
            return self._list(ask.space, ask.asked, read, parts=None)

    def _list(self, space: Space, asked: Asked, read: Read, parts: int | None) -> Answer:
        if self._is_gated(space) or (read is SpaceDocuments.delta and self.options.disable_delta):
            return FORBIDDEN
        found = read(self._documents.of(space), asked, parts)
        if found is None:
            return NOT_FOUND
        return Answer(200, found.body, found.content_type, GZIPPED if found.is_gzipped else ())

    def _is_gated(self, space: Space) -> bool:
        if not self.registry.has_data:
            return True
        if self._peers is not None and space == DEFAULT_SPACE:  # the only one that peers know of
            if self._peers.has_copied:
                return False
            if self._began_unregistered and self._peers.are_unheard:
                return True
        return (
            self._began_empty and self.registry.clock.monotonic_s() - self.registry.opened_s < self.options.read_gate_s
        )

    async def instance(self, ask: Ask, application: str, instance_id: str) -> Answer:
        return self._single(ask, self._find(ask.space, application, instance_id))

    async def instance_anywhere(self, ask: Ask, instance_id: str) -> Answer:
        for application in self.registry.catalogue.applications(ask.space):
            found = self._find_or_none(ask.space, application, instance_id)
            if found is not None:
                return self._single(ask, found)
        return NOT_FOUND

    def _single(self, ask: Ask, instance: Instance) -> Answer:
        """Live, with the lease as it is now, and always in full. One that waits for its eviction is not shown."""
        info = self._info(instance)
        if info is None or self.registry.has_lapsed(instance.key):
            return NOT_FOUND
        return Answer(200, wire.encode_single_instance(ask.format, info), ask.format)

    async def status(self, ask: Ask) -> Answer:
        return Answer(200, wire.encode_status_info(ask.format, self._status_info()), ask.format)

    async def status_overrides(self, ask: Ask) -> Answer:
        """By id alone, as the original keeps them; ours are kept by application and id."""
        catalogue = self.registry.catalogue
        overrides = {
            instance.key.instance_id: instance.override
            for application in catalogue.applications(ask.space)
            for instance in catalogue.in_application(ask.space, application)
            if instance.override is not None
        }
        return Answer(200, wire_json.encode_object(overrides), Format.JSON)

    # Peers

    async def batch(self, ask: Ask) -> Answer:
        """A peer's events: one result each, in order. Nothing is applied when one of them means nothing to us."""
        body_format, _ = wire.body_format(ask.header(b"content-type"))
        if body_format is not Format.JSON:
            raise MalformedDocument("peers write JSON")
        items = wire_json.decode_batch(await ask.body(wire.BATCH_MAX_BYTES))
        for item in items:
            if item.action is not None and item.action not in _ACTIONS:
                raise MalformedDocument(f"action: {item.action[:60]!r} is none of {', '.join(_ACTIONS)}")
        return Answer(200, wire_json.encode_batch_results(await self._apply_all(ask, items)), Format.JSON)

    async def _apply_all(self, ask: Ask, items: Sequence[BatchItem]) -> list[BatchResult]:
        """Those of one instance in order, all others together: a peer waits for 200 ms, and each may be a commit."""
        results = [BatchResult(500)] * len(items)
        places: dict[tuple[str | None, str | None], list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault((item.app_name, item.instance_id), []).append(place)

        async def in_order(some: list[int]) -> None:
            for place in some:
                results[place] = await self._hear_or_apply(ask, items[place])

        await asyncio.gather(*map(in_order, places.values()))
        return results

    async def _hear_or_apply(self, ask: Ask, item: BatchItem) -> BatchResult:
        if self._hear is None:
            return await self._apply(ask, item)
        heard = self._hear(ask.source_address, item)
        if heard is not None:
            return heard
        return BatchResult(200) if _may_be_echo(item) else await self._apply(ask, item)

    async def _apply(self, ask: Ask, item: BatchItem) -> BatchResult:
        # A registration carries its id with it.
        if item.action is None or not item.app_name or not (item.instance_id or item.action == "Register"):
            return BatchResult(500)
        key = InstanceKey(Origin.EUREKA, ask.space, item.app_name.upper(), item.instance_id or "")
        try:
            return await _ACTIONS[item.action](self, ask, key, item)
        except InstanceNotFound:
            return BatchResult(404)

    async def _apply_register(self, ask: Ask, key: InstanceKey, item: BatchItem) -> BatchResult:
        if item.instance_info is None:
            return BatchResult(500)
        try:
            await self._register(ask, key.group, item.instance_info, is_replicated=True)
        except wire.RegistrationRefused as refused:
            # The sender only looks at the status of heartbeats; the original answers 200 and stores nothing.
            log.warning("a peer's registration is refused application=%s reason=%s", key.group, refused)
        return BatchResult(200)

    async def _apply_heartbeat(self, ask: Ask, key: InstanceKey, item: BatchItem) -> BatchResult:
        return await self._renew_replicated(key, item.last_dirty_ms, item.overridden_status)

    async def _apply_cancel(self, ask: Ask, key: InstanceKey, item: BatchItem) -> BatchResult:
        try:
            await self.registry.cancel(key, is_replicated=True)
        except InstanceNotFound:
            self._note_end(key)
            raise
        return BatchResult(200)

    async def _apply_status(self, ask: Ask, key: InstanceKey, item: BatchItem) -> BatchResult:
        status = item.status
        if status is None or status is Status.UNKNOWN:  # its owner could never renew again
            return BatchResult(500)
        self.registry.renew(key)
        await self.registry.amend(
            key, lambda it: rules.overridden(it, status, item.last_dirty_ms or 0), is_replicated=True
        )
        return BatchResult(200)

    async def _apply_lift(self, ask: Ask, key: InstanceKey, item: BatchItem) -> BatchResult:
        status = item.status or Status.UNKNOWN
        self.registry.renew(key)
        await self.registry.amend(
            key, lambda it: rules.restored(it, status, item.last_dirty_ms or 0), is_replicated=True
        )
        return BatchResult(200)

    # Looking up

    def _find(self, space: Space, application: str, instance_id: str) -> Instance:
        """By the id that readers of this front see, whichever protocol it came by. Raises InstanceNotFound."""
        found = self._find_or_none(space, application, instance_id)
        if found is None:
            raise InstanceNotFound(application, instance_id)
        return found

    def _find_or_none(self, space: Space, application: str, instance_id: str) -> Instance | None:
        catalogue = self.registry.catalogue
        native = catalogue.instance(InstanceKey(Origin.EUREKA, space, application, instance_id))
        if native is not None:
            return native
        for instance in catalogue.in_application(space, application):
            if instance.key.instance_id == instance_id and mapping.is_visible(instance, self.registry.policy):
                return instance
        return None

    def _info(self, instance: Instance) -> InstanceInfo | None:
        action = self._documents.of(instance.service.space).action_of(instance)
        return mapping.from_instance(instance, self.registry.catalogue.lease(instance.key), action)

    def _renew_native(self, instance: Instance) -> None:
        """What an operator says of an instance renews its lease, by Netflix's rules; ServiceCenter has none such."""
        if instance.key.origin is Origin.EUREKA:
            self.registry.renew(instance.key)

    def _status_info(self) -> wire.StatusInfo:
        uptime_min = int(self.registry.clock.monotonic_s() - self.registry.opened_s) // 60
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        general = {
            "num-of-cpus": str(os.cpu_count() or 1),
            "total-avail-memory": f"{memory_mb}mb",
            "current-memory-usage": f"{memory_mb}mb",
            "server-uptime": f"{uptime_min // 60:02}:{uptime_min % 60:02}",
        }
        peers = self._peers.health() if self._peers is not None else []
        if self._peers is not None:
            general["registry-facade-node"] = self._peers.node
        replicas = {
            "registered-replicas": _urls(peers),
            "available-replicas": _urls([peer for peer in peers if peer.is_available]),
            "unavailable-replicas": _urls([peer for peer in peers if not peer.is_available]),
        }
        own = InstanceInfo(
            instance_id="registry-facade",
            host_name="localhost",
            app="EUREKA",
            ip_addr="127.0.0.1",
            data_center_info=DataCenterInfo("MyOwn"),
            last_updated_ms=self.registry.clock.now_ms(),
        )
        return wire.StatusInfo(general, replicas, own, self.registry.store_health().is_writable)


def _read_of(segments: list[str]) -> Read | None:
    """Which list a path names."""
    match segments:
        case ["apps"]:
            return SpaceDocuments.full
        case ["apps", "delta"]:
            return SpaceDocuments.delta
        case ["apps", application]:
            name = application.upper()
            return lambda documents, asked, parts: documents.application(name, asked, parts)
        case ["vips" | "svips" as kind, vip]:
            return lambda documents, asked, parts: documents.vip(vip, asked, parts, is_secure=kind == "svips")
    return None


def _urls(peers: Iterable[PeerHealth]) -> str:
    """Each followed by a comma, as the original writes them."""
    return "".join(f"{peer.url}/," for peer in peers)


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, fields_of(answer), answer.body)


_RENEWED, _UNKNOWN = _reply(OK), _reply(NOT_FOUND)


def _may_be_echo(item: BatchItem) -> bool:
    """Whether a stranger may be the registry behind us, at an address that we do not know, with what we have told it.

    Our renewal, passed back and renewed again, would never end; what we have packed there would be overwritten.
    """
    if item.action == "Heartbeat":
        return True
    return item.instance_info is not None and any(key.startswith(rules.MARKS) for key in item.instance_info.metadata)


_ACTIONS: dict[str, Callable[[EurekaFront, Ask, InstanceKey, BatchItem], Awaitable[BatchResult]]] = {
    "Heartbeat": EurekaFront._apply_heartbeat,
    "Register": EurekaFront._apply_register,
    "Cancel": EurekaFront._apply_cancel,
    "StatusUpdate": EurekaFront._apply_status,
    "DeleteStatusOverride": EurekaFront._apply_lift,
}
