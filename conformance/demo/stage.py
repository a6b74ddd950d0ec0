"""Where the story plays: the servers that the clients know, the two clients, and how to look at them.

When something does not come true a StoryError says so, in one line for a person.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from conformance.peers.processes import Running
from conformance.peers.upstreams import Upstream

CLIENTS = ("account-server", "hello-server")
# Waiting is for what takes time by design: a client's next poll, at most two lease terms, the sweep.
WITHIN_S = 60.0


class StoryError(Exception):
    """A step of the story did not come true."""


@dataclass
class Stage:
    """What the clients know as their registries and, once they have started, the two clients."""

    eureka: str
    """The service URL of the Eureka that account-server registers with."""
    servicecenter: str
    """The ServiceCenter that hello-server registers with."""
    hello_app: str
    """The app of hello-server."""
    http: httpx.Client
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    """By protocol: the registries behind us, if there are any."""
    is_one_server: bool = True
    """Whether both are one server of ours: then each change is in both views at once; else soon."""
    is_watched: bool = True
    """Whether hello-server is told of changes: go-chassis opens its watch without an account."""
    restart_server: Callable[[], None] = lambda: None
    """Without a goodbye, and with nothing left of what it knew."""
    clients: dict[str, Running] = field(default_factory=dict)
    registered_s: dict[str, float] = field(default_factory=dict)
    """On time.monotonic()."""
    began_s: float = field(default_factory=time.monotonic)

    @property
    def hello_name(self) -> str:
        """What Eureka clients call hello-server: a service of another app carries its app in front."""
        return "hello-server" if self.hello_app == "eureka" else f"{self.hello_app}.hello-server"

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began_s:6.1f} s  {text}", flush=True)

    def in_eureka(self, name: str) -> dict[str, str]:
        """Status by instance id, as Eureka lists the application."""
        return listed_by_eureka(self.http, self.eureka, name)

    def in_servicecenter(self, name: str) -> dict[str, str]:
        """Status by instance id, as ServiceCenter answers hello-server."""
        return {one["instanceId"]: one["status"] for one in self.found(name)}

    def found(self, name: str) -> list[Mapping[str, str]]:
        """The instances that ServiceCenter finds for hello-server, which names nothing but the service."""
        return found_by_servicecenter(self.http, self.servicecenter, self.hello_app, name)

    def seen(self, client: str, service: str) -> list[str]:
        """The addresses of a service that a client holds in memory, from which its next call would choose."""
        answer = self.http.get(f"{self.clients[client].url}/seen/{service}").raise_for_status()
        return [one["uri"] for one in answer.json()]

    def login(self, form: Mapping[str, str]) -> httpx.Response:
        """The guide's call, to hello-server, which forwards it to account-server."""
        return self.http.post(f"{self.clients['hello-server'].url}/login", json=form)

    def call_back(self) -> httpx.Response:
        """The reverse: account-server calls hello-server by name."""
        return self.http.get(f"{self.clients['account-server'].url}/account/hello/Jack")

    def require_shown(self, what: str, shown: Callable[[], Mapping[str, str]], status: str) -> None:
        """The instance is listed in the other protocol, once, with that status: at once, where one server answers."""
        if not self.is_one_server:
            wait_until(f"{what}: {status} in the other protocol", lambda: list(shown().values()) == [status])
            return
        found = shown()
        require(list(found.values()) == [status], f"{what}, is shown in the other protocol as {found}, not as {status}")


def service_id(app: str, name: str, version: str = "0.0.1") -> str:
    """The id that a stock ServiceCenter derives for a service of the default tenant and the empty environment."""
    return hashlib.sha1(f"/cse-sr/ms/indexes/default/default//{app}/{name}/{version}".encode()).hexdigest()


def listed_by_eureka(http: httpx.Client, url: str, name: str) -> dict[str, str]:
    answer = http.get(f"{url}/apps/{name.upper()}")
    if answer.status_code == 404:
        return {}
    return {one["instanceId"]: one["status"] for one in answer.raise_for_status().json()["application"]["instance"]}


def found_by_servicecenter(http: httpx.Client, url: str, app: str, name: str) -> list[Mapping[str, str]]:
    """As hello-server of that app would find them."""
    answer = http.get(
        f"{url}/v4/default/registry/instances",
        params={"appId": app, "serviceName": name, "version": "0+"},
        headers={"X-ConsumerId": service_id(app, "hello-server")},
    )
    if answer.status_code == 400:  # no such service, or hello-server itself is not there yet
        return []
    return list(answer.raise_for_status().json().get("instances") or [])


def wait_until(what: str, is_so: Callable[[], object]) -> float:
    """The moment at which it was so, on time.monotonic(). Raises StoryError."""
    return wait_until_each({what: is_so})[what]


def wait_until_each(wanted: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The moment at which each came true, asked side by side. Raises StoryError."""
    came_true_s: dict[str, float] = {}
    give_up_at = time.monotonic() + WITHIN_S
    while missing := [what for what in wanted if what not in came_true_s]:
        if time.monotonic() > give_up_at:
            raise StoryError(f"not within {WITHIN_S:.0f} s: {', '.join(missing)}")
        for what in missing:
            with suppress(httpx.TransportError, httpx.HTTPStatusError):
                if wanted[what]():
                    came_true_s[what] = time.monotonic()
        time.sleep(0.05)
    return came_true_s


def require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise StoryError(otherwise)


def require_status(what: str, answer: httpx.Response, status: int) -> None:
    require(answer.status_code == status, f"{what} answered {answer.status_code} {answer.text!r}, not {status}")


def require_answer(what: str, answer: httpx.Response, status: int, text: str) -> None:
    is_expected = (answer.status_code, answer.text) == (status, text)
    require(is_expected, f"{what} answered {answer.status_code} {answer.text!r}, not {status} {text!r}")
