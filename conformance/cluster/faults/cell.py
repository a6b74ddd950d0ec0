"""A network namespace with one cable to this machine, in which a node can be cut off as a broken network would do it.

    with Cell() as cell:
        node = processes.start(cell.inside(facade([port], …, [f"redis://{cell.outside}:{redis_port}"])))
        cell.cut(redis_port)
        cell.heal()

Needs root, `ip` (iproute2) and `nft` (nftables). What the rules drop is dropped inside: nobody else is concerned.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Literal

from conformance.peers.processes import MissingToolError, Program

Direction = Literal["both", "in", "out"]

TABLE = """
table inet faults {
  chain arriving { type filter hook input priority 0; policy accept; %s }
  chain leaving { type filter hook output priority 0; policy accept; %s }
}
"""


class NotAllowedError(MissingToolError):
    """The tools are there, and this machine does not let us use them."""


class Cell:
    def __init__(self) -> None:
        """Raises MissingToolError."""
        for command, package in (("ip", "iproute2"), ("nft", "nftables"), ("ss", "iproute2")):
            if shutil.which(command) is None:
                raise MissingToolError(f"'{command}' is not on the PATH (Debian: apt-get install {package})")
        if os.geteuid() != 0:
            raise NotAllowedError("only root can cut a node off from the network")
        number = os.getpid() % 60_000
        self.name = f"faults-{number}"
        self._cables = f"fo{number}", f"fi{number}"
        self.outside = f"10.{number // 250}.{number % 250}.1"
        """The address of this machine, as seen from inside."""
        self.address = f"10.{number // 250}.{number % 250}.2"

    def __enter__(self) -> Cell:
        """Raises NotAllowedError."""
        here, there = self._cables
        try:
            _run("ip", "netns", "add", self.name)
        except subprocess.CalledProcessError as error:
            raise NotAllowedError(f"this machine lets nobody make network namespaces: {error.stderr}") from None
        try:
            _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
            _run("ip", "addr", "add", f"{self.outside}/30", "dev", here)
            _run("ip", "link", "set", here, "up")
            self._run_inside("ip", "addr", "add", f"{self.address}/30", "dev", there)
            self._run_inside("ip", "link", "set", there, "up")
            self._run_inside("ip", "link", "set", "lo", "up")
            self.cut(1)
            self.heal()
        except subprocess.CalledProcessError as error:
            self.__exit__(None, None, None)
            raise NotAllowedError(f"this machine does not let us cut a network: {error.stderr}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever runs inside has to have ended."""
        with suppress(subprocess.CalledProcessError):
            _run("ip", "link", "del", self._cables[0])
        _run("ip", "netns", "del", self.name)

    def inside(self, program: Program) -> Program:
        """The program, to be run in here and to listen on our address in place of loopback."""
        words = [str(word).replace("127.0.0.1", self.address) for word in program.command if word]
        url = program.url.replace("127.0.0.1", self.address)
        return replace(program, command=["ip", "netns", "exec", self.name, *words], url=url)

    def cut(self, port: int, direction: Direction = "both") -> None:
        """From now on nothing comes from there, or gets there, without a word to either side."""
        arriving = f"tcp sport {port} drop;" if direction != "out" else ""
        leaving = f"tcp dport {port} drop;" if direction != "in" else ""
        self._rule(TABLE % (arriving, leaving))

    def isolate(self, port: int) -> None:
        """From now on this port is all of us that the outside reaches, and we reach nothing outside."""
        cable = self._cables[1]
        self._rule(
            TABLE % (f'iifname "{cable}" tcp dport != {port} drop;', f'oifname "{cable}" tcp sport != {port} drop;')
        )

    def leave_half_open(self, port: int) -> Collection[int]:
        """The connections there are to this port fall silent; new ones work. Returns their own ports."""
        told = self._run_inside("ss", "-Htn", "state", "established", "dport", "=", f":{port}")
        ours = {int(line.split()[2].rpartition(":")[2]) for line in told.splitlines()}
        some = ", ".join(map(str, sorted(ours)))
        self._rule(TABLE % (f"tcp dport {{ {some} }} drop;", f"tcp sport {{ {some} }} drop;"))
        return ours

    def heal(self) -> None:
        self._run_inside("nft", "flush", "ruleset")

    def _rule(self, text: str) -> None:
        self._run_inside("nft", "-f", "-", text=text)

    def _run_inside(self, *words: str, text: str = "") -> str:
        return _run("ip", "netns", "exec", self.name, *words, text=text)


def _run(*words: str, text: str = "") -> str:
    command: Sequence[str] = words
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
