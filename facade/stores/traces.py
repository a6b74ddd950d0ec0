"""What we wrote to a registry behind us, and when: a reading that began before then must not judge it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from facade.clock import Clock
from facade.registry.model import RecordKey

WRITTEN_KEPT_S = 60.0
"""Beyond the time by which readings lag."""
ENDED_KEPT_S = 660.0
"""A ServiceCenter shows for up to ten minutes what we have ended: its longest self-protection."""


class Traces:
    def __init__(self, clock: Clock, lag_s: float) -> None:
        """`lag_s` is how old a reading may be when it comes."""
        self._clock = clock
        self._lag_s = lag_s
        self._writing: dict[RecordKey, int] = {}
        self._written_s: dict[RecordKey, float] = {}
        self._unread: set[RecordKey] = set()
        self._ended_s: dict[RecordKey, float] = {}

    @contextmanager
    def writing(self, key: RecordKey) -> Iterator[None]:
        """Around a write, from the first call there to the end of the commit here: no reading judges the record."""
        self._writing[key] = self._writing.get(key, 0) + 1
        try:
            yield
        finally:
            self._writing[key] -= 1
            if not self._writing[key]:
                del self._writing[key]
            self._written_s[key] = self._clock.monotonic_s()
            self._unread.add(key)

    def note_listed(self, key: RecordKey) -> None:
        self._ended_s.pop(key, None)

    def note_ended(self, key: RecordKey) -> None:
        self._ended_s[key] = self._clock.monotonic_s()

    def is_before(self, key: RecordKey, read_s: float) -> bool:
        """Whether all that we wrote of it shows in a reading that began then."""
        return key not in self._writing and self._written_s.get(key, float("-inf")) + self._lag_s < read_s

    def take_unread(self) -> Collection[RecordKey]:
        """What was written since this was last asked: somebody may have ended it before any reading showed it."""
        unread, self._unread = self._unread, set()
        return unread

    def was_written(self, key: RecordKey) -> bool:
        """Whether we wrote it so lately that readings may not show it yet."""
        return key in self._written_s

    def was_ended(self, key: RecordKey) -> bool:
        """Whether we ended it so lately that it may only seem to be there."""
        return key in self._ended_s

    def tidy(self) -> None:
        """Forget what every reading shows by now."""
        now_s = self._clock.monotonic_s()
        for times, kept_s in ((self._written_s, self._lag_s + WRITTEN_KEPT_S), (self._ended_s, ENDED_KEPT_S)):
            for key in [key for key, at_s in times.items() if at_s + kept_s < now_s]:
                del times[key]
