"""A websocket client that keeps what the library hides: the server's pings and the payloads of its pongs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from conformance.peers.patience import PATIENCE_S

from .asking import ServiceCenter

# An event comes within milliseconds, or after the original has batched its changes; a DELETE after 2.3 s.
EVENT_WITHIN_S = PATIENCE_S


class Socket(ClientConnection):
    """Answers pings as any client does and notes each control frame that comes in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pongs: list[bytes] = []
        self.pinged = threading.Event()
        self.ponged = threading.Event()

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pinged.set()
        if isinstance(event, Frame) and event.opcode is Opcode.PONG:
            self.pongs.append(bytes(event.data))
            self.ponged.set()
        super().process_event(event)

    def next_event(self) -> dict[str, Any]:
        """The next frame, which has to be a text frame with a JSON object."""
        frame = self.recv(timeout=EVENT_WITHIN_S)
        assert isinstance(frame, str)
        event: dict[str, Any] = json.loads(frame)
        return event

    def is_silent(self, for_s: float) -> bool:
        try:
            self.recv(timeout=for_s)
        except TimeoutError:
            return True
        return False

    def closing(self, within_s: float = EVENT_WITHIN_S) -> tuple[int | None, str]:
        """Code and reason of the server's close frame; no code when the connection just ended."""
        try:
            self.recv(timeout=within_s)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, "")
        raise AssertionError("the server sent a frame and did not close")


@contextmanager
def opened(sc: ServiceCenter, path: str) -> Iterator[Socket]:
    """A websocket on that path of the registry."""
    url = sc.url.replace("http", "ws", 1) + sc.path(path)
    with connect(
        url,
        additional_headers=sc.headers,
        create_connection=Socket,
        ping_interval=None,
        compression=None,
        close_timeout=1,
        proxy=None,
    ) as s:
        assert isinstance(s, Socket)
        yield s
