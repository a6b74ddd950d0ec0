"""The five set-ups of the guide's story: where the registrations live, and which registry each client knows.

embedded        both clients register with one server of ours, which keeps the registry itself
servicecenter   the same server, and the registrations live in a ServiceCenter behind it
eureka          they live in a real Eureka server behind it
both            each client's registration lives in the registry of its own protocol
publish         the clients know nothing of us: each registers with the real registry, and one process of ours copies
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from conformance.demo.stage import CLIENTS, Stage, wait_until
from conformance.peers.processes import Processes, Program, Running, account_server, facade, hello_server
from conformance.peers.upstreams import Upstream, eureka_behind, servicecenter_behind

BEHIND: Mapping[str, Sequence[str]] = {
    "embedded": (),
    "servicecenter": ("servicecenter",),
    "eureka": ("eureka",),
    "both": ("servicecenter", "eureka"),
    "publish": ("servicecenter", "eureka"),
}
"""The protocols of the registries behind us in each set-up."""


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


@contextmanager
def set_up(
    home: Path, ports: Ports, order: Sequence[str] = CLIENTS, hello_app: str = "eureka", setup: str = "embedded"
) -> Iterator[Stage]:
    """Start the servers, then the clients, each once the one before is registered; stop all at the end."""
    programs: Mapping[str, Program] = _clients(ports, hello_app)  # built before the clock runs
    with Processes(home) as processes, httpx.Client(timeout=10, headers={"Accept": "application/json"}) as http:
        upstreams = {one.protocol: one for one in _upstreams(processes, ports, setup, home)}
        stage = Stage(
            eureka=f"http://127.0.0.1:{ports.eureka}/eureka",
            servicecenter=f"http://127.0.0.1:{ports.servicecenter}",
            hello_app=hello_app,
            http=http,
            upstreams=upstreams,
            is_one_server=setup != "publish",
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


def _clients(ports: Ports, hello_app: str) -> Mapping[str, Program]:
    hello_name = "hello-server" if hello_app == "eureka" else f"{hello_app}.hello-server"
    return {
        "account-server": account_server(ports.account_server, f"http://127.0.0.1:{ports.eureka}/eureka/", hello_name),
        "hello-server": hello_server(ports.hello_server, f"http://127.0.0.1:{ports.servicecenter}", hello_app),
    }


def _upstreams(processes: Processes, ports: Ports, setup: str, home: Path) -> Iterator[Upstream]:
    are_known = setup == "publish"  # to the clients
    if "servicecenter" in BEHIND[setup]:
        port = ports.servicecenter if are_known else ports.other_servicecenter
        yield servicecenter_behind(processes, port, ports.etcd, home).start()
    if "eureka" in BEHIND[setup]:
        yield eureka_behind(processes, ports.eureka if are_known else ports.other_eureka).start()


def _server(processes: Processes, ports: Ports, setup: str, upstreams: Mapping[str, Upstream]) -> Callable[[], None]:
    """Starts ours; the result kills it and starts it again."""
    listen = [ports.other_eureka] if setup == "publish" else [ports.eureka, ports.servicecenter]
    settings = {"publish": "true"} if setup == "publish" else {}
    server = facade(listen, settings, [one.store for one in upstreams.values()] or ["memory://"])
    running: list[Running] = [processes.start(server)]

    def restart() -> None:
        running.pop().kill()
        running.append(processes.start(server))

    return restart


def _who_is_where(stage: Stage, setup: str) -> str:
    if setup == "publish":
        return f"one process of ours copies; the clients know Eureka on {stage.eureka}/ and {stage.servicecenter}"
    return f"one server: Eureka on {stage.eureka}/, ServiceCenter on {stage.servicecenter}"
