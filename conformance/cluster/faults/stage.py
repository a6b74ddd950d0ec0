"""Three nodes of ours over one Redis, and what befalls either. All listen on loopback, and all are real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from conformance.backing.setups import soon
from conformance.peers.processes import MissingToolError, Processes, Program, Running, facade
from conformance.peers.redis import ask

from .checker import assert_promises
from .figures import Report
from .load import Load, NotSettledError, Sizes

NODES = 3
SETTINGS: Mapping[str, str] = {
    # Nothing but the store's own care keeps an instance that renews.
    "self_preservation": "false",
    "exact_leases": "true",
    "eviction_interval_s": "1",
    "log_format": "json",
}
CLUSTER = "registry-facade"
"""Begins the names of all keys: the default of --cluster."""


@dataclass
class Stage:
    """`redis` is the one server; under sentinels there are others."""

    nodes: list[Running]
    urls: Sequence[str]
    redis: Running | None = None
    report: Report = field(default_factory=Report)

    def ask_redis(self, command: str, *arguments: str | int) -> Any:
        assert self.redis is not None
        return ask(self.redis.url, command, *arguments)

    def ask_redis_as(self, password: str, command: str, *arguments: str | int) -> Any:
        assert self.redis is not None
        return ask(self.redis.url.replace("://", f"://:{password}@"), command, *arguments)

    def play(
        self,
        story: Callable[[Load], Any],
        sizes: Sizes | None = None,
        *,
        contend_at: int = 0,
        sides: Sequence[Sequence[int]] = (),
    ) -> Load:
        """Run the story under load, wait until all is settled, report the figures, and hold what was seen against the
        promises."""

        tell = self.report.tell

        async def run() -> Load:
            async with Load(self.urls, sizes, contend_at=contend_at, sides=sides) as load:
                try:
                    await load.go_on(1.0)
                    await story(load)
                    healed_s = time.monotonic()
                    tell(f"all nodes alike {await load.settle(healed_s):.1f} s after the end")
                    await load.go_on(0.5)
                except NotSettledError:
                    load.log.save(self.report.log)
                    tell(f"seed {load.seed}; all that was seen: {self.report.log}\n{load.figures()}")
                    raise
                return load

        load = asyncio.run(run())
        tell(load.figures())
        try:
            assert_promises(load.log, load.watchers)
        except AssertionError:
            load.log.save(self.report.log)
            tell(f"seed {load.seed}; all that was seen: {self.report.log}")
            raise
        return load

    def readiness(self, node: int) -> dict[str, Any]:
        return dict(httpx.get(f"{self.urls[node]}/readyz", timeout=5).json())


def start_nodes(
    processes: Processes, free_port: Callable[[], int], stores: Sequence[str], settings: Mapping[str, str] | None = None
) -> list[Running]:
    """One node over each of these stores."""
    return [processes.start(facade([free_port()], SETTINGS | dict(settings or {}), [store])) for store in stores]


def with_variables(program: Program, **variables: str) -> Program:
    return replace(program, environment={**program.environment, **variables})


FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class WallClock:
    """One that is off, of the nodes that are given it; no other clock of theirs is."""

    def __init__(self, file: Path) -> None:
        """Raises MissingToolError."""
        if not FAKETIME:
            raise MissingToolError("libfaketime is missing (Debian: apt-get install faketime)")
        self._file = file
        self.put_off_by("+0")

    def given_to(self, program: Program) -> Program:
        return with_variables(
            program,
            LD_PRELOAD=str(FAKETIME[0]),
            FAKETIME_TIMESTAMP_FILE=str(self._file),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        )

    def put_off_by(self, seconds: str) -> None:
        """From the real time; at once, and never half-written."""
        beside = self._file.with_suffix(".new")
        beside.write_text(seconds)
        beside.replace(self._file)


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """What blocks, while the load goes on."""
    return await asyncio.to_thread(work, *arguments)


async def until(is_so: Callable[[], bool], load: Load, what: str, within_s: float = 60.0) -> float:
    """Look again and again while the load goes on; returns how long it took. What blocks is asked on a thread."""
    began_s = time.monotonic()
    while True:
        try:
            if await in_thread(is_so):
                return time.monotonic() - began_s
        except (OSError, httpx.TransportError):
            pass
        assert time.monotonic() - began_s < within_s, f"waited {within_s:.0f} s in vain until {what}"
        await load.go_on(0.05)


def unreached(node: Running) -> None:
    """Wait until the node has its Redis."""
    soon(lambda: _assert_writable(node))


def _assert_writable(node: Running) -> None:
    assert httpx.get(f"{node.url}/readyz", timeout=5).json()["store"]["writable"]
