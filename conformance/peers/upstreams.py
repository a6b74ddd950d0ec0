"""A registry that stands behind us: it can be killed, and come back with what it held or with nothing.

The Eureka is always the original. So is the ServiceCenter where SERVICECENTER_BIN names one, since no registry has it;
else a second process of ours takes its part and keeps the marks that the first one sets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.peers.processes import Processes, Program, Running, etcd, eureka, facade, servicecenter

# They wait for the sweep and for nothing else; lapsed leases go although few instances renew here.
QUICK = {"eviction_interval_s": "1", "self_preservation": "false"}

Programs = Callable[[int], Sequence[Program]]


class Upstream:
    def __init__(self, processes: Processes, protocol: str, title: str, programs: Programs) -> None:
        """`programs(life)`: the stores that it needs, and last the server; each empty life has another number."""
        self.protocol = protocol
        self.title = title
        self._processes = processes
        self._programs = programs
        self._life = 0
        self._running: list[Running] = []

    @property
    def kind(self) -> str:
        """ "real" or "ours": whose behaviour to expect."""
        return "real" if self.title.startswith("a real") else "ours"

    @property
    def url(self) -> str:
        """Where the server answers, without a path."""
        return self.server.url

    @property
    def server(self) -> Running:
        return self._running[-1]

    @property
    def store(self) -> str:
        """What `--store` of a server in front of it says."""
        return store_of(self.protocol, self.url)

    def start(self) -> Upstream:
        for program in self._programs(self._life):
            self._running.append(self._processes.start(program))
        return self

    def kill(self) -> None:
        """End it at once; its store stays."""
        self.server.kill()

    def come_back(self, *, is_empty: bool) -> None:
        """Start it again after `kill`. A Eureka server keeps nothing: it is always empty."""
        if is_empty:
            for running in reversed(self._running):
                running.kill()
            self._running.clear()
            self._life += 1
            self.start()
        else:
            self._running[-1] = self._processes.start(self._programs(self._life)[-1])


def store_of(protocol: str, url: str) -> str:
    return f"{protocol}+{url}/eureka" if protocol == "eureka" else f"{protocol}+{url}"


def eureka_behind(processes: Processes, port: int, variant: str = "brisk", peers: Sequence[str] = ()) -> Upstream:
    """The original, not started yet. Raises PeerError where it cannot be built."""
    program = eureka(port, variant, peers)
    return Upstream(processes, "eureka", "a real Eureka server", lambda _: [program])


def has_real_servicecenter() -> bool:
    return bool(os.environ.get("SERVICECENTER_BIN"))


def servicecenter_behind(processes: Processes, port: int, etcd_port: int, home: Path) -> Upstream:
    """The original over etcd, or ours; not started yet. Ours keeps its data under `home`. Raises PeerError."""
    if has_real_servicecenter():
        store = etcd(etcd_port)
        programs = [store, servicecenter(port, store.url)]
        return Upstream(processes, "servicecenter", "a real ServiceCenter", lambda _: programs)

    def posing(life: int) -> Sequence[Program]:
        settings = QUICK | {"keep_marks": "true", "data_dir": str(home / f"servicecenter-{port}-{life}")}
        return [facade([port], settings, ["sqlite:///"])]

    return Upstream(processes, "servicecenter", "a second process of ours, posing as a ServiceCenter", posing)
