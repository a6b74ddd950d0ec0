"""Calls to another Eureka server.

In:     records of this room. The base URLs given to Outbound are service URLs: http://host:8761/eureka
Out:    records of this room, or that there is no such instance.
Raises: StoreUnavailable when nobody answered as a Eureka server does; UpstreamRefused when it does not take a record.
Rules:  what no Eureka server says, a proxy's page with status 200 for one, is a failure of its server, never an answer;
        a long document is decoded in slices, so that nobody else waits for it.
Source: Netflix/eureka 2.0.6 behind Spring Cloud, asked; the paths are Netflix's table.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from facade.errors import MalformedDocument, StoreUnavailable, UpstreamRefused
from facade.eureka import wire_json
from facade.eureka.records import BatchItem, BatchResult, InstanceInfo
from facade.outbound import Outbound, Reply
from facade.registry.model import Status

log = logging.getLogger(__name__)

_SLICE = 100
"""So many instances are decoded at a time: about 7 ms."""

_TO_SAY_WHO_S = 2.0
"""Who takes longer to say who it is, is not one of us."""

_ALL = "/apps"
_DELTA = "/apps/delta"

_JSON = {"Accept": "application/json"}
_JSON_BODY = {**_JSON, "Content-Type": "application/json"}

_REPLICAS = re.compile(rb"<registered-replicas>([^<]*)</registered-replicas>")
_NODE = re.compile(rb"<registry-facade-node>(\w+)</registry-facade-node>")
_PATH_BYTES = 7_000
"""Tomcat reads a head of 8 KiB, of which the path is only a part."""
_NOT_IN_A_PATH = re.compile(r"[/\\]|^\.{0,2}$")
"""Tomcat answers 400 to a path that holds such a character, quoted or not; dots alone mean another path."""


class Listing(NamedTuple):
    """A registry document: all instances, or those changed of late."""

    version: str
    """versions__delta, of that server and this document alone."""
    hash_code: str
    """apps__hashcode: how many there are of each status in the whole registry."""
    instances: tuple[InstanceInfo, ...]
    """Their leases may be of an earlier reading: ask for an instance live to learn of its renewals."""
    base: str
    """The server that wrote it."""


class Live(NamedTuple):
    """One instance as a server holds it now, past its caches."""

    info: InstanceInfo
    date_ms: int | None
    """The server's own clock, by the second."""


class BatchRefused(StoreUnavailable):
    """It takes none of a batch, for the sake of something in it."""


