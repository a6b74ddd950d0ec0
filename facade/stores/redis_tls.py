"""Whether a Redis that does not answer as we ask it would with TLS, or without."""

from __future__ import annotations

import asyncio
import ssl

from facade.errors import StartRefused
from facade.stores.redis_url import RedisUrl


async def refuse_other_scheme(url: RedisUrl, within_s: float) -> None:
    """TLS on one side only looks to either like any lost connection. Raises StartRefused when that is what it is."""
    told, scheme = ("does not speak TLS", "redis") if url.is_tls else ("speaks TLS", "rediss")
    scheme += f"+{url.kind}" if url.kind != "single" else ""
    for host, port in url.hosts:
        if await (_speaks_plainly if url.is_tls else _speaks_tls)(host, port, within_s):
            which = f": {host}:{port}" if len(url.hosts) > 1 else ""
            raise StartRefused(f"store: {url.title}{which} {told}: its URL begins with {scheme}://")


async def _speaks_tls(host: str, port: int, within_s: float) -> bool:
    """Whose certificate it shows is no matter here: nothing is told to it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError, UnicodeError):  # the last of a host that is no name
        return False
    writer.close()
    return True


async def _speaks_plainly(host: str, port: int, within_s: float) -> bool:
    """Redis answers a PING with + or -, also to who has no account."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.read(1) in (b"+", b"-")
            finally:
                writer.close()
    except (OSError, TimeoutError, UnicodeError):  # the last of a host that is no name
        return False
