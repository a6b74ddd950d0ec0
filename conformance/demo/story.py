"""The story: our server, the two clients, and what must come true, chapter by chapter.

A chapter asks over HTTP, in one protocol, what was done in the other, and says what it saw. When something does not
come true it raises StoryError, one line for a person. Chapters put back what they change, except the last, which kills.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from conformance.peers.processes import Processes, Program, Running, account_server, facade, hello_server

CLIENTS = ("account-server", "hello-server")
# Waiting is for what takes time by design: a client's next poll, at most two lease terms, the sweep.
WITHIN_S = 60.0
GUIDES_IDS = {
    ("eureka", "account-server"): "80784229255ec96d90353e3c041bdf3586fdbbae",
    ("eureka", "hello-server"): "d0d72e092a9a77e7b6dcbe19418c19e8209e05bc",
}
LOGIN = {"user": "Jack", "password": "123456"}


class StoryError(Exception):
    """A step of the story did not come true."""


@dataclass(frozen=True)
class Ports:
    """Where everybody listens; the defaults are the guide's."""

    eureka: int = 8761
    servicecenter: int = 30100
    account_server: int = 8090
    hello_server: int = 8091


@dataclass
class Stage:
    """Our server and, once they have started, the two clients; hello-server lives in `hello_app`."""

    eureka: str
    servicecenter: str
    hello_app: str
    http: httpx.Client
    restart_server: Callable[[], None]  # without a goodbye, and with nothing left of what it knew
    clients: dict[str, Running] = field(default_factory=dict)
    registered_s: dict[str, float] = field(default_factory=dict)  # on time.monotonic()
    began_s: float = field(default_factory=time.monotonic)

    @property
    def hello_name(self) -> str:
        """What Eureka clients call hello-server: a service of another app carries its app in front."""
        return "hello-server" if self.hello_app == "eureka" else f"{self.hello_app}.hello-server"

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began_s:6.1f} s  {text}", flush=True)

    def in_eureka(self, name: str) -> dict[str, str]:
        """Status by instance id, as Eureka lists the application."""
        answer = self.http.get(f"{self.eureka}/apps/{name.upper()}")
        if answer.status_code == 404:
            return {}
        return {one["instanceId"]: one["status"] for one in answer.raise_for_status().json()["application"]["instance"]}

    def in_servicecenter(self, name: str) -> dict[str, str]:
        """Status by instance id, as ServiceCenter answers hello-server."""
        return {one["instanceId"]: one["status"] for one in self.found(name)}

    def found(self, name: str) -> list[Mapping[str, str]]:
        """The instances that ServiceCenter finds for hello-server, which names nothing but the service."""
        answer = self.http.get(
            f"{self.servicecenter}/v4/default/registry/instances",
            params={"appId": self.hello_app, "serviceName": name, "version": "0+"},
            headers={"X-ConsumerId": service_id(self.hello_app, "hello-server")},
        )
        if answer.status_code == 400:  # no such service, or hello-server itself is not there yet
            return []
        return list(answer.raise_for_status().json().get("instances") or [])

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


def service_id(app: str, name: str, version: str = "0.0.1") -> str:
    """The id that a stock ServiceCenter derives for a service of the default tenant and the empty environment."""
    return hashlib.sha1(f"/cse-sr/ms/indexes/default/default//{app}/{name}/{version}".encode()).hexdigest()


@contextmanager
def set_up(home: Path, ports: Ports, order: Sequence[str] = CLIENTS, hello_app: str = "eureka") -> Iterator[Stage]:
    """Start the server, then the clients in that order, each once the one before is registered; stop all at the end."""
    server = facade([ports.eureka, ports.servicecenter])
    servers: list[Running] = []
    processes = Processes(home)

    def restart_server() -> None:
        servers.pop().kill()
        servers.append(processes.start(server))

    stage = Stage(
        eureka=f"http://127.0.0.1:{ports.eureka}/eureka",
        servicecenter=f"http://127.0.0.1:{ports.servicecenter}",
        hello_app=hello_app,
        http=httpx.Client(timeout=10, headers={"Accept": "application/json"}),
        restart_server=restart_server,
    )
    programs: Mapping[str, Program] = {  # built before the clock runs
        "account-server": account_server(ports.account_server, f"{stage.eureka}/", stage.hello_name),
        "hello-server": hello_server(ports.hello_server, stage.servicecenter, hello_app),
    }
    listed: Mapping[str, Callable[[str], object]] = {
        "account-server": stage.in_eureka,
        "hello-server": stage.in_servicecenter,
    }
    with stage.http, processes:
        stage.began_s = time.monotonic()
        servers.append(processes.start(server))
        stage.say(f"one server: Eureka on {stage.eureka}/, ServiceCenter on {stage.servicecenter}")
        for name in order:
            stage.clients[name] = processes.start(programs[name])
            stage.registered_s[name] = wait_until(f"{name} is registered", partial(listed[name], name))
            stage.say(f"{name} is registered")
        yield stage
        stage.say("everything stops")


