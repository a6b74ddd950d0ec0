"""A pass-through before a server: hands bytes on both ways and counts the requests in them by what they ask for."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from types import TracebackType
from urllib.parse import urlsplit

import httptools

BLOCK = 1 << 16


class Counting:
    """Listens on loopback, in a thread of its own, while its context lasts."""

    def __init__(self, port: int, target: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.calls: Counter[str] = Counter()
        """Requests by method and path, names and ids left out."""
        self._port = port
        self._target = urlsplit(target)
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Counting:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self._port))
        self._is_up.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, forth, _Requests(self.calls)), _copy(back, writer))


class _Requests:
    """Reads along in one connection; after an upgrade, to a WebSocket say, there is nothing to count."""

    def __init__(self, calls: Counter[str]) -> None:
        self._calls = calls
        self._url = b""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def feed(self, block: bytes) -> None:
        if self._parser is not None:
            try:
                self._parser.feed_data(block)
            except httptools.HttpParserUpgrade:
                self._parser = None

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        assert self._parser is not None, "it is what calls us"
        method, url = self._parser.get_method().decode(), self._url.decode()
        self._calls[f"{method} {_kind(url)}"] += 1
        self._url = b""


def _kind(url: str) -> str:
    """/eureka/apps/NAME/ID?status=UP as /eureka/apps/*/*"""
    path = url.partition("?")[0]
    path = re.sub(r"/apps/(?!delta$)[^/]+", "/apps/*", path)
    path = re.sub(r"/apps/\*/[^/]+", "/apps/*/*", path)
    return re.sub(r"/(microservices|instances)/(?!action$)[^/]+", r"/\1/*", path)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, requests: _Requests | None = None) -> None:
    try:
        while block := await source.read(BLOCK):
            if requests is not None:
                requests.feed(block)
            sink.write(block)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
