"""What the files say of us, and of each other, is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
import yaml

from conformance.conftest import StartOurs
from conformance.peers.builds import tool
from conformance.peers.processes import PROJECT

from . import files
from .files import DEPLOY, Deployed

PORTS = {8761, 30100, 30103}


@pytest.fixture(scope="module")
def exposed(start_ours: StartOurs) -> set[str]:
    """The names of all figures that a running server tells."""
    return set(re.findall(r"^# TYPE (\w+)", httpx.get(f"{start_ours().url}/metrics").text, re.MULTILINE))


@pytest.mark.parametrize("deployed", [*files.deployed()], ids=lambda deployed: deployed.name)
def test_the_server_takes_the_settings_that_a_file_states(deployed: Deployed, tmp_path: Path) -> None:
    """An unknown one stops the start: also what Kubernetes makes of a Service with our name."""
    data_dir = {"REGISTRY_FACADE_DATA_DIR": str(tmp_path)}
    checked = subprocess.run(
        [sys.executable, "-m", "facade", "config", "check"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)} | dict(deployed.environment) | data_dir,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("image", sorted(set(files.images())))
def test_an_image_has_a_version(image: str) -> None:
    """What is deployed again is to be what was deployed before."""
    assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", image)


def test_our_image_is_that_of_this_version() -> None:
    version = re.search(r'__version__ = "(.*)"', (PROJECT / "facade" / "__init__.py").read_text())

    assert version
    assert {image for image in files.images() if image.startswith(files.IMAGE)} == {f"registry-facade:{version[1]}"}


def test_every_port_that_the_image_has_is_reachable() -> None:
    listened = {
        int(one.rpartition(":")[2]) for one in files.dockerfile_environment()["REGISTRY_FACADE_LISTEN"].split(",")
    }
    [published] = re.findall(r"^EXPOSE (.*)$", files.dockerfile(), re.MULTILINE)
    containers = [container for file in files.KUBERNETES for pod in files.pods(file) for container in pod["containers"]]
    services = [one for file in files.KUBERNETES for one in files.manifests(file) if one["kind"] == "Service"]
    unit = files.unit_environment()["REGISTRY_FACADE_LISTEN"]

    assert listened == {int(port) for port in published.split()} == PORTS
    assert [{port["containerPort"] for port in one["ports"]} for one in containers] == [PORTS, PORTS]
    assert [{port["port"] for port in one["spec"]["ports"]} for one in services] == [PORTS, PORTS]
    assert {int(one.rpartition(":")[2]) for one in unit.split(",")} == PORTS
    assert {one.rpartition(":")[0] for one in files.compose("compose.yaml")["services"]["registry"]["ports"]} == {
        str(port) for port in PORTS
    }


def test_probes_ask_what_a_server_answers(start_ours: StartOurs) -> None:
    probes = {
        container[probe]["httpGet"]["path"]
        for file in files.KUBERNETES
        for pod in files.pods(file)
        for container in pod["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    url = start_ours().url

    assert {path: httpx.get(url + path).status_code for path in probes} == {"/healthz": 200, "/readyz": 200}


def test_files_that_are_mounted_are_there() -> None:
    mounts = [
        mount.split(":")[0]
        for file in files.COMPOSE
        for service in files.compose(file)["services"].values()
        for mount in service.get("volumes", ())
        if mount.startswith("./")
    ]

    assert mounts
    assert [mount for mount in mounts if not (PROJECT / mount).exists()] == []


def test_addresses_are_those_that_containers_have() -> None:
    """Names of containers that are gone do not resolve, so compose.cluster.yaml and nginx.conf name addresses."""
    services = files.compose("compose.cluster.yaml")["services"]
    fixed: dict[str, set[str]] = defaultdict(set)
    for name, service in services.items():
        if isinstance(service["networks"], dict):
            fixed[name.rpartition("-")[0]].add(service["networks"]["registry"]["ipv4_address"])
    balanced = re.findall(r"server ([\d.]+):8761", (DEPLOY / "compose" / "nginx.conf").read_text())
    store = services["node-1"]["environment"]["REGISTRY_FACADE_STORE"]

    assert set(balanced) == fixed["node"]
    assert set(re.findall(r"([\d.]+):26379", store)) == fixed["sentinel"]
    assert services["sentinel-1"]["environment"]["PRIMARY"].split()[0] in fixed["valkey"]


def test_prometheus_asks_the_nodes_that_there_are() -> None:
    [job] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    nodes = [name for name in files.compose("compose.cluster.yaml")["services"] if name.startswith("node-")]

    assert job["static_configs"][0]["targets"] == [f"{node}:8761" for node in nodes]


@pytest.mark.parametrize("expression", [*files.rules(), *files.panels()])
def test_a_server_tells_the_figures_that_rules_and_panels_name(expression: str, exposed: set[str]) -> None:
    named = set(re.findall(r"\b(?:registry_\w+|up)\b", expression))

    assert named
    assert named - exposed - {"up"} == set()  # that one is Prometheus' own


def test_systemd_can_read_the_unit(tmp_path: Path) -> None:
    """It warns of what it does not know, and goes on without."""
    stated = (DEPLOY / "systemd" / "registry-facade.service").read_text()
    file = tmp_path / "registry-facade.service"
    file.write_text(stated.replace("/opt/registry-facade/bin/registry-facade", sys.executable))

    checked = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", file], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def test_prometheus_can_read_the_panels(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": panel} for number, panel in enumerate(files.panels())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    checked = subprocess.run([tool("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr
