"""The answers that many clients poll, kept ready as bytes: full, delta, by application, by VIP.

In:     the registry's change feed, in the turn in which each change becomes visible.
Out:    Rendered. The first read after a change encodes what the change touched and joins the rest; all later readers
        get those bytes. Nothing is made that nobody asks for, and no read is ever older than the last write.
Rules:  each instance is encoded once per change and variant. One that registered by both protocols is shown once, as it
        was born here (N10). A delta lists each instance once, in its latest state, deletions last.
"""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile

from facade.eureka import gzipped
from facade.eureka.gzipped import Deflated, Sums
from facade.eureka.listing import Application, Asked, Entry, Group, Name, Vip, encode_missing, within
from facade.eureka.mapping import from_instance, is_visible
from facade.eureka.records import Action
from facade.eureka.wire import Variant, application_frame, application_root, registry_frame, separator
from facade.registry.model import Cause, Change, Instance, InstanceKey, Space, Status
from facade.registry.registry import Registry
from facade.rendered import Rendered

FULL_VERSION = 1
VIP_VERSION = -1
"""What the original always writes as the version of these documents."""

PARTS_AT_ONCE = 5
"""Pieces that are encoded or compressed in one turn of the event loop; one of fifty instances takes 0.3 ms."""

_SMALL_DELTA = 200
"""Up to so many entries a delta is compressed in one go, 1 ms; beyond, by application, and only where it changed."""

_QUICK_LEVEL = 3
"""For what is compressed whole after each change: less than half the time of level 6, a tenth more bytes."""


class Unfinished(Exception):
    """More of a document is missing than may be made at once. What was made is kept: ask again, after others."""


