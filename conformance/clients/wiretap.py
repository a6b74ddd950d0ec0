"""Listens in between a client and its server: passes each byte on as it comes, and notes what is asked and answered."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

_CHUNK = 64 * 1024
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_ANSWER = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)")


@dataclass
class Exchange:
    method: str
    path: str
    status: int = 0
    """0 until it is answered."""
    answer: bytes = b""
    """How the answer begins: the whole of a short one."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


class Wiretap:
    """Listens on a port of 127.0.0.1 for what is meant for the server at the URL `target`.

    Clients send one request at a time on a connection: each begins where a part of the stream begins.
    """

    def __init__(self, target: str, port: int) -> None:
        address = urlsplit(target)
        self.url = f"http://127.0.0.1:{port}"
        self.exchanges: list[Exchange] = []
        """In the order in which they were asked."""
        self._target = (address.hostname or "127.0.0.1", address.port or 80)
        self._listening = socket.create_server(("127.0.0.1", port))
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Wiretap:
        threading.Thread(target=self._accept, name="wiretap", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """As a server that is gone: nobody listens there any more."""
        # A thread that waits in accept is woken by this and not by close.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._open):
            _end(connection)

    def asked(self, method: str, path_contains: str = "", since: int = 0) -> list[Exchange]:
        """After the first `since` of all."""
        return [one for one in self.exchanges[since:] if one.method == method and path_contains in one.path]

    def statuses(self, method: str, path_contains: str = "", since: int = 0) -> set[int]:
        """Of the requests answered so far."""
        return {one.status for one in self.asked(method, path_contains, since) if one.status}

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), name="wiretap", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """A server that is down shows as a connection that is closed at once."""
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._open |= {client, server}
        waiting: list[Exchange] = []
        back = threading.Thread(target=self._answers, args=(server, client, waiting), name="wiretap", daemon=True)
        back.start()
        with suppress(OSError):
            while part := client.recv(_CHUNK):
                if request := _REQUEST.match(part):
                    waiting.append(Exchange(request[1].decode(), request[2].decode("latin-1")))
                    self.exchanges.append(waiting[-1])
                server.sendall(part)
        _end(server)
        back.join()
        for connection in (client, server):
            self._open.discard(connection)
            connection.close()

    def _answers(self, server: socket.socket, client: socket.socket, waiting: list[Exchange]) -> None:
        with suppress(OSError):
            while part := server.recv(_CHUNK):
                if (answer := _ANSWER.match(part)) and waiting:
                    exchange = waiting.pop(0)
                    exchange.status, exchange.answer = int(answer[1]), part
                client.sendall(part)
        _end(client)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
