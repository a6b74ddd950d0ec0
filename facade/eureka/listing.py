"""What is listed under each name, and its bytes: one instance is encoded, one piece of fifty compressed, per change.

Applications are kept apart from the documents because they are what documents share: the registry, an application and a
VIP all show the same entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from msgspec.structs import replace

from facade.eureka import gzipped
from facade.eureka.gzipped import Deflated
from facade.eureka.mapping import addresses
from facade.eureka.records import Action, InstanceInfo
from facade.eureka.wire import Frame, Variant, application_frame, encode_instance, separator
from facade.registry.model import InstanceKey, Origin
from facade.rendered import Rendered

PIECE = 50
"""Instances that are compressed together: a change costs one piece, 0.3 ms; smaller pieces compress worse."""

Asked = tuple[Variant, bool]
"""A variant, and whether gzipped."""
Address = tuple[str, int]
Name = tuple[str, str]
"""Application and id: all by which a reader knows an instance."""
BARE = Frame(b"", b"")


class Entry:
    """An instance as it is shown from one change to the next, and its bytes in each variant asked for."""

    __slots__ = ("_fragments", "info", "key", "name", "vips")

    def __init__(self, key: InstanceKey, info: InstanceInfo) -> None:
        self.key = key
        self.info = info
        self.name = info.app, key.instance_id
        self.vips = _vips(info.vip_address, info.secure_vip_address)
        self._fragments: dict[Variant, bytes] = {}

    @property
    def is_native(self) -> bool:
        return self.key.origin is Origin.EUREKA

    @property
    def is_gone(self) -> bool:
        return self.info.action is Action.DELETED

    def fragment(self, variant: Variant) -> bytes:
        found = self._fragments.get(variant)
        if found is None:
            found = self._fragments[variant] = encode_instance(variant, self.info)
        return found

    def has_fragment(self, variant: Variant) -> bool:
        return variant in self._fragments

    def ended(self, at_ms: int) -> Entry:
        """The same, as its readers are told that it is gone."""
        lease = replace(self.info.lease_info, evicted_ms=at_ms)
        return Entry(self.key, replace(self.info, action=Action.DELETED, last_updated_ms=at_ms, lease_info=lease))


@lru_cache(maxsize=10_000)  # those of one application have the same: they are split, and kept, once
def _vips(plain: str | None, secure: str | None) -> frozenset[tuple[bool, str]]:
    """Whether secure, and the name."""
    all_ = ((False, plain), (True, secure))
    return frozenset((is_secure, vip) for is_secure, vips in all_ if vips for vip in vips.split(","))


class Group:
    """Entries that are compressed together: a piece of an application, or what a delta tells of one.

    Compressed they begin with the separator, unless they come first: so groups are joined without anything between.
    """

    __slots__ = ("_deflated", "entries")

    def __init__(self) -> None:
        self.entries: dict[Name, Entry] = {}
        self._deflated: dict[tuple[Variant, bool], Deflated] = {}

    def put(self, entry: Entry) -> None:
        self.entries.pop(entry.name, None)  # the latest stands last
        self.entries[entry.name] = entry
        self._deflated.clear()

    def remove(self, name: Name) -> None:
        del self.entries[name]
        self._deflated.clear()

    def text(self, variant: Variant) -> bytes:
        """Those that are gone stand last: a client that did not know the application would add them otherwise."""
        gone = [entry for entry in self.entries.values() if entry.is_gone]
        live = [entry for entry in self.entries.values() if not entry.is_gone] if gone else self.entries.values()
        return separator(variant).join(entry.fragment(variant) for entry in (*live, *gone))

    def is_deflated(self, variant: Variant, *, is_first: bool) -> bool:
        return (variant, is_first) in self._deflated

    def deflated(self, variant: Variant, frame: Frame, *, is_first: bool) -> Deflated:
        found = self._deflated.get((variant, is_first))
        if found is None:
            between = b"" if is_first else separator(variant)
            text = frame.around(self.text(variant))
            found = self._deflated[variant, is_first] = gzipped.deflate(between + text)
        return found


class Application:
    """All of one name: what is known by either protocol, and what of it is listed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[InstanceKey, Entry] = {}
        self.listed: dict[InstanceKey, Entry] = {}
        self.kept: dict[Asked, Rendered] = {}
        self._native_addresses: Counter[Address] | None = None
        """None until one has come by the other protocol, which most applications never see."""
        self._projected: dict[InstanceKey, None] = {}
        self._namesakes: dict[str, dict[InstanceKey, None]] = {}
        """Those of them by their id, the first one first: ids of ServiceCenter's are unique within a service only."""
        self._pieces: list[Group] = []
        self._has_gaps = False
        self._piece_of: dict[InstanceKey, Group] = {}
        self._deflated: dict[tuple[Variant, bool], Deflated] = {}

    def take(self, entry: Entry) -> list[InstanceKey]:
        """Know of an instance; returns the keys that may be listed differently now."""
        before = self.known.get(entry.key)
        self.known[entry.key] = entry
        return self._touched(entry.key, before, entry)

    def drop(self, key: InstanceKey) -> list[InstanceKey]:
        return self._touched(key, self.known.pop(key, None), None)

    def _touched(self, key: InstanceKey, before: Entry | None, after: Entry | None) -> list[InstanceKey]:
        if key.origin is not Origin.EUREKA:
            namesakes = self._namesakes.setdefault(key.instance_id, {})
            if after is not None:
                self._projected[key] = namesakes[key] = None
            else:
                self._projected.pop(key, None)
                namesakes.pop(key, None)
            if not namesakes:
                del self._namesakes[key.instance_id]
            return list({key: None, **namesakes})
        if self._native_addresses is not None:
            self._native_addresses.update(addresses(after.info) if after is not None else ())
            for address in addresses(before.info) if before is not None else ():
                self._native_addresses[address] -= 1
                if not self._native_addresses[address]:
                    del self._native_addresses[address]
        return [key, *self._projected]

    def wanted(self, key: InstanceKey) -> Entry | None:
        """What is to be listed under a key: nothing where an instance that was born here has the same address or id."""
        entry = self.known.get(key)
        if entry is None or entry.is_native:
            return entry
        if self._native_addresses is None:
            native_infos = [one.info for one in self.known.values() if one.is_native]
            self._native_addresses = Counter(address for info in native_infos for address in addresses(info))
        if any(self._native_addresses[address] for address in addresses(entry.info)):
            return None
        native = InstanceKey(Origin.EUREKA, key.space, self.name, key.instance_id)
        return entry if native not in self.known and next(iter(self._namesakes[key.instance_id])) == key else None

    def put(self, entry: Entry) -> None:
        piece = self._piece_of.get(entry.key)
        if piece is None:
            piece = self._piece_of[entry.key] = self._piece_with_room()
        piece.put(entry)
        self.listed[entry.key] = entry
        self._outdate()

    def remove(self, key: InstanceKey) -> None:
        piece = self._piece_of.pop(key)
        piece.remove(self.listed.pop(key).name)
        if not piece.entries:
            self._pieces.remove(piece)
        self._has_gaps = True
        self._outdate()

    def _piece_with_room(self) -> Group:
        """Only who has left makes room before the end: a start does not look through all pieces for each instance."""
        for piece in self._pieces if self._has_gaps else self._pieces[-1:]:
            if len(piece.entries) < PIECE:
                return piece
        self._has_gaps = False
        self._pieces.append(Group())
        return self._pieces[-1]

    def _outdate(self) -> None:
        self._deflated.clear()
        self.kept.clear()

    def content(self, variant: Variant) -> bytes:
        return separator(variant).join(piece.text(variant) for piece in self._pieces)

    def text(self, variant: Variant) -> bytes:
        return application_frame(variant, self.name).around(self.content(variant))

    def make_missing(self, asked: Asked) -> Iterator[None]:
        """Make the pieces that are missing, a part of one with each step."""
        variant, is_gzipped = asked
        for at, piece in enumerate(tuple(self._pieces)):
            yield from encode_missing(piece.entries.values(), variant)
            if is_gzipped and not piece.is_deflated(variant, is_first=at == 0):
                piece.deflated(variant, BARE, is_first=at == 0)
                yield

    def is_deflated(self, variant: Variant, *, is_first: bool) -> bool:
        return (variant, is_first) in self._deflated

    def deflated(self, variant: Variant, *, is_first: bool) -> Deflated:
        """The same, compressed, as it stands inside a registry document."""
        found = self._deflated.get((variant, is_first))
        if found is None:
            frame = application_frame(variant, self.name)
            if not is_first:
                frame = Frame(separator(variant) + frame.head, frame.tail)
            found = self._deflated[variant, is_first] = gzipped.join(self.within(frame, variant))
        return found

    def within(self, frame: Frame, variant: Variant) -> list[Deflated]:
        return within(frame, [piece.deflated(variant, BARE, is_first=at == 0) for at, piece in enumerate(self._pieces)])


def encode_missing(entries: Iterable[Entry], variant: Variant) -> Iterator[None]:
    """Encode what is not encoded yet, as many as make a piece with each step."""
    missing = [entry for entry in entries if not entry.has_fragment(variant)]
    for start in range(0, len(missing), PIECE):
        for entry in missing[start : start + PIECE]:
            entry.fragment(variant)
        yield


class Vip:
    """The instances that go by one VIP."""

    __slots__ = ("entries", "kept")

    def __init__(self) -> None:
        self.entries: dict[InstanceKey, Entry] = {}
        self.kept: dict[Asked, Rendered] = {}


def within(frame: Frame, groups: Iterable[Deflated]) -> list[Deflated]:
    """The bytes of the plain form, from groups compressed before."""
    return [_deflated_constant(frame.head), *groups, _deflated_constant(frame.tail)]


_deflated_constant = lru_cache(maxsize=1_000)(gzipped.deflate)
