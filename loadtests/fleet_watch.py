"""A websocket for locust's users: the protocol without I/O, over a socket that one greenlet reads and closes.

The client that `websockets` brings waits in a selector of its own, and closes the socket beneath it: under gevent that
ends the process now and then ("I/O watcher with invalid fd").
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

ANSWER_WITHIN_S = 10.0


class Watch:
    """Connected once it is made. Raises OSError and WebSocketException while it is made, OSError from then on."""

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        uri = parse_uri(address)
        self._protocol = ClientProtocol(uri)
        self._waiting: list[str] = []
        self._socket = socket.create_connection((uri.host, uri.port), ANSWER_WITHIN_S)
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush()
        while self._protocol.state is State.CONNECTING:
            self._receive()
        if self._protocol.handshake_exc:
            self._socket.close()
            raise self._protocol.handshake_exc
        self._socket.settimeout(None)

    def __iter__(self) -> Iterator[str]:
        """Texts, as they come in one frame each; ends when the stream does."""
        with self._socket:
            while True:
                texts, self._waiting = self._waiting, []
                yield from texts
                if self._protocol.state is not State.OPEN:
                    return
                self._receive()

    def cut(self) -> None:
        """End it without a closing handshake, as when the process is killed; whoever iterates wakes and closes it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> None:
        data = self._socket.recv(65_536)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._waiting.append(bytes(event.data).decode())
        self._flush()

    def _flush(self) -> None:
        """Sends what is due: the handshake, pongs, the answer to a close."""
        for data in self._protocol.data_to_send():
            if data:  # nothing at all stands for the end of what we send, and the peer ends the stream itself
                self._socket.sendall(data)
