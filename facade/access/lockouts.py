"""Wrong passwords, counted by name and client address: after the third within a quarter of an hour nobody may try.

In memory only: a restart forgives. Bounded, for whoever guesses chooses the names; the oldest are forgotten first.
Source: servicecomb-service-center, server/service/rbac/blocker.go (a bucket of two, one more each 15 minutes).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from facade.clock import Clock

FREE_FAILURES = 2
REFILLED_EVERY_S = 15 * 60.0
LOCKED_FOR_S = 15 * 60.0
SHOWN_FOR_S = 20 * 60.0
"""How long a failure that locked nobody out yet is listed."""
MOST_KEPT = 10_000
LONGEST_NAME = 128


class Lock(NamedTuple):
    key: str
    """NAME::ADDRESS"""
    is_banned: bool
    release_at_s: int
    """Epoch seconds."""


@dataclass
class _Count:
    left: float
    counted_s: float
    is_banned: bool = False
    until_s: float = 0.0


class Lockouts:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def is_locked(self, name: str, address: str) -> bool:
        count = self._counts.get(_key(name, address))
        return count is not None and count.is_banned and self._clock.monotonic_s() < count.until_s

    def note_failure(self, name: str, address: str) -> None:
        now_s = self._clock.monotonic_s()
        key = _key(name, address)
        count = self._counts.pop(key, None) or _Count(FREE_FAILURES, now_s)
        count.left = min(FREE_FAILURES, count.left + (now_s - count.counted_s) / REFILLED_EVERY_S)
        count.counted_s = now_s
        count.is_banned = count.left < 1
        if not count.is_banned:
            count.left -= 1
        count.until_s = now_s + (LOCKED_FOR_S if count.is_banned else SHOWN_FOR_S)
        self._counts[key] = count
        if len(self._counts) > MOST_KEPT:
            self._counts.popitem(last=False)

    def __iter__(self) -> Iterator[Lock]:
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        for key, count in self._counts.items():
            if count.until_s > now_s:
                yield Lock(key, count.is_banned, round(now_ms / 1000 + count.until_s - now_s))


def _key(name: str, address: str) -> str:
    return f"{name[:LONGEST_NAME]}::{address}"
