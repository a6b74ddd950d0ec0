"""The kept documents against clients that read them: never stale, equal hashes, equal in every representation."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.eureka.documents import Documents, SpaceDocuments
from facade.eureka.listing import PIECE
from facade.eureka.wire import Format, Variant
from facade.registry import rules
from facade.registry.model import Instance, Space, Status
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore
from tests.eureka.registrations import instance
from tests.registry.records import qualified, service

pytestmark = pytest.mark.anyio

JSON = Variant(Format.JSON)
VARIANTS = [Variant(format, is_compact) for format in Format for is_compact in (False, True)]


@pytest.fixture
async def documents(registry: Registry) -> SpaceDocuments:
    """Of the default space. Kept from now on: an empty one would be made anew for each reader."""
    every = Documents(registry)
    await registry.register(instance("SEED", "seed", vipAddress="seed"))
    await registry.cancel(instance("SEED", "seed").key)
    return every.of(Space())


def read(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(body)["applications"]
    return found


def full(documents: SpaceDocuments) -> dict[str, Any]:
    return read(documents.full((JSON, False)).body)


def delta(documents: SpaceDocuments) -> dict[str, Any]:
    return read(documents.delta((JSON, False)).body)


def listed(applications: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(application, id, action) of all, but for the seed."""
    return [
        (application["name"], found["instanceId"], found["actionType"])
        for application in applications["application"]
        for found in application["instance"]
        if application["name"] != "SEED"
    ]


def hash_of(statuses: list[str]) -> str:
    counts = Counter(statuses)
    return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


async def test_a_write_is_in_the_next_read(registry: Registry, documents: SpaceDocuments) -> None:
    """P12: the nearest peer shows it up to ten seconds later."""
    assert listed(full(documents)) == []

    await registry.register(instance())

    assert listed(full(documents)) == [("A", "i1", "ADDED")]
    assert documents.application("A", (JSON, False)) is not None


