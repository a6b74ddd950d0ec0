"""Whether a registry behind us or a Redis answers, and many calls to it at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from facade.clock import Clock
from facade.errors import OwnStoreUnavailable, StoreUnavailable

CALLS_AT_ONCE = 32
"""Half of what may be under way: the rest is for readings, renewals and clients. A ServiceCenter waits for its etcd
most of the time, so it takes more of them at once than one after the other."""

log = logging.getLogger(__name__)


class Contact:
    def __init__(self, title: str, clock: Clock) -> None:
        self.title = title
        self.trouble = ""
        """Why it does not answer, in plain words; empty while it does."""
        self._fault = ""
        self._clock = clock
        self._lost_s = 0.0

    @property
    def is_lost(self) -> bool:
        return bool(self.trouble)

    @property
    def lost_for_s(self) -> float:
        return self._clock.monotonic_s() - self._lost_s if self.is_lost else 0.0

    def lose(self, reason: object) -> None:
        if not self.is_lost:
            self._lost_s = self._clock.monotonic_s()
            log.error("store does not answer store=%s reason=%s", self.title, reason)
        self.trouble = str(reason) or "no answer"

    def regain(self) -> None:
        if self.is_lost:
            log.warning("store is back store=%s after_s=%.0f", self.title, self.lost_for_s)
        self.trouble = ""

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Around one step of an endless task: whatever happens in it, the next step comes."""
        try:
            yield
        except OwnStoreUnavailable as error:
            self.tell_once(error)
        except StoreUnavailable as error:
            self.lose(error)
        except Exception as error:
            self.tell_once(error)
            self.lose(f"a fault of this server, see its log: {error!r}")

    def tell_once(self, error: Exception) -> None:
        """The same one every second is one line."""
        if self._fault != (fault := repr(error)):
            log.error("not carried out store=%s", self.title, exc_info=error)
        self._fault = fault


async def at_once(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run them, so many at once; the first that fails ends the others. A generator makes each when its turn comes."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call

    workers = [asyncio.create_task(work()) for _ in range(CALLS_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
