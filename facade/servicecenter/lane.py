"""The two questions that the lane answers: a heartbeat and a find, by the very functions that their handlers call.

In:   a request read once, by its head alone. Out: the same answer as often as it is asked, or None: take the long way.
"""

from __future__ import annotations

from facade.errors import FacadeError
from facade.registry.model import Revision
from facade.registry.registry import Registry
from facade.rendered import Question, Reply
from facade.servicecenter.discovery import Discovery
from facade.servicecenter.exchange import OK, Ask, reply
from facade.servicecenter.instances import Instances

TOLD_BYTES, TOLD_EACH_BYTES = 32 << 20, 1_024


class _Told:
    """Answers to questions of the lane at one revision of the registry: until the next there are no others.

    Most are empty (304). The others share their bytes with the kept documents, but count as if they did not: what
    those have dropped for want of room must not live on here.
    """

    def __init__(self) -> None:
        self._revision: Revision = 0
        self._replies: dict[Ask, Reply] = {}
        self._bytes = 0

    def get(self, ask: Ask, revision: Revision) -> Reply | None:
        return self._replies.get(ask) if revision == self._revision else None

    def keep(self, ask: Ask, revision: Revision, reply: Reply) -> None:
        if revision != self._revision:
            self._revision, self._replies, self._bytes = revision, {}, 0
        size = TOLD_EACH_BYTES + len(reply.body)
        if self._bytes + size <= TOLD_BYTES:
            self._bytes += size
            self._replies[ask] = reply


class Lane:
    def __init__(self, registry: Registry, instances: Instances, discovery: Discovery, server: bytes) -> None:
        """`server` is what the header of that name says."""
        self._registry = registry
        self._instances = instances
        self._discovery = discovery
        self._server = server
        self._told = _Told()

    def heartbeat(self, ask: Ask) -> Question:
        renewed = reply(OK, ask.scope, self._server)
        beat = self._instances.beats(ask)

        def answer() -> Reply | None:
            try:
                beat()
            except FacadeError:
                return None
            return renewed

        return answer

    def find(self, ask: Ask) -> Question:
        find = self._discovery.finds(ask)

        def answer() -> Reply | None:
            revision = self._registry.revision
            if (told := self._told.get(ask, revision)) is not None:
                return told
            try:
                found = find()
            except FacadeError:
                return None
            if found is None:
                return None
            answered = reply(found, ask.scope, self._server)
            self._told.keep(ask, revision, answered)
            return answered

        return answer
