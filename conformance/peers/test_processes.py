"""Starting and stopping, with small programs of ours in place of the real ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conformance.peers import builds
from conformance.peers import processes as peers
from conformance.peers.processes import MissingToolError, PeerError, Processes, Program


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def web_server(free_port: Callable[[], int]) -> Program:
    """A program that serves, from the files laid into its directory."""
    port = free_port()
    return Program(
        name="web-server",
        command=[sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        url=f"http://127.0.0.1:{port}",
        ready="/conf/a.txt",
        files={"conf/a.txt": "laid here"},
    )


def test_a_started_program_serves_and_a_killed_one_is_gone(processes: Processes, web_server: Program) -> None:
    running = processes.start(web_server)
    running.kill()

    processes.start(web_server)  # it would refuse while the port is taken


def test_a_program_starts_again_on_what_it_left(processes: Processes, web_server: Program) -> None:
    running = processes.start(web_server)
    (running.directory / "conf" / "a.txt").write_text("changed meanwhile")
    running.kill()

    again = processes.restart(running)

    assert httpx.get(again.url + "/conf/a.txt").text == "changed meanwhile"


def test_what_does_not_speak_http_is_asked_in_its_own_way(processes: Processes, free_port: Callable[[], int]) -> None:
    """A question that fails at first is asked again."""
    answers = iter([OSError("nobody listens"), False, True])

    def is_ready(url: str) -> bool:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    processes.start(Program("sleeper", sleeper, f"redis://127.0.0.1:{free_port()}", is_ready))

    assert next(answers, "none is left") == "none is left"


def test_everything_started_is_stopped_at_the_end(tmp_path: Path, web_server: Program) -> None:
    with Processes(tmp_path) as processes:
        pid = processes.start(web_server).pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_port_that_another_program_has_is_refused(processes: Processes, web_server: Program) -> None:
    """Else the other program's answers would be taken for ours."""
    processes.start(web_server)

    with pytest.raises(PeerError, match="another program listens on 127"):
        processes.start(web_server)


def test_a_program_that_ends_at_once_is_told_with_its_last_words(
    processes: Processes, free_port: Callable[[], int]
) -> None:
    program = Program(
        name="mayfly",
        command=[sys.executable, "-c", "raise SystemExit('no such luck')"],
        url=f"http://127.0.0.1:{free_port()}",
        ready="/",
    )

    with pytest.raises(PeerError, match="mayfly ended with code 1: no such luck"):
        processes.start(program)


def test_a_missing_tool_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(MissingToolError, match="apt-get install golang-go"):
        peers.hello_server(8091, "http://127.0.0.1:30100")


def test_sources_are_built_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "sources" / "thing" / "a.txt"
    source.parent.mkdir(parents=True)
    source.write_text("one")
    monkeypatch.setattr(builds, "SOURCES", tmp_path / "sources")
    monkeypatch.setenv("PEERS_HOME", str(tmp_path / "home"))

    first = builds.built("thing", "a.txt", ["cp", "a.txt", "{out}/a.txt"], "cp 1")
    kept = builds.built("thing", "a.txt", ["false"], "cp 1")
    source.write_text("two")
    changed = builds.built("thing", "a.txt", ["cp", "a.txt", "{out}/a.txt"], "cp 1")

    assert kept == first
    assert (first.read_text(), changed.read_text()) == ("one", "two")


def test_a_failed_build_is_told_with_the_error_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thing").mkdir()
    monkeypatch.setattr(builds, "SOURCES", tmp_path)
    monkeypatch.setenv("PEERS_HOME", str(tmp_path / "home"))

    for _ in range(2):
        with pytest.raises(PeerError, match=r"thing could not be built: \[ERROR\] no such symbol"):
            builds.built("thing", "a.txt", ["sh", "-c", "echo '[ERROR] no such symbol'; echo advice; false"], "sh 1")


def test_a_program_that_does_not_serve_in_time_leaves_its_port(
    processes: Processes, web_server: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hasty, pytest.raises(PeerError, match="did not answer"):
        hasty.setattr(peers, "START_WITHIN_S", 0.0)
        processes.start(web_server)

    assert processes.start(web_server).is_running


def test_the_port_after_a_free_one_is_never_given(free_port: Callable[[], int]) -> None:
    """etcd listens for its peers there, ServiceCenter for its syncer."""
    given = [free_port() for _ in range(20)]

    assert not {port + 1 for port in given} & {*given}
