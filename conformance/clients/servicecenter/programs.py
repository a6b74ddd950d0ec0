"""How each client of ServiceCenter's is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from conformance.clients.programs import TINY_JVM
from conformance.peers.builds import SOURCES, go_build, maven_build, tool
from conformance.peers.processes import Program

Access = Literal["off", "on"]


class Account(NamedTuple):
    name: str
    password: str


ACCOUNT = Account("root", "Only_for_tests1")
"""Who clients log in as where access control is on."""


@dataclass(frozen=True)
class Role:
    """What a client plays in a test."""

    port: int
    url: str
    """Of the server, without a path."""
    app: str
    service: str
    version: str
    access: Access
    more: Mapping[str, str]
    """What only some clients know, by their own names."""


@dataclass(frozen=True)
class Client:
    name: str
    version: str
    run: Callable[[Role], Program]
    access: Access = "off"

    def __str__(self) -> str:
        return f"{self.name}-{self.version[:12]}-access-{self.access}".replace(" ", "-")

    @property
    def told(self) -> Mapping[str, str]:
        return {"name": self.name, "version": self.version, "access": self.access}


def in_both_modes(client: Client) -> list[Client]:
    return [client, replace(client, access="on")]


def _sc_client(role: Role) -> Program:
    login: Sequence[str] = ACCOUNT if role.access == "on" else ()
    return Program(
        name="sc-client",
        command=[go_build("clients/sc-client"), f"{role.port}", urlsplit(role.url).netloc, *login],
        url=f"http://127.0.0.1:{role.port}",
        ready="/ready",
    )


SC_CLIENT = in_both_modes(Client("go-chassis/sc-client", "0.6.1-0.20220728072125-dacdd0c834bf", _sc_client))


def _go_chassis(role: Role) -> Program:
    """Any setting of its yaml can come from the environment, with "_" for "."; contracts come from files only."""
    conf = {path.stem: path.read_text() for path in (SOURCES / "clients/go-chassis/conf").iterdir()}
    contract = conf.pop("contract")
    settings = {
        "registry_address": role.url,
        "protocols_rest_listenAddress": f"127.0.0.1:{role.port}",
        "service_app": role.app,
        "service_name": role.service,
        "service_version": role.version,
        **role.more,
    }
    if role.access == "on":
        name, password = ACCOUNT
        settings |= {
            "credentials_account_name": name,
            "credentials_account_password": password,
            "credentials_cipher": "default",
        }
    return Program(
        name="go-chassis",
        command=[go_build("clients/go-chassis")],
        url=f"http://127.0.0.1:{role.port}",
        ready="/ready",
        environment={"CHASSIS_HOME": "."} | {f"servicecomb_{name}": value for name, value in settings.items()},
        files={
            **{f"conf/{name}.yaml": text for name, text in conf.items()},
            f"conf/{role.service}/schema/contract.yaml": contract,
        },
    )


GO_CHASSIS = in_both_modes(Client("go-chassis", "2.8.0", _go_chassis))


def _java(name: str, arguments: Sequence[str], role: Role) -> Program:
    return Program(
        name=name,
        command=[tool("java"), *TINY_JVM, *arguments, "-jar", maven_build(f"clients/{name}")],
        url=f"http://127.0.0.1:{role.port}",
        ready="/ready",
    )


def _java_chassis(role: Role) -> Program:
    settings = {
        "service.application": role.app,
        "service.name": role.service,
        "service.version": role.version,
        "service.registry.address": role.url,
        "rest.address": f"127.0.0.1:{role.port}",
        **role.more,
    }
    if role.access == "on":
        settings |= {
            "credentials.rbac.enabled": "true",
            "credentials.account.name": ACCOUNT.name,
            "credentials.account.password": ACCOUNT.password,
        }
    return _java("java-chassis", [f"-Dservicecomb.{name}={value}" for name, value in settings.items()], role)


JAVA_CHASSIS = in_both_modes(Client("Java-Chassis", "2.8.3", _java_chassis))


def _spring_cloud_huawei(role: Role) -> Program:
    settings = {
        "service.application": role.app,
        "service.name": role.service,
        "service.version": role.version,
        "discovery.address": role.url,
        **role.more,
    }
    if role.access == "on":
        settings |= {
            "credentials.enabled": "true",
            "credentials.account.name": ACCOUNT.name,
            "credentials.account.password": ACCOUNT.password,
        }
    arguments = [f"-Dspring.cloud.servicecomb.{name}={value}" for name, value in settings.items()]
    return _java("spring-cloud-huawei", [f"-Dserver.port={role.port}", *arguments], role)


SPRING_CLOUD_HUAWEI = in_both_modes(
    Client("spring-cloud-huawei", "1.10.9-2021.0.x (Boot 2.6.13)", _spring_cloud_huawei)
)