def each_protocol_lists_both(stage: Stage) -> None:
    """In the full lists that dashboards and people read; ServiceCenter may list more, such as itself."""
    apps = stage.http.get(f"{stage.eureka}/apps").raise_for_status().json()["applications"]["application"]
    services = stage.http.get(f"{stage.servicecenter}/v4/default/registry/microservices").raise_for_status().json()
    in_eureka = sorted(app["name"] for app in apps)
    in_servicecenter = sorted(service["serviceName"] for service in services["services"])

    _require(
        in_eureka == sorted(["ACCOUNT-SERVER", stage.hello_name.upper()]),
        f"Eureka lists {in_eureka}, not account-server and {stage.hello_name}",
    )
    _require(set(CLIENTS) <= set(in_servicecenter), f"ServiceCenter lists {in_servicecenter}, not both clients")
    stage.say(f"Eureka lists {', '.join(in_eureka)}; ServiceCenter lists {', '.join(in_servicecenter)}")


def service_ids_are_those_of_a_real_servicecenter(stage: Stage) -> None:
    """As the guide's log shows them; hello-server's is another when its app is another."""
    for app, name in (("eureka", "account-server"), (stage.hello_app, "hello-server")):
        answer = stage.http.get(
            f"{stage.servicecenter}/v4/default/registry/existence",
            params={"type": "microservice", "appId": app, "serviceName": name, "version": "0.0.1", "env": ""},
        )
        got, expected = answer.json().get("serviceId"), GUIDES_IDS.get((app, name)) or service_id(app, name)

        _require(got == expected, f"{name} of app {app} has the serviceId {got}, not {expected}")
        stage.say(f"{name} has the serviceId {got}")


def each_client_sees_the_other(stage: Stage) -> None:
    """In the memory of the real clients, by name; the time that it takes is theirs, from one poll to the next."""
    both_registered_s = max(stage.registered_s.values())
    sights = {"hello-server": "account-server", "account-server": stage.hello_name}
    seen_s = wait_until_each(
        {f"{client} sees {service}": partial(stage.seen, client, service) for client, service in sights.items()}
    )
    for sight, moment_s in seen_s.items():
        stage.say(f"{sight}: {max(0.0, moment_s - both_registered_s):.1f} s after both were registered")
    own_app, found = service_id(stage.hello_app, "account-server"), stage.found("account-server")

    _require(
        [one["serviceId"] for one in found] == [own_app],
        f"hello-server finds account-server as {found}, not as one instance of the service {own_app} in its own app",
    )


def the_guides_login_is_welcomed(stage: Stage) -> None:
    """Go calls Spring: the form goes through hello-server, status and text come back."""
    welcome = stage.login(LOGIN)
    refused = stage.login(LOGIN | {"password": ""})

    _require_answer("POST /login at hello-server", welcome, 200, "welcome Jack")
    _require_answer("POST /login without a password", refused, 401, "password is empty")
    stage.say(f"POST /login at hello-server: {welcome.text}")


def spring_calls_back_by_name(stage: Stage) -> None:
    """Spring calls Go, through its own load balancer."""
    answer = stage.call_back()

    _require_answer(f"GET http://{stage.hello_name}/hello/Jack from account-server", answer, 200, "hello Jack")
    stage.say(f"account-server calls http://{stage.hello_name}/hello/Jack: {answer.text}")


def draining_over_eureka_holds_in_servicecenter(stage: Stage) -> None:
    """An operator's override on a Eureka-born instance; hello-server lets go of it, and takes it again."""
    (instance_id,) = stage.in_eureka("account-server")
    status_url = f"{stage.eureka}/apps/ACCOUNT-SERVER/{instance_id}/status"

    stage.http.put(status_url, params={"value": "OUT_OF_SERVICE"}).raise_for_status()
    _require_shown("account-server, drained in Eureka", stage.in_servicecenter("account-server"), "OUTOFSERVICE")
    wait_until("hello-server lets go of account-server", lambda: not stage.seen("hello-server", "account-server"))
    _require_status("POST /login while account-server is drained", stage.login(LOGIN), 502)
    stage.say("account-server is drained over Eureka: OUTOFSERVICE in ServiceCenter, hello-server calls it no more")

    stage.http.delete(status_url, params={"value": "UP"}).raise_for_status()
    _require_shown("account-server, put back in Eureka", stage.in_servicecenter("account-server"), "UP")
    wait_until("hello-server takes account-server back", lambda: stage.seen("hello-server", "account-server"))
    _require_answer("POST /login after account-server was put back", stage.login(LOGIN), 200, "welcome Jack")
    stage.say("account-server is put back: hello-server calls it again")


