"""The real servers: a Eureka where there are a JDK and Maven, a ServiceCenter where SERVICECENTER_BIN names a binary.

A ServiceCenter is in no package registry; the etcd that it keeps its data in is Debian's etcd-server. The Eureka is
built from the sources that the conformance suite has, and kept in the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from loadtests.servers import SERVER_CORE, Server, found, running

PEERS = Path(__file__).resolve().parent.parent / "conformance" / "peers"


def missing_for_eureka() -> str:
    """What is not installed; empty when all is there."""
    return " and ".join(program for program in ("java", "mvn") if not shutil.which(program))


def missing_for_servicecenter() -> str:
    """As above."""
    if not os.environ.get("SERVICECENTER_BIN"):
        return "SERVICECENTER_BIN, which names the binary of one"
    return "" if shutil.which("etcd") else "etcd (Debian: apt-get install etcd-server)"


@contextmanager
def eureka(port: int, home: Path, *options: str, variant: str = "stock", core: str = SERVER_CORE) -> Iterator[Server]:
    """`variant` is a profile of conformance/peers/eureka; `options` are Spring's, such as --logging.level.root=WARN."""
    home.mkdir(parents=True, exist_ok=True)
    profile = f"--spring.profiles.active={variant}"
    command = ["java", "-jar", str(_eureka_jar()), f"--server.port={port}", profile, *options]
    with running("Eureka", port, command, home, path="/eureka/apps", core=core) as server:
        yield server


def eureka_version() -> str:
    with zipfile.ZipFile(_eureka_jar()) as jar:
        names = " ".join(jar.namelist())
    parts = {"spring-cloud-netflix-eureka-server": "Spring Cloud Netflix", "eureka-core": "Netflix eureka-core"}
    told = [title + " " + _first(rf"lib/{part}-([\d.]+)\.jar", names) for part, title in parts.items()]
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    return ", ".join([*told, "Java " + _first(r'"([^"]+)"', java)])


def _eureka_jar() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    out = Path(os.environ.get("PEERS_HOME") or cache / "registry-facade-peers") / "eureka" / "loadtests"
    jar, sources = out / "eureka.jar", PEERS / "eureka"
    newest = max(path.stat().st_mtime for path in sources.rglob("*") if path.is_file())
    if not jar.is_file() or jar.stat().st_mtime < newest:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as building:  # one that is broken off leaves a jar that does not run
            subprocess.run(
                ["mvn", "-B", "-q", "-Dstyle.color=never", f"-Dpeers.out={building}", "package"],
                cwd=sources,
                check=True,
            )
            Path(building, "eureka.jar").replace(jar)
    return jar


@contextmanager
def servicecenter(
    port: int, etcd_port: int, home: Path, *, log_level: str = "INFO", core: str = SERVER_CORE
) -> Iterator[Server]:
    """Over an etcd of its own, on the same core; takes `port` + 5 and `etcd_port` + 1 as well."""
    folder = home / "servicecenter"
    (folder / "conf").mkdir(parents=True)
    for file in (PEERS / "servicecenter" / "conf").iterdir():
        text = file.read_text().replace("@GRPC_PORT@", str(port + 5))
        (folder / "conf" / file.name).write_text(text.replace("level: INFO", f"level: {log_level}"))
    with _etcd(etcd_port, home / "etcd", core) as etcd:
        environment = {
            "APP_ROOT": ".",
            "CHASSIS_HOME": ".",
            "REGISTRY_KIND": "etcd",
            "REGISTRY_ETCD_CLUSTER_ENDPOINTS": etcd.url,
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
        }
        command = [os.environ["SERVICECENTER_BIN"]]
        path = "/v4/default/registry/health"
        with running("ServiceCenter", port, command, folder, path=path, core=core, environment=environment) as server:
            yield replace(server, store=etcd)


def servicecenter_version(url: str) -> str:
    etcd = subprocess.run([found("etcd"), "--version"], capture_output=True, text=True, check=True).stdout
    told = httpx.get(f"{url}/version").json()["version"]
    return f"{told}, etcd " + _first(r"Version: (\S+)", etcd)


@contextmanager
def _etcd(port: int, home: Path, core: str) -> Iterator[Server]:
    home.mkdir(parents=True)
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    command = [
        *(found("etcd"), "--name=sc", f"--data-dir={home}/data", f"--initial-cluster=sc={peer}"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
    ]
    with running("etcd", port, command, home, path="/health", core=core) as server:
        yield server


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "?"
