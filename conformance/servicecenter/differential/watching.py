"""What watchers of ours and of the original are told while providers change: the same, in order for each instance.

Between instances the original promises no order.

The original tells of a change after up to 0.3 s and of an end after up to 2.3 s: events are gathered until both sides
have told the same, for as long as that may take.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, NamedTuple

from conformance.servicecenter.asking import ServiceCenter
from conformance.servicecenter.differential import documents, instance_requests
from conformance.servicecenter.differential.answering import Run
from conformance.servicecenter.differential.comparing import SOON_S, Pair, settles_in_s
from conformance.servicecenter.differential.documents import STATUSES
from conformance.servicecenter.differential.operations import DEFAULT, Operation, Trace
from conformance.servicecenter.sockets import Socket, opened

NOTED_S = 1.5
"""A dependency of the original goes through a queue before its events do."""

Events = dict[str, list[Any]]
"""By instance."""

_REGISTRY = "/v4/default/registry/"
_SERVICES = (
    {"serviceName": "cons"},
    {"serviceName": "prov", "alias": "shop:prov"},
    {"serviceName": "prov", "version": "2.0.0"},
    {"serviceName": "prov", "environment": "production"},
    {"serviceName": "closed", "appId": "depot"},
    {"serviceName": "open", "appId": "depot", "properties": {"allowCrossApp": "true"}},
    {"serviceName": "cons", "version": "2.0.0"},
)
_CONSUMERS = ("@s0@", "@s6@")
_PROVIDERS = ("@s1@", "@s1@", "@s2@", "@s3@", "@s4@", "@s5@", "@s0@")
_FINDS = (
    *("appId=shop&serviceName=prov",) * 4,
    "appId=shop&serviceName=shop%3Aprov",
    "appId=depot&serviceName=open",
    "appId=depot&serviceName=closed",
    "appId=shop&serviceName=cons",
)


def trace(seed: str) -> Trace:
    """Services and one find first; then what makes events, or makes none.

    Without the deletion of services with instances, of which the original usually tells nothing (case 132). What
    changes nothing, of which it tells (95, 97), shows only when a trace is run.
    """
    random = Random(seed)
    here = {"appId": "shop", "version": "1.0.0", "environment": "development"}
    begun = [_operation("POST", "microservices", {"service": here | service}) for service in _SERVICES]
    makers = (*(_register,) * 6, *(_change,) * 6, *(_cancel,) * 3, _find, _find, _beat, _tag)
    return [*begun, _find(random), *(random.choice(makers)(random) for _ in range(random.randint(8, 20)))]


def _operation(method: str, path: str, document: Any = None, **headers: str) -> Operation:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Operation(method, _REGISTRY + path, DEFAULT | named, None if document is None else json.dumps(document))


def _find(random: Random) -> Operation:
    return _operation("GET", f"instances?{random.choice(_FINDS)}", X_ConsumerId=random.choice(_CONSUMERS))


def _register(random: Random) -> Operation:
    return _operation(
        "POST", f"microservices/{random.choice(_PROVIDERS)}/instances", {"instance": documents.instance(random)}
    )


def _change(random: Random) -> Operation:
    number = random.choice((0, 0, 1, 1, 2))
    path = f"microservices/@h{number}@/instances/@i{number}@"
    if random.random() < 0.6:
        return _operation("PUT", f"{path}/status?value={random.choice(STATUSES)}")
    return _operation("PUT", f"{path}/properties", {"properties": {"a": str(random.randrange(10))}})


def _cancel(random: Random) -> Operation:
    number = random.choice((0, 1, 2))
    return _operation("DELETE", f"microservices/@h{number}@/instances/@i{number}@")


def _beat(random: Random) -> Operation:
    method, path, body = instance_requests.beat(random)
    return Operation(method, _REGISTRY + path, dict(DEFAULT), body)


def _tag(random: Random) -> Operation:
    return _operation("POST", f"microservices/{random.choice(('@s0@', '@s1@'))}/tags", documents.tags(random))


class Told(NamedTuple):
    """Of a trace that was watched: how many operations and events, and what differs first."""

    operations: int
    events: int
    difference: str


def compared(pair: Pair, operations: Sequence[Operation]) -> Told:
    real, ours = map(Run, pair)
    count = 0
    with ExitStack() as stack:
        sockets: list[list[Socket]] = []
        for number, operation in enumerate(operations):
            if number == len(_SERVICES):
                sockets = [stack.enter_context(_watchers(run)) for run in (real, ours)]
            operation = ours.without_wish(operation)
            if ours.changes_nothing(operation):
                continue
            for run in (ours, real):
                answer, run.known = run.ask(operation)
            # Who is noted before the original has told of the last change is told of it, too.
            time.sleep(NOTED_S if "X-ConsumerId" in operation.headers else 2 * settles_in_s(operation, answer))
            told = _same_events(real, ours, sockets)
            if told[0] != told[1]:
                steps = "\n".join(f"  {one}" for one in operations[: number + 1])
                shown = "\n".join(json.dumps(events, sort_keys=True) for events in told)
                return Told(number, count, f"{steps}\nthe original and ours tell\n{shown}")
            count += sum(len(events) for watcher in told[1] for events in watcher.values())
    return Told(len(operations), count, "")


@contextmanager
def _watchers(run: Run) -> Iterator[list[Socket]]:
    """A watch of each consumer, and a second one of the first: each instance of a consumer opens its own."""
    server = ServiceCenter(run.server.url, run.server.kind, headers={"X-Domain-Name": run.domain})
    with ExitStack() as stack:
        yield [
            stack.enter_context(opened(server, f"microservices/{run.named(consumer)}/watcher"))
            for consumer in (*_CONSUMERS, _CONSUMERS[0])
        ]


def _same_events(real: Run, ours: Run, sockets: Sequence[Sequence[Socket]]) -> tuple[list[Events], list[Events]]:
    """What each watcher of both was told since the last time."""
    told: tuple[list[Events], list[Events]] = ([{} for _ in range(3)], [{} for _ in range(3)])
    give_up_at = time.monotonic() + SOON_S
    while sockets:
        for run, side, watching in zip((real, ours), told, sockets, strict=True):
            for events, socket in zip(side, watching, strict=True):
                _gather(run, socket, events)
        if told[0] == told[1] or time.monotonic() > give_up_at:
            break
    return told


def _gather(run: Run, socket: Socket, events: Events) -> None:
    while True:
        try:
            frame = socket.recv(timeout=0.05)
        except TimeoutError:
            return
        event = run.document(str(frame))
        events.setdefault(event["instance"]["instanceId"], []).append(event)
