"""Cases 99, 100, 134 and 137: what time does to leases and sockets. The stories begin with the first test of all."""

from __future__ import annotations

from .asking import assert_json, assert_refused
from .stories import Stories


def test_099_an_instance_that_sends_no_heartbeat_lapses(stories: Stories) -> None:
    """After interval x (times + 1): four missed heartbeats, not three."""
    seen = stories.lapse.result()

    assert seen.at_15_s == {seen.silent, seen.renewed}
    assert seen.at_26_s == {seen.renewed}


def test_099_a_lapse_is_told_to_watchers(stories: Stories) -> None:
    seen = stories.lapse.result()

    assert (seen.event["action"], seen.event["instance"]["instanceId"]) == ("DELETE", seen.silent)


def test_100_whoever_lapsed_may_come_back_under_its_id(stories: Stories) -> None:
    seen = stories.lapse.result()

    assert_refused(seen.heartbeat, 400017)
    assert_json(seen.registered_again, {"instanceId": seen.silent})
    assert (seen.seen_again["hostName"], seen.seen_again["endpoints"]) == ("back", ["rest://new:1"])


def test_134_a_watcher_is_pinged_by_the_server(stories: Stories) -> None:
    assert stories.pinged.result()


def test_137_answering_pings_keeps_an_instance_alive(stories: Stories) -> None:
    with_socket, without_socket = stories.kept_alive.result()

    assert with_socket
    assert not without_socket
