"""The delta's law: who reads one full document and then only deltas has what a full read would give, or asks for one.

What can be promised, and to whom:

- Who reads at least once in each window (180 s) has exactly the full list after each read, and never has to ask for it.
- The same over restarts of a server that remembers its instances, for one full read at the most. It does not remember
  who went; so it tells again of those that changed before its end, and the hash tells of the rest. Not told again is an
  instance of ServiceCenter's that the end of its Eureka twin, at the same address, brought to light: its own record is
  as old as before.
- Who was away for longer has the list, or differs in nothing but changes that left the window while it was away, and
  in those only if they cancel each other out in the hash, status by status: one instance that went for one that came.
  The hash counts statuses and nothing else, so neither side can see that; Netflix's servers and clients have the same
  gap. It closes with the first read at which the counts differ.
- Who moves between two nodes that are told the same, in whatever order and up to half a minute apart, has the list as
  soon as both have heard all.

Source: eureka.md 4.9 and 4.10; Netflix/eureka, DiscoveryClient.getAndUpdateDelta and reconcileHashCode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.eureka.documents import Documents, SpaceDocuments
from facade.eureka.wire import Format, Variant
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Space, Status
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore
from tests.eureka.registrations import instance
from tests.registry.records import qualified, service

pytestmark = pytest.mark.anyio

WINDOW_S = 180
LAG_S = 30
"""How much later one of two nodes may hear what the other has heard."""

Known = dict[tuple[str, str], str]
"""Application and id, with the status."""


class Node:
    """A server, with what its readers could have seen change and when."""

    def __init__(self, clock: ManualClock) -> None:
        """To be started."""
        self.clock = clock
        self._store = MemoryStore(clock)
        self.changed_s: dict[tuple[str, str], float] = {}
        """When each entry of the list last came, went or changed its status."""

    async def start(self) -> None:
        self.registry = Registry(self._store, self.clock, Policy(self_preservation=False))
        await self.registry.open()
        self._documents = Documents(self.registry, WINDOW_S)

    async def restart(self) -> None:
        """What it keeps are its instances; what it told of them lately is forgotten."""
        await self.registry.close()
        await self.start()

    @property
    def documents(self) -> SpaceDocuments:
        return self._documents.of(Space())

    def listed(self) -> Known:
        return taken({}, self.full())

    def full(self) -> dict[str, Any]:
        return read(self.documents.full((Variant(Format.JSON), False)).body)

    def delta(self) -> dict[str, Any]:
        return read(self.documents.delta((Variant(Format.JSON), False)).body)

    async def hear(self, act: Act) -> None:
        before = self.listed()
        await act(self.registry)
        now = self.listed()
        for key, _ in before.items() ^ now.items():
            self.changed_s[key] = self.clock.monotonic_s()


Act = Callable[[Registry], Awaitable[object]]


class Client:
    """As Netflix's does, it trusts a delta whose hash is that of what it has put together, and else reads in full."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.known = node.listed()
        self.read_s = node.clock.monotonic_s()
        self.full_reads = 0

    def read(self) -> None:
        delta = self.node.delta()
        self.known = taken(self.known, delta)
        if hash_of(self.known) != delta["apps__hashcode"]:
            self.known = self.node.listed()
            self.full_reads += 1
        self.read_s = self.node.clock.monotonic_s()
        assert hash_of(self.known) == self.node.full()["apps__hashcode"]


