"""Registries to stand behind ours: the originals where there are any, else a second process of ours.

Which originals there are, `originals.py` knows. They share the generator's core: ours has its own.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.behind_counting import Counting
from loadtests.originals import eureka, missing_for_eureka, servicecenter
from loadtests.servers import GENERATOR_CORE, Server, ours
from loadtests.servers import free_ports as free_ports

EUREKA, SERVICECENTER = "eureka", "servicecenter"


@dataclass(frozen=True)
class Upstream:
    """One registry behind ours."""

    kind: str
    """eureka or servicecenter."""
    title: str
    server: Server
    counting: Counting
    """Stands before it; ours is told this address."""
    is_real: bool

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def store(self) -> str:
        """For --store."""
        path = "/eureka" if self.kind == EUREKA else ""
        return f"{self.kind}+{self.counting.url}{path}"

    @property
    def calls(self) -> Counter[str]:
        return self.counting.calls

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It takes connections and says nothing: worse than one that is gone."""
        assert self.server.pid is not None, "we have started it"
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)


@contextmanager
def upstream(
    kind: str, ports: Iterator[int], home: Path, *, variant: str = "fresh", peer: str = ""
) -> Iterator[Upstream]:
    """A registry of this kind. `variant` and `peer`, the URL of ours to be told of changes, are for a real Eureka."""
    home.mkdir(parents=True)
    with ExitStack() as stack:
        if kind == SERVICECENTER and os.environ.get("SERVICECENTER_BIN"):
            server = stack.enter_context(servicecenter(next(ports), next(ports), home, core=GENERATOR_CORE))
            title, is_real = "a real ServiceCenter", True
        elif kind == EUREKA and not missing_for_eureka():
            options = [f"--eureka.client.service-url.defaultZone={peer}/eureka/"] if peer else []
            server = stack.enter_context(eureka(next(ports), home, *options, variant=variant, core=GENERATOR_CORE))
            title, is_real = f"a real Eureka ({variant}{', its peer' if peer else ''})", True
        else:
            server = stack.enter_context(_stand_in(next(ports), home))
            title, is_real = f"ours in the part of {'Eureka' if kind == EUREKA else 'ServiceCenter'}", False
        counting = stack.enter_context(Counting(next(ports), server.url))
        yield Upstream(kind, title, server, counting, is_real)


def _stand_in(port: int, home: Path) -> AbstractContextManager[Server]:
    return ours("upstream", port, home / "stand-in", "--keep-marks", core=GENERATOR_CORE)