async def test_unchanged_documents_are_the_same_bytes(registry: Registry, documents: SpaceDocuments) -> None:
    await registry.register(instance())
    before = [documents.full((JSON, True)), documents.delta((JSON, True)), documents.application("A", (JSON, True))]

    registry.renew(instance().key)
    await registry.register(instance())

    after = [documents.full((JSON, True)), documents.delta((JSON, True)), documents.application("A", (JSON, True))]
    assert all(one is other for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_gzipped_and_plain_say_the_same(registry: Registry, documents: SpaceDocuments, variant: Variant) -> None:
    """Over pieces, applications and deletions in their midst; decompressed as one member."""
    for number in range(PIECE * 2 + 7):
        await registry.register(instance("BIG", f"i{number}", vipAddress="big"))
        await registry.register(instance(f"APP-{number}", "i1", vipAddress="big"))
    for number in range(PIECE - 3):
        await registry.cancel(instance("BIG", f"i{number}").key)
    await registry.cancel(instance("APP-0", "i1").key)
    await registry.register(instance("BIG", "another", vipAddress="big"))

    for ask in (
        documents.full,
        documents.delta,
        lambda asked: documents.application("BIG", asked),
        lambda asked: documents.vip("big", asked),
        lambda asked: documents.vip("nobody", asked),
    ):
        plain, gzipped = ask((variant, False)), ask((variant, True))
        assert plain is not None and gzipped is not None
        assert gzip.decompress(gzipped.body) == plain.body
        assert (plain.content_type, plain.is_gzipped, gzipped.is_gzipped) == (variant.format, False, True)
        if variant.format is Format.XML:
            ElementTree.fromstring(plain.body)
        else:
            msgspec.json.decode(plain.body)


async def test_kept_pieces_follow_each_change(registry: Registry, documents: SpaceDocuments) -> None:
    """Read between changes, so that what was compressed before is used again where nothing changed."""
    for number in range(PIECE * 5):
        await registry.register(instance("BIG" if number % 2 else f"APP-{number}", f"i{number}"))
    changed = instance("BIG", "i101", hostName="moved")

    acts: list[Callable[[], Awaitable[Instance]]] = [
        lambda: registry.register(changed),
        lambda: registry.cancel(instance("BIG", "i1").key),
        lambda: registry.cancel(instance("APP-0", "i0").key),
        lambda: registry.register(instance("BIG", "i-new")),
    ]
    for act in acts:
        for ask in (documents.full, documents.delta, lambda asked: documents.application("BIG", asked)):
            ask((JSON, True))
        await act()
        for ask in (documents.full, documents.delta, lambda asked: documents.application("BIG", asked)):
            plain, gzipped = ask((JSON, False)), ask((JSON, True))
            assert plain is not None and gzipped is not None
            assert gzip.decompress(gzipped.body) == plain.body
        big = documents.application("BIG", (JSON, False))
        assert big is not None
        ids = {key.instance_id for key in registry.catalogue.leases if key.group == "BIG"}
        assert {found["instanceId"] for found in msgspec.json.decode(big.body)["application"]["instance"]} == ids
    assert b'"hostName":"moved"' in documents.full((JSON, False)).body


async def test_every_variant_lists_the_same(registry: Registry, documents: SpaceDocuments) -> None:
    """Case 167."""
    for number in range(3):
        await registry.register(instance("A", f"i{number}"))
        await registry.register(instance("B", f"i{number}", status="DOWN"))

    seen = set()
    for variant in VARIANTS:
        for body in (documents.full((variant, False)).body, documents.delta((variant, False)).body):
            if variant.format is Format.JSON:
                found = read(body)
                ids = sorted(row for row in listed(found) if row[0] != "SEED")
                seen.add((found["apps__hashcode"], str(ids)))
            else:
                root = ElementTree.fromstring(body)
                ids = sorted(
                    (app.findtext("name") or "", i.findtext("instanceId") or "", i.findtext("actionType") or "")
                    for app in root.findall("application")
                    for i in app.findall("instance")
                    if app.findtext("name") != "SEED"
                )
                seen.add((root.findtext("apps__hashcode") or "", str(ids)))

    assert len(seen) == 1
    assert seen.pop()[0] == "DOWN_3_UP_3_"


async def test_the_shape_of_each_variant(registry: Registry, documents: SpaceDocuments) -> None:
    """Cases 1 and 3, and 2.4 and 2.5 for the compact ones."""
    empty = {
        Variant(Format.JSON): b'{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}',
        Variant(Format.JSON, True): b'{"applications":{"application":[],"versions__delta":"1","apps__hashcode":""}}',
        Variant(Format.XML): b"<applications>\n  <versions__delta>1</versions__delta>\n"
        b"  <apps__hashcode></apps__hashcode>\n</applications>",
        Variant(Format.XML, True): b"<applications><versions__delta>1</versions__delta>"
        b"<apps__hashcode></apps__hashcode></applications>",
    }

    assert {variant: documents.full((variant, False)).body for variant in VARIANTS} == empty


async def test_an_application_of_its_own_is_indented_as_a_root(registry: Registry, documents: SpaceDocuments) -> None:
    await registry.register(instance())

    alone = documents.application("A", (Variant(Format.XML), False))

    assert alone is not None
    head = b"<application>\n  <name>A</name>\n  <instance>\n    <instanceId>i1</instanceId>\n"
    assert alone.body.startswith(head)
    assert alone.body.endswith(b"\n  </instance>\n</application>")


# Delta


async def test_a_delta_lists_each_once_and_as_it_is_now(registry: Registry, documents: SpaceDocuments) -> None:
    """Case 162."""
    key = (await registry.register(instance())).key
    await registry.amend(key, lambda held: rules.overridden(held, Status.DOWN))
    await registry.amend(key, lambda held: rules.overridden(held, Status.OUT_OF_SERVICE))

    assert listed(delta(documents)) == [("A", "i1", "MODIFIED")]
    assert delta(documents)["apps__hashcode"] == "OUT_OF_SERVICE_1_"


async def test_deletions_stand_last_within_an_application(registry: Registry, documents: SpaceDocuments) -> None:
    """Case 163: a client that does not know the application adds all it sees and removes only what it sees after."""
    await registry.register(instance("A", "a"))
    await registry.cancel(instance("A", "a").key)
    await registry.register(instance("A", "b"))

    assert listed(delta(documents)) == [("A", "b", "ADDED"), ("A", "a", "DELETED")]


async def test_who_comes_back_is_no_longer_told_as_gone(registry: Registry, documents: SpaceDocuments) -> None:
    """Case 145."""
    await registry.register(instance())
    await registry.cancel(instance().key)
    await registry.register(instance())

    assert listed(delta(documents)) == [("A", "i1", "ADDED")]


async def test_a_deletion_says_when(registry: Registry, documents: SpaceDocuments, clock: ManualClock) -> None:
    """Case 144."""
    await registry.register(instance())
    clock.advance(5)
    await registry.cancel(instance().key)

    (application,) = [found for found in delta(documents)["application"] if found["name"] == "A"]
    (gone,) = application["instance"]
    assert (gone["status"], gone["leaseInfo"]["evictionTimestamp"]) == ("UP", clock.now_ms())
    assert delta(documents)["apps__hashcode"] == ""


async def test_a_change_is_told_for_the_whole_window(
    registry: Registry, documents: SpaceDocuments, clock: ManualClock
) -> None:
    """Case 160: at least 180 s. What is forgotten changes neither hash nor list."""
    await registry.register(instance())
    clock.advance(180)
    assert listed(delta(documents)) == [("A", "i1", "ADDED")]

    clock.advance(1)

    assert listed(delta(documents)) == []
    assert delta(documents)["apps__hashcode"] == "UP_1_"


async def test_changing_again_prolongs_nobody_elses_stay(
    registry: Registry, documents: SpaceDocuments, clock: ManualClock
) -> None:
    await registry.register(instance("A", "first"))
    clock.advance(100)
    await registry.register(instance("A", "second"))
    clock.advance(70)
    await registry.register(instance("A", "first", hostName="moved"))
    clock.advance(111)

    assert listed(delta(documents)) == [("A", "first", "ADDED")]


async def test_the_window_forgets_also_when_nobody_reads_it(
    registry: Registry, documents: SpaceDocuments, clock: ManualClock
) -> None:
    """Instances come and go under new ids all the time; a registry that is read over the other protocol keeps none."""
    for number in range(10):
        await registry.register(instance("A", f"i{number}"))
        await registry.cancel(instance("A", f"i{number}").key)
        clock.advance(181)

    assert len(documents._window) == 1


async def test_the_version_grows_with_each_change(registry: Registry, documents: SpaceDocuments) -> None:
    """Case 161: py_eureka_client skips a delta whose version and hash it has seen."""
    versions = []
    for number in range(3):
        await registry.register(instance(hostName=f"h{number}"))
        versions.append(int(delta(documents)["versions__delta"]))
    registry.renew(instance().key)

    assert versions == sorted(set(versions))
    assert versions[0] > 1
    assert int(delta(documents)["versions__delta"]) == versions[-1]
    assert full(documents)["versions__delta"] == "1"


class DeltaClient:
    """Reads as Netflix's DiscoveryClient does: one full document, then deltas, comparing hashes."""

    def __init__(self, documents: SpaceDocuments) -> None:
        self.statuses: dict[tuple[str, str], str] = {}
        self._take(full(documents))

    def poll(self, documents: SpaceDocuments) -> str:
        """The hash that the delta promises, after it was applied."""
        changes = delta(documents)
        self._take(changes)
        return str(changes["apps__hashcode"])

    def _take(self, applications: dict[str, Any]) -> None:
        for application in applications["application"]:
            assert application["instance"], "an application without instances makes a JavaScript client throw"
            for found in application["instance"]:
                key = application["name"], found["instanceId"]
                if found["actionType"] == "DELETED":
                    self.statuses.pop(key, None)
                else:
                    self.statuses[key] = found["status"]

    @property
    def hash(self) -> str:
        return hash_of(list(self.statuses.values()))


operations = st.lists(
    st.tuples(
        st.sampled_from(["register", "register", "cancel", "override", "restore", "elsewhere", "leave", "poll"]),
        st.sampled_from(["A", "B"]),
        st.integers(0, 3),
        st.sampled_from(["UP", "DOWN", "OUT_OF_SERVICE"]),
    ),
    max_size=40,
)


@given(operations)
@settings(max_examples=60, deadline=None)
async def test_a_client_that_reads_deltas_ends_with_the_hash_of_a_full_fetch(
    script: list[tuple[str, str, int, str]],
) -> None:
    """Case 165, with instances of the other protocol that share addresses with ours coming and going."""
    clock = ManualClock()
    registry = Registry(MemoryStore(clock), clock, Policy(self_preservation=False))
    await registry.open()
    every = Documents(registry)
    client = DeltaClient(every.of(Space()))

    for act, app, number, status in script:
        native = instance(app, f"i{number}", hostName=f"10.0.0.{number}", ipAddr=f"10.0.0.{number}", status=status)
        foreign = elsewhere(app, number)
        held = registry.catalogue.instance(native.key)
        if act == "register":
            await registry.register(native)
        elif act == "elsewhere":
            await registry.register(foreign)
        elif act == "leave" and registry.catalogue.instance(foreign.key) is not None:
            await registry.cancel(foreign.key)
        elif act == "cancel" and held is not None:
            await registry.cancel(native.key)
        elif act == "override" and held is not None:
            await registry.amend(native.key, partial(rules.overridden, status=Status(status)))
        elif act == "restore" and held is not None:
            await registry.amend(native.key, lambda it: rules.restored(it, Status.UP))
        elif act == "poll":
            assert client.poll(every.of(Space())) == client.hash

    documents = every.of(Space())
    assert client.poll(documents) == client.hash == full(documents)["apps__hashcode"]
    now = {(name, instance_id) for name, instance_id, _ in listed(full(documents))}
    assert client.statuses.keys() == now
    anew = SpaceDocuments(registry, Space(), 180)
    assert {(name, instance_id) for name, instance_id, _ in listed(full(anew))} == now


def elsewhere(app: str, number: int) -> Instance:
    """Registered in ServiceCenter under the same name, at the address of our instance of that number."""
    born = qualified(service(app.lower(), "default"), f"sc{number}", endpoints=(f"rest://10.0.0.{number}:8080",))
    return replace(born, application=app)


# VIPs


async def test_each_name_of_a_vip_list_finds_the_instance(registry: Registry, documents: SpaceDocuments) -> None:
    """Case 97: exact, without trimming, and gone from all at once."""
    await registry.register(instance(vipAddress="x,y, z"))

    def found(name: str) -> list[tuple[str, str, str]]:
        return listed(read(documents.vip(name, (JSON, False)).body))

    assert [bool(found(name)) for name in ("x", "y", " z", "z", "x,y", "X")] == [True, True, True, False, False, False]
    await registry.cancel(instance().key)
    assert not any(found(name) for name in ("x", "y", " z"))


async def test_one_of_several_leaves_a_vip(registry: Registry, documents: SpaceDocuments) -> None:
    await registry.register(instance("A", "i1"))
    await registry.register(instance("A", "i2"))
    assert len(listed(read(documents.vip("v1", (JSON, False)).body))) == 2

    await registry.cancel(instance("A", "i1").key)

    assert listed(read(documents.vip("v1", (JSON, False)).body)) == [("A", "i2", "ADDED")]


async def test_a_vip_document_has_its_own_version_and_hash(registry: Registry, documents: SpaceDocuments) -> None:
    """Cases 95, 96 and 98."""
    await registry.register(instance("A", "i1"))
    await registry.register(instance("B", "i1", vipAddress="other", secureVipAddress="s1"))

    by_vip = read(documents.vip("v1", (JSON, False)).body)
    assert (by_vip["versions__delta"], by_vip["apps__hashcode"], len(by_vip["application"])) == ("-1", "UP_1_", 1)
    assert listed(read(documents.vip("s1", (JSON, False), is_secure=True).body)) == [("B", "i1", "ADDED")]
    nobody = read(documents.vip("s1", (JSON, False)).body)
    assert nobody == {"versions__delta": "-1", "apps__hashcode": "", "application": []}


# Both protocols


async def test_one_thing_registered_twice_is_shown_as_it_was_born_here(
    registry: Registry, documents: SpaceDocuments
) -> None:
    """N10, in either order, and alive while either lease lives."""
    native = instance("A", "i1", hostName="10.0.0.1", ipAddr="10.0.0.1")
    await registry.register(elsewhere("A", 1))
    assert listed(full(documents)) == [("A", "sc1", "ADDED")]

    await registry.register(native)
    assert listed(full(documents)) == [("A", "i1", "ADDED")]
    assert listed(delta(documents)) == [("A", "i1", "ADDED"), ("A", "sc1", "DELETED")]
    assert full(documents)["apps__hashcode"] == "UP_1_"

    await registry.cancel(native.key)
    assert listed(full(documents)) == [("A", "sc1", "ADDED")]
    assert sorted(listed(delta(documents))) == [("A", "i1", "DELETED"), ("A", "sc1", "ADDED")]


async def test_different_addresses_are_different_things(registry: Registry, documents: SpaceDocuments) -> None:
    await registry.register(instance("A", "i1"))
    await registry.register(elsewhere("A", 2))

    assert sorted(listed(full(documents))) == [("A", "i1", "ADDED"), ("A", "sc2", "ADDED")]


async def test_what_no_http_client_could_call_is_listed_nowhere(registry: Registry, documents: SpaceDocuments) -> None:
    consumer = replace(elsewhere("A", 1), endpoints=())
    await registry.register(consumer)

    assert listed(full(documents)) == listed(delta(documents)) == []
    assert documents.application("A", (JSON, False)) is None


# Spaces and restarts


async def test_fronts_never_meet(registry: Registry) -> None:
    """N5."""
    every = Documents(registry)
    staging = Space("default", "default", "testing")
    await registry.register(instance("A", "i1"))
    await registry.register(instance("A", "i2", space=staging))

    assert listed(full(every.of(Space()))) == [("A", "i1", "ADDED")]
    assert listed(full(every.of(staging))) == [("A", "i2", "ADDED")]


async def test_strangers_reading_empty_spaces_leave_nothing_behind(registry: Registry) -> None:
    every = Documents(registry)
    for number in range(100):
        every.of(Space("default", f"p{number}", "")).full((JSON, False))

    assert len(every._spaces) == 0


async def test_what_was_there_before_is_listed(clock: ManualClock) -> None:
    """After a restart the store tells of it, not the feed; what changed in the window before is told again."""
    store = MemoryStore(clock)
    before = Registry(store, clock)
    await before.open()
    await before.register(instance())
    await before.close()
    registry = Registry(store, clock)
    await registry.open()

    documents = Documents(registry).of(Space())

    assert listed(full(documents)) == [("A", "i1", "ADDED")]
    assert listed(delta(documents)) == [("A", "i1", "ADDED")]
    clock.advance(181)
    assert listed(delta(documents)) == []
    assert delta(documents)["apps__hashcode"] == "UP_1_"
