"""Time, passed in. Wall time is for people and the wire; leases only ever see the monotonic clock."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC. May jump when an operator sets the clock."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment. Never jumps, never goes back."""


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves when told to: for tests."""

    def __init__(self, now_ms: int = 1_750_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 1_000.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        self._now_ms += int(seconds * 1000)
        self._monotonic_s += seconds

    def put_back(self, seconds: float) -> None:
        """As an operator, or a correction over the network, puts back the wall clock."""
        self._now_ms -= int(seconds * 1000)