class EurekaClient:
    """Remembers the documents that it read last: the same bytes are not decoded twice."""

    def __init__(self, outbound: Outbound) -> None:
        self.outbound = outbound
        self._last: dict[str, tuple[bytes, Listing]] = {}
        self._known: dict[str, dict[bytes, InstanceInfo | None]] = {}

    # Reading

    async def applications(self) -> Listing:
        """All instances. The very object that it gave before while the bytes are the same."""
        listing = await self._listing(_ALL)
        assert listing is not None, "a refusal is a failure here"
        return listing

    async def applications_if_open(self) -> Listing | None:
        """All instances; None while it refuses to list any, because it has just started and knows of none."""
        return await self._listing(_ALL, may_refuse=True)

    async def delta(self) -> Listing | None:
        """What changed in the last three minutes; None where the server does not tell (it can be told not to)."""
        return await self._listing(_DELTA, may_refuse=True)

    async def instance(self, application: str, instance_id: str, base: str | None = None) -> Live | None:
        """Asked live, of `base` or of whoever answers. None: there is no such instance."""
        path = path_of(application, instance_id)
        return await self.outbound.ask(
            "GET", path, _live, headers=_JSON, stick_to=stick(application, instance_id), base=base
        )

    async def replicas(self, base: str) -> tuple[str, ...]:
        """The service URLs of the peers that this server tells of what it hears."""
        # Only its XML can be read: asked for JSON, the server cannot write this document (500).
        return await self.outbound.ask("GET", "/status", _replicas, headers={"Accept": "application/xml"}, base=base)

    async def node(self, base: str | None = None) -> str | None:
        """By which name a server of ours tells itself from others of ours; None of any other server."""
        return await self.outbound.ask("GET", "/status", _node, headers={"Accept": "application/xml"}, base=base)

    async def is_facade(self, base: str | None = None) -> bool:
        """Whether it is a front of ours, which says so of itself."""
        try:
            async with asyncio.timeout(_TO_SAY_WHO_S):
                return await self.outbound.ask(
                    "GET", "/status", _names_us, headers={"Accept": "application/xml"}, base=base
                )
        except TimeoutError:
            raise StoreUnavailable(f"no answer within {_TO_SAY_WHO_S:g} s") from None

    # Writing, as a client does: the server tells its peers

    async def register(self, info: InstanceInfo) -> None:
        """Raises UpstreamRefused, also for what could never be called by its path afterwards."""
        instance_id = info.effective_id
        path_of(info.app, instance_id)
        refusal = await self.outbound.ask(
            "POST",
            f"/apps/{quote(info.app, safe='')}",
            _refusal,
            headers=_JSON_BODY,
            content=b'{"instance":%b}' % wire_json.encode_instance(info),
            stick_to=stick(info.app, instance_id),
        )
        if refusal is not None:
            raise UpstreamRefused(refusal)

    async def renew(self, application: str, instance_id: str, status: Status, dirty_ms: int) -> bool:
        """Whether it knows the instance, and none newer is needed."""
        return await self._act("PUT", application, instance_id, "", {"status": status, "lastDirtyTimestamp": dirty_ms})

    async def cancel(self, application: str, instance_id: str) -> bool:
        """Whether there was such an instance."""
        return await self._act("DELETE", application, instance_id)

    async def set_status(self, application: str, instance_id: str, status: Status, dirty_ms: int) -> bool:
        """An operator's word. Naming the status that it shows already records nothing. False: no such instance."""
        query = {"value": status, "lastDirtyTimestamp": dirty_ms}
        return await self._act("PUT", application, instance_id, "/status", query)

    async def delete_status(self, application: str, instance_id: str, then: Status, dirty_ms: int) -> bool:
        """The operator's word taken back; it shows `then` until its owner speaks. False: no such instance."""
        query = {"value": then, "lastDirtyTimestamp": dirty_ms}
        return await self._act("DELETE", application, instance_id, "/status", query)

    # Writing, as a peer does: to one server, which tells nobody

    async def batch(self, base: str, items: Sequence[BatchItem]) -> list[BatchResult]:
        """What became of each item, in order. Raises BatchRefused."""

        def read(reply: Reply) -> list[BatchResult] | str:
            if (refusal := _not_taken(reply)) is not None:
                return refusal
            _expect(reply, 200)
            results = wire_json.decode_batch_results(reply.body)
            if len(results) != len(items):
                raise MalformedDocument(f"answered {len(results)} results to {len(items)} items")
            return results

        content = wire_json.encode_batch(items)
        answer = await self.outbound.ask(
            "POST", "/peerreplication/batch/", read, headers=_JSON_BODY, content=content, base=base
        )
        if isinstance(answer, str):
            raise BatchRefused(f"{base}: {answer}")
        return answer

    # Private

    async def _listing(self, path: str, *, may_refuse: bool = False) -> Listing | None:
        """The listing under a path; what was read last is given again while the bytes are the same."""
        last = self._last.get(path)

        def read(reply: Reply) -> Listing | _Undecoded | None:
            if reply.status == 403 and may_refuse:
                return None
            _expect(reply, 200)
            if last is not None and last[0] == reply.body and last[1].base == reply.base:
                return last[1]
            return _Undecoded(_document(reply.body), reply)

        answer = await self.outbound.ask("GET", path, read, headers=_JSON)
        if answer is None or isinstance(answer, Listing):
            return answer
        listing = await self._read_instances(path, *answer)
        self._last[path] = (answer.reply.body, listing)
        return listing

    async def _read_instances(self, path: str, document: _Applications, reply: Reply) -> Listing:
        """Instances that are in the document before it, but for their leases, are those very records."""
        texts = [bytes(text) for application in document.application for text in application.instance]
        known = self._known.get(path, {})
        found: dict[bytes, InstanceInfo | None] = {}
        faults: list[Exception] = []
        for start in range(0, len(texts), _SLICE):
            for text in texts[start : start + _SLICE]:
                digest = _digest_but_for_renewals(text)
                found[digest] = known[digest] if digest in known else _decoded(text, faults)
            await asyncio.sleep(0)
        self._known[path] = found
        if faults:
            log.warning("instances cannot be read server=%s count=%d first=%s", reply.base, len(faults), faults[0])
        instances = tuple(info for info in found.values() if info is not None)
        return Listing(str(document.versions__delta), document.apps__hashcode, instances, reply.base)

    async def _act(
        self, method: str, application: str, instance_id: str, under: str = "", query: dict[str, object] | None = None
    ) -> bool:
        path = path_of(application, instance_id) + under + (f"?{urlencode(query)}" if query else "")
        stick_to = stick(application, instance_id)
        return await self.outbound.ask(method, path, _is_known, headers=_JSON, stick_to=stick_to)


def stick(application: str, instance_id: str) -> str:
    """All that concerns one instance goes to one server while that is well, so that it stays in order."""
    return f"{application}/{instance_id}"