class Documents:
    """The documents of every front, over an open registry: each front has its own name space."""

    def __init__(self, registry: Registry, delta_window_s: float = 180.0) -> None:
        self._registry = registry
        self._delta_window_s = delta_window_s
        self._spaces = {  # now, and not with the first change, which others would have to wait for
            space: SpaceDocuments(registry, space, delta_window_s) for space in registry.catalogue.spaces()
        }
        registry.feed.follow(self._note)

    def of(self, space: Space) -> SpaceDocuments:
        """The documents of one space, made when first asked for; not kept for an empty one, as anybody may ask."""
        found = self._spaces.get(space)
        if found is None:
            found = SpaceDocuments(self._registry, space, self._delta_window_s)
            if not found.is_empty:
                self._spaces[space] = found
        return found

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
        self._policy = registry.policy
        self._applications: dict[str, Application] = {}
        self._statuses: Counter[Status] = Counter()
        self._vips: dict[tuple[bool, str], Vip] = {}
        self._window = _DeltaWindow(delta_window_s)
        self._full_sums: defaultdict[Variant, Sums] = defaultdict(Sums)
        self._delta_sums: defaultdict[Variant, Sums] = defaultdict(Sums)
        self._full: dict[Asked, Rendered] = {}
        self._delta: dict[Asked, Rendered] = {}
        self.version = max(registry.revision, 2)
        """Of the last visible change; a delta must never claim the version of the full document."""
        for name in registry.catalogue.applications(space):
            for instance in registry.catalogue.in_application(space, name):
                self._take(instance, Action.ADDED)
        self._tell_again()

    @property
    def is_empty(self) -> bool:
        return not self._applications and not self._window

    @property
    def hash_code(self) -> str:
        """How many there are of each status. Clients compare it with what they have put together from deltas."""
        return _hash_code(self._statuses)

    # Reading. Where `parts` are given and more have to be made, each raises Unfinished.

    def full(self, asked: Asked, parts: int | None = None) -> Rendered:
        found = self._full.get(asked)
        if found is None:
            _make(self._missing_of_full(asked), parts)
            found = self._full[asked] = self._render_full(asked)
        return found

    def delta(self, asked: Asked, parts: int | None = None) -> Rendered:
        if self._window.trim(self._clock.monotonic_s()):
            self._delta.clear()
        found = self._delta.get(asked)
        if found is None:
            _make(self._missing_of_delta(asked), parts)
            found = self._delta[asked] = self._render_delta(asked)
        return found

    def application(self, name: str, asked: Asked, parts: int | None = None) -> Rendered | None:
        """None when nothing is listed under that name."""
        application = self._applications.get(name)
        if application is None:
            return None
        found = application.kept.get(asked)
        if found is None:
            _make(application.make_missing((asked[0].one_up, asked[1])), parts)
            found = application.kept[asked] = self._render_application(application, asked)
        return found

    def vip(self, name: str, asked: Asked, parts: int | None = None, *, is_secure: bool = False) -> Rendered:
        """Never a 404: a name that nobody goes by has an empty document."""
        vip = self._vips.get((is_secure, name))
        if vip is None:
            return self._render_groups({}, VIP_VERSION, "", asked)
        found = vip.kept.get(asked)
        if found is None:
            _make(encode_missing(vip.entries.values(), asked[0]), parts)
            found = vip.kept[asked] = self._render_vip(vip, asked)
        return found

    def action_of(self, instance: Instance) -> Action:
        """What last happened to an instance that is known here."""
        application = self._applications.get(instance.application)
        entry = application.known.get(instance.key) if application is not None else None
        return entry.info.action if entry is not None else Action.ADDED

    # Rendering

    def _missing_of_full(self, asked: Asked) -> Iterator[None]:
        variant, is_gzipped = asked
        for at, application in enumerate(tuple(self._applications.values())):
            if is_gzipped and application.is_deflated(variant, is_first=at == 0):
                continue
            yield from application.make_missing(asked)
            if is_gzipped:
                application.deflated(variant, is_first=at == 0)

    def _missing_of_delta(self, asked: Asked) -> Iterator[None]:
        variant, is_gzipped = asked
        is_joined = is_gzipped and len(self._window) > _SMALL_DELTA
        for at, (name, group) in enumerate(tuple(self._window.groups.items())):
            if is_joined and group.is_deflated(variant, is_first=at == 0):
                continue
            yield from encode_missing(group.entries.values(), variant)
            if is_joined:
                group.deflated(variant, application_frame(variant, name), is_first=at == 0)
                yield

    def _render_full(self, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        frame = registry_frame(variant, FULL_VERSION, self.hash_code)
        if not is_gzipped:
            texts = (application.text(variant) for application in self._applications.values())
            return self._rendered(frame.around(separator(variant).join(texts)), asked)
        groups = [
            application.deflated(variant, is_first=at == 0)
            for at, application in enumerate(self._applications.values())
        ]
        return self._rendered_gzip(within(frame, groups), self._full_sums[variant], asked)

    def _render_application(self, application: Application, asked: Asked) -> Rendered:
        variant, is_gzipped = asked[0].one_up, asked[1]
        root = application_root(variant, application.name)
        if not is_gzipped:
            return self._rendered(root.around(application.content(variant)), asked)
        return self._rendered_gzip(application.within(root, variant), Sums(), asked)

    def _render_delta(self, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        if not is_gzipped or len(self._window) <= _SMALL_DELTA:
            return self._render_groups(self._window.groups, self.version, self.hash_code, asked)
        groups = [
            group.deflated(variant, application_frame(variant, name), is_first=at == 0)
            for at, (name, group) in enumerate(self._window.groups.items())
        ]
        frame = registry_frame(variant, self.version, self.hash_code)
        return self._rendered_gzip(within(frame, groups), self._delta_sums[variant], asked)

    def _render_vip(self, vip: Vip, asked: Asked) -> Rendered:
        groups: dict[str, Group] = {}
        for entry in vip.entries.values():
            groups.setdefault(entry.info.app, Group()).put(entry)
        statuses = Counter(entry.info.status for entry in vip.entries.values())
        return self._render_groups(groups, VIP_VERSION, _hash_code(statuses), asked)

    def _render_groups(self, groups: Mapping[str, Group], version: int, hash_code: str, asked: Asked) -> Rendered:
        variant, is_gzipped = asked
        texts = (application_frame(variant, name).around(group.text(variant)) for name, group in groups.items())
        text = registry_frame(variant, version, hash_code).around(separator(variant).join(texts))
        return self._rendered(gzip.compress(text, _QUICK_LEVEL, mtime=0) if is_gzipped else text, asked)

    def _rendered_gzip(self, pieces: Sequence[Deflated], sums: Sums, asked: Asked) -> Rendered:
        whole = sums.whole([piece.sum for piece in pieces])
        return self._rendered(gzipped.gzip_member(pieces, whole), asked)

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
        self._window.trim(now_s)  # here too, for there may be nobody who reads deltas
        for entry in changed:
            self._window.add(entry, now_s)
        self._delta.clear()

    def _tell_again(self) -> None:
        """What changed shortly before a restart: who read before that has not heard of it.

        Who went meanwhile is not known any more, but all who came are in the delta, so the hash tells of those gone.
        """
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        listed = (entry for application in self._applications.values() for entry in application.listed.values())
        aged = ((max(now_ms - entry.info.last_updated_ms, 0) / 1000, entry) for entry in listed)
        recent = [(age_s, entry) for age_s, entry in aged if age_s <= self._window.length_s]
        for age_s, entry in sorted(recent, key=lambda each: -each[0]):  # the latest stands last
            self._window.add(entry, now_s - age_s)

    def _take(self, instance: Instance, action: Action) -> list[Entry]:
        """Show an instance as it is now; returns what a delta has to tell of that."""
        info = from_instance(instance, self._catalogue.lease(instance.key), action)
        if info is None or not is_visible(instance, self._policy):
            return self._drop(instance, instance.updated_ms)
        application = self._applications.get(instance.application)
        if application is None:
            application = self._applications[instance.application] = Application(instance.application)
        touched = application.take(Entry(instance.key, info))
        return self._settle(application, touched, instance.updated_ms)

    def _drop(self, instance: Instance, at_ms: int) -> list[Entry]:
        application = self._applications.get(instance.application)
        if application is None:
            return []
        changed = self._settle(application, application.drop(instance.key), at_ms)
        if not application.listed:  # then nothing is known either: only a listed instance hides another
            del self._applications[instance.application]
        return changed

    def _settle(self, application: Application, touched: Iterable[InstanceKey], at_ms: int) -> list[Entry]:
        """Make the list of an application agree with what is known of it, for the keys touched.

        Who goes, goes first: another may come by the same id.
        """
        changed = []
        settled = [(key, application.wanted(key), application.listed.get(key)) for key in touched]
        if len(settled) > 1:
            settled.sort(key=lambda each: each[1] is not None)
        for key, wanted, shown in settled:
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

    def _recount(self, shown: Entry | None, wanted: Entry | None) -> None:
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
                if address not in self._vips:
                    self._vips[address] = Vip()
                vip = self._vips[address]
                vip.kept.clear()
                vip.entries[wanted.key] = wanted


class _DeltaWindow:
    """Instances changed of late, each once and as it is now, the latest last; so never larger than the registry."""

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self._changed: dict[Name, float] = {}
        self.groups: dict[str, Group] = {}
        """The same by application."""

    def __len__(self) -> int:
        return len(self._changed)

    def add(self, entry: Entry, at_s: float) -> None:
        self._changed.pop(entry.name, None)  # inserting anew moves it to the end
        self._changed[entry.name] = at_s
        self.groups.setdefault(entry.info.app, Group()).put(entry)

    def trim(self, now_s: float) -> bool:
        """Forget what has been told for long enough; whether there was any such thing."""
        if not self._changed:
            return False
        over = list(takewhile(lambda name: self._changed[name] + self.length_s < now_s, self._changed))
        for name in over:
            del self._changed[name]
            application, _ = name
            self.groups[application].remove(name)
            if not self.groups[application].entries:
                del self.groups[application]
        return bool(over)


def _make(missing: Iterator[None], parts: int | None) -> None:
    """Raises Unfinished. Where no parts are allowed nothing at all is made, so the answer has to be there already."""
    if parts == 0 or sum(1 for _ in islice(missing, parts)) == parts:
        raise Unfinished


def _hash_code(statuses: Counter[Status]) -> str:
    return "".join(f"{status}_{statuses[status]}_" for status in sorted(statuses) if statuses[status] > 0)
