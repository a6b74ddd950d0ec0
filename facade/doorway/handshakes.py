"""Ports with TLS: accepts, and counts who has not ended the handshake yet like everybody else who is inside.

In:   bound sockets. Out: connections of the protocol that HTTP has, once they speak TLS.
Rules: an event loop's own server accepts without end, and tells nobody of a peer that says nothing: one address could
      take every open file, each with 50 KB, past all limits. Whoever has no place is let go without a word: there is
      none that it would understand yet.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial

HANDSHAKE_S = 10.0
"""As long as a head may take."""
GOODBYE_S = 2.0
"""Within which a peer has to end its side of TLS, too."""
ACCEPTED_AT_ONCE = 64
PAUSE_S = 1.0
"""After the system has refused another open file."""

log = logging.getLogger(__name__)


class Handshakes:
    def __init__(self, protocol: Callable[[], asyncio.Protocol], has_place: Callable[[str, int, int], bool]) -> None:
        """`has_place` is asked with an address, how many handshakes are under way, and how many with that address."""
        self._protocol = protocol
        self._has_place = has_place
        self._under_way: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: dict[socket.socket, ssl.SSLContext] = {}
        self._let_go, self._last_let_go = 0, ""

    def listen(self, listening: socket.socket, context: ssl.SSLContext, backlog: int) -> None:
        listening.setblocking(False)
        listening.listen(backlog)
        self._listening[listening] = context
        self._await_peers(listening)

    def close(self) -> None:
        """As the servers of an event loop have it: whoever is inside stays."""
        for listening in self._listening:
            asyncio.get_running_loop().remove_reader(listening)
        self._listening.clear()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _await_peers(self, listening: socket.socket) -> None:
        if listening in self._listening:  # not closed meanwhile
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                peer, (address, *_) = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("nobody can be let in: %s", error.strerror)
                loop.remove_reader(listening)
                loop.call_later(PAUSE_S, self._await_peers, listening)
                return
            if not self._has_place(address, len(self._tasks), self._under_way[address]):
                peer.close()
                self._note_let_go(address)
                continue
            peer.setblocking(False)
            self._under_way[address] += 1
            task = loop.create_task(self._shake_hands(peer, self._listening[listening]))
            self._tasks.add(task)
            task.add_done_callback(partial(self._forget, address=address))

    async def _shake_hands(self, peer: socket.socket, context: ssl.SSLContext) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                peer,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except (OSError, TimeoutError):
            pass  # it speaks no TLS, trusts us not, or has left: nothing of ours
        except BaseException:
            peer.close()
            raise

    def _forget(self, task: asyncio.Task[None], address: str) -> None:
        self._tasks.discard(task)
        self._under_way[address] -= 1
        if not self._under_way[address]:
            del self._under_way[address]

    def _note_let_go(self, address: str) -> None:
        """Told once a second: an attack must not become a flood of log lines."""
        if not self._let_go:
            asyncio.get_running_loop().call_later(PAUSE_S, self._tell_let_go)
        self._let_go, self._last_let_go = self._let_go + 1, address

    def _tell_let_go(self) -> None:
        log.warning("too many handshakes: let go times=%d last_address=%s", self._let_go, self._last_let_go)
        self._let_go = 0
