"""scctl, with which ServiceCenter's operators look at it. No registry has it: SCCTL_BIN names the binary of one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from conformance.clients.conftest import Noted
from conformance.clients.servicecenter.life import Registry
from conformance.clients.servicecenter.programs import Access

VERSION = "2.2.0"
TEXT = "swagger: '2.0' # <&>"


class Scctl(NamedTuple):
    """The command is run anew for each question: it is told apart by the access control of the server alone."""

    access: Access

    def __str__(self) -> str:
        return f"scctl-{VERSION}-access-{self.access}"

    @property
    def told(self) -> dict[str, str]:
        return {"name": "scctl", "version": VERSION, "access": self.access}


class Provider(NamedTuple):
    app: str
    service_id: str
    instance_id: str


Asked = Callable[..., subprocess.CompletedProcess[str]]

OFF, ON = ([pytest.param(Scctl(access), id=str(Scctl(access)))] for access in ("off", "on"))


@pytest.fixture
def scctl(client: Scctl, registry: Registry) -> Asked:
    """`scctl(word, …)` asks the registry, with root's token where there are accounts."""
    binary = os.environ.get("SCCTL_BIN")
    if not binary:
        pytest.skip("no registry has scctl, and SCCTL_BIN names none")
    token = registry.sc.headers.get("Authorization", "").removeprefix("Bearer ")

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [binary, *words, "--addr", registry.url, *(("--token", token) if token else ())]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return ask


@pytest.fixture
def provider(registry: Registry, app: str) -> Iterator[Provider]:
    """With a schema and an instance, and nobody's any more at the end."""
    sc = registry.sc
    service_id = sc.create_service(app, "prov", "1.2.3", framework={"name": "Go-Chassis", "version": "2.8.0"})
    assert sc.put(f"microservices/{service_id}/schemas/hello", {"schema": TEXT, "summary": "ab"}).status == 200
    yield Provider(app, service_id, sc.register(service_id, hostName="host-of-prov", endpoints=["rest://10.1.2.3:80"]))
    sc.delete(f"microservices/{service_id}", force=1)


def _tells(registry: Registry, scctl: Asked, what: str, app: str, **told: str) -> None:
    """The one line of a table about the application says so, by the words of its head."""

    def is_told() -> None:
        answer = scctl("get", what, "--output", "wide")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        head, *lines = ([cell.strip() for cell in line.split("|")] for line in answer.stdout.splitlines())
        rows = [dict(zip(head, cells, strict=True)) for cells in lines if app in cells]
        assert [{name: row[name] for name in told} for row in rows] == [told]

    registry.sc.soon(is_told)


@pytest.mark.parametrize("client", OFF, indirect=True)
def test_lists(scctl: Asked, registry: Registry, provider: Provider) -> None:
    """Lists services and instances with all that it tells of them"""
    both = {"DOMAIN": "default", "ENV": "development", "FRAMEWORK": "Go-Chassis", "ENDPOINTS": "rest://10.1.2.3:80"}

    _tells(registry, scctl, "service", provider.app, NAME="prov", VERSIONS="1.2.3", **both)
    _tells(
        registry,
        scctl,
        "instance",
        provider.app,
        HOST="host-of-prov",
        SERVICE="prov",
        VERSION="1.2.3",
        LEASE="2m",
        **both,
    )


@pytest.mark.parametrize("client", OFF, indirect=True)
def test_reads_schemas(scctl: Asked, registry: Registry, provider: Provider) -> None:
    """Prints the schemas of a service"""

    def is_printed() -> None:
        answer = scctl("get", "schema", "--app", provider.app, "--name", "prov")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert TEXT in answer.stdout

    registry.sc.soon(is_printed)


@pytest.mark.parametrize("client", OFF, indirect=True)
def test_looks_at_the_server(scctl: Asked) -> None:
    """Tells the server's health, its version, and where its records live"""
    health, version, cluster = scctl("health"), scctl("version"), scctl("get", "cluster")

    assert [one.returncode for one in (health, version, cluster)] == [0, 0, 0]
    assert "service center Version: 2.2.0" in version.stdout
    assert "default" in cluster.stdout and "://" in cluster.stdout


@pytest.mark.parametrize("client", ON, indirect=True)
def test_is_refused_with_accounts(scctl: Asked, noted: Noted) -> None:
    """Is refused where accounts are asked for: it sends its token in a header that is not read for one"""
    answer = scctl("get", "service")

    assert (answer.returncode, answer.stderr.strip()) == (1, "No authorization header")
    noted("refused: no authorization header")
