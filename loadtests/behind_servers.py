"""Registries to stand behind ours: the originals where there are any, else a second process of ours.

A ServiceCenter is in no package registry: SERVICECENTER_BIN names the binary of one, and etcd is Debian's etcd-server.
A Eureka server is built with a JDK and Maven from the sources that the conformance suite has, and kept in the cache.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.behind_counting import Counting
from loadtests.servers import GENERATOR_CORE, Server, found, ours, running

PEERS = Path(__file__).resolve().parent.parent / "conformance" / "peers"
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


def free_ports(first: int) -> Iterator[int]:
    """Eight from each on are for one server; those are left out in which somebody else has one at this moment."""
    for port in range(first, 65_000, 8):
        if all(_is_free(port + one) for one in range(8)):
            yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def upstream(
    kind: str, ports: Iterator[int], home: Path, *, variant: str = "fresh", peer: str = ""
) -> Iterator[Upstream]:
    """A registry of this kind. `variant` and `peer`, the URL of ours to be told of changes, are for a real Eureka."""
    home.mkdir(parents=True)
    with ExitStack() as stack:
        if kind == SERVICECENTER and os.environ.get("SERVICECENTER_BIN"):
            server = stack.enter_context(_servicecenter(ports, home))
            title, is_real = "a real ServiceCenter", True
        elif kind == EUREKA and shutil.which("java") and shutil.which("mvn"):
            server = stack.enter_context(_eureka(next(ports), home, variant, peer))
            title, is_real = f"a real Eureka ({variant}{', its peer' if peer else ''})", True
        else:
            server = stack.enter_context(_stand_in(next(ports), home))
            title, is_real = f"ours in the part of {'Eureka' if kind == EUREKA else 'ServiceCenter'}", False
        counting = stack.enter_context(Counting(next(ports), server.url))
        yield Upstream(kind, title, server, counting, is_real)


def _stand_in(port: int, home: Path) -> AbstractContextManager[Server]:
    return ours("upstream", port, home / "stand-in", "--keep-marks", core=GENERATOR_CORE)


@contextmanager
def _servicecenter(ports: Iterator[int], home: Path) -> Iterator[Server]:
    port, etcd_port = next(ports), next(ports)
    for name in ("etcd", "servicecenter/conf"):
        (home / name).mkdir(parents=True)
    for file in (PEERS / "servicecenter" / "conf").iterdir():
        text = file.read_text().replace("@GRPC_PORT@", str(port + 5))
        (home / "servicecenter" / "conf" / file.name).write_text(text)
    with _etcd(etcd_port, home / "etcd") as etcd:
        environment = {
            "APP_ROOT": ".",
            "CHASSIS_HOME": ".",
            "REGISTRY_KIND": "etcd",
            "REGISTRY_ETCD_CLUSTER_ENDPOINTS": etcd.url,
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
        }
        with running(
            "ServiceCenter",
            port,
            [os.environ["SERVICECENTER_BIN"]],
            home / "servicecenter",
            path="/v4/default/registry/health",
            core=GENERATOR_CORE,
            environment=environment,
        ) as server:
            yield server


def _etcd(port: int, home: Path) -> AbstractContextManager[Server]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    command = [
        *(found("etcd"), "--name=sc", f"--data-dir={home}/data", f"--initial-cluster=sc={peer}"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
    ]
    return running("etcd", port, command, home, path="/health", core=GENERATOR_CORE)


@contextmanager
def _eureka(port: int, home: Path, variant: str, peer: str) -> Iterator[Server]:
    jar = _eureka_jar()
    command = ["java", "-jar", str(jar), f"--server.port={port}", f"--spring.profiles.active={variant}"]
    if peer:
        command.append(f"--eureka.client.service-url.defaultZone={peer}/eureka/")
    with running("Eureka", port, command, home, path="/eureka/apps", core=GENERATOR_CORE) as server:
        yield server


def _eureka_jar() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    out = Path(os.environ.get("PEERS_HOME") or cache / "registry-facade-peers") / "eureka" / "loadtests"
    jar, sources = out / "eureka.jar", PEERS / "eureka"
    newest = max(path.stat().st_mtime for path in sources.rglob("*") if path.is_file())
    if not jar.is_file() or jar.stat().st_mtime < newest:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as building:  # one that is broken off leaves a jar that does not run
            subprocess.run(["mvn", "-B", "-q", f"-Dpeers.out={building}", "package"], cwd=sources, check=True)
            Path(building, "eureka.jar").replace(jar)
    return jar
