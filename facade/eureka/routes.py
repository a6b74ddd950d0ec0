"""The HTTP front under /eureka: one ASGI endpoint, one routing function, one handler for each row of Netflix's table.

A path is split once, raw, so that an id may hold a %2F. Renewals come first. Handlers read the request, make one call
and pick the answer; what goes wrong is raised as a FacadeError and answered in `__call__`, mostly with an empty body.

The default front, /eureka, lists what is in no environment; /t/{domain}/{project}/{environment}/eureka lists others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from facade.access.control import AccessControl, require
from facade.errors import FacadeError, InstanceNotFound, MalformedDocument
from facade.eureka import mapping, wire, wire_json
from facade.eureka.admission import REPLICATION, Admission, Methods, Reach, Resource
from facade.eureka.batches import Batches
from facade.eureka.documents import PARTS_AT_ONCE, Documents, SpaceDocuments, Unfinished
from facade.eureka.exchange import (
    CHALLENGE,
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
from facade.eureka.leases import Leases
from facade.eureka.listing import Asked
from facade.eureka.peers import Peers
from facade.eureka.records import HearOf, nobody
from facade.eureka.status import status_info
from facade.eureka.wire import BadQuery, Format
from facade.registry import rules
from facade.registry.model import Cause, Instance, InstanceKey, Origin, Space, Status
from facade.registry.registry import Registry
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


class EurekaFront:
    """Made over an open registry: it remembers whether that was empty, and follows it from then on."""

    def __init__(
        self,
        registry: Registry,
        options: EurekaOptions | None = None,
        hear_of: HearOf = nobody,
        peers: Peers | None = None,
        access: AccessControl | None = None,
    ) -> None:
        """`hear_of` says who is told first what peers say, where a Eureka stands behind us: these may be its servers.

        Without `access` everybody may do everything.
        """
        self.registry = registry
        self._admission = Admission(access, registry)
        self._peers = peers
        self.options = options or EurekaOptions()
        self._documents = Documents(registry, self.options.delta_window_s)
        self._leases = Leases(
            registry, self._documents, peers, compares_timestamps=self.options.sync_when_timestamp_differs
        )
        self._batches = Batches(registry, self._leases, hear_of)
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
        resource = self.resource(segments)
        ask = Ask(scope, receive, space, segments)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method in resource.methods:
            try:
                ask.grant = await self._admission.admit(ask, resource, method)
                answer = await resource.methods[method](ask, *resource.names)
            except FacadeError as error:
                answer = Answer(*wire.encode_refusal(error, is_xml=wire.is_xml(ask.header(b"content-type"))))
                if answer.status == 401:
                    answer = answer._replace(headers=CHALLENGE)
        else:
            answer = answer_without_handler(method, resource.methods)
        await send_answer(answer, send, with_body=scope["method"] != "HEAD")

    def resource(self, segments: list[str]) -> Resource:
        """What a path names."""
        match segments:
            case ["apps", application, instance_id]:
                return Resource(self._instance, [application.upper(), instance_id], Reach.APPLICATION)
            case ["apps"] | ["apps", "delta"] | ["vips" | "svips", _]:
                return Resource({"GET": self.read}, [], Reach.EVERY_SERVICE)
            case ["apps", application]:
                return Resource(self._application, [application.upper()], Reach.APPLICATION)
            case ["apps", application, instance_id, "status"]:
                return Resource(self._override, [application.upper(), instance_id], Reach.APPLICATION)
            case ["apps", application, instance_id, "metadata"]:
                methods: Methods = {"PUT": self.amend_metadata}
                return Resource(methods, [application.upper(), instance_id], Reach.APPLICATION)
            case ["instances", instance_id]:
                return Resource({"GET": self.instance_anywhere}, [instance_id], Reach.EVERY_SERVICE)
            case ["peerreplication", "batch"]:
                return Resource({"POST": self.batch}, [], Reach.EVERY_SERVICE, REPLICATION)
            case ["asg", _, "status"]:
                return Resource({"PUT": self.scaling_group}, [], Reach.EVERY_SERVICE)
            case ["status"]:
                return Resource({"GET": self.status}, [], Reach.THIS_SERVER)
            case ["serverinfo", "statusoverrides"]:
                return Resource({"GET": self.status_overrides}, [], Reach.EVERY_SERVICE)
        return Resource({}, [], Reach.EVERY_SERVICE)

    def question(self, scope: Scope) -> Question | None:
        """For the lane: how to answer an owner's renewal, or a list, by the functions that answer them below."""
        space, segments = split_path(scope)
        ask = Ask(scope, no_body, space, segments)
        question = self._question(ask, scope["method"])
        if question is None:
            return None
        return self._admission.recall(ask, self.resource(segments), scope["method"], question)

    def _question(self, ask: Ask, method: str) -> Question | None:
        space, segments = ask.space, ask.segments
        match method, segments:
            case "PUT", ["apps", application, instance_id] if not ask.is_replicated:
                key = InstanceKey(Origin.EUREKA, space, application.upper(), instance_id)
                dirty_ms = ask.dirty_ms
                return lambda: _RENEWED if self._leases.renew(key, dirty_ms) else _UNKNOWN
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
            return OK if self._leases.renew(key, ask.dirty_ms) else NOT_FOUND
        override = ask.status("overriddenstatus") or Status.UNKNOWN
        renewal = await self._leases.renew_replicated(key, ask.dirty_ms, override)
        if renewal.entity is None:
            return Answer(renewal.status)
        return Answer(renewal.status, wire.encode_single_instance(ask.format, renewal.entity), ask.format)

    async def register(self, ask: Ask, application: str) -> Answer:
        """204 also for one that is known, or older than what is known."""
        body_format, charset = wire.body_format(ask.header(b"content-type"))
        body = await ask.body(wire.REGISTRATION_MAX_BYTES)
        info = wire.decode_registration(body, body_format, charset)
        if ask.grant.is_limited:
            # Consumers find it by these, whatever its application is called.
            claimed = (vip.strip() for vip in (*info.vips, *info.secure_vips))
            require(ask.grant, *(self._admission.label(ask.space, vip) for vip in claimed if vip))
        await self._leases.register(ask.space, application, info, ask.source_address, is_replicated=ask.is_replicated)
        return NO_CONTENT

    async def cancel(self, ask: Ask, application: str, instance_id: str) -> Answer:
        found = self._find_or_none(ask.space, application, instance_id)
        key = InstanceKey(Origin.EUREKA, ask.space, application, instance_id) if found is None else found.key
        await self._leases.cancel(key, is_replicated=ask.is_replicated)
        return OK

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
        info = self._leases.info(instance)
        if info is None or self.registry.has_lapsed(instance.key):
            return NOT_FOUND
        return Answer(200, wire.encode_single_instance(ask.format, info), ask.format)

    async def status(self, ask: Ask) -> Answer:
        return Answer(200, wire.encode_status_info(ask.format, status_info(self.registry, self._peers)), ask.format)

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
        results = await self._batches.apply(items, ask.space, ask.source_address)
        return Answer(200, wire_json.encode_batch_results(results), Format.JSON)

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

    def _renew_native(self, instance: Instance) -> None:
        """What an operator says of an instance renews its lease, by Netflix's rules; ServiceCenter has none such."""
        if instance.key.origin is Origin.EUREKA:
            self.registry.renew(instance.key)


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


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, fields_of(answer), answer.body)


_RENEWED, _UNKNOWN = _reply(OK), _reply(NOT_FOUND)
