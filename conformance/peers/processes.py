"""Builds, starts, waits for and stops the programs that the demo and the suites run beside each other.

    with Processes(Path("somewhere")) as processes:
        server = processes.start(facade([8761]))
        processes.start(account_server(8090, f"{server.url}/eureka/"))

`facade`, `account_server` and so on say what to run, building it first where that is needed; `Processes` runs it.
Everything listens on loopback. What stands in a person's way is a `PeerError`: one line, no traceback needed.

Builds are kept outside the checkout, in ${PEERS_HOME:-${XDG_CACHE_HOME:-~/.cache}/registry-facade-peers}, each under a
hash of what it is made from. The folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

_log = logging.getLogger(__name__)

SOURCES = Path(__file__).resolve().parent
PROJECT = SOURCES.parent.parent
BUILD_WITHIN_S = 900.0  # the first build of all fetches its libraries
START_WITHIN_S = 90.0
STOP_WITHIN_S = 20.0

# command: what it is, and the Debian package that has it
_TOOLS = {
    "java": ("a JDK 17", "openjdk-17-jdk-headless"),
    "mvn": ("Maven", "maven"),
    "go": ("Go 1.18 or newer", "golang-go"),
    "etcd": ("etcd", "etcd-server"),
    "node": ("Node.js", "nodejs"),
    "npm": ("npm", "npm"),
    "prometheus": ("Prometheus", "prometheus"),
}
# Little is needed; the second compiler only pays after minutes.
_SMALL_JVM = ("-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class PeerError(Exception):
    """A program cannot be built or does not start. The message is one line for a person."""


class MissingToolError(PeerError):
    """A tool is not on this machine. The message says how to get it."""


@dataclass(frozen=True)
class Program:
    """What to run, and where it answers 200 as soon as it serves. One that serves nothing has no URL."""

    name: str
    command: Sequence[str | Path]
    url: str = ""
    ready: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # laid into its working directory: relative path, text


def facade(
    ports: Sequence[int], settings: Mapping[str, str] | None = None, stores: Sequence[str] = ("memory://",)
) -> Program:
    """Our own server over these stores; `settings` become its REGISTRY_FACADE_* environment."""
    listen = [word for port in ports for word in ("--listen", f"127.0.0.1:{port}")]
    behind = [word for store in stores for word in ("--store", store)]
    return Program(
        name="facade",
        command=[sys.executable, "-m", "facade", "serve", *behind, *listen],
        url=f"http://127.0.0.1:{ports[0]}",
        ready="/healthz",
        environment={
            "PYTHONPATH": str(PROJECT),
            "REGISTRY_FACADE_DATA_DIR": "data",
            **{f"REGISTRY_FACADE_{name.upper()}": value for name, value in (settings or {}).items()},
        },
    )


def account_server(port: int, eureka_url: str, hello_server_name: str = "hello-server") -> Program:
    """The guide's Spring application, on a clock of seconds; it finds hello-server under the name given."""
    return Program(
        name="account-server",
        command=[
            tool("java"),
            *_SMALL_JVM,
            "-jar",
            maven_build("account-server"),
            f"--server.port={port}",
            f"--eureka.client.service-url.defaultZone={eureka_url}",
            f"--hello-server.name={hello_server_name}",
            "--spring.profiles.active=brisk",
        ],
        url=f"http://127.0.0.1:{port}",
        ready="/checkHealth",
    )


def hello_server(port: int, servicecenter_url: str, app: str = "eureka") -> Program:
    """The guide's Go service on go-chassis, in the app given."""
    return Program(
        name="hello-server",
        command=[go_build("hello-server")],
        url=f"http://127.0.0.1:{port}",
        ready="/checkHealth",
        environment={
            "CHASSIS_CONF_DIR": str(SOURCES / "hello-server" / "conf"),
            "CHASSIS_HOME": ".",  # it writes its log there
            "PAAS_CSE_SC_ENDPOINT": servicecenter_url,
            "servicecomb_protocols_rest_listenAddress": f"127.0.0.1:{port}",
            "servicecomb_service_app": app,
        },
    )


def eureka(port: int, variant: str = "stock", peers: Sequence[str] = ()) -> Program:
    """A real Eureka server; the variants (stock, fresh, brisk) are those of its application.yml.

    It tells its `peers`, service URLs of other servers, all that it hears from clients.
    """
    return Program(
        name="eureka",
        command=[
            tool("java"),
            *_SMALL_JVM,
            "-jar",
            maven_build("eureka"),
            f"--server.port={port}",
            f"--spring.profiles.active={variant}",
            *([f"--eureka.client.service-url.defaultZone={','.join(peers)}"] if peers else ()),
        ],
        url=f"http://127.0.0.1:{port}",
        ready="/eureka/apps",
    )


