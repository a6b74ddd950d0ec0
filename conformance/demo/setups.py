"""The seven set-ups of the guide's story: where the registrations live, and which registry each client knows.

embedded        both clients register with one server of ours, which keeps the registry itself
servicecenter   the same server, and the registrations live in a ServiceCenter behind it
eureka          they live in a real Eureka server behind it
both            each client's registration lives in the registry of its own protocol
guarded         as embedded, with access control on: each client logs in as root in its own way
publish         the clients know nothing of us: each registers with the real registry, and one process of ours copies
two-nodes       each client knows one server of ours, and not the same: the two share a Redis
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from conformance.demo.stage import CLIENTS, Stage, wait_until
from conformance.peers.processes import Processes, Program, Running, account_server, facade, hello_server
from conformance.peers.redis import redis
from conformance.peers.upstreams import Upstream, eureka_behind, servicecenter_behind

BEHIND: Mapping[str, Sequence[str]] = {
    "embedded": (),
    "guarded": (),
    "servicecenter": ("servicecenter",),
    "eureka": ("eureka",),
    "both": ("servicecenter", "eureka"),
    "publish": ("servicecenter", "eureka"),
    "two-nodes": (),
}
"""The protocols of the registries behind us in each set-up."""

ROOT = ("root", "Guides-2-registries")
"""The account of everybody where access control is on."""


@dataclass(frozen=True)
class Ports:
    """Where everybody listens. What clients know has the ports of the guide."""

    eureka: int = 8761
    servicecenter: int = 30100
    account_server: int = 8090
    hello_server: int = 8091
    other_eureka: int = 18761
    """Of the real one behind us, or of ours where the clients know the real one."""
    other_servicecenter: int = 40100
    """Likewise."""
    etcd: int = 42379
    """The next one is taken, too."""
    redis: int = 16379


@contextmanager
def set_up(
    home: Path, ports: Ports, order: Sequence[str] = CLIENTS, hello_app: str = "eureka", setup: str = "embedded"
) -> Iterator[Stage]:
    """Start the servers, then the clients, each once the one before is registered; stop all at the end."""
    account = ROOT if setup == "guarded" else None
    programs: Mapping[str, Program] = _clients(ports, hello_app, account)  # built before the clock runs
    asks = httpx.Client(timeout=10, headers={"Accept": "application/json"}, auth=account)
    with Processes(home) as processes, asks as http:
        upstreams = {one.protocol: one for one in _upstreams(processes, ports, setup, home)}
        stage = Stage(
            eureka=f"http://127.0.0.1:{ports.eureka}/eureka",
            servicecenter=f"http://127.0.0.1:{ports.servicecenter}",
            hello_app=hello_app,
            http=http,
            upstreams=upstreams,
            is_one_server=setup not in ("publish", "two-nodes"),
            is_watched=account is None,
            restart_server=_server(processes, ports, setup, upstreams),
        )
        for upstream in upstreams.values():
            stage.say(f"{upstream.title} on {upstream.url}")
        stage.say(_who_is_where(stage, setup))
        listed: Mapping[str, Callable[[str], object]] = {
            "account-server": stage.in_eureka,
            "hello-server": stage.in_servicecenter,
        }
        for name in order:
            stage.clients[name] = processes.start(programs[name])
            stage.registered_s[name] = wait_until(f"{name} is registered", partial(listed[name], name))
            stage.say(f"{name} is registered")
        yield stage
        stage.say("everything stops")


def _clients(ports: Ports, hello_app: str, account: tuple[str, str] | None) -> Mapping[str, Program]:
    login = f"{account[0]}:{account[1]}@" if account else ""
    eureka_url, servicecenter_url = (
        f"http://{login}127.0.0.1:{ports.eureka}/eureka/",
        f"http://127.0.0.1:{ports.servicecenter}",
    )
    hello_name = "hello-server" if hello_app == "eureka" else f"{hello_app}.hello-server"
    return {
        "account-server": account_server(ports.account_server, eureka_url, hello_name),
        "hello-server": hello_server(ports.hello_server, servicecenter_url, hello_app, account),
    }


def _upstreams(processes: Processes, ports: Ports, setup: str, home: Path) -> Iterator[Upstream]:
    are_known = setup == "publish"  # to the clients
    if "servicecenter" in BEHIND[setup]:
        port = ports.servicecenter if are_known else ports.other_servicecenter
        yield servicecenter_behind(processes, port, ports.etcd, home).start()
    if "eureka" in BEHIND[setup]:
        yield eureka_behind(processes, ports.eureka if are_known else ports.other_eureka).start()


def _server(processes: Processes, ports: Ports, setup: str, upstreams: Mapping[str, Upstream]) -> Callable[[], None]:
    """Starts ours; the result kills it and starts it again: of two nodes, the one that hello-server knows."""
    listen = [ports.other_eureka] if setup == "publish" else [ports.eureka, ports.servicecenter]
    stores = [one.store for one in upstreams.values()] or ["memory://"]
    if setup == "two-nodes":
        stores = [processes.start(redis(ports.redis)).url]
        processes.start(facade([listen.pop(0)], stores=stores))
    settings = {"publish": {"publish": "true"}, "guarded": {"auth": "on"}}.get(setup, {})
    server = facade(listen, settings, stores)
    if setup == "guarded":
        server = replace(server, environment={**server.environment, "SC_INIT_ROOT_PASSWORD": ROOT[1]})
    running: list[Running] = [processes.start(server)]

    def restart() -> None:
        running.pop().kill()
        running.append(processes.start(server))

    return restart


def _who_is_where(stage: Stage, setup: str) -> str:
    if setup == "two-nodes":
        return f"two nodes over one Redis: Eureka on {stage.eureka}/, ServiceCenter on {stage.servicecenter}"
    if setup == "publish":
        return f"one process of ours copies; the clients know Eureka on {stage.eureka}/ and {stage.servicecenter}"
    return f"one server: Eureka on {stage.eureka}/, ServiceCenter on {stage.servicecenter}"
