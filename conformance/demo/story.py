"""The story: what must come true between the two clients, chapter by chapter.

A chapter asks over HTTP, in one protocol, what was done in the other, and says what it saw. When something does not
come true it raises StoryError. Chapters put back what they change, except the last, which kills.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from conformance.demo.stage import (
    CLIENTS,
    Stage,
    found_by_servicecenter,
    listed_by_eureka,
    require,
    require_answer,
    require_status,
    service_id,
    wait_until,
    wait_until_each,
)
from conformance.peers.upstreams import Upstream

GUIDES_IDS = {
    ("eureka", "account-server"): "80784229255ec96d90353e3c041bdf3586fdbbae",
    ("eureka", "hello-server"): "d0d72e092a9a77e7b6dcbe19418c19e8209e05bc",
}
LOGIN = {"user": "Jack", "password": "123456"}


def each_protocol_lists_both(stage: Stage) -> None:
    """In the full lists that dashboards and people read; ServiceCenter may list more, such as itself."""
    for list_both in (stage.in_eureka, stage.in_servicecenter) if not stage.is_one_server else ():
        for name in CLIENTS:
            wait_until(f"{name} has been copied", partial(list_both, name))
    apps = stage.http.get(f"{stage.eureka}/apps").raise_for_status().json()["applications"]["application"]
    services = stage.http.get(f"{stage.servicecenter}/v4/default/registry/microservices").raise_for_status().json()
    in_eureka = sorted(app["name"] for app in apps)
    in_servicecenter = sorted(service["serviceName"] for service in services["services"])

    require(
        in_eureka == sorted(["ACCOUNT-SERVER", stage.hello_name.upper()]),
        f"Eureka lists {in_eureka}, not account-server and {stage.hello_name}",
    )
    require(set(CLIENTS) <= set(in_servicecenter), f"ServiceCenter lists {in_servicecenter}, not both clients")
    stage.say(f"Eureka lists {', '.join(in_eureka)}; ServiceCenter lists {', '.join(in_servicecenter)}")


def the_registries_behind_hold_what_is_theirs(stage: Stage) -> None:
    """One registry behind us holds both clients; of two, each holds the client of its own protocol, and no copy."""
    for protocol, upstream in stage.upstreams.items() if stage.is_one_server else ():
        held = sorted(name for name in CLIENTS if _is_held(stage, upstream, name))
        own = ["account-server"] if protocol == "eureka" else ["hello-server"]
        expected = own if len(stage.upstreams) > 1 else sorted(CLIENTS)

        require(held == expected, f"the {protocol} behind us holds {held}, not {expected}")
        stage.say(f"the {protocol} behind us, asked itself, holds {', '.join(held)}")


def _is_held(stage: Stage, upstream: Upstream, name: str) -> bool:
    if upstream.protocol == "eureka":
        return bool(listed_by_eureka(stage.http, f"{upstream.url}/eureka", name))
    return bool(found_by_servicecenter(stage.http, upstream.url, stage.hello_app, name))


def service_ids_are_those_of_a_real_servicecenter(stage: Stage) -> None:
    """As the guide's log shows them; hello-server's is another when its app is another."""
    for app, name in (("eureka", "account-server"), (stage.hello_app, "hello-server")):
        answer = stage.http.get(
            f"{stage.servicecenter}/v4/default/registry/existence",
            params={"type": "microservice", "appId": app, "serviceName": name, "version": "0.0.1", "env": ""},
        )
        got, expected = answer.json().get("serviceId"), GUIDES_IDS.get((app, name)) or service_id(app, name)

        require(got == expected, f"{name} of app {app} has the serviceId {got}, not {expected}")
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

    require(
        [one["serviceId"] for one in found] == [own_app],
        f"hello-server finds account-server as {found}, not as one instance of the service {own_app} in its own app",
    )


def the_guides_login_is_welcomed(stage: Stage) -> None:
    """Go calls Spring: the form goes through hello-server, status and text come back."""
    welcome = stage.login(LOGIN)
    refused = stage.login(LOGIN | {"password": ""})

    require_answer("POST /login at hello-server", welcome, 200, "welcome Jack")
    require_answer("POST /login without a password", refused, 401, "password is empty")
    stage.say(f"POST /login at hello-server: {welcome.text}")


def spring_calls_back_by_name(stage: Stage) -> None:
    """Spring calls Go, through its own load balancer."""
    answer = stage.call_back()

    require_answer(f"GET http://{stage.hello_name}/hello/Jack from account-server", answer, 200, "hello Jack")
    stage.say(f"account-server calls http://{stage.hello_name}/hello/Jack: {answer.text}")


def draining_over_eureka_holds_in_servicecenter(stage: Stage) -> None:
    """An operator's override on a Eureka-born instance; hello-server lets go of it, and takes it again."""
    (instance_id,) = stage.in_eureka("account-server")
    status_url = f"{stage.eureka}/apps/ACCOUNT-SERVER/{instance_id}/status"

    stage.http.put(status_url, params={"value": "OUT_OF_SERVICE"}).raise_for_status()
    stage.require_shown(
        "account-server, drained in Eureka", partial(stage.in_servicecenter, "account-server"), "OUTOFSERVICE"
    )
    wait_until("hello-server lets go of account-server", lambda: not stage.seen("hello-server", "account-server"))
    require_status("POST /login while account-server is drained", stage.login(LOGIN), 502)
    stage.say("account-server is drained over Eureka: OUTOFSERVICE in ServiceCenter, hello-server calls it no more")

    stage.http.delete(status_url, params={"value": "UP"}).raise_for_status()
    stage.require_shown("account-server, put back in Eureka", partial(stage.in_servicecenter, "account-server"), "UP")
    wait_until("hello-server takes account-server back", lambda: stage.seen("hello-server", "account-server"))
    require_answer("POST /login after account-server was put back", stage.login(LOGIN), 200, "welcome Jack")
    stage.say("account-server is put back: hello-server calls it again")


