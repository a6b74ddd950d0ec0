"""The answers that many clients poll, kept ready as bytes: full, delta, by application, by VIP.

In:     the registry's change feed, in the turn in which each change becomes visible.
Out:    Rendered. The first read after a change encodes what the change touched and joins the rest; all later readers
        get those bytes. Nothing is made that nobody asks for, and no read is ever older than the last write.
Rules:  each instance is encoded once per change and variant. One that registered by both protocols is shown once, as it
        was born here (N10). A delta lists each instance once, in its latest state, deletions last.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import takewhile

from msgspec.structs import replace

from facade.eureka import gzipped
from facade.eureka.gzipped import Deflated
from facade.eureka.mapping import addresses, from_instance
from facade.eureka.records import Action, InstanceInfo
from facade.eureka.wire import (
    Frame,
    Variant,
    application_frame,
    application_root,
    encode_instance,
    registry_frame,
    separator,
)
from facade.registry.model import Cause, Change, Instance, InstanceKey, Origin, Space, Status
from facade.registry.registry import Registry
from facade.rendered import Rendered

PIECE = 50
"""Instances that are compressed together: a change costs one piece, 0.3 ms; smaller pieces compress worse."""

FULL_VERSION = 1
VIP_VERSION = -1
"""What the original always writes as the version of these documents."""

_SMALL_DELTA = 200
"""Up to so many entries a delta is worth compressing well; beyond, quickly."""

Asked = tuple[Variant, bool]
"""A variant, and whether gzipped."""
Address = tuple[str, int]


class Documents:
    """The documents of every front: each has its own name space."""

    def __init__(self, registry: Registry, delta_window_s: float = 180.0) -> None:
        self._registry = registry
        self._delta_window_s = delta_window_s
        self._spaces: dict[Space, SpaceDocuments] = {}
        self._followed: object = None

    def of(self, space: Space) -> SpaceDocuments:
        """The documents of one space, made when first asked for; not kept for an empty one, as anybody may ask."""
        self.attend()
        found = self._spaces.get(space)
        if found is None:
            found = SpaceDocuments(self._registry, space, self._delta_window_s)
            if not found.is_empty:
                self._spaces[space] = found
        return found

    def attend(self) -> None:
        """Follow the feed, if not done yet; the registry has a new one each time it is opened."""
        if self._followed is not self._registry.feed:
            self._followed = self._registry.feed
            self._spaces.clear()
            self._registry.feed.follow(self._note)

    def _note(self, change: Change) -> None:
        if isinstance(change.record, Instance):
            space = change.record.service.space
            if space not in self._spaces:
                self._spaces[space] = SpaceDocuments(self._registry, space, self._delta_window_s)
            self._spaces[space].note(change)


class SpaceDocuments:
    """What the readers of one name space are told."""

    def __init__(self, registry: Registry, space: Space, delta_window_s: float) -> None:
        self._catalogue = registry.catalogue
        self._clock = registry.clock
        self._applications: dict[str, _Application] = {}
        self._statuses: Counter[Status] = Counter()
        self._vips: dict[tuple[bool, str], _Vip] = {}
        self._window = _DeltaWindow(delta_window_s)
        self._full: dict[Asked, Rendered] = {}
        self._delta: dict[Asked, Rendered] = {}
        self.version = max(registry.revision, 2)
        """Of the last visible change; a delta must never claim the version of the full document."""
        for name in registry.catalogue.applications(space):
            for instance in registry.catalogue.in_application(space, name):
                self._take(instance, Action.ADDED)

    @property
    def is_empty(self) -> bool:
        return not self._applications and not self._window

    @property
    def hash_code(self) -> str:
        """How many there are of each status. Clients compare it with what they have put together from deltas."""
        return _hash_code(self._statuses)

    # Reading

    def full(self, asked: Asked) -> Rendered:
        return _kept(self._full, asked, lambda: self._render_full(asked))

    def delta(self, asked: Asked) -> Rendered:
        if self._window.trim(self._clock.monotonic_s()):
            self._delta.clear()
        return _kept(self._delta, asked, lambda: self._render_delta(asked))

    def application(self, name: str, asked: Asked) -> Rendered | None:
        """None when nothing is listed under that name."""
        application = self._applications.get(name)
        if application is None:
            return None
        return _kept(application.kept, asked, lambda: self._render_application(application, asked))

    def vip(self, name: str, asked: Asked, *, is_secure: bool = False) -> Rendered:
        """Never a 404: a name that nobody goes by has an empty document."""
        vip = self._vips.get((is_secure, name))
        if vip is None:
            return self._render_entries({}, VIP_VERSION, "", asked)
        return _kept(vip.kept, asked, lambda: self._render_vip(vip, asked))

    def action_of(self, instance: Instance) -> Action:
        """What last happened to an instance that is known here."""
        application = self._applications.get(instance.application)
        entry = application.known.get(instance.key) if application is not None else None
        return entry.info.action if entry is not None else Action.ADDED

    # Rendering

    def _render_full(self, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        frame = registry_frame(variant, FULL_VERSION, self.hash_code)
        if not is_gzipped:
            texts = (application.text(variant) for application in self._applications.values())
            return self._rendered(frame.around(separator(variant).join(texts)), asked)
        pieces = (application.deflated(variant) for application in self._applications.values())
        return self._rendered_gzip(_deflated_within(frame, pieces, variant), asked)

    def _render_application(self, application: _Application, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        root = application_root(variant, application.name)
        if not is_gzipped:
            return self._rendered(root.around(application.content(variant)), asked)
        return self._rendered_gzip(application.deflated_within(root, variant), asked)

    def _render_delta(self, asked: Asked) -> Rendered:
        groups: dict[str, list[_Entry]] = {}
        for is_gone in (False, True):
            for entry in self._window:
                if (entry.info.action is Action.DELETED) is is_gone:
                    groups.setdefault(entry.info.app, []).append(entry)
        return self._render_entries(groups, self.version, self.hash_code, asked)

    def _render_vip(self, vip: _Vip, asked: Asked) -> Rendered:
        groups: dict[str, list[_Entry]] = {}
        for entry in vip.entries.values():
            groups.setdefault(entry.info.app, []).append(entry)
        statuses = Counter(entry.info.status for entry in vip.entries.values())
        return self._render_entries(groups, VIP_VERSION, _hash_code(statuses), asked)

    def _render_entries(self, groups: dict[str, list[_Entry]], version: int, hash_code: str, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        between = separator(variant)
        texts = (
            application_frame(variant, name).around(between.join(entry.fragment(variant) for entry in entries))
            for name, entries in groups.items()
        )
        text = registry_frame(variant, version, hash_code).around(between.join(texts))
        if is_gzipped:
            level = 6 if sum(map(len, groups.values())) <= _SMALL_DELTA else 1
            return self._rendered(gzip.compress(text, level, mtime=0), asked)
        return self._rendered(text, asked)

    def _rendered_gzip(self, text: Deflated, asked: Asked) -> Rendered:
        return self._rendered(gzipped.gzip_member(text), asked)

    def _rendered(self, body: bytes, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        return Rendered(body=body, content_type=variant.format, is_gzipped=is_gzipped, revision=self.version)

    # Following

    def note(self, change: Change) -> None:
        """One visible change of an instance of this space."""
        self.version = max(change.revision, self.version)
        if isinstance(change.after, Instance):
            action = Action.MODIFIED if change.cause is Cause.AMENDED else Action.ADDED
            changed = self._take(change.after, action)
        else:
            assert isinstance(change.before, Instance), "a change has a before or an after"
            changed = self._drop(change.before, change.at_ms)
        now_s = self._clock.monotonic_s()
        for entry in changed:
            self._window.add(entry, now_s)
        self._delta.clear()

    def _take(self, instance: Instance, action: Action) -> list[_Entry]:
        """Show an instance as it is now; returns what a delta has to tell of that."""
        info = from_instance(instance, self._catalogue.lease(instance.key), action)
        if info is None:
            return self._drop(instance, instance.updated_ms)
        application = self._applications.get(instance.application)
        if application is None:
            application = self._applications[instance.application] = _Application(instance.application)
        touched = application.take(_Entry(instance.key, info))
        return self._settle(application, touched, instance.updated_ms)

    def _drop(self, instance: Instance, at_ms: int) -> list[_Entry]:
        application = self._applications.get(instance.application)
        if application is None:
            return []
        changed = self._settle(application, application.drop(instance.key), at_ms)
        if not application.listed:  # then nothing is known either: only a listed instance hides another
            del self._applications[instance.application]
        return changed

    def _settle(self, application: _Application, touched: Iterable[InstanceKey], at_ms: int) -> list[_Entry]:
        """Make the list of an application agree with what is known of it, for the keys touched."""
        changed = []
        for key in touched:
            wanted, shown = application.wanted(key), application.listed.get(key)
            if wanted is shown:
                continue
            self._recount(shown, wanted)
            if wanted is not None:
                application.put(wanted)
                changed.append(wanted)
            elif shown is not None:
                application.remove(key)
                changed.append(shown.ended(at_ms))
        if changed:
            self._full.clear()
        return changed

    def _recount(self, shown: _Entry | None, wanted: _Entry | None) -> None:
        if shown is not None:
            self._statuses[shown.info.status] -= 1
            for address in shown.vips - (wanted.vips if wanted is not None else frozenset()):
                vip = self._vips[address]
                vip.kept.clear()
                del vip.entries[shown.key]
                if not vip.entries:
                    del self._vips[address]
        if wanted is not None:
            self._statuses[wanted.info.status] += 1
            for address in wanted.vips:
                vip = self._vips.setdefault(address, _Vip())
                vip.kept.clear()
                vip.entries[wanted.key] = wanted


class _Entry:
    """An instance as it is shown from one change to the next, and its bytes in each variant asked for."""

    __slots__ = ("_fragments", "addresses", "info", "key", "vips")

    def __init__(self, key: InstanceKey, info: InstanceInfo) -> None:
        self.key = key
        self.info = info
        self.addresses = addresses(info)
        self.vips = frozenset([(False, vip) for vip in info.vips] + [(True, vip) for vip in info.secure_vips])
        self._fragments: dict[Variant, bytes] = {}

    @property
    def is_native(self) -> bool:
        return self.key.origin is Origin.EUREKA

    def fragment(self, variant: Variant) -> bytes:
        found = self._fragments.get(variant)
        if found is None:
            found = self._fragments[variant] = encode_instance(variant, self.info)
        return found

    def ended(self, at_ms: int) -> _Entry:
        """The same, as its readers are told that it is gone."""
        lease = replace(self.info.lease_info, evicted_ms=at_ms)
        return _Entry(self.key, replace(self.info, action=Action.DELETED, last_updated_ms=at_ms, lease_info=lease))


class _Piece:
    """Up to PIECE instances of one application, which are compressed together."""

    __slots__ = ("entries", "kept")

    def __init__(self) -> None:
        self.entries: dict[InstanceKey, _Entry] = {}
        self.kept: dict[Variant, Deflated] = {}

    def text(self, variant: Variant) -> bytes:
        return separator(variant).join(entry.fragment(variant) for entry in self.entries.values())

    def deflated(self, variant: Variant) -> Deflated:
        found = self.kept.get(variant)
        if found is None:
            found = self.kept[variant] = gzipped.deflate(self.text(variant))
        return found


class _Application:
    """All of one name: what is known by either protocol, and what of it is listed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[InstanceKey, _Entry] = {}
        self.listed: dict[InstanceKey, _Entry] = {}
        self.kept: dict[Asked, Rendered] = {}
        self._native_addresses: Counter[Address] = Counter()
        self._projected: dict[InstanceKey, None] = {}
        self._pieces: list[_Piece] = []
        self._piece_of: dict[InstanceKey, _Piece] = {}
        self._deflated: dict[Variant, Deflated] = {}

    def take(self, entry: _Entry) -> list[InstanceKey]:
        """Know of an instance; returns the keys that may be listed differently now."""
        before = self.known.get(entry.key)
        self.known[entry.key] = entry
        return self._touched(entry.key, before, entry)

    def drop(self, key: InstanceKey) -> list[InstanceKey]:
        return self._touched(key, self.known.pop(key, None), None)

    def _touched(self, key: InstanceKey, before: _Entry | None, after: _Entry | None) -> list[InstanceKey]:
        if key.origin is not Origin.EUREKA:
            if after is not None:
                self._projected[key] = None
            else:
                self._projected.pop(key, None)
            return [key]
        self._native_addresses.update(after.addresses if after is not None else ())
        for address in before.addresses if before is not None else ():
            self._native_addresses[address] -= 1
            if not self._native_addresses[address]:
                del self._native_addresses[address]
        return [key, *self._projected]

    def wanted(self, key: InstanceKey) -> _Entry | None:
        """What is to be listed under a key: nothing where an instance that was born here has the same address."""
        entry = self.known.get(key)
        if entry is None or entry.is_native or not any(self._native_addresses[address] for address in entry.addresses):
            return entry
        return None

    def put(self, entry: _Entry) -> None:
        piece = self._piece_of.get(entry.key)
        if piece is None:
            piece = self._piece_of[entry.key] = self._piece_with_room()
        piece.entries[entry.key] = self.listed[entry.key] = entry
        self._outdate(piece)

    def remove(self, key: InstanceKey) -> None:
        piece = self._piece_of.pop(key)
        del piece.entries[key], self.listed[key]
        if not piece.entries:
            self._pieces.remove(piece)
        self._outdate(piece)

    def _piece_with_room(self) -> _Piece:
        for piece in self._pieces:
            if len(piece.entries) < PIECE:
                return piece
        self._pieces.append(_Piece())
        return self._pieces[-1]

    def _outdate(self, piece: _Piece) -> None:
        piece.kept.clear()
        self._deflated.clear()
        self.kept.clear()

    def content(self, variant: Variant) -> bytes:
        return separator(variant).join(piece.text(variant) for piece in self._pieces)

    def text(self, variant: Variant) -> bytes:
        return application_frame(variant, self.name).around(self.content(variant))

    def deflated(self, variant: Variant) -> Deflated:
        """The same, compressed, as it stands inside a registry document."""
        found = self._deflated.get(variant)
        if found is None:
            frame = application_frame(variant, self.name)
            found = self._deflated[variant] = self.deflated_within(frame, variant)
        return found

    def deflated_within(self, frame: Frame, variant: Variant) -> Deflated:
        return _deflated_within(frame, (piece.deflated(variant) for piece in self._pieces), variant)


