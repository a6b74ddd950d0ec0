"""Copies of what one registry has, in the other: for applications that ask their own registry directly.

Instead of two daemons that copy each other's copies, one process that knows both. Its rules:

1.  Every copy carries marks: where it came from, by which bridge, under which id.
2.  Its id follows from the original's, so a copy is known even when its marks were lost.
3.  A copy is never copied: only what a registry holds of its own protocol is.
4.  In every view the original is shown and the copy is not; that is the mirrors' work.
5.  A copy is renewed only while its original is there, and by one node: the first in the order that its id gives.
6.  Originals that cannot be seen are not gone: their copies are kept for a while, then left to lapse.
7.  When more than half of a service's copies, or a third of all, would go in one pass, nothing goes: an alarm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from facade.clock import Clock
from facade.registry.model import Record, RecordKey, Revision
from facade.registry.rules import Policy
from facade.servicecenter.client import ServiceCenterClient
from facade.stores.copying import Way
from facade.stores.members import Members
from facade.stores.mirror import Mirror

PASS_EVERY_S = 1.0
MEET_EVERY_S = 5.0
MEET_AGAIN_AFTER_S = 0.2
"""At the start: the first time makes the place where nodes meet, the second enters it."""

log = logging.getLogger(__name__)


class Publisher:
    def __init__(
        self, mirrors: Collection[Mirror], client: ServiceCenterClient, cluster: str, policy: Policy, clock: Clock
    ):
        """`client` is that of the ServiceCenter among the two, where the nodes of bridges meet; its owner closes it."""
        one, other = mirrors
        self._members = Members(client, cluster)
        self._ways = (Way(one, other, self._members, policy, clock), Way(other, one, self._members, policy, clock))

    def open(self, held: Mapping[RecordKey, Record], revision: Callable[[], Revision]) -> None:
        """`held` is what we show, as of `revision`."""
        for way in self._ways:
            way.open(held, revision)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._meet_forever())
            for way in self._ways:
                tasks.create_task(_repeat(way.copy, way.target))
                tasks.create_task(_repeat(way.renew, way.target))

    async def close(self) -> None:
        """Copies stay and lapse by themselves, unless another node goes on with them."""
        await self._members.leave()

    @property
    def text(self) -> str:
        """One line for a person."""
        if self._members.stranger:
            return (
                f"Nothing is copied: another bridge, {self._members.stranger!r}, copies between the same registries. "
                "Stop one of them, or give both the same --cluster."
            )
        told = [f"Copies kept by this node: {sum(way.kept for way in self._ways)}"]
        if refused := sum(way.refused for way in self._ways):
            told.append(f"not taken there: {refused}")
        told += [
            f"{len(way.held_back.copies)} deletions at {way.target.backend.title} are held back: too many at once"
            for way in self._ways
            if way.held_back is not None
        ]
        return "; ".join(told) + "."

    @property
    def held_back(self) -> int:
        """Copies that would go, were they not too many at once."""
        return sum(len(way.held_back.copies) for way in self._ways if way.held_back is not None)

    async def _meet_forever(self) -> None:
        trouble = ""
        while True:
            try:
                await self._members.meet()
                trouble = ""
            except Exception as error:  # whatever it is, the next meeting comes
                if trouble != (trouble := repr(error)):  # the same one is told once
                    log.warning("nodes of this bridge cannot be asked for reason=%s", error)
            has_met = trouble or self._members.nodes or self._members.stranger
            await asyncio.sleep(MEET_EVERY_S if has_met else MEET_AGAIN_AFTER_S)


async def _repeat(step: Callable[[], Awaitable[None]], target: Mirror) -> None:
    while True:
        await asyncio.sleep(PASS_EVERY_S)
        with target.contact.guarded():
            await step()
