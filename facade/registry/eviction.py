"""The sweep for lapsed leases: who goes, who is kept because the network is in doubt, and why, in plain words."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import NamedTuple

from facade.registry import rules
from facade.registry.leases import Lease, LeaseClock, RenewalRate, Wheel
from facade.registry.model import Instance, InstanceKey, Origin
from facade.registry.rules import Policy, Renewals


class Protection(NamedTuple):
    """Self-preservation of one protocol, as shown to people."""

    is_on: bool
    held_back: int
    """Leases that have lapsed and are listed all the same."""
    expected_a_minute: float
    threshold: int
    renewals_last_minute: int
    ends_in_s: float | None
    """When the survivors become the new normal; None while protection is off."""
    text: str


class Eviction:
    """Watches every lease and says which ones end. One guard for each protocol judges those that have lapsed."""

    def __init__(
        self,
        policy: Policy,
        clock: LeaseClock,
        *,
        keeps_lease: Callable[[InstanceKey], bool],
        renewals_elsewhere: Callable[[Origin], int] = lambda _: 0,
    ) -> None:
        """`keeps_lease` tells which leases the store keeps, `renewals_elsewhere` what other nodes of it have heard in
        the last minute."""
        self._policy = policy
        self._clock = clock
        self._keeps_lease = keeps_lease
        now_s = clock.now_s()
        self._wheel = Wheel(now_s)
        self._guards = {origin: _Guard(policy, now_s, partial(renewals_elsewhere, origin)) for origin in Origin}

    def watch(self, lease: Lease) -> None:
        """A lease has begun."""
        if not self._keeps_lease(lease.instance.key):
            self._wheel.add(lease)
        self._guards[lease.instance.key.origin].count(lease.instance, 1)

    def begin_anew(self) -> None:
        """Which leases the store keeps has changed: each of them is to be watched again."""
        self._wheel = Wheel(self._clock.now_s())
        for guard in self._guards.values():
            guard.lapsed = {}

    def watch_again(self, lease: Lease) -> None:
        if not self._keeps_lease(lease.instance.key):
            self._wheel.add(lease)

    def forget(self, lease: Lease) -> None:
        """A lease has ended."""
        lease.ended = True
        self._guards[lease.instance.key.origin].count(lease.instance, -1)

    def recount(self, before: Instance, after: Instance) -> None:
        """The instance of a lease has changed, and with it, perhaps, how often it promises to renew."""
        guard = self._guards[after.key.origin]
        guard.count(before, -1)
        guard.count(after, 1)

    def note_renewal(self, origin: Origin, now_s: float) -> None:
        self._guards[origin].renewals.note(now_s)

    def sweep(self) -> list[Lease]:
        """The leases that end now. The rest of the lapsed is held back and judged again by the next sweep."""
        self._clock.note_sweep(self._policy.eviction_interval_s)
        now_s = self._clock.now_s()
        for lease in list(self._wheel.lapsed(now_s)):
            self._guards[lease.instance.key.origin].lapsed[lease] = None
        ending: list[Lease] = []
        for guard in self._guards.values():
            for lease in guard.recovered(now_s):
                self._wheel.add(lease)
            ending += guard.ending(now_s)
        return ending

    def sweep_of_store(self, lapsed: Collection[Lease]) -> list[Lease]:
        """The same of leases that the store keeps: `lapsed` are all whose time has come by its own clock."""
        self._clock.note_sweep(self._policy.eviction_interval_s)
        now_s = self._clock.now_s()
        ending: list[Lease] = []
        for origin, guard in self._guards.items():
            guard.lapsed = {lease: None for lease in lapsed if lease.instance.key.origin is origin}
            ending += guard.ending(now_s)
        return ending

    def protection(self, origin: Origin) -> Protection:
        return self._guards[origin].protection(self._clock.now_s())


class _Guard:
    """Judges the lapsed leases of one protocol."""

    def __init__(self, policy: Policy, now_s: float, renewals_elsewhere: Callable[[], int]) -> None:
        self._policy = policy
        self._renewals_elsewhere = renewals_elsewhere
        self._leases = 0
        self._expected_a_minute = 0.0
        self._on_since_s: float | None = None
        self.renewals = RenewalRate(now_s)
        self.lapsed: dict[Lease, None] = {}

    def count(self, instance: Instance, sign: int) -> None:
        self._leases += sign
        self._expected_a_minute += sign * 60_000 / max(instance.lease.interval_ms, 1_000)

    def recovered(self, now_s: float) -> list[Lease]:
        """Held back, and renewed since."""
        renewed = [lease for lease in self.lapsed if not lease.ended and lease.deadline_s > now_s]
        self.lapsed = {lease: None for lease in self.lapsed if not lease.ended and lease.deadline_s <= now_s}
        return renewed

    def ending(self, now_s: float) -> Iterable[Lease]:
        if not self.lapsed or not rules.is_endangered(self._figures(now_s), self._policy):
            self._on_since_s = None
        elif self._on_since_s is None:
            self._on_since_s = now_s
        if self._is_on(now_s):
            return ()
        cap = rules.eviction_cap(self._leases)
        return random.sample(list(self.lapsed), min(cap, len(self.lapsed)))

    def protection(self, now_s: float) -> Protection:
        figures = self._figures(now_s)
        is_on = self._is_on(now_s)
        ends_in_s = self._policy.protection_limit_s - (now_s - (self._on_since_s or now_s)) if is_on else None
        threshold = rules.renewal_threshold(figures, self._policy)
        return Protection(
            is_on=is_on,
            held_back=len(self.lapsed) if is_on else 0,
            expected_a_minute=figures.expected_a_minute,
            threshold=threshold,
            renewals_last_minute=figures.last_minute,
            ends_in_s=ends_in_s,
            text=self._text(figures, threshold, ends_in_s),
        )

    def _figures(self, now_s: float) -> Renewals:
        last_minute = self.renewals.last_minute(now_s) + self._renewals_elsewhere()
        return Renewals(self._leases, self._expected_a_minute, last_minute)

    def _is_on(self, now_s: float) -> bool:
        """Protection ends by itself: who has not come back by then is gone, and the survivors are the new normal."""
        return self._on_since_s is not None and now_s - self._on_since_s < self._policy.protection_limit_s

    def _text(self, figures: Renewals, threshold: int, ends_in_s: float | None) -> str:
        if not self._policy.self_preservation:
            return "Self-preservation is switched off: every lapsed lease ends."
        last_minute = f"{figures.last_minute} renewals in the last minute"
        if ends_in_s is None:
            return (
                f"Lapsed leases end. {last_minute}; with more than {rules.FEW} instances, {threshold} must be exceeded "
                f"for that."
            )
        return (
            f"Lapsed leases are kept: {last_minute}, {threshold} must be exceeded. "
            f"More likely the network is broken than {len(self.lapsed)} instances. "
            f"If they do not come back, protection ends by itself in {ends_in_s:.0f} s."
        )
