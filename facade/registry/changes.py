"""The change feed: every visible change once, in order, to whoever follows, and a bounded history by revision.

Eureka's delta, ServiceCenter's watch, the kept documents and the dashboard all hang on this one feed. Followers are
called in the turn of the event loop in which the catalogue began to show the change, so nothing they keep is ever
stale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from facade.errors import RevisionCompacted
from facade.registry.model import Change, Revision

Listener = Callable[[Change], None]

KEPT_CHANGES = 10_000
"""Bounds the history by count; an entry is 1-2 KB. Readers who fall further behind read in full again."""


class ChangeFeed:
    def __init__(self, start: Revision, kept: int = KEPT_CHANGES) -> None:
        self._history: deque[Change] = deque(maxlen=kept)
        self._complete_after = start
        self._listeners: list[Listener] = []

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each change from now on; the callable returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self._complete_after = self._history[0].revision
        self._history.append(change)
        for listener in tuple(self._listeners):
            listener(change)

    def since(self, revision: Revision) -> Sequence[Change]:
        """Changes past `revision`, oldest first. Raises RevisionCompacted when some of them are no longer kept."""
        if revision < self._complete_after:
            raise RevisionCompacted(f"changes are kept after revision {self._complete_after}, not after {revision}")
        newest_first = []
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            newest_first.append(change)
        return newest_first[::-1]

    def recent(self, most: int) -> Sequence[Change]:
        """The latest changes, newest first: for people."""
        return list(islice(reversed(self._history), most))