def draining_over_servicecenter_holds_in_eureka(stage: Stage) -> None:
    """A status change on a ServiceCenter-born instance; account-server lets go of it, and takes it again."""
    (instance_id,) = stage.in_servicecenter("hello-server")
    service = service_id(stage.hello_app, "hello-server")
    status_url = f"{stage.servicecenter}/v4/default/registry/microservices/{service}/instances/{instance_id}/status"

    stage.http.put(status_url, params={"value": "OUTOFSERVICE"}).raise_for_status()
    _require_shown("hello-server, drained in ServiceCenter", stage.in_eureka(stage.hello_name), "OUT_OF_SERVICE")
    wait_until("account-server lets go of hello-server", lambda: not stage.seen("account-server", stage.hello_name))
    _require_status("account-server's call while hello-server is drained", stage.call_back(), 502)
    stage.say("hello-server is drained over ServiceCenter: OUT_OF_SERVICE in Eureka, account-server calls it no more")

    stage.http.put(status_url, params={"value": "UP"}).raise_for_status()
    _require_shown("hello-server, put back in ServiceCenter", stage.in_eureka(stage.hello_name), "UP")
    wait_until("account-server takes hello-server back", lambda: stage.seen("account-server", stage.hello_name))
    _require_answer("account-server's call after hello-server was put back", stage.call_back(), 200, "hello Jack")
    stage.say("hello-server is put back: account-server calls it again")


def a_killed_client_leaves_both_views(stage: Stage) -> None:
    """Without a goodbye its lease lapses: Eureka and ServiceCenter drop it, and hello-server hears of it by its watch.

    go-chassis never drops a service's last instance by polling, so its memory proves that the watch told it.
    """
    stage.clients["account-server"].kill()
    killed_s = time.monotonic()
    stage.say("account-server is killed (SIGKILL)")
    gone_s = wait_until_each(
        {
            "account-server has left Eureka": lambda: not stage.in_eureka("account-server"),
            "account-server has left ServiceCenter": lambda: not stage.in_servicecenter("account-server"),
            "hello-server sees account-server no more": lambda: not stage.seen("hello-server", "account-server"),
        }
    )
    for what, moment_s in gone_s.items():
        stage.say(f"{what}: {moment_s - killed_s:.1f} s after the kill")
    answer = stage.login(LOGIN)

    _require_status("POST /login without an account-server", answer, 502)
    stage.say(f"POST /login at hello-server: {answer.status_code} {answer.text}")


def a_server_that_forgot_everything_gets_both_back(stage: Stage) -> None:
    """Eureka's 404 and ServiceCenter's 400 on a renewal are what makes real clients register again."""
    stage.restart_server()
    restarted_s = time.monotonic()
    stage.say("the server is killed, and starts with an empty registry")
    back_s = wait_until_each(
        {
            "account-server is in ServiceCenter again": lambda: stage.in_servicecenter("account-server"),
            "hello-server is in Eureka again": lambda: stage.in_eureka(stage.hello_name),
        }
    )
    for what, moment_s in back_s.items():
        stage.say(f"{what}: {moment_s - restarted_s:.1f} s after the start")
    wait_until("account-server sees hello-server again", lambda: stage.seen("account-server", stage.hello_name))

    _require_answer("POST /login after the restart", stage.login(LOGIN), 200, "welcome Jack")
    _require_answer("account-server's call after the restart", stage.call_back(), 200, "hello Jack")


CHAPTERS: Sequence[Callable[[Stage], None]] = (
    each_protocol_lists_both,
    service_ids_are_those_of_a_real_servicecenter,
    each_client_sees_the_other,
    the_guides_login_is_welcomed,
    spring_calls_back_by_name,
    draining_over_eureka_holds_in_servicecenter,
    draining_over_servicecenter_holds_in_eureka,
    a_killed_client_leaves_both_views,
)


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


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise StoryError(otherwise)


def _require_shown(what: str, shown: Mapping[str, str], status: str) -> None:
    """The instance is listed in the other protocol, once, with that status."""
    _require(list(shown.values()) == [status], f"{what}, is shown in the other protocol as {shown}, not as {status}")


def _require_status(what: str, answer: httpx.Response, status: int) -> None:
    _require(answer.status_code == status, f"{what} answered {answer.status_code} {answer.text!r}, not {status}")


def _require_answer(what: str, answer: httpx.Response, status: int, text: str) -> None:
    is_expected = (answer.status_code, answer.text) == (status, text)
    _require(is_expected, f"{what} answered {answer.status_code} {answer.text!r}, not {status} {text!r}")
