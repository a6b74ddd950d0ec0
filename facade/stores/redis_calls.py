"""A call of `write`, from its coming to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from facade.registry.model import Cause, Revision
from facade.registry.store import Remove, Write
from facade.stores.redis_picture import Step


class Call:
    """Waits for its commit. Its caller may have gone meanwhile."""

    def __init__(self, writes: Sequence[Write], steps: Sequence[Step], answer: asyncio.Future[Revision]) -> None:
        self.writes = writes
        self.steps = steps
        self.answer = answer
        self.is_overtaken = False
        self.has_number = False
        """Whether `due` is that of its own commit."""
        self.due: Revision = 0
        """Answered when all of the log up to here is shown."""

    @property
    def only_ends(self) -> bool:
        return all(isinstance(write, Remove) for write in self.writes)

    @property
    def is_eviction(self) -> bool:
        return any(write.cause is Cause.LAPSED for write in self.writes)

    def succeed(self, revision: Revision) -> None:
        if not self.answer.done():
            self.answer.set_result(revision)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