class _Vip:
    """The instances that go by one VIP."""

    __slots__ = ("entries", "kept")

    def __init__(self) -> None:
        self.entries: dict[InstanceKey, _Entry] = {}
        self.kept: dict[Asked, Rendered] = {}


class _DeltaWindow:
    """Instances changed of late, each once and as it is now, the latest last; so never larger than the registry."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._changed: dict[InstanceKey, tuple[float, _Entry]] = {}

    def __len__(self) -> int:
        return len(self._changed)

    def __iter__(self) -> Iterator[_Entry]:
        return (entry for _, entry in self._changed.values())

    def add(self, entry: _Entry, at_s: float) -> None:
        self._changed.pop(entry.key, None)  # inserting anew moves it to the end
        self._changed[entry.key] = (at_s, entry)

    def trim(self, now_s: float) -> bool:
        """Forget what has been told for long enough; whether there was any such thing."""
        over = list(takewhile(lambda key: self._changed[key][0] + self._length_s < now_s, self._changed))
        for key in over:
            del self._changed[key]
        return bool(over)


def _kept(kept: dict[Asked, Rendered], asked: Asked, render: Callable[[], Rendered]) -> Rendered:
    found = kept.get(asked)
    if found is None:
        found = kept[asked] = render()
    return found


def _hash_code(statuses: Counter[Status]) -> str:
    return "".join(f"{status}_{statuses[status]}_" for status in sorted(statuses) if statuses[status] > 0)


def _deflated_within(frame: Frame, pieces: Iterable[Deflated], variant: Variant) -> Deflated:
    """The bytes of the plain form, from pieces compressed before."""
    between = _deflated_constant(separator(variant))
    parts = [_deflated_constant(frame.head)]
    for piece in pieces:
        if len(parts) > 1 and between.length:
            parts.append(between)
        parts.append(piece)
    return gzipped.join([*parts, _deflated_constant(frame.tail)])


_deflated_constant = lru_cache(maxsize=1_000)(gzipped.deflate)
