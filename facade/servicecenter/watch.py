"""The watch: tells consumers of every change of the providers they depend on, in order, or drops them.

In:   the registry's changes.
Out:  JSON events in one bounded queue per subscriber. A subscriber that falls too far behind is dropped, never
      skipped: it connects and asks anew, so there is no silent gap.
Rules: an event is encoded once for each name under which consumers know the provider, however many they are. Each
      carries the instance, the last known state of one that is gone: go-chassis ends its process on one without.

`Watchers` keeps the books and knows no sockets; what speaks on sockets stands below it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from facade.access.refusals import AccessRefused
from facade.errors import FacadeError
from facade.registry.model import Change, Instance, Microservice, Origin, ServiceId, ServiceName
from facade.registry.registry import Registry
from facade.registry.views import Shown
from facade.servicecenter import wire
from facade.servicecenter.directory import Consumer, Directory
from facade.servicecenter.documents import Documents
from facade.servicecenter.mapping import from_key
from facade.servicecenter.records import WatchInstanceResponse

QUEUED_EVENTS = 1_000
"""An event is about 1 KB; a consumer that has not taken in so many is better off asking for the whole list."""

WOKEN_AT_ONCE = 100
"""Watchers; each takes some 30 µs to send."""

UNKNOWN_CONSUMER = "service does not exist"
"""The Go client looks for these words."""

REFUSED_AFTER_S = 2.0
"""The Go client dials again as soon as it is refused: at once would mean a thousand times a second."""

INSTANCE_MISSING = 4001
INSTANCE_MISSING_REASON = "heartbeat reporting failed because the instance does not exist"
BEAT_S = 30.0
"""An open socket counts as a heartbeat in each of its instance's intervals, and at least this often."""


MaySee = Callable[[ServiceName], bool]
"""Whether a subscriber may see what goes by a name. Raises AccessRefused when it may see nothing any more."""


