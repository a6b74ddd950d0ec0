"""A running server told to change its store, and watched until it has: calls to its /admin/switch only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from facade.errors import MalformedDocument, StartRefused, StoreUnavailable
from facade.inspection.places import Place
from facade.inspection.servers import Progress, Servers
from facade.outbound import Outbound, Reply
from facade.stores.switchboard import State, SwitchState

PATH = "/admin/switch"
ASKED_EVERY_S = 0.3


class Refusal(msgspec.Struct):
    error: str


class LiveSwitch:
    def __init__(self, server: Place, through: Servers) -> None:
        self._server = server
        self._outbound: Outbound = through.plain(server.bases, server.credentials)

    async def begin(self, url: str, title: str, *, apply: bool, rate: float, only_there: str) -> State:
        """Begin, or go along with one to the same store that is under way. Raises StartRefused."""
        wanted = msgspec.json.encode({"store": url, "apply": apply, "rate": rate, "onlyThere": only_there})
        answer = await self._call("POST", wanted)
        if isinstance(answer, State):
            return answer
        state = await self.state()
        if state.switch is not None and state.switch.to == title and not state.switch.phase.is_end:
            return state
        raise StartRefused(f"{self._server}: {answer.error}")

    async def state(self) -> State:
        return self._agreed(await self._call("GET"))

    async def call_off(self) -> State:
        """Raises StartRefused when there is nothing to call off."""
        return self._agreed(await self._call("DELETE"))

    async def watched(self, state: State, progress: Progress, looked: Callable[[SwitchState], None]) -> State:
        """How it ended; `looked` is told once when the plan is there."""
        is_told = False
        while True:
            switch = state.switch
            if switch is None:
                raise StartRefused(f"{self._server} has been started anew meanwhile, over {state.store}")
            if switch.plan is not None and not is_told:
                looked(switch)
                is_told = True
            progress("records", switch.copied, switch.total)
            if switch.phase.is_end:
                return state
            await asyncio.sleep(ASKED_EVERY_S)
            state = await self.state()

    def _agreed(self, answer: State | Refusal) -> State:
        if isinstance(answer, Refusal):
            raise StartRefused(f"{self._server}: {answer.error}")
        return answer

    async def _call(self, method: str, content: bytes | None = None) -> State | Refusal:
        headers = {"Content-Type": "application/json"} if content is not None else None
        try:
            return await self._outbound.ask(method, PATH, _read, headers=headers, content=content)
        except StoreUnavailable as error:
            raise StartRefused(f"{error}; --server names where it listens") from None


def _read(reply: Reply) -> State | Refusal:
    """Raises MalformedDocument for what no server of ours says."""
    try:
        if reply.status < 300:
            return msgspec.json.decode(reply.body, type=State)
        return msgspec.json.decode(reply.body, type=Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedDocument(f"answered {reply.status}: not a server whose store can be changed") from None
