"""The same clients over TLS: each trusts a new authority in the way of its platform; one shows its own certificate."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trustme

from conformance.clients.conftest import Live
from conformance.clients.life import Life, Registry, soon
from conformance.clients.programs import EUREKA_JS, FARGO, NETFLIX, PROMETHEUS, PY_EUREKA, SPRING, SPRING_BY_TRAIN
from conformance.conftest import RanAgainst
from conformance.peers.processes import Processes, Program, tool
from conformance.peers.processes import eureka as real_eureka

CLIENTS = [*NETFLIX, *PY_EUREKA, EUREKA_JS[1], *FARGO, *SPRING]
PASSWORD = "changeit"


@dataclass(frozen=True)
class Direct:
    """Nobody listens in between: there is nothing to read."""

    url: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, as each platform reads them."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("127.0.0.1", "client"):
        issued = authority.issue_cert(name)
        (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
    trust = ["-importcert", "-noprompt", "-alias", "ca", "-file", "ca.pem", "-keystore", "trust.p12"]
    _run(folder, tool("java").removesuffix("java") + "keytool", *trust, "-storepass", PASSWORD)
    own = ["-export", "-in", "client.pem", "-inkey", "client.key", "-out", "client.p12"]
    _run(folder, "openssl", "pkcs12", *own, "-passout", f"pass:{PASSWORD}")
    return folder


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module", autouse=True)
def trusted_by_all(folder: Path) -> Iterator[None]:
    """Of Python, Go and Node.js, in this process and in all that it starts; builds go on to trust the world."""
    usual = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    bundle = folder / "bundle.pem"
    bundle.write_bytes((Path(usual).read_bytes() if usual else b"") + (folder / "ca.pem").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(bundle))
        patch.setenv("NODE_EXTRA_CA_CERTS", str(folder / "ca.pem"))
        yield


@pytest.fixture
def environment(folder: Path) -> Mapping[str, str]:
    """Java's, which would keep Maven from the world."""
    trust = f"-Djavax.net.ssl.trustStore={folder / 'trust.p12'} -Djavax.net.ssl.trustStorePassword={PASSWORD}"
    return {"JAVA_TOOL_OPTIONS": trust}


def _program(
    kind: str, port: int, folder: Path, ours_program: Callable[..., Program], *, is_mutual: bool = False
) -> Program:
    certificate, key, ca = folder / "127.0.0.1.pem", folder / "127.0.0.1.key", folder / "ca.pem"
    if kind == "ours":
        program = ours_program(
            port, tls_certificate=certificate, tls_key=key, **({"tls_client_ca": ca} if is_mutual else {})
        )
    else:
        stock = real_eureka(port, "conformance")
        flags = [f"--server.ssl.certificate={certificate}", f"--server.ssl.certificate-private-key={key}"]
        flags += [f"--server.ssl.trust-certificate={ca}", "--server.ssl.client-auth=need"] if is_mutual else []
        program = replace(stock, command=[*stock.command, *flags], ready="/")
    return replace(program, url=program.url.replace("http:", "https:"))


@pytest.fixture(scope="module")
def registry(
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ours_program: Callable[..., Program],
    ran_against: RanAgainst,
    folder: Path,
) -> Iterator[Registry]:
    ran_against("clients over TLS", eureka_kind)
    registry = Registry(eureka_kind, _program(eureka_kind, free_port(), folder, ours_program), processes)
    yield registry
    registry.stop()


@pytest.fixture
def wire(registry: Registry) -> Direct:
    return Direct(registry.url)


@pytest.mark.parametrize("client", CLIENTS, ids=str, indirect=True)
def test_lives_over_tls(alive: Life) -> None:
    """Registers, renews, and sees another application come and go, over TLS."""
    assert alive.registry.url.startswith("https://")
    alive.renews()
    alive.sees_come_and_go(f"{alive.app}-other")


@pytest.mark.parametrize("client", PROMETHEUS, ids=str, indirect=True)
def test_discovers_over_tls(live: Live, app: str) -> None:
    """Lists what is registered, over TLS."""
    prometheus = live()
    prometheus.registry.eureka.given(app.upper(), "up", leaseInfo={"renewalIntervalInSecs": 30, "durationInSecs": 600})

    soon(lambda: app.upper() in httpx.get(f"{prometheus.running.url}/api/v1/targets").text)


@pytest.mark.parametrize("client", SPRING_BY_TRAIN, ids=str, indirect=True)
def test_shows_its_certificate(
    client: object,
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ours_program: Callable[..., Program],
    app: str,
    folder: Path,
) -> None:
    """Is let in by the certificate of its `eureka.client.tls.key-store`, and not without."""
    server = _program(eureka_kind, free_port(), folder, ours_program, is_mutual=True)
    # Nobody but those with a certificate learns that it is ready.
    running = processes.start(replace(server, url=""))
    own = ssl.create_default_context(cafile=folder / "ca.pem")
    own.load_cert_chain(folder / "client.pem", folder / "client.key")
    with httpx.Client(base_url=server.url, verify=own) as http:
        soon(lambda: _is_there(http, "/eureka/apps"))
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/eureka/apps")
        program = client.program(free_port(), server.url, app)  # type: ignore[attr-defined]  # each of these clients has it
        shown = [
            "--eureka.client.tls.enabled=true",
            f"--eureka.client.tls.key-store=file:{folder / 'client.p12'}",
            f"--eureka.client.tls.key-store-password={PASSWORD}",
            f"--eureka.client.tls.key-password={PASSWORD}",
            f"--eureka.client.tls.trust-store=file:{folder / 'trust.p12'}",
            f"--eureka.client.tls.trust-store-password={PASSWORD}",
        ]
        spring = processes.start(replace(program, command=[*program.command, *shown]))
        soon(lambda: _is_there(http, f"/eureka/apps/{app.upper()}"))
        spring.stop()
    running.stop()


def _is_there(http: httpx.Client, path: str) -> bool:
    try:
        return http.get(path).status_code == 200
    except httpx.TransportError:
        return False
