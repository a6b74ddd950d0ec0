"""Cases 128-136, 138 and 139: the watcher and the heartbeat socket, as far as nothing has to be waited for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from conformance.peers.patience import PATIENCE_S

from .asking import ServiceCenter, Shop, assert_ok
from .sockets import Socket, opened

# As long as it takes a first event to come on the real server, and then some.
SILENCE_S = 1.0


@pytest.fixture
def watch(sc: ServiceCenter, shop: Shop) -> Iterator[Socket]:
    """What the consumer watches, after it has found prov."""
    sc.find(shop.app, "prov", consumer=shop.consumer)

    def is_noted() -> None:
        assert sc.consumers(shop.s1) == {shop.consumer}

    sc.soon(is_noted)
    with opened(sc, f"microservices/{shop.consumer}/watcher") as watch:
        yield watch


def test_128_nothing_is_told_at_the_start(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    sc.register(shop.s1)
    assert watch.next_event()["action"] == "CREATE"
    with opened(sc, f"microservices/{shop.consumer}/watcher") as late:
        assert late.subprotocol is None
        assert late.is_silent(SILENCE_S)


def test_128_v3_watches_too(sc: ServiceCenter, shop: Shop) -> None:
    """The original routes the path and cannot upgrade there."""
    try:
        with opened(sc, f"/registry/v3/microservices/{shop.consumer}/watcher") as watch:
            status = 101 if watch.is_silent(0.2) else 0
    except InvalidStatus as refusal:
        status = refusal.response.status_code

    assert status == sc.expected(ours=101, real=500)


def test_129_an_unknown_service_is_told_so_in_words(sc: ServiceCenter) -> None:
    """The Go client parses the text."""
    with opened(sc, "microservices/nope/watcher") as watch:
        assert watch.recv(timeout=PATIENCE_S) == "service does not exist"
        with pytest.raises(ConnectionClosed):
            watch.recv(timeout=PATIENCE_S)


def test_130_a_registration_is_told(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    instance = sc.register(shop.s1)

    assert watch.next_event() == {
        "action": "CREATE",
        "key": {
            "tenant": "default/default",
            "environment": "development",
            "appId": shop.app,
            "serviceName": "prov",
            "alias": f"{shop.app}:prov",
            "version": "1.0.0",
        },
        "instance": sc.instance(shop.s1, instance),
    }


def test_130_events_are_compact_json(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    sc.register(shop.s1)
    frame = watch.recv(timeout=PATIENCE_S)

    assert isinstance(frame, str)
    assert frame.startswith('{"action":"CREATE","key":{"')


def test_130_each_watcher_of_a_consumer_is_told(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    """Each instance of the consumer opens its own."""
    with opened(sc, f"microservices/{shop.consumer}/watcher") as second:
        instance = sc.register(shop.s2)
        told = [socket.next_event()["instance"]["instanceId"] for socket in (watch, second)]

    assert told == [instance, instance]


def test_131_a_change_is_told(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    instance = sc.register(shop.s1)
    assert watch.next_event()["action"] == "CREATE"
    path = f"microservices/{shop.s1}/instances/{instance}"
    assert_ok(sc.put(f"{path}/status", value="DOWN"))
    down = watch.next_event()
    assert_ok(sc.put(f"{path}/properties", {"properties": {"a": "1"}}))
    changed = watch.next_event()

    assert (down["action"], down["instance"]["status"]) == ("UPDATE", "DOWN")
    assert (changed["action"], changed["instance"]["properties"]) == ("UPDATE", {"a": "1"})
    assert changed["instance"]["instanceId"] == instance


def test_131_registering_a_living_id_again_is_told(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    """The original changes nothing, so it tells nothing."""
    instance = sc.register(shop.s1)
    assert watch.next_event()["action"] == "CREATE"
    sc.register(shop.s1, instanceId=instance, endpoints=["rest://new:1"])

    assert watch.is_silent(SILENCE_S) == sc.expected(ours=False, real=True)


def test_132_a_departure_is_told_and_a_heartbeat_is_not(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    instance = sc.register(shop.s1, hostName="leaves")
    assert watch.next_event()["action"] == "CREATE"
    path = f"microservices/{shop.s1}/instances/{instance}"
    assert_ok(sc.put(f"{path}/heartbeat"))
    assert_ok(sc.delete(path))
    event = watch.next_event()

    assert (event["action"], event["instance"]["instanceId"]) == ("DELETE", instance)
    assert event["instance"]["hostName"] == "leaves"


def test_133_what_was_never_found_is_not_told(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    sc.register(shop.closed)
    sc.register(shop.open)
    found = sc.register(shop.s1)

    assert watch.next_event()["instance"]["instanceId"] == found
    assert watch.is_silent(SILENCE_S)


def test_134_a_ping_is_answered(sc: ServiceCenter, watch: Socket) -> None:
    """RFC 6455 wants the payload back; the original's pong is empty."""
    watch.ping(b"x")

    assert watch.ponged.wait(5)
    assert watch.pongs == [sc.expected(ours=b"x", real=b"")]


def test_135_frames_of_the_client_are_ignored(sc: ServiceCenter, shop: Shop, watch: Socket) -> None:
    """The original takes 64 bytes."""
    watch.send("x" * 64)
    instance = sc.register(shop.s1)
    assert watch.next_event()["instance"]["instanceId"] == instance
    watch.send("x" * 65)

    if sc.expected(ours=True, real=False):
        later = sc.register(shop.s1)
        assert watch.next_event()["instance"]["instanceId"] == later
    else:
        assert watch.closing()[0] == 1009


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("microservices/{consumer}/watcher", id="case136-watcher"),
        pytest.param("microservices/{s1}/instances/{instance}/heartbeat", id="case136-heartbeat"),
    ],
)
def test_a_plain_get_cannot_watch(sc: ServiceCenter, shop: Shop, path: str) -> None:
    """The original's text may be stray memory."""
    instance = sc.register(shop.s1)
    answer = sc.get(path.format(consumer=shop.consumer, s1=shop.s1, instance=instance))

    assert answer.status == 400
    assert sc.kind == "real" or answer.text == "Bad Request\n"


def test_138_a_missing_instance_closes_the_heartbeat_socket(sc: ServiceCenter, shop: Shop) -> None:
    with opened(sc, f"microservices/{shop.s1}/instances/nope/heartbeat") as beats:
        closing = beats.closing()

    assert closing == (4001, "heartbeat reporting failed because the instance does not exist")


def test_139_the_list_watcher_is_gone(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.get(f"microservices/{shop.consumer}/listwatcher")

    assert (answer.status, answer.body) == (404, b"404 page not found\n")
