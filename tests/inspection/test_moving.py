"""`migrate` as an operator meets it: what is printed, what the exit code is, and that no password is repeated."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from facade.inspection import dumps
from tests.flows.product import BASE, Process, eureka_document, running
from tests.inspection.examples import cart, cart_instance, contents, orders
from tests.inspection.test_commands import environment, run

__all__ = ["environment"]  # a fixture


def fill(server: Process) -> None:
    for number in range(3):
        document = {"instance": eureka_document("ORDERS", f"o{number}")}
        assert httpx.post(f"{server.url}/eureka/apps/ORDERS", json=document).status_code == 204
    service = {"appId": "shop", "serviceName": "cart", "version": "1.0.0"}
    assert httpx.post(f"{server.url}{BASE}/microservices", json={"service": service}).status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["sqlite:///a.db"], id="one-place"),
        pytest.param(["--live", "sqlite:///a.db", "memory://"], id="live-from"),
        pytest.param(["--call-off", "memory://"], id="call-off-what"),
        pytest.param(["sqlite:///nowhere.db", "sqlite:///b.db"], id="no-such-file"),
        pytest.param(["sqlite:///a.db", "ftp://ann:secret@h"], id="no-place"),
        pytest.param(["eureka+http://ann:secret@127.0.0.1:1/eureka", "sqlite:///b.db"], id="nobody-there"),
        pytest.param(["sqlite:///a.db", "sqlite:///a.db"], id="the-same"),
        pytest.param(["a.dump", "sqlite:///b.db", "--server", "http://127.0.0.1:1"], id="server-without-live"),
        pytest.param(["a.dump", "sqlite:///b.db", "--only-there", "keep"], id="only-there-without-live"),
        pytest.param(["redis://ann:secret@127.0.0.1:1", "sqlite:///b.db"], id="no-redis-there"),
        pytest.param(["a.dump", "redis://ann:secret@127.0.0.1:1"], id="no-such-dump"),
        pytest.param(["--live", "--server", "http://ann:secret@127.0.0.1:1", "memory://"], id="no-server"),
        pytest.param(["--live", "--server", "a.dump", "memory://"], id="no-address"),
        pytest.param(["--call-off", "--server", "http://127.0.0.1:1"], id="nobody-to-call-off"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_2(environment: dict[str, str], arguments: list[str]) -> None:
    done = run(environment, "migrate", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("registry-facade: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_dump_goes_into_a_file_after_its_plan_was_shown(environment: dict[str, str], tmp_path: Path) -> None:
    dumps.write(contents(orders(), cart(cart_instance())), tmp_path / "a.dump")
    to = f"sqlite://{tmp_path}/new.db"
    plan = run(environment, "migrate", str(tmp_path / "a.dump"), to)
    applied = run(environment, "migrate", "--apply", str(tmp_path / "a.dump"), to)
    again = run(environment, "migrate", "--json", "--apply", str(tmp_path / "a.dump"), to)

    assert [done.returncode for done in (plan, applied, again)] == [0, 0, 0]
    assert plan.stdout.splitlines() == [
        f"from {tmp_path}/a.dump: 4 records",
        f"to {to}: 0 records",
        "to be written: 1 services, 1 schemas, 2 instances; there already: 0; only there: 0",
        "Nothing was written. --apply writes it.",
    ]
    assert applied.stdout.splitlines()[-1] == "4 added"
    told = json.loads(again.stdout)
    assert (told["plan"]["same"], told["states"], told["leftOut"]) == (4, {}, [])


def test_what_is_there_otherwise_is_kept_and_told_and_1(environment: dict[str, str], tmp_path: Path) -> None:
    to = f"sqlite://{tmp_path}/new.db"
    dumps.write(contents(orders(metadata={"zone": "b"})), tmp_path / "a.dump")
    dumps.write(contents(orders()), tmp_path / "b.dump")
    run(environment, "migrate", "--apply", str(tmp_path / "a.dump"), to)

    done = run(environment, "migrate", "--apply", str(tmp_path / "b.dump"), to)

    assert done.returncode == 1
    assert "there, but otherwise; kept as they are there: 1 (instance ORDERS/orders-1)" in done.stdout


def test_a_live_plan_says_what_is_to_be_decided_on_before_it_is_applied(
    environment: dict[str, str], tmp_path: Path
) -> None:
    dumps.write(contents(orders()), tmp_path / "a.dump")
    to = f"sqlite://{tmp_path}/left.db"
    assert run(environment, "migrate", "--apply", str(tmp_path / "a.dump"), to).returncode == 0
    with running(tmp_path / "data") as server:
        plan = run(environment, "migrate", "--live", "--server", server.url, to)

    assert plan.returncode == 0
    assert "only there: 1\nWhat is only there and belongs to no other server needs --only-there keep" in plan.stdout


def test_a_server_that_is_not_there_is_told_with_the_flag_that_names_it(environment: dict[str, str]) -> None:
    done = run(environment, "migrate", "--live", "--listen", "127.0.0.1:1", "memory://")

    assert "--server names where it listens" in done.stderr


def test_a_running_server_goes_over_to_another_store_and_a_restart_is_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    to = f"sqlite://{tmp_path}/new.db"
    with running(tmp_path / "data") as server:
        fill(server)
        live = ("migrate", "--live", "--server", server.url)
        plan = run(environment, *live, to)
        switched = run(environment, *live, to, "--apply")
        again = run(environment, *live, to, "--apply")
        off = run(environment, "migrate", "--call-off", "--server", server.url)
        failed = run(environment, *live, "eureka+http://ann:secret@127.0.0.1:1/eureka", "--apply")
        assert httpx.get(f"{server.url}/readyz").json()["store"]["writable"]
    started = run(environment, "serve", "--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:1")

    assert [done.returncode for done in (plan, switched, again, off, failed)] == [0, 0, 2, 2, 1]
    assert plan.stdout.splitlines()[2:] == [
        "to be written: 1 services, 3 instances; there already: 0; only there: 0",
        "Nothing was written. --apply begins the switch.",
    ]
    assert switched.stdout.splitlines()[-2:] == [
        f"Switched: the records are in {to} now.",
        "The settings name sqlite:/// yet: put this one there (--store) before the next start.",
    ]
    assert failed.stderr.startswith("Not switched: http://127.0.0.1:1/eureka: ")
    assert "secret" not in failed.stdout + failed.stderr
    assert started.returncode == 2
    with running(tmp_path / "data", "--store", to) as server:
        assert len(httpx.get(f"{server.url}{BASE}/microservices").json()["services"]) == 2
