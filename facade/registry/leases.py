"""Lease arithmetic: deadlines on a wheel, a clock that forgives a frozen process, and renewals per minute."""

from __future__ import annotations

from collections.abc import Iterator

from facade.clock import Clock
from facade.registry.model import Instance

SLOTS = 256


class Lease:
    """The promise to list an instance until a deadline. A renewal moves the deadline and nothing else."""

    __slots__ = ("deadline_s", "disowned", "ended", "instance", "registered_ms", "renewed_ms", "service_up_ms")

    def __init__(self, instance: Instance, now_s: float, now_ms: int) -> None:
        self.instance = instance
        self.deadline_s = now_s + instance.lease.first_ms / 1000
        self.ended = False
        """Set when the lease is cancelled or replaced: the wheel drops it when its second comes."""
        self.disowned = False
        """Set when the store says that it does not hold the instance: the owner has to register again."""
        self.registered_ms = now_ms
        """Wall clock at which this lease began."""
        self.renewed_ms = 0
        """Wall clock of the last renewal; 0 when there was none."""
        self.service_up_ms = 0
        """Wall clock at which the instance was first UP; survives a new registration."""

    def renew(self, now_s: float, now_ms: int) -> None:
        self.deadline_s = now_s + self.instance.lease.renewed_ms / 1000
        self.renewed_ms = max(now_ms, self.renewed_ms)  # the wall clock may have gone back

    def remaining_ms(self, now_s: float) -> int:
        return max(0, int((self.deadline_s - now_s) * 1000))


class LeaseClock:
    """Monotonic time less the time during which this process stood still.

    A process that was stopped for ten minutes heard no renewal in that time, and neither did it deserve one. When the
    sweep wakes late, the gap is taken off the clock, which moves every deadline at once.
    Source: Netflix/eureka, AbstractInstanceRegistry.EvictionTask.getCompensationTimeMs does the same per lease.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._frozen_s = 0.0
        self._last_sweep_s = clock.monotonic_s()

    def now_s(self) -> float:
        return self._clock.monotonic_s() - self._frozen_s

    def note_sweep(self, interval_s: float) -> float:
        """Called by each sweep before it looks at a deadline; returns the seconds that were forgiven."""
        now_s = self._clock.monotonic_s()
        late_s = now_s - self._last_sweep_s - interval_s
        self._last_sweep_s = now_s
        if late_s <= interval_s:  # an ordinary delay of a busy loop
            return 0.0
        self._frozen_s += late_s
        return late_s


class Wheel:
    """Leases by the second in which they may lapse: a renewal costs nothing here, the sweep moves the lease on.

    A lease is in one slot at a time, except that a shortened one may be in two; `ended` and the deadline decide.
    """

    def __init__(self, now_s: float) -> None:
        self._slots: list[list[Lease]] = [[] for _ in range(SLOTS)]
        self._second = int(now_s)

    def add(self, lease: Lease) -> None:
        # Beyond one turn of the wheel: looked at once a turn and put back. Already past: due at once.
        second = min(max(int(lease.deadline_s), self._second), self._second + SLOTS - 1)
        self._slots[second % SLOTS].append(lease)

    def lapsed(self, now_s: float) -> Iterator[Lease]:
        """Leases whose deadline has passed, each once: the caller ends them or adds them again."""
        while self._second < int(now_s):
            slot, self._slots[self._second % SLOTS] = self._slots[self._second % SLOTS], []
            self._second += 1
            for lease in slot:
                if lease.ended:
                    continue
                if lease.deadline_s <= now_s:
                    yield lease
                else:
                    self.add(lease)


class RenewalRate:
    """Renewals in the last sixty seconds, as a sliding window of one-second buckets.

    Netflix counts in tumbling minutes, which makes self-preservation flap; the sum is the same.
    """

    def __init__(self, now_s: float) -> None:
        self._buckets = [0] * 60
        self._second = int(now_s)
        self._sum = 0

    def note(self, now_s: float, count: int = 1) -> None:
        if now_s >= self._second + 1:
            self._turn_to(int(now_s))
        self._buckets[self._second % 60] += count
        self._sum += count

    def last_minute(self, now_s: float) -> int:
        self._turn_to(int(now_s))
        return self._sum

    def _turn_to(self, second: int) -> None:
        for passed in range(max(self._second, second - 60), second):
            bucket = (passed + 1) % 60
            self._sum -= self._buckets[bucket]
            self._buckets[bucket] = 0
        self._second = max(self._second, second)
