"""F6: what is wrong at the start is one readable line and exit code 2, at once and without a traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conformance.peers.patience import PATIENCE_S
from tests.flows.product import clean_environment, running

is_root = os.geteuid() == 0


def refused(*flags: str, **variables: str) -> str:
    """The one line with which a start is refused."""
    command = [sys.executable, "-m", "facade", "serve", *flags]
    environment = clean_environment() | variables
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)
    lines = ended.stderr.strip().splitlines()

    assert ended.returncode == 2, ended.stderr
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return lines[0]


def on_any_port(data_dir: Path) -> tuple[str, ...]:
    return ("--listen", "127.0.0.1:0", "--data-dir", str(data_dir))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        line = refused("--store", "memory://", "--listen", f"127.0.0.1:{port}")

    assert f"127.0.0.1:{port}" in line
    assert "--listen" in line


def test_an_address_of_another_machine_is_refused() -> None:
    assert "192.0.2.1:8761" in refused("--store", "memory://", "--listen", "192.0.2.1:8761")


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert str(file) in refused(*on_any_port(file))


@pytest.mark.skipif(is_root, reason="root may read everything")
def test_a_directory_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0)

    assert str(closed) in refused(*on_any_port(closed))


def test_a_file_that_is_no_registry_is_named(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear registry, " * 1000)

    assert str(file) in refused("--store", f"sqlite://{file}", "--listen", "127.0.0.1:0")


def test_a_file_of_a_newer_release_is_named(tmp_path: Path) -> None:
    """F22. What a downgrade would meet."""
    file = tmp_path / "registry.db"
    with running(tmp_path, "--store", f"sqlite://{file}"):
        pass
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 999")

    line = refused("--store", f"sqlite://{file}", "--listen", "127.0.0.1:0")

    assert str(file) in line
    assert "newer release" in line


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nothing can be made; root is only stopped by a disk that takes nothing."""
    place = tmp_path / "sealed"
    place.mkdir(0o555)
    if not is_root:
        yield place
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this root may not mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_directory_that_may_not_be_written_is_named(sealed: Path) -> None:
    assert str(sealed) in refused(*on_any_port(sealed))
    assert str(sealed) in refused(*on_any_port(sealed / "data"))


def test_a_second_server_on_one_file_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "data"):
        line = refused(*on_any_port(tmp_path / "data"))

    assert str(tmp_path / "data") in line


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        pytest.param(("--store", "postgres://db"), "postgres", id="unknown store"),
        pytest.param(("--store", "redis://jack:secret"), "HOST:PORT", id="no host of a store"),
        pytest.param(("--listen", "8761"), "HOST:PORT", id="no host"),
        pytest.param(("--eviction-interval-s", "soon"), "eviction_interval_s", id="no number"),
        pytest.param(("--config", "/nowhere/at/all.toml"), "/nowhere/at/all.toml", id="no such file"),
    ],
)
def test_a_bad_flag_is_named(flags: tuple[str, ...], word: str) -> None:
    line = refused(*flags)

    assert word in line
    assert "secret" not in line


def test_a_mistyped_variable_is_named_with_the_right_one() -> None:
    line = refused(REGISTRY_FACADE_STROE="memory://")

    assert "REGISTRY_FACADE_STROE" in line
    assert "did you mean REGISTRY_FACADE_STORE" in line


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param("store = [", "Invalid value", id="no TOML"),
        pytest.param('stroe = "memory://"', "did you mean store", id="unknown key"),
        pytest.param("eviction_interval_s = [1]", "eviction_interval_s", id="wrong type"),
        pytest.param("renewal_threshold = nan", "renewal_threshold", id="no number"),
        pytest.param("listen = 8761", "listen", id="no list"),
        pytest.param(b"\xff\xfe", "utf-8", id="not UTF-8"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str | bytes, word: str) -> None:
    config = tmp_path / "facade.toml"
    config.write_bytes(text.encode() if isinstance(text, str) else text)

    line = refused("--config", str(config))

    assert str(config) in line
    assert word in line
