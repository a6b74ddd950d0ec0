"""Starts, waits for and stops the programs that the demo and the suites run beside each other.

    with Processes(Path("somewhere")) as processes:
        server = processes.start(facade([8761]))
        processes.start(account_server(8090, f"{server.url}/eureka/"))

`facade`, `account_server` and so on say what to run, built first where that is needed (builds.py); `Processes` runs it.
Everything listens on loopback. What stands in a person's way is a `PeerError`: one line, no traceback needed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import httpx

from conformance.peers.builds import SOURCES, MissingToolError, PeerError, go_build, last_line, maven_build, tool

PROJECT = SOURCES.parent.parent
START_WITHIN_S = 300.0  # a JVM beside others on a small machine
STOP_WITHIN_S = 60.0  # likewise: a client that is killed has not taken itself away
_LOG = "output.log"

# Little is needed; the second compiler only pays after minutes.
_SMALL_JVM = ("-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True)
class Program:
    """What to run, and where it answers 200 as soon as it serves. One that serves nothing has no URL.

    `ready` is a path; for what does not speak HTTP it is a question about the URL, which may raise OSError.
    """

    name: str
    command: Sequence[str | Path]
    url: str = ""
    ready: str | Callable[[str], bool] = ""
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


def hello_server(
    port: int, servicecenter_url: str, app: str = "eureka", account: tuple[str, str] | None = None
) -> Program:
    """The guide's Go service on go-chassis, in the app given; `account` (name, password) where one is needed."""
    name, password = account or ("", "")
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
            **(
                {
                    "servicecomb_credentials_account_name": name,
                    "servicecomb_credentials_account_password": password,
                    "servicecomb_credentials_cipher": "default",
                }
                if account
                else {}
            ),
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


def secured_eureka(port: int, user: str, password: str) -> Program:
    """One that demands an account with Basic, for everything; its URL names that."""
    stock = eureka(port, "conformance")
    words = [maven_build("eureka", "secured") if str(word).endswith(".jar") else word for word in stock.command]
    account = [f"--spring.security.user.name={user}", f"--spring.security.user.password={password}"]
    named = stock.url.replace("://", f"://{user}:{quote(password, safe='')}@")
    return replace(stock, command=[*words, *account], url=named, ready="/")


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


def servicecenter(port: int, etcd_url: str, root_password: str = "") -> Program:
    """A real ServiceCenter over an etcd that runs. No registry has it, so SERVICECENTER_BIN names the binary.

    With a password for its account `root`, it lets in who has an account only.
    """
    binary = os.environ.get("SERVICECENTER_BIN", "")
    if not os.access(binary, os.X_OK) or not Path(binary).is_file():
        raise MissingToolError(
            f"SERVICECENTER_BIN names no executable ({binary!r}): put the path of an Apache ServiceCenter there"
        )
    conf = {
        f"conf/{file.name}": file.read_text().replace("@GRPC_PORT@", str(port + 1))
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
            "RBAC_ENABLE": str(bool(root_password)).lower(),
            "SC_INIT_ROOT_PASSWORD": root_password,
        },
        files=conf | (_key_pair() if root_password else {}),
    )


def _key_pair() -> dict[str, str]:
    """What a ServiceCenter signs tokens with: PKCS#1, or every login is an internal error."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {"private.key": private.decode(), "public.key": public.decode()}


class Running:
    """A program that was started. It is stopped by its pid, never by its name."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.program = program
        self.name = program.name
        self.url = program.url
        self.directory = directory
        self.log = directory / _LOG
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
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def memory_bytes(self) -> int:
        """What it has in memory now. Linux only."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024

    @property
    def log_text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        ready = self.program.ready
        is_ready = partial(_answers_200, ready) if isinstance(ready, str) else ready
        give_up_at = time.monotonic() + START_WITHIN_S
        while time.monotonic() < give_up_at:
            if self._process.poll() is not None:
                raise PeerError(
                    f"{self.name} ended with code {self._process.returncode}: {last_line(self.log)} ({self.log})"
                )
            with suppress(httpx.TransportError, OSError):
                if is_ready(self.url):
                    return
            time.sleep(0.05)
        asked = self.url + (ready if isinstance(ready, str) else "")
        raise PeerError(f"{self.name} did not answer at {asked} within {START_WITHIN_S:.0f} s ({self.log})")


def _answers_200(path: str, url: str) -> bool:
    return httpx.get(url + path, timeout=2).status_code == 200


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
        directory = Path(tempfile.mkdtemp(prefix=f"{program.name}-", dir=self._home))
        for path, text in program.files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text)
        return self._run(program, directory)

    def restart(self, running: Running) -> Running:
        """Start it again where it ran, on what it left there; stopped first if it still runs. Raises PeerError."""
        running.stop()
        return self._run(running.program, running.directory)

    def _run(self, program: Program, directory: Path) -> Running:
        if program.url:
            _require_free_port(program)
        with (directory / _LOG).open("ab") as output:
            process = subprocess.Popen(
                program.command,
                cwd=directory,
                env=os.environ | program.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is ours, and we stop them in order
            )
        running = Running(program, process, directory)
        self._started.append(running)
        if program.url:
            try:
                running.wait_until_ready()
            except PeerError:
                running.kill()  # or who comes next finds the port taken
                raise
        return running


def _require_free_port(program: Program) -> None:
    address = httpx.URL(program.url)
    with socket.socket() as probe:
        if probe.connect_ex((address.host, address.port or 80)) == 0:
            raise PeerError(f"{program.name}: another program listens on {address.host}:{address.port}")