class Subscription:
    """The events of one watching client, oldest first."""

    def __init__(self, may_see: MaySee | None = None) -> None:
        self._may_see = may_see
        self.over = asyncio.Event()
        """Set when there will be no more: the client is to connect anew."""
        self._events: deque[str] = deque()
        self._arrived = asyncio.Event()

    def push(self, event: str) -> None:
        """One more; it is sent after `wake`."""
        if len(self._events) >= QUEUED_EVENTS:
            self.end()
        if not self.over.is_set():
            self._events.append(event)

    def concerns(self, name: ServiceName) -> bool:
        """Whether to tell it of an instance under this name. Who has lost its account is dropped here."""
        if self._may_see is None:
            return True
        try:
            return self._may_see(name)
        except AccessRefused:
            self.end()
            return False

    def wake(self) -> None:
        self._arrived.set()

    def end(self) -> None:
        """What is not sent yet is void."""
        self._events.clear()
        self.over.set()

    async def next(self) -> str:
        """The next event, when it comes."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


class Watchers:
    """Who watches, and what each is told."""

    def __init__(self, registry: Registry, directory: Directory, documents: Documents) -> None:
        self._catalogue = registry.catalogue
        self._faces = registry.faces
        self._directory = directory
        self._documents = documents
        self._open: defaultdict[ServiceId, set[Subscription]] = defaultdict(set)
        self._due: deque[Subscription] = deque()
        """To be woken: some in each turn of the event loop, or the thousands of one change would hold up all others."""
        registry.feed.follow(self._tell)

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    @contextmanager
    def subscribed(self, consumer: ServiceId, may_see: MaySee | None = None) -> Iterator[Subscription]:
        subscription = Subscription(may_see)
        self._open[consumer].add(subscription)
        try:
            yield subscription
        finally:
            self._open[consumer].discard(subscription)
            if not self._open[consumer]:
                del self._open[consumer]

    def _tell(self, change: Change) -> None:
        if not self._open:
            return
        match change.record:
            case Instance():
                self._tell_of_instance(change.before, change.after)
            case Microservice(key=key, name=name) if change.before is None or change.after is None:
                self._tell_of_joined(name.unversioned)
                if change.after is None:
                    for subscription in tuple(self._open.get(key, ())):
                        subscription.end()

    def _tell_of_instance(self, before: object, after: object) -> None:
        """CREATE, UPDATE or DELETE under each name; under a name that an instance has left it is gone."""
        earlier = self._faces.names_of(before) if isinstance(before, Instance) else []
        now = self._faces.names_of(after) if isinstance(after, Instance) else []
        kept = {(name, shown.service_id) for name, shown in now}
        known = {(name, shown.service_id) for name, shown in earlier}
        gone = [(name, shown) for name, shown in earlier if (name, shown.service_id) not in kept]
        if isinstance(before, Instance) and after is None:
            gone += self._tell_what_takes_its_place(before, {name for name, _ in gone})
        for name, shown in gone:
            self._publish("DELETE", name, shown)
        for name, shown in now:
            self._publish("UPDATE" if (name, shown.service_id) in known else "CREATE", name, shown)
        if before is None and isinstance(after, Instance):
            for fallback in self._faces.fallbacks(after):
                for shown in fallback.others:
                    self._publish("DELETE", fallback.name, shown)

    def _tell_what_takes_its_place(self, last: Instance, told: set[ServiceName]) -> list[tuple[ServiceName, Shown]]:
        """An environment without an application of a name finds that of the unnamed one, from now on (N5).

        Returns under which other names the instance is gone; that is told last, so that nobody is left with nothing.
        """
        gone = []
        for fallback in self._faces.fallbacks(last):
            for shown in fallback.others:
                self._publish("CREATE", fallback.name, shown)
            if fallback.name not in told:
                gone.append((fallback.name, fallback.own))
        return gone

    def _tell_of_joined(self, name: ServiceName) -> None:
        """Flat-named instances that joined a service are shown under its highest version: tell when that moves.

        go-chassis calls the highest version it knows. The first instance of a new version, told alone, would take the
        place of all that joined until the next poll (N8).
        """
        view = self._faces.find(name)
        for shown in view.shown if view is not None else ():
            if shown.instance.key.origin is not Origin.SERVICECENTER:
                self._publish("UPDATE", name, shown)

    def _publish(self, action: str, name: ServiceName, shown: Shown) -> None:
        service = self._catalogue.service(ServiceId(shown.face.tenant, shown.service_id))
        names = [name]
        if service is not None and service.alias:
            names.append(name._replace(name=service.alias))
        event = ""
        for consumer_id in {one for known_as in names for one in self._catalogue.consumers(known_as)}:
            subscriptions = self._open.get(consumer_id)
            if not subscriptions or not self._may_see(consumer_id, service):
                continue
            event = event or self._event(action, shown, service)
            for subscription in tuple(subscriptions):
                if not subscription.concerns(name):
                    continue
                subscription.push(event)
                if not self._due:
                    asyncio.get_running_loop().call_soon(self._wake)
                self._due.append(subscription)

    def _wake(self) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(self._due))):
            self._due.popleft().wake()
        if self._due:
            asyncio.get_running_loop().call_soon(self._wake)

    def _may_see(self, consumer_id: ServiceId, provider: Microservice | None) -> bool:
        return Consumer(consumer_id.service_id, self._directory.service(consumer_id)).sees(provider)

    def _event(self, action: str, shown: Shown, service: Microservice | None) -> str:
        key = from_key(shown.face, service.alias if service is not None else "")
        instance = msgspec.Raw(self._documents.instance(shown).body)
        return wire.encode(WatchInstanceResponse(action=action, key=key, instance=instance)).decode()


# On sockets


async def watch(
    socket: WebSocket,
    consumer: ServiceId,
    directory: Directory,
    watchers: Watchers,
    may_see: MaySee | None = None,
    lasts_s: float | None = None,
) -> None:
    """Stream events to one client until it leaves, or until it is to come back: its token ends in `lasts_s`, say.

    We end a stream by letting the connection fall: the Java client takes a proper close for a farewell and stays away.
    """
    await socket.accept()
    if directory.service(consumer) is None:
        await _until_first(asyncio.sleep(REFUSED_AFTER_S), _read_all(socket))
        with suppress(WebSocketDisconnect):
            await socket.send_text(UNKNOWN_CONSUMER)
        return
    with watchers.subscribed(consumer, may_see) as subscription, _ended_after(lasts_s, subscription):
        await _until_first(_send_all(socket, subscription), _read_all(socket), subscription.over.wait())


async def beat(socket: WebSocket, renew: Callable[[], Instance]) -> None:
    """Renew one instance for as long as its socket is open.

    The server pings, and drops who does not answer; so an open socket is an owner who lives.
    """
    await socket.accept()

    async def renew_forever() -> None:
        while True:
            try:
                interval_s = renew().lease.interval_ms / 1000
            except FacadeError:
                await socket.close(INSTANCE_MISSING, INSTANCE_MISSING_REASON)
                return
            await asyncio.sleep(min(interval_s, BEAT_S))

    await _until_first(renew_forever(), _read_all(socket))


@contextmanager
def _ended_after(lasts_s: float | None, subscription: Subscription) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(lasts_s, subscription.end) if lasts_s is not None else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


async def _send_all(socket: WebSocket, subscription: Subscription) -> None:
    while True:
        await socket.send_text(await subscription.next())


async def _read_all(socket: WebSocket) -> None:
    """What clients send means nothing, but unread it would hold up their pings."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _until_first(*works: Coroutine[object, object, object]) -> None:
    """Run them side by side until one ends, and end the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with suppress(WebSocketDisconnect):  # it left while we were sending
            task.result()
