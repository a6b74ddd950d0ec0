"""`top` as an operator meets it: a table that fits, one document, exit codes, and an end by Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from facade.inspection.survey import Row
from facade.inspection.top import picture
from tests.flows.product import clean_environment, running

WELL = Row(
    name="10.0.0.11:8761",
    url="http://10.0.0.11:8761",
    state="ok",
    revision=1_795_756_185_829,
    lag_ms=12,
    renewals_a_second=333.3,
    instances={"eureka": 10_000, "servicecenter": 500},
    data_age_s=0.0,
    waiting_writes=0,
)


def told(rows: Sequence[Row], width: int = 80) -> list[str]:
    written = StringIO()
    Console(file=written, width=width, markup=False, highlight=False).print(picture(rows))
    return [line.rstrip() for line in written.getvalue().splitlines()]


def test_a_row_fits_into_a_terminal_of_80_columns() -> None:
    rows = [WELL, msgspec.structs.replace(WELL, name="10.0.0.12:8761", leads=True)]

    assert told(rows) == [
        "NODE             STATE      REVISION   LAG RENEW/S EUREKA  SC AGE WAIT",
        "10.0.0.11:8761   ok    1795756185829 12 ms   333.3  10000 500   0    0",
        "10.0.0.12:8761 * ok    1795756185829 12 ms   333.3  10000 500   0    0",
        "* ends lapsed leases",
    ]


def test_nothing_is_cut_off_where_names_and_figures_are_long() -> None:
    name = "registry-facade-7d9f8b5c4d-x2k4p.registry.svc.cluster.local:8761"
    row = msgspec.structs.replace(WELL, name=name, state="degraded", data_age_s=123.0, waiting_writes=10_000)

    lines = told([row])

    assert "".join(line.split()[0] for line in lines[1:]) == name
    assert all(figure in lines[1] for figure in ("degraded", "1795756185829", "333.3", "2 min", "10000"))
    assert max(map(len, lines)) <= 80


def test_what_nobody_knows_is_a_dash_and_its_reason_is_below() -> None:
    row = Row("a:1", "http://a:1", "no answer", remarks=("Does not answer at http://a:1: nobody is there.",))

    assert told([row])[1:] == [
        "a:1  no answer        -   -       -      -  -   -    -",
        "a:1: Does not answer at http://a:1: nobody is there.",
    ]


def test_a_server_cannot_move_the_cursor_or_paint() -> None:
    row = msgspec.structs.replace(WELL, name="\x1b[2Ja:1", state="[red]ok", remarks=("a\nforged: b :smile:",))

    lines = told([row], width=200)

    assert "\x1b" not in "".join(lines)
    assert r"\x1b[2Ja:1 [red]ok" in lines[1]
    assert lines[2].endswith(r"a\nforged: b :smile:")


# As a command


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "facade", "top", *arguments]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)


def test_without_a_terminal_it_prints_once_and_ends(tmp_path: Path) -> None:
    dead = "http://ann:secret@127.0.0.1:1"
    with running(tmp_path / "data", "--auth") as server:
        well, other, as_json = top(server.url), top("--once", server.url, dead), top("--json", server.url)

    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout.splitlines()[1].split()[1] == "ok"
    assert (other.returncode, other.stderr) == (1, "")
    assert "no answer" in other.stdout and "secret" not in other.stdout
    assert [row["state"] for row in json.loads(as_json.stdout)["nodes"]] == ["ok"]


def test_where_nobody_answers_it_says_so_and_ends_with_2() -> None:
    done = top("http://127.0.0.1:1")

    assert (done.returncode, done.stderr) == (2, "registry-facade: none of these servers can be asked\n")
    assert "Does not answer at" in done.stdout


@pytest.mark.parametrize("place", ["http://127.0.0.1:8761/eureka", "a-file", "ftp://h"])
def test_what_is_no_server_of_ours_by_its_name_is_refused(place: str) -> None:
    done = top(place)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_ctrl_c_ends_it_in_good_order_and_leaves_the_last_table(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        shown, code = _on_a_terminal(server.url, until=b"127.0.0.1")

    assert code == 0
    assert "Traceback" not in shown
    *_, after_the_screen = shown.split("\x1b[?1049l")
    assert server.url.removeprefix("http://") in after_the_screen


def _on_a_terminal(url: str, until: bytes) -> tuple[str, int]:
    """What `top` writes to a terminal, and its exit code; it is interrupted when `until` has been shown."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "facade", "top", url]
    with subprocess.Popen(
        command, env=clean_environment() | {"TERM": "xterm"}, stdin=its, stdout=its, stderr=its
    ) as top:
        os.close(its)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # it has ended
                break
            if until in shown:
                top.send_signal(signal.SIGINT)
                until = b"never again"
    os.close(ours)
    return shown.decode(), top.returncode
