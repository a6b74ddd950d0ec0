"""What the clients of a node do while a registry behind it fails: renew, read, register, and note what they get."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

import httpx

from conformance.peers.patience import PATIENCE_S
from conformance.servicecenter.asking import ServiceCenter

from .conftest import LONG_LEASES
from .setups import APP, PROTOCOLS, Born, Node, unique_name

AGE = "X-Registry-Data-Age"
EACH = 10
"""Instances of either protocol."""


class Clients:
    """Registered through a node. While they go on, no renewal may be refused and no list may get shorter."""

    def __init__(self, node: Node, *, each: int = EACH) -> None:
        self.node = node
        self.name = unique_name("fleet")
        self.borns: list[Born] = []
        self.age_s = 0
        """The greatest age that an answer has admitted since `go_on` began; 0: none did."""
        self._each = each
        self._codes: Counter[int] = Counter()
        self._took_s: list[float] = []

    def __enter__(self) -> Clients:
        self.borns = [self._register(protocol, number) for protocol in PROTOCOLS for number in range(self._each)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for born in self.borns:
            self.node.cancel(born)

    def _register(self, protocol: str, number: int) -> Born:
        name = f"{self.name}-{protocol}"
        ident = {"instance_id": f"{name}:{number}"} if protocol == "eureka" else {"instanceId": f"{name}-{number}"}
        place = (
            {"ipAddr": f"10.0.0.{number}"} if protocol == "eureka" else {"endpoints": [f"rest://10.0.1.{number}:80"]}
        )
        return self.node.register(protocol, name, **ident, **place, **LONG_LEASES[protocol])

    def go_on(self, until: Callable[[], bool], within_s: float = 2 * PATIENCE_S) -> list[Born]:
        """Renew and read over and over; once an answer admits its age, register two more. Returns these."""
        self.age_s, self._codes, self._took_s = 0, Counter(), []
        news: list[Born] = []
        give_up_at = time.monotonic() + within_s
        while not until():
            assert time.monotonic() < give_up_at, f"not within {within_s:.0f} s; {self.figures()}"
            self._renew_all()
            self.assert_all_are_listed()
            if self.age_s and not news:
                news = [self._register(protocol, len(self.borns)) for protocol in PROTOCOLS]
                self.borns += news
        return news

    def _renew_all(self) -> None:
        for born in self.borns:
            began_s = time.monotonic()
            self._codes[self.node.renew(born)] += 1
            self._took_s.append(time.monotonic() - began_s)
        assert set(self._codes) == {200}, self.figures()

    def assert_all_are_listed(self) -> None:
        """In both views, and in Eureka's list of all."""
        answer = self.node.eureka.get("apps", headers={"Accept": "application/json"})
        self.age_s = max(self.age_s, int(answer.headers.get(AGE, 0)))
        listed = {one["instanceId"] for app in answer.json()["applications"]["application"] for one in app["instance"]}
        assert {born.eureka_id for born in self.borns} <= listed
        for protocol in PROTOCOLS:
            mine = {born.sc_id for born in self.borns if born.protocol == protocol and born.sc_id}
            assert mine <= set(self.node.servicecenter_finds(f"{self.name}-{protocol}"))

    def figures(self) -> str:
        took_ms = sorted(1000 * took_s for took_s in self._took_s) or [0.0]
        return (
            f"{len(self._took_s)} renewals {dict(self._codes)}, p99 {took_ms[int(len(took_ms) * 0.99) - 1]:.0f} ms, "
            f"data up to {self.age_s} s old"
        )


def is_held(url: str, keeper: str, born: Born) -> bool:
    """Whether the registry behind us, of the protocol `keeper`, holds it; asked past us."""
    if keeper == "eureka":
        return httpx.get(f"{url}/eureka/{born.in_eureka}", headers={"Accept": "application/json"}).status_code == 200
    return ServiceCenter(url).get(born.in_servicecenter, noCache="1").status == 200


def assert_refuses_writes(strict: Node) -> None:
    """In each protocol's own words."""
    name = unique_name("strict")
    assert strict.eureka.register(name.upper(), "i1").status_code == 503
    service = {"service": {"appId": APP, "serviceName": name, "version": "0.0.1"}}
    refusal = strict.sc.post("microservices", service)
    assert (refusal.status, refusal.json()["errorCode"]) == (500, "500011"), refusal.text
