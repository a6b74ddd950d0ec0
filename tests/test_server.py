"""What the assembly starts, it ends."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from facade import server
from facade.access.keys import PASSWORD_VARIABLE
from facade.clock import ManualClock
from facade.config import Address, Settings
from facade.errors import StartRefused
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore
from facade.stores.switching import SwitchingStore

pytestmark = pytest.mark.anyio


async def test_a_server_that_fails_leaves_no_threads_for_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "Str0ng-enough")
    monkeypatch.setattr(server, "announce", lambda _addresses, _host_name: 1 / 0)
    settings = Settings(listen=(Address("127.0.0.1", 0),), auth=True, data_dir=tmp_path)

    with pytest.raises(ZeroDivisionError):
        await server.serve(settings)

    for thread in threading.enumerate():
        if thread.name.startswith("passwords"):
            thread.join(5)
            assert not thread.is_alive()


async def test_the_collector_rests_while_records_are_read_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it a start took half as long again; without it a server would grow."""
    when_read, when_announced, read = [], [], Registry.open

    async def open_(registry: Registry) -> None:
        when_read.append(gc.isenabled())
        await read(registry)

    def announce(_addresses: object, _host_name: object) -> None:
        when_announced.append(gc.isenabled())
        raise ZeroDivisionError

    monkeypatch.setattr(Registry, "open", open_)
    monkeypatch.setattr(server, "announce", announce)

    with pytest.raises(ZeroDivisionError):
        await server.serve(Settings(store=("memory://",), listen=(Address("127.0.0.1", 0),), data_dir=tmp_path))

    assert (when_read, when_announced) == ([False], [True])


async def test_copies_between_two_registries_stand_in_the_way_of_another_store(clock: ManualClock) -> None:
    store = SwitchingStore(MemoryStore(clock))
    settings = Settings(store=("eureka+http://e:1/eureka", "servicecenter+http://s:1"), publish=True)
    board = server.switchboard_of(settings, store, Registry(store, clock, Policy()))

    with pytest.raises(StartRefused, match="start anew with another --store"):
        board.begin("memory://", is_dry=True)
