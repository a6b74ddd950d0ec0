"""The commands as an operator meets them: exit codes, one line for a mistake, and nothing but the answer in print."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.peers.patience import PATIENCE_S
from facade.inspection import dumps
from facade.registry.model import Status
from tests.flows.product import running
from tests.inspection.examples import cart, cart_instance, contents, orders


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_FACADE_")}
    return ours | {"XDG_STATE_HOME": str(tmp_path), "COLUMNS": "80"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "facade", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two dumps of which the second lacks one instance, and tells another status of the other."""
    before = contents(orders(), cart(cart_instance()))
    after = contents(orders(status=Status.DOWN), cart())
    for name, held in (("a.dump", before), ("b.dump", after)):
        dumps.write(held, tmp_path / name)
    return str(tmp_path / "a.dump"), str(tmp_path / "b.dump")


def test_diff_of_the_same_is_0(environment: dict[str, str], files: tuple[str, str]) -> None:
    done = run(environment, "diff", files[0], files[0])

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "no difference; 3 the same"


def test_diff_tells_a_line_for_each_difference_a_count_and_1(
    environment: dict[str, str], files: tuple[str, str]
) -> None:
    done = run(environment, "diff", *files)

    assert (done.returncode, done.stderr) == (1, "")
    *lines, _places, count = done.stdout.splitlines()
    assert lines == [
        "differs: ORDERS orders-1: status UP in A, DOWN in B",
        "only in A: SHOP.CART cart-1: UP at 10.0.0.2:9090",
    ]
    assert count == "1 differs, 1 only in A; 1 the same"


def test_diff_as_json_is_one_document(environment: dict[str, str], files: tuple[str, str]) -> None:
    told = json.loads(run(environment, "diff", "--json", *files).stdout)

    assert (told["equal"], told["same"], len(told["differences"])) == (False, 1, 2)


def test_names_from_clients_cannot_begin_a_line_or_move_the_cursor(environment: dict[str, str], tmp_path: Path) -> None:
    dumps.write(contents(orders("x\n\x1b[2Jonly in A: forged")), tmp_path / "a")
    dumps.write(contents(orders("x", ip_addr="10.0.0.8", host_name="h")), tmp_path / "b")

    told = run(environment, "diff", str(tmp_path / "a"), str(tmp_path / "b")).stdout

    assert "\x1b" not in told
    assert len(told.splitlines()) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["diff", "http://127.0.0.1:1/eureka", "nothing.dump"], id="nobody-there"),
        pytest.param(["diff", "http://ann:secret@127.0.0.1:1", "http://127.0.0.1:1"], id="with-a-password"),
        pytest.param(["dump", "servicecenter+http://127.0.0.1:1"], id="nobody-to-dump"),
        pytest.param(["dump", "ftp://ann:secret@h"], id="no-place"),
        pytest.param(["restore", "nothing.dump", "http://127.0.0.1:1"], id="no-file"),
        pytest.param(["doctor", "--listen", "127.0.0.1:1", "a-file"], id="doctor-for-a-file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_2(environment: dict[str, str], arguments: list[str]) -> None:
    done = run(environment, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("registry-facade: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_doctor_who_can_ask_nobody_says_why_and_ends_with_2(environment: dict[str, str]) -> None:
    done = run(environment, "doctor", "--listen", "127.0.0.1:1", "http://127.0.0.1:1/eureka")

    assert done.returncode == 2
    assert done.stdout.startswith("problem  http://127.0.0.1:1/eureka: cannot be reached")
    assert done.stderr == "registry-facade: none of these can be asked\n"


def test_a_dump_goes_back_over_the_network_and_out_again(
    environment: dict[str, str], files: tuple[str, str], tmp_path: Path
) -> None:
    with running(tmp_path / "data") as server:
        restored = run(environment, "restore", files[0], server.url)
        again = run(environment, "restore", "--dry-run", files[0], server.url)
        copied = run(environment, "dump", server.url, "--out", str(tmp_path / "copy.dump"))
        compared = run(environment, "diff", files[0], str(tmp_path / "copy.dump"))
        printed = run(environment, "dump", server.url)
        healthy = run(environment, "doctor", "--listen", server.url.removeprefix("http://"), server.url)

    assert restored.stdout.splitlines()[0] == f"{server.url}: 4 added"
    assert again.stdout == f"{server.url}: 0 added, 4 there already (dry run: nothing was sent)\n"
    assert (copied.returncode, compared.returncode, compared.stderr) == (0, 0, "")
    assert len(printed.stdout.splitlines()) == 5
    assert (healthy.returncode, healthy.stderr) == (0, "")


@pytest.mark.parametrize("told_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_a_dump_that_is_interrupted_is_no_success(
    environment: dict[str, str], tmp_path: Path, told_to_stop: signal.Signals
) -> None:
    """Here while it waits for a server that takes the call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"servicecenter+http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "facade", "dump", place, "--out", str(tmp_path / "file")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dump:
            call, _ = silent.accept()
            with call:
                dump.send_signal(told_to_stop)
                output, errors = dump.communicate(timeout=PATIENCE_S)

    assert (dump.returncode, output, errors) == (130, b"", b"")
    assert not (tmp_path / "file").exists()