def read(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(body)["applications"]
    return found


def taken(known: Known, applications: dict[str, Any]) -> Known:
    """What a client knows after a document; none may tell two things of one instance."""
    known = dict(known)
    told = Counter(
        (application["name"], found["instanceId"])
        for application in applications["application"]
        for found in application["instance"]
    )
    assert [key for key, times in told.items() if times > 1] == []
    for application in applications["application"]:
        for found in application["instance"]:
            key = application["name"], found["instanceId"]
            if found["actionType"] == "DELETED":
                known.pop(key, None)
            else:
                known[key] = found["status"]
    return known


def hash_of(known: Known) -> str:
    counts = Counter(known.values())
    return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


# What happens


def native(app: str, number: int, status: str = "UP", dirty_ms: int = 1000) -> Instance:
    host = f"10.0.0.{number}"
    return instance(app, f"i{number}", hostName=host, ipAddr=host, status=status, lastDirtyTimestamp=str(dirty_ms))


def elsewhere(app: str, number: int, port: int) -> Instance:
    """Born in ServiceCenter under the same name; at port 8080 the native of that number hides it."""
    born = qualified(service(app.lower(), "default"), f"sc{number}", endpoints=(f"rest://10.0.0.{number}:{port}",))
    return replace(born, application=app)


def namesake(app: str, number: int, version: str) -> Instance:
    """Born in ServiceCenter, where ids are unique within one version of a service only, with the native's very id."""
    of = service(app.lower(), "default", version)
    return replace(qualified(of, f"i{number}", endpoints=(f"rest://{version}:9090",)), application=app)


def cancelled(key: InstanceKey) -> Act:
    async def act(registry: Registry) -> None:
        if registry.catalogue.instance(key) is not None:
            await registry.cancel(key)

    return act


def amended(key: InstanceKey, how: Callable[[Instance], Instance]) -> Act:
    async def act(registry: Registry) -> None:
        if registry.catalogue.instance(key) is not None:
            await registry.amend(key, how)

    return act


def act_of(what: str, app: str, number: int, status: str) -> tuple[InstanceKey, Act]:
    twin, other = elsewhere(app, number, 8080), elsewhere(app, number, 9090)
    ours, foreign = native(app, number, status), twin if what.endswith("twin") else other
    match what:
        case "register":
            return ours.key, lambda registry: registry.register(ours)
        case "register anew":
            return ours.key, lambda registry: registry.register(native(app, number, status, dirty_ms=2000))
        case "cancel":
            return ours.key, cancelled(ours.key)
        case "override":
            return ours.key, amended(ours.key, partial(rules.overridden, status=Status(status)))
        case "restore":
            return ours.key, amended(ours.key, lambda held: rules.restored(held, Status.UP))
        case "foreign" | "foreign twin":
            return foreign.key, lambda registry: registry.register(foreign)
        case "cancel foreign" | "cancel twin":
            return foreign.key, cancelled(foreign.key)
        case "namesake":
            other = namesake(app, number, "1.0" if status == "UP" else "2.0")
            return other.key, lambda registry: registry.register(other)
        case "cancel namesake":
            return ours.key, cancelled(namesake(app, number, "1.0" if status == "UP" else "2.0").key)
    raise AssertionError(what)


OWN = ("register", "register", "register anew", "cancel", "override", "restore", "foreign", "cancel foreign")
WITH_TWINS = (*OWN, "foreign twin", "cancel twin")
WITH_NAMESAKES = (*OWN, "namesake", "namesake", "cancel namesake")
Step = tuple[str, Any]


def steps(
    *pauses_s: float, acts: tuple[str, ...] = WITH_TWINS, others: tuple[str, ...] = ()
) -> st.SearchStrategy[list[Step]]:
    one_act = st.tuples(
        st.sampled_from(acts),
        st.sampled_from(["A", "B"]),
        st.integers(0, 2),
        st.sampled_from(["UP", "DOWN", "OUT_OF_SERVICE"]),
    )
    kinds = [st.tuples(st.just("act"), one_act)] * 3
    kinds += [st.tuples(st.just("pause"), st.sampled_from(pauses_s)), st.tuples(st.just("read"), st.none())]
    kinds += [st.tuples(st.just(other), st.integers(0, 1)) for other in others]
    return st.lists(st.one_of(*kinds), max_size=40)


def act(what: str, app: str = "A", number: int = 0, status: str = "UP") -> Step:
    return "act", (what, app, number, status)


READ: Step = ("read", None)
RESTART: Step = ("restart", 0)


# One node


@given(steps(0, 1, 59, 120, 179, 180))
@example([act("register"), READ, act("cancel"), READ, act("register"), act("cancel"), act("register"), READ])
@example([act("register"), ("pause", 120), READ, act("override", status="DOWN"), ("pause", 180), READ])
@settings(max_examples=300, deadline=None)
async def test_who_reads_within_each_window_has_the_full_list_after_each_read(script: list[Step]) -> None:
    await live_with_one_node(script)


@given(steps(0, 1, 59, 120, 179, 180, acts=WITH_NAMESAKES))
@example([act("register"), act("namesake"), READ, act("cancel"), READ, act("cancel namesake"), READ])
@example([act("namesake"), READ, act("register"), READ, act("namesake", status="DOWN"), act("cancel"), READ])
@settings(max_examples=300, deadline=None)
async def test_an_id_stands_for_one_instance_whoever_goes_by_it(script: list[Step]) -> None:
    """Two of one id are one to a client, and two to the hash: it would read in full for ever."""
    await live_with_one_node(script)


@given(steps(0, 1, 59, 120, 179, 180, acts=OWN, others=("restart",)))
@example([act("register", "A"), READ, act("cancel", "A"), act("register", "B"), RESTART, READ])
@example([act("register"), READ, act("cancel"), act("register", number=1), ("pause", 180), RESTART, READ])
@example([act("register"), READ, act("cancel"), RESTART, act("foreign", number=1), RESTART, ("pause", 180), READ])
@settings(max_examples=300, deadline=None)
async def test_a_restart_takes_no_change_away_from_them(script: list[Step]) -> None:
    """The instance that went and the one that came leave the same hash: without the latter in the delta nobody sees."""
    await live_with_one_node(script)


async def live_with_one_node(script: list[Step]) -> None:
    node = Node(ManualClock())
    await node.start()
    client = Client(node)
    may_ask = 0

    for step, what in [*script, READ]:
        if step == "act":
            await node.hear(act_of(*what)[1])
        elif step == "restart":
            await node.restart()
            may_ask = client.full_reads + 1
        elif step == "pause":
            if node.clock.monotonic_s() + what - client.read_s > WINDOW_S:
                client.read()
            node.clock.advance(what)
        elif step == "read":
            client.read()

            assert client.known == node.listed()
            assert client.full_reads <= may_ask


@given(steps(1, 59, 180, 181, 240, 300))
@settings(max_examples=300, deadline=None)
async def test_who_was_away_for_longer_differs_only_in_what_left_the_window_and_never_in_the_hash(
    script: list[Step],
) -> None:
    node = Node(ManualClock())
    await node.start()
    client = Client(node)
    unseen: set[tuple[str, str]] = set()

    for step, what in [*script, READ]:
        if step == "act":
            await node.hear(act_of(*what)[1])
        elif step == "pause":
            node.clock.advance(what)
        elif step == "read":
            now_s, full_reads = node.clock.monotonic_s(), client.full_reads
            unseen |= {key for key, at_s in node.changed_s.items() if client.read_s <= at_s < now_s - WINDOW_S}
            unseen -= {key for key, at_s in node.changed_s.items() if at_s >= now_s - WINDOW_S}
            client.read()
            if client.full_reads > full_reads:
                unseen.clear()

            assert {key for key, _ in client.known.items() ^ node.listed().items()} <= unseen


async def test_changes_that_left_the_window_and_cancel_out_in_the_hash_go_unnoticed_until_the_counts_differ() -> None:
    """The protocol's own weakness, in the smallest case; a real server and its clients do the same."""
    node = Node(ManualClock())
    await node.start()
    await node.hear(act_of("register", "A", 0, "UP")[1])
    client = Client(node)

    await node.hear(act_of("cancel", "A", 0, "UP")[1])
    await node.hear(act_of("register", "B", 1, "UP")[1])
    node.clock.advance(WINDOW_S + 1)
    client.read()
    assert (client.known, node.listed()) == ({("A", "i0"): "UP"}, {("B", "i1"): "UP"})

    await node.hear(act_of("register", "B", 2, "UP")[1])
    client.read()
    assert client.known == {("A", "i0"): "UP", ("B", "i2"): "UP"}

    await node.hear(act_of("cancel", "B", 1, "UP")[1])
    client.read()
    assert client.full_reads == 1
    assert client.known == node.listed() == {("B", "i2"): "UP"}


# Two nodes


class Pair:
    """Two nodes that are told the same: what one hears at once reaches the other later, in another order."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.nodes = [Node(clock), Node(clock)]
        self._waiting: list[list[tuple[float, InstanceKey, Act]]] = [[], []]

    async def hear(self, first: int, key: InstanceKey, act: Act) -> None:
        """What concerns one instance stays in order: its owner talks to one node at a time."""
        await self._deliver(first, lambda other: other == key)
        await self.nodes[first].hear(act)
        self._waiting[1 - first].append((self.clock.monotonic_s(), key, act))

    async def deliver_all(self) -> None:
        for node in (0, 1):
            await self._deliver(node, lambda _: True)

    async def pause(self, seconds: float) -> None:
        """Nothing waits for longer than the nodes may be apart."""
        until_s = self.clock.monotonic_s() + seconds
        if any(at_s + LAG_S < until_s for waiting in self._waiting for at_s, _, _ in waiting):
            await self.deliver_all()
        self.clock.advance(seconds)

    async def _deliver(self, node: int, is_wanted: Callable[[InstanceKey], bool]) -> None:
        due = [item for item in self._waiting[node] if is_wanted(item[1])]
        self._waiting[node] = [item for item in self._waiting[node] if not is_wanted(item[1])]
        for _, _, act in sorted(due, key=lambda item: item[1].instance_id, reverse=True):
            await self.nodes[node].hear(act)


@given(steps(1, 29, 60, 120, acts=OWN, others=("restart", "move", "deliver", "talk to")))
@settings(max_examples=300, deadline=None)
async def test_who_moves_between_two_nodes_has_the_list_once_both_have_heard_all(script: list[Step]) -> None:
    pair = Pair(ManualClock())
    for node in pair.nodes:
        await node.start()
    client, owner_talks_to = Client(pair.nodes[0]), 0

    for step, what in script:
        if step == "act":
            await pair.hear(owner_talks_to, *act_of(*what))
        elif step == "talk to":
            owner_talks_to = what
        elif step == "deliver":
            await pair.deliver_all()
        elif step == "restart":
            await pair.nodes[what].restart()
        elif step == "move":
            client.node = pair.nodes[what]
        elif step == "pause":
            if pair.clock.monotonic_s() + what - client.read_s > WINDOW_S - LAG_S:
                client.read()
            await pair.pause(what)
        elif step == "read":
            client.read()
    await pair.deliver_all()
    client.read()

    assert pair.nodes[0].listed() == pair.nodes[1].listed()
    assert client.known == client.node.listed()