def etcd(port: int) -> Program:
    """The store of a real ServiceCenter; `port` for clients, the next one for peers."""
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    return Program(
        name="etcd",
        command=[
            tool("etcd"),
            *("--name=sc", "--data-dir=data", f"--initial-cluster=sc={peer}"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
        ],
        url=client,
        ready="/health",
    )


def servicecenter(port: int, etcd_url: str) -> Program:
    """A real ServiceCenter over an etcd that runs. No registry has it, so SERVICECENTER_BIN names the binary."""
    binary = os.environ.get("SERVICECENTER_BIN", "")
    if not os.access(binary, os.X_OK) or not Path(binary).is_file():
        raise MissingToolError(
            f"SERVICECENTER_BIN names no executable ({binary!r}): put the path of an Apache ServiceCenter there"
        )
    conf = {
        f"conf/{file.name}": file.read_text().replace("@GRPC_PORT@", str(port + 5))
        for file in sorted((SOURCES / "servicecenter" / "conf").iterdir())
    }
    return Program(
        name="servicecenter",
        command=[binary],
        url=f"http://127.0.0.1:{port}",
        ready="/v4/default/registry/health",
        environment={
            "APP_ROOT": ".",
            "CHASSIS_HOME": ".",
            "REGISTRY_KIND": "etcd",  # the etcd inside the server loses deletes
            "REGISTRY_ETCD_CLUSTER_ENDPOINTS": etcd_url,
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
        },
        files=conf,
    )


class Running:
    """A program that was started. It is stopped by its pid, never by its name."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = program.name
        self.url = program.url
        self.log = log
        self.pid = process.pid
        self._process = process

    def stop(self) -> None:
        """Ask it to end, as an operator would, and wait; a client deregisters meanwhile."""
        if self._process.poll() is None:
            self._process.terminate()
            self.thaw()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """From now on it takes connections, for the system does, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def memory_bytes(self) -> int:
        """What it has in memory now. Linux only."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024

    @property
    def log_text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def wait_until_ready(self, ready: str) -> None:
        give_up_at = time.monotonic() + START_WITHIN_S
        while time.monotonic() < give_up_at:
            if self._process.poll() is not None:
                raise PeerError(
                    f"{self.name} ended with code {self._process.returncode}: {_last_line(self.log)} ({self.log})"
                )
            with suppress(httpx.TransportError):
                if httpx.get(self.url + ready, timeout=2).status_code == 200:
                    return
            time.sleep(0.05)
        raise PeerError(f"{self.name} did not answer at {self.url}{ready} within {START_WITHIN_S:.0f} s ({self.log})")


class Processes:
    """Runs programs, each in a directory of its own under `home`, and stops them all at the end, the newest first."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._started: list[Running] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in reversed(self._started):
            running.stop()

    def start(self, program: Program) -> Running:
        """Start it and wait until it serves. Raises PeerError, also if another program has its port."""
        if program.url:
            _require_free_port(program)
        directory = Path(tempfile.mkdtemp(prefix=f"{program.name}-", dir=self._home))
        for path, text in program.files.items():
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_text(text)
        log = directory / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                program.command,
                cwd=directory,
                env=os.environ | program.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is ours, and we stop them in order
            )
        running = Running(program, process, log)
        self._started.append(running)
        if program.url:
            running.wait_until_ready(program.ready)
        return running


def _require_free_port(program: Program) -> None:
    address = httpx.URL(program.url)
    with socket.socket() as probe:
        if probe.connect_ex((address.host, address.port or 80)) == 0:
            raise PeerError(f"{program.name}: another program listens on {address.host}:{address.port}")


def tool(command: str) -> str:
    """Where the command is. Raises MissingToolError."""
    what, package = _TOOLS[command]
    found = shutil.which(command)
    if found is None:
        raise MissingToolError(f"{what} is missing: '{command}' is not on the PATH (Debian: apt-get install {package})")
    return found


def maven_build(name: str, profile: str = "") -> Path:
    """The jar that the sources in folder `name` make, in the profile given."""
    java, maven = tool("java"), tool("mvn")
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    command = [maven, "-B", "-q", *([f"-P{profile}"] if profile else ()), "-Dpeers.out={out}", "package"]
    return built(name, f"{Path(name).name}.jar", command, version + profile)


def go_build(name: str) -> Path:
    """The binary that the sources in folder `name` make."""
    go = tool("go")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    binary = Path(name).name
    return built(name, binary, [go, "build", "-buildvcs=false", "-trimpath", "-o", f"{{out}}/{binary}", "."], version)


def npm_build(name: str) -> Path:
    """The main.js in folder `name`, laid beside the packages that its package.json names."""
    node, npm = tool("node"), tool("npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    install = f"cp package.json main.js {{out}} && cd {{out}} && {npm} install --no-package-lock --no-audit --no-fund"
    return built(name, "main.js", ["/bin/sh", "-c", install], version)


def venv_build(name: str) -> Path:
    """The python of a virtual environment with the requirements.txt in folder `name`."""
    install = f"{sys.executable} -m venv {{out}}/venv && {{out}}/venv/bin/python -m pip install -q -r requirements.txt"
    return built(name, "venv/bin/python", ["/bin/sh", "-c", install], sys.version)


def built(name: str, artifact: str, command: Sequence[str], tool_version: str) -> Path:
    """Where the artifact stands, built unless a build of the same sources is kept. The command builds into `{out}`."""
    kept = _builds() / name / _digest(SOURCES / name, tool_version)
    if (kept / artifact).is_file():
        return kept / artifact
    _log.info("building %s, which takes a while the first time", name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    out = Path(tempfile.mkdtemp(prefix="building-", dir=kept.parent))
    log = out / "build.log"
    with log.open("wb") as output:
        status = subprocess.run(
            [word.replace("{out}", str(out)) for word in command],
            cwd=SOURCES / name,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=BUILD_WITHIN_S,
            check=False,
        ).returncode
    if status != 0:
        raise PeerError(f"{name} could not be built: {_first_error(log)} ({log})")
    try:
        out.rename(kept)
    except OSError:  # another run has put the same build there meanwhile
        shutil.rmtree(out)
    return kept / artifact


def _builds() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PEERS_HOME") or Path(cache) / "registry-facade-peers")


def _digest(folder: Path, tool_version: str) -> str:
    digest = hashlib.sha256(tool_version.encode())
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _first_error(log: Path) -> str:
    """Maven ends with advice; what is wrong stands before it."""
    return next((line for line in _lines(log) if "ERROR" in line), _last_line(log))


def _last_line(log: Path) -> str:
    return (_lines(log) or ["it said nothing"])[-1]


def _lines(log: Path) -> list[str]:
    return [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
