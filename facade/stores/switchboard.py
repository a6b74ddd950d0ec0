"""Where a running server is told to change its store: one change at a time, and what became of the last one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import msgspec

from facade.errors import FacadeError
from facade.registry.registry import Registry
from facade.registry.store import Store
from facade.stores.survey import Plan
from facade.stores.switch import OnlyThere, Phase, Switch
from facade.stores.switching import SwitchingStore

log = logging.getLogger(__name__)


class SwitchRefused(FacadeError):
    """It cannot be done now; the text says why."""


class SwitchState(msgspec.Struct, frozen=True, rename="camel"):
    to: str
    phase: Phase
    trouble: str
    total: int
    copied: int
    unrenewed: int
    plan: Plan | None


class State(msgspec.Struct, frozen=True):
    """What is told of it over HTTP."""

    store: str
    """Where the records are."""
    stated: str
    """Where the settings say that they are: what a restart reads."""
    switch: SwitchState | None
    """The one under way, or the last since the server started."""


class Switchboard:
    def __init__(
        self,
        store: SwitchingStore,
        registry: Registry,
        stated: str,
        open_new: Callable[[str], tuple[Store, str]],
        note_switched: Callable[[str], None] = lambda _: None,
        is_ourselves: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        """`stated` is the present store for people; `open_new` makes one of a URL, and its name for people, or raises
        StartRefused; `note_switched` is told the name of each store that has become current; `is_ourselves` finds out
        whether a URL leads to this server."""
        self.stands = stated
        """Where the records are, for people."""
        self.switch: Switch | None = None
        """The one under way, or the last."""
        self._stated = stated
        self._store = store
        self._registry = registry
        self._open_new = open_new
        self._note_switched = note_switched
        self._is_ourselves = is_ourselves
        self._task: asyncio.Task[None] | None = None

    def state(self) -> State:
        switch = self.switch
        if switch is None:
            return State(self.stands, self._stated, None)
        now = SwitchState(
            switch.title, switch.phase, switch.trouble, switch.total, switch.copied, switch.unrenewed, switch.plan
        )
        return State(self.stands, self._stated, now)

    @property
    def is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, url: str, *, rate: float = 0.0, only_there: OnlyThere = OnlyThere.REFUSE, is_dry: bool) -> Switch:
        """Raises StartRefused for a URL that names no store, SwitchRefused while another switch is under way."""
        store, title = self._open_new(url)
        if self.is_busy:
            assert self.switch is not None, "there is one when it is busy"
            raise SwitchRefused(f"a switch to {self.switch.title} is under way")
        if title == self.stands:
            raise SwitchRefused(f"the records are in {title} already")
        self.switch = Switch(
            self._store,
            self._registry,
            store,
            title,
            rate=rate,
            only_there=only_there,
            is_ourselves=partial(self._is_ourselves, url) if self._is_ourselves is not None else None,
            note_switched=partial(self._note, title),
            is_dry=is_dry,
        )
        self._task = asyncio.create_task(self._run(self.switch))
        return self.switch

    async def _run(self, switch: Switch) -> None:
        before = await switch.run()
        if before is None:
            return
        with suppress(asyncio.CancelledError):
            try:
                await before.close()
            except Exception as error:
                log.error("the store before does not close reason=%s", error)

    def _note(self, title: str) -> None:
        self.stands = title
        self._note_switched(title)

    async def call_off(self) -> Switch:
        """Raises SwitchRefused when there is nothing to call off, or not any more."""
        if self._task is None or self.switch is None or not self.is_busy or self.switch.phase.is_end:
            raise SwitchRefused("no switch is under way")
        self.switch.call_off(self._task)
        await asyncio.wait((self._task,))
        self.switch.phase = Phase.CALLED_OFF  # also of one that had not even begun
        return self.switch

    async def close(self) -> None:
        if self._task is not None and self.is_busy:
            if self.switch is not None and not self.switch.phase.is_end:
                self.switch.call_off(self._task)
            await asyncio.wait((self._task,))
