"""What the people who run the server get to read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from facade.config import Address, Settings
from facade.console import announce, set_up_logging, warn_if_open

LOOPBACK = [Address("127.0.0.1", 8761), Address("127.0.0.1", 30100), Address("::1", 30103)]


@pytest.fixture(autouse=True)
def root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def log_a_failure() -> None:
    password = "".join(["sword", "fish"])
    try:
        raise KeyError("nobody")
    except KeyError:
        logging.getLogger("uvicorn.error").exception("broken for %d", len(password))


def test_three_lines_tell_where_each_kind_of_client_goes(capsys: pytest.CaptureFixture[str]) -> None:
    announce(LOOPBACK, "registry-1")

    assert capsys.readouterr().out.splitlines() == [
        "Eureka         http://127.0.0.1:8761/eureka/",
        "ServiceCenter  http://127.0.0.1:30100",
        "Dashboard      http://[::1]:30103/",
    ]


def test_one_address_is_for_all_and_all_interfaces_are_told_by_the_machines_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every port answers everything; nobody can connect to 0.0.0.0 from elsewhere."""
    announce([Address("0.0.0.0", 80)], "registry-1")

    urls = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    here = "http://registry-1:80"
    assert urls == [f"{here}/eureka/", here, f"{here}/"]


def test_ports_of_ones_own_are_told_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    announce([Address("127.0.0.1", 9001), Address("127.0.0.1", 9002)], "registry-1")

    urls = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert urls == ["http://127.0.0.1:9001/eureka/", "http://127.0.0.1:9002", "http://127.0.0.1:9002/"]


def test_an_open_address_is_warned_of_at_every_log_level(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_level="warning", log_format="json"))

    warn_if_open([*LOOPBACK, Address("10.0.0.1", 8761)])

    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "warning"
    assert "WITHOUT AUTHENTICATION: whoever reaches 10.0.0.1:8761 can" in line["event"]


def test_loopback_is_not_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings())

    warn_if_open(LOOPBACK)

    assert capsys.readouterr().err == ""


def test_a_line_is_one_json_object_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever logs it: uvicorn's lines come by the same road. Tracebacks are data, too."""
    set_up_logging(Settings())
    hostile = "A\nB\x1b[2J"

    logging.getLogger("facade.registry").info("lease lapsed application=%s", hostile)
    log_a_failure()

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["logger"], first["level"]) == (
        f"lease lapsed application={hostile}",
        "facade.registry",
        "info",
    )
    assert second["exception"].endswith("KeyError: 'nobody'")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_no_values_of_variables(
    capsys: pytest.CaptureFixture[str], log_format: Literal["text", "json"]
) -> None:
    """Passwords are among them."""
    set_up_logging(Settings(log_format=log_format))

    log_a_failure()

    line = capsys.readouterr().err
    assert "KeyError" in line
    assert "swordfish" not in line


def test_a_text_line_holds_nothing_that_moves_a_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Clients choose names that we log."""
    set_up_logging(Settings(log_format="text"))

    logging.getLogger("facade").warning("application=%s", "A\nB\x1b[2J\x9b\u2028")

    line = capsys.readouterr().err
    assert line.removesuffix("\n").isprintable()
    assert r"application=A\nB\x1b[2J\x9b\u2028" in line


def test_what_is_below_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_level="warning"))

    logging.getLogger("facade").info("nothing to worry about")

    assert capsys.readouterr().err == ""