def path_of(application: str, instance_id: str) -> str:
    """Raises UpstreamRefused for names that no path can hold."""
    for name in (application, instance_id):
        if _NOT_IN_A_PATH.search(name):
            raise UpstreamRefused(f"a Eureka server cannot be asked for {name[:60]!r}: it is not allowed in a path")
    path = f"/apps/{quote(application, safe='')}/{quote(instance_id, safe='')}"
    if len(path) > _PATH_BYTES:
        raise UpstreamRefused(f"a Eureka server cannot be asked for {instance_id[:60]!r}…: {len(path)} bytes of path")
    return path


# How answers are read


class _Application(msgspec.Struct):
    instance: list[msgspec.Raw] = []


class _Applications(msgspec.Struct):
    versions__delta: str | int
    apps__hashcode: str
    application: list[_Application]


class _Document(msgspec.Struct):
    applications: _Applications


class _Undecoded(NamedTuple):
    document: _Applications
    reply: Reply


_document_decoder = msgspec.json.Decoder(_Document)


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _document(body: bytes) -> _Applications:
    try:
        return _document_decoder.decode(body).applications
    except _UNREADABLE as error:
        raise MalformedDocument(f"its list of applications is none: {error}") from None


def _decoded(text: bytes, faults: list[Exception]) -> InstanceInfo | None:
    """None for one that cannot be read, whatever the fault: whoever registered it must not hide all the others."""
    try:
        return wire_json.decode_listed(text)
    except Exception as error:
        faults.append(error)
        return None


def _digest_but_for_renewals(text: bytes) -> bytes:
    """Of a listed instance without its lease: every renewal is in a list of all, and says nothing of the instance.

    A lease that was registered with other terms comes with another lastUpdatedTimestamp, which is part of the rest.
    """
    head, lease, tail = text.partition(b'"leaseInfo":{')
    return blake2b(head + tail.partition(b"}")[2] if lease else head, digest_size=16).digest()


def _live(reply: Reply) -> Live | None:
    """Shape: {"instance": {…}}"""
    if reply.status == 404 and not _is_page(reply):
        return None
    _expect(reply, 200)
    try:
        text = _single_decoder.decode(reply.body).instance
    except _UNREADABLE as error:
        raise MalformedDocument(f"its instance is none: {error}") from None
    return Live(wire_json.decode_listed(bytes(text)), _date_ms(reply))


class _Single(msgspec.Struct):
    instance: msgspec.Raw


_single_decoder = msgspec.json.Decoder(_Single)


def _date_ms(reply: Reply) -> int | None:
    try:
        return int(parsedate_to_datetime(reply.headers.get("date", "")).timestamp() * 1000)
    except (ValueError, OverflowError):  # the latter for years that are not counted
        return None


def _is_known(reply: Reply) -> bool:
    """200, or 404 for an instance that is not there. Spring's 404 has a body, Netflix's has none; neither is a page."""
    if reply.status == 404 and not _is_page(reply):
        return False
    _expect(reply, 200)
    return True


def _not_taken(reply: Reply) -> str | None:
    """400 with the reason in plain text."""
    if reply.status not in (400, 413, 415):
        return None
    return f"answered {reply.status}" if _is_page(reply) else f"{reply.status} {_beginning(reply.body)}".strip()


def _refusal(reply: Reply) -> str | None:
    """204 for what was taken."""
    if (refusal := _not_taken(reply)) is not None:
        return refusal
    if reply.status != 204:
        _expect(reply, 200)
    return None


def _replicas(reply: Reply) -> tuple[str, ...]:
    _expect(reply, 200)
    found = _REPLICAS.search(reply.body)
    if found is None:
        raise MalformedDocument("its status names no replicas")
    return tuple(url.strip().rstrip("/") for url in found[1].decode("utf-8", "replace").split(",") if url.strip())


def _node(reply: Reply) -> str | None:
    found = _NODE.search(reply.body) if reply.status == 200 else None
    return found[1].decode() if found is not None else None


def _names_us(reply: Reply) -> bool:
    _expect(reply, 200)
    return b"<instanceId>registry-facade</instanceId>" in reply.body


def _expect(reply: Reply, status: int) -> None:
    if reply.status != status:
        raise MalformedDocument(f"answered {reply.status} {_beginning(reply.body)}".strip())
    if _is_page(reply):
        raise MalformedDocument("answered with a page for people")


def _is_page(reply: Reply) -> bool:
    return "html" in reply.headers.get("content-type", "") or reply.body[:1000].lstrip().lower().startswith(
        (b"<!doctype", b"<html")
    )


def _beginning(body: bytes) -> str:
    """Of a body that may be anything, for one line of text."""
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return "" if text.startswith("<") else text
