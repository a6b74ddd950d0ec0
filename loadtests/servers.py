"""The servers that are compared: started on one core, watched for CPU and memory, stopped by pid."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, GENERATOR_CORE = "0", "1"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
AWAKE_AFTER_S = 0.5
"""After a stop timers have fallen due and connections have to be seen to."""
START_WITHIN_S = 90.0
"""A JVM beside a busy generator takes its time."""

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
"""

NGINX = """
worker_processes 1;
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
  uwsgi_temp_path {home}; scgi_temp_path {home};
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200; }}
    location /served/ {{ root {home}; }}
  }}
}}
"""


@dataclass
class Server:
    name: str
    url: str
    pid: int | None = None
    """None for one that somebody else started: its CPU and memory are not ours to read."""
    ready_s: float = 0.0
    store: Server | None = None
    """A process of its own in which it keeps its data: counted apart."""
    sleeps: bool = False
    """Stopped while it is not asked, or what it does by itself would count for others on the same core."""

    @contextmanager
    def awake(self) -> Iterator[None]:
        """For its turn."""
        if not self.sleeps:
            yield
            return
        self._signal(signal.SIGCONT)
        time.sleep(AWAKE_AFTER_S)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in [*self._tree(), *(self.store._tree() if self.store else ())]:
            os.kill(pid, number)

    def cpu_s(self) -> float:
        """CPU seconds of the whole process tree so far."""
        return sum(_cpu_s(pid) for pid in self._tree())

    def rss_bytes(self) -> int:
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES for pid in self._tree())

    def _tree(self) -> list[int]:
        if self.pid is None:
            return []
        pids = [self.pid]
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        return pids


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


@contextmanager
def nginx(port: int, home: Path) -> Iterator[Server]:
    """An empty 200 for everything: about what a socket costs. Files in `home`/served are sent as they are."""
    (home / "served").mkdir(parents=True)
    conf = home / "nginx.conf"
    conf.write_text(NGINX.format(home=home, port=port))
    with running("nginx", port, [found("nginx"), "-e", str(home / "error.log"), "-c", str(conf)], home) as server:
        yield server


@contextmanager
def hello(port: int, home: Path) -> Iterator[Server]:
    """A bare uvicorn with the parts that we use too."""
    home.mkdir(parents=True)
    (home / "hello.py").write_text(HELLO)
    options = [
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "warning",
        "--lifespan",
        "off",
    ]
    command = [sys.executable, "-m", "uvicorn", "hello:app", "--app-dir", str(home), "--port", str(port), *options]
    with running("uvicorn hello", port, command, home) as server:
        yield server


@contextmanager
def ours(
    name: str, port: int, home: Path, *options: str, core: str = SERVER_CORE, path: str = "/readyz"
) -> Iterator[Server]:
    """Our server over a SQLite file in `home`, which it may find from an earlier start, unless the options say other.

    It is ready when `path` answers 200.
    """
    home.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "facade", "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(home)),
        *("--connections-per-address", "10000", "--log-level", "warning"),
        *options,
    ]
    with running(name, port, command, home, path=path, core=core) as server:
        yield server


@contextmanager
def running(
    name: str,
    port: int,
    command: Sequence[str],
    home: Path,
    path: str = "/",
    core: str = SERVER_CORE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Started and waited for until `path` answers 200, terminated in the end. Its output is in `home`/output.log.

    With an `environment` of its own it also runs in `home`.
    """
    began = time.perf_counter()
    with (home / "output.log").open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            stdout=output,
            stderr=output,
            cwd=home if environment else None,
            env=os.environ | environment if environment else None,
        )
    try:
        _wait_until_ready(process, port, path, home)
        yield Server(name, f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGCONT)  # one that was stopped would not hear the other
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, home: Path) -> None:
    give_up = time.monotonic() + START_WITHIN_S
    while time.monotonic() < give_up and process.poll() is None:
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=5)  # light: its own start is measured too
        try:
            asking.request("GET", path)
            if asking.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.005)
        finally:
            asking.close()
    raise SystemExit(f"port {port} does not answer: {(home / 'output.log').read_text()[-500:]}")


def found(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        raise SystemExit(f"{program} is not installed; on Debian: apt-get install {program}")
    return path


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
