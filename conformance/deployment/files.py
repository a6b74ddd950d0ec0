"""The files that deploy us, read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from conformance.peers.processes import PROJECT

DEPLOY = PROJECT / "deploy"
COMPOSE = ("compose.yaml", "compose.cluster.yaml")
KUBERNETES = ("over-redis.yaml", "embedded.yaml")
IMAGE = "registry-facade:"
"""How ours begins."""

# What a person states beside these files.
STATED = {"VALKEY_PASSWORD": "s3cret", "GRAFANA_PASSWORD": "s3cret"}
STORE_SECRET = "redis+sentinel://:s3cret@redis-0.redis:26379,redis-1.redis:26379/registry/0"
REFERRED_TO = {"registry-facade-store/url": STORE_SECRET, "status.podIP": "10.1.0.7"}
# What Kubernetes adds of itself to each container of a namespace with a Service of our name, unless told not to.
SERVICE_LINKS = {"REGISTRY_FACADE_SERVICE_HOST": "10.0.0.1", "REGISTRY_FACADE_PORT": "tcp://10.0.0.1:8761"}


class Deployed(NamedTuple):
    """One way in which a server of ours is started."""

    name: str
    environment: Mapping[str, str]


def deployed() -> Iterator[Deployed]:
    for file in COMPOSE:
        for name, service in compose(file)["services"].items():
            if service["image"].startswith(IMAGE):
                yield Deployed(f"{file} {name}", service.get("environment", {}))
    for file in KUBERNETES:
        for pod in pods(file):
            links = SERVICE_LINKS if pod.get("enableServiceLinks", True) else {}
            for container in pod["containers"]:
                stated = {one["name"]: one.get("value") or REFERRED_TO[_reference(one)] for one in container["env"]}
                yield Deployed(f"{file} {container['name']}", links | stated)
    yield Deployed("registry-facade.service", unit_environment())
    yield Deployed("Dockerfile", dockerfile_environment())


def _reference(variable: Mapping[str, Any]) -> str:
    """What a variable's value is taken from."""
    match variable["valueFrom"]:
        case {"secretKeyRef": {"name": name, "key": key}}:
            return f"{name}/{key}"
        case {"fieldRef": {"fieldPath": str(path)}}:
            return path
    raise ValueError(f"not known here: {variable}")


def compose(file: str) -> dict[str, Any]:
    text = re.sub(r"\$\{(\w+):\?\}", lambda named: STATED[named[1]], (PROJECT / file).read_text())
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def manifests(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / file).read_text()))


def pods(file: str) -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for one in manifests(file) if "template" in one["spec"]]


def unit_environment() -> dict[str, str]:
    unit = (DEPLOY / "systemd" / "registry-facade.service").read_text()
    stated = re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE)
    return {name: value.replace("%S", "/var/lib") for name, value in stated}


def dockerfile() -> str:
    return (PROJECT / "Dockerfile").read_text()


def dockerfile_environment() -> dict[str, str]:
    [block] = re.findall(r"^ENV ((?:.*\\\n)*.*)$", dockerfile(), re.MULTILINE)
    return dict(word.split("=", 1) for word in block.replace("\\\n", " ").split() if not word.startswith("PATH="))


def images() -> Iterator[str]:
    for file in COMPOSE:
        yield from (service["image"] for service in compose(file)["services"].values())
    for file in KUBERNETES:
        yield from (container["image"] for pod in pods(file) for container in pod["containers"])
    yield from re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE)


def rules() -> list[str]:
    """Of Prometheus: their expressions."""
    read = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    return [rule["expr"] for group in read["groups"] for rule in group["rules"]]


def panels() -> list[str]:
    """Of the Grafana dashboard: their expressions, with a value for its variable."""
    read = json.loads((DEPLOY / "grafana" / "dashboards" / "registry.json").read_text())
    targets = [target for panel in read["panels"] for target in panel["targets"]]
    return [target["expr"].replace("$job", "registry-facade") for target in targets]