def draining_over_servicecenter_holds_in_eureka(stage: Stage) -> None:
    """A status change on a ServiceCenter-born instance; account-server lets go of it, and takes it again."""
    (instance_id,) = stage.in_servicecenter("hello-server")
    service = service_id(stage.hello_app, "hello-server")
    status_url = f"{stage.servicecenter}/v4/default/registry/microservices/{service}/instances/{instance_id}/status"

    stage.http.put(status_url, params={"value": "OUTOFSERVICE"}).raise_for_status()
    stage.require_shown(
        "hello-server, drained in ServiceCenter", partial(stage.in_eureka, stage.hello_name), "OUT_OF_SERVICE"
    )
    wait_until("account-server lets go of hello-server", lambda: not stage.seen("account-server", stage.hello_name))
    require_status("account-server's call while hello-server is drained", stage.call_back(), 502)
    stage.say("hello-server is drained over ServiceCenter: OUT_OF_SERVICE in Eureka, account-server calls it no more")

    stage.http.put(status_url, params={"value": "UP"}).raise_for_status()
    stage.require_shown("hello-server, put back in ServiceCenter", partial(stage.in_eureka, stage.hello_name), "UP")
    wait_until("account-server takes hello-server back", lambda: stage.seen("account-server", stage.hello_name))
    require_answer("account-server's call after hello-server was put back", stage.call_back(), 200, "hello Jack")
    stage.say("hello-server is put back: account-server calls it again")


def a_killed_client_leaves_both_views(stage: Stage) -> None:
    """Without a goodbye its lease lapses: Eureka and ServiceCenter drop it, and hello-server hears of it by its watch.

    go-chassis never drops a service's last instance by polling, so its memory proves that the watch told it.
    """
    stage.clients["account-server"].kill()
    killed_s = time.monotonic()
    stage.say("account-server is killed (SIGKILL)")
    sights: dict[str, Callable[[], object]] = {
        "account-server has left Eureka": lambda: not stage.in_eureka("account-server"),
        "account-server has left ServiceCenter": lambda: not stage.in_servicecenter("account-server"),
    }
    if stage.is_watched:
        sights["hello-server sees account-server no more"] = lambda: not stage.seen("hello-server", "account-server")
    gone_s = wait_until_each(sights)
    for what, moment_s in gone_s.items():
        stage.say(f"{what}: {moment_s - killed_s:.1f} s after the kill")
    answer = stage.login(LOGIN)

    require_status("POST /login without an account-server", answer, 502)
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

    require_answer("POST /login after the restart", stage.login(LOGIN), 200, "welcome Jack")
    require_answer("account-server's call after the restart", stage.call_back(), 200, "hello Jack")


CHAPTERS: Sequence[Callable[[Stage], None]] = (
    each_protocol_lists_both,
    the_registries_behind_hold_what_is_theirs,
    service_ids_are_those_of_a_real_servicecenter,
    each_client_sees_the_other,
    the_guides_login_is_welcomed,
    spring_calls_back_by_name,
    draining_over_eureka_holds_in_servicecenter,
    draining_over_servicecenter_holds_in_eureka,
    a_killed_client_leaves_both_views,
)
