"""How each client is run. All tell at /seen/{application} what they hold of it, and answer /ready once registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from conformance.peers.builds import SOURCES, go_build, maven_build, npm_build, tool, venv_build
from conformance.peers.processes import Program

TINY_JVM = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

Command = Callable[[int, str, str], Sequence[str | Path]]
"""Of the port of the client, the URL of the server without a path, and the application's name."""


class Told(Protocol):
    """A client of either protocol."""

    @property
    def told(self) -> Mapping[str, str]:
        """What the table says of it in the first columns of a row."""


@dataclass(frozen=True)
class Client:
    name: str
    version: str
    transport: str
    command: Command
    ready: str = "/ready"

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.transport}".replace(" ", "-")

    @property
    def told(self) -> Mapping[str, str]:
        return {"name": self.name, "version": self.version, "transport": self.transport}

    def program(self, port: int, eureka_url: str, app: str) -> Program:
        """Built when first needed. Raises PeerError."""
        return Program(
            name=self.name.replace(" ", "-").replace("/", "-"),
            command=self.command(port, eureka_url, app),
            url=f"http://127.0.0.1:{port}",
            ready=self.ready,
        )


def _netflix(profile: str) -> Command:
    def command(port: int, url: str, app: str) -> Sequence[str | Path]:
        return [
            tool("java"),
            *TINY_JVM,
            "-jar",
            maven_build("clients/netflix", profile),
            f"{port}",
            f"{url}/eureka/",
            app,
        ]

    return command


NETFLIX = [
    Client("Netflix eureka-client", "1.10.18", "Jersey 1", _netflix("eureka-1")),
    Client("Netflix eureka-client", "2.0.6", "Jersey 3", _netflix("eureka-2")),
]


def _py_eureka(port: int, url: str, app: str) -> Sequence[str | Path]:
    python = venv_build("clients/py-eureka")
    return [python, SOURCES / "clients/py-eureka/main.py", f"{port}", f"{url}/eureka/", app]


PY_EUREKA = [Client("py_eureka_client", "0.13.3", "httpx", _py_eureka)]


def eureka_js(*options: str) -> Command:
    def command(port: int, url: str, app: str) -> Sequence[str | Path]:
        server = urlsplit(url)
        return [
            *(tool("node"), npm_build("clients/eureka-js"), f"{port}"),
            *(f"{server.hostname}", f"{server.port}", app, *options, *(["tls"] if server.scheme == "https" else ())),
        ]

    return command


EUREKA_JS = [
    Client("eureka-js-client", "4.5.0", "request, full fetches", eureka_js()),
    Client("eureka-js-client", "4.5.0", "request, deltas", eureka_js("delta")),
]


def _fargo(form: str) -> Command:
    return lambda port, url, app: [go_build("clients/fargo"), f"{port}", f"{url}/eureka", app, form]


FARGO = [
    Client("hudl/fargo", "1.4.0", "net/http, XML", _fargo("xml")),
    Client("hudl/fargo", "1.4.0", "net/http, JSON", _fargo("json")),
]


def _spring(boot: str, *properties: str) -> Command:
    def command(port: int, url: str, app: str) -> Sequence[str | Path]:
        return [
            *(tool("java"), *TINY_JVM, "-jar", maven_build("clients/spring", f"boot-{boot}")),
            *(f"--server.port={port}", f"--spring.application.name={app}"),
            f"--eureka.client.service-url.defaultZone={url}/eureka/",
            *(f"--{one}" for one in properties),
        ]

    return command


def _spring_client(boot: str, cloud: str, transport: str, *properties: str) -> Client:
    return Client("Spring Cloud Netflix", f"{cloud} (Boot {boot})", transport, _spring(boot[:3], *properties))


_WITH_WEBCLIENT = ("eureka.client.webclient.enabled=true",)
SPRING = [
    _spring_client("2.7.18", "2021.0.9", "Jersey 1"),
    _spring_client("2.7.18", "2021.0.9", "RestTemplate", "eureka.client.jersey.enabled=false"),
    _spring_client("2.7.18", "2021.0.9", "WebClient", *_WITH_WEBCLIENT),
    _spring_client("3.2.12", "2023.0.6", "RestTemplate"),
    _spring_client("3.2.12", "2023.0.6", "WebClient", *_WITH_WEBCLIENT),
    _spring_client("3.5.16", "2025.0.1", "RestTemplate"),
    _spring_client("3.5.16", "2025.0.1", "RestClient", "eureka.client.restclient.enabled=true"),
    _spring_client("3.5.16", "2025.0.1", "WebClient", *_WITH_WEBCLIENT),
]

SPRING_BY_TRAIN = [SPRING[0], SPRING[3], SPRING[5]]


def _prometheus(port: int, url: str, _: str) -> Sequence[str | Path]:
    """It finds its targets in Eureka, and is too slow to scrape any of them."""
    jobs = [{"job_name": "eureka", "eureka_sd_configs": [{"server": f"{url}/eureka", "refresh_interval": "1s"}]}]
    config = json.dumps({"global": {"scrape_interval": "1h"}, "scrape_configs": jobs})  # JSON is YAML
    start = (
        'printf %s "$1" >prometheus.yml && exec "$0" --config.file=prometheus.yml --storage.tsdb.path=data'
        f" --web.listen-address=127.0.0.1:{port}"
    )
    return ["/bin/sh", "-c", start, tool("prometheus"), config]


PROMETHEUS = [Client("Prometheus eureka_sd", "2.42.0", "net/http", _prometheus, ready="/-/ready")]
