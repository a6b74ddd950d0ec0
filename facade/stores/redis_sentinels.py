"""The sentinels that watch over a Redis: who of its servers is the primary, and what each of them says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from facade.errors import StartRefused, StoreUnavailable
from facade.stores.redis_line import plain
from facade.stores.redis_url import RedisUrl

ANSWER_WITHIN_S = 0.5
"""When they are asked whether all is as it was: signs of life wait for that."""


class Primary(NamedTuple):
    term: int
    """Grows with each fail-over."""
    host: str
    port: int


class Sentinels:
    def __init__(self, url: RedisUrl, stated: Mapping[str, Any]) -> None:
        """`stated` says how to connect to the servers that they watch over, and to them."""
        self._url = url
        self._stated = stated
        self._known: list[Any] = []

    async def find(self) -> Primary:
        """At the start. Raises StoreUnavailable while none answers, StartRefused when none knows such a primary.

        They are asked without a password first; those that want one are given that of their primary."""
        unnamed = {key: value for key, value in self._stated.items() if key not in ("username", "password")}
        reasons, is_away = [], False
        for host, port in self._url.hosts:
            reason = ""
            for stated in (unnamed, self._stated):
                try:
                    async with Redis(host=host, port=port, **stated) as sentinel:
                        found = await sentinel.sentinel_get_master_addr_by_name(self._url.master)
                except AuthenticationError as error:
                    reason = plain(error)
                    continue
                except ResponseError as error:
                    reason = "is no sentinel" if "unknown command" in str(error) else plain(error)
                except (RedisError, OSError, TimeoutError, RuntimeError) as error:
                    reason, is_away = plain(error), True
                else:
                    if found:
                        self._known = [Redis(host=one, port=at, **stated) for one, at in self._url.hosts]
                        primary = await self.latest()
                        if primary is None:
                            raise MasterNotFoundError(f"No master found for {self._url.master!r}")
                        return primary
                    reason = "knows no master of that name"
                break
            reasons.append(f"{host}:{port}: {reason}")
        told = f"{self._url.title} is not found: {'; '.join(reasons)}"
        raise StoreUnavailable(told) if is_away else StartRefused(f"store: {told}")

    async def latest(self) -> Primary | None:
        """As the one says that was the last to hear of a fail-over, for they hear of it one after the other; None:
        nobody knows of a primary that is alive."""
        asked = (asyncio.wait_for(one.sentinel_masters(), ANSWER_WITHIN_S) for one in self._known)
        told = await asyncio.gather(*asked, return_exceptions=True)
        found = [one[self._url.master] for one in told if isinstance(one, dict) and self._url.master in one]
        alive = [one for one in found if one["is_master"] and not (one["is_sdown"] or one["is_odown"])]
        named = (Primary(int(one["config-epoch"]), str(one["ip"]), int(one["port"])) for one in alive)
        return max(named, default=None)

    async def told(self) -> Sequence[tuple[str, Mapping[str, Any] | str]]:
        """What each says of the primary, or why it does not answer."""
        told: list[tuple[str, Mapping[str, Any] | str]] = []
        for (host, port), sentinel in zip(self._url.hosts, self._known, strict=False):
            try:
                told.append((f"{host}:{port}", await sentinel.sentinel_master(self._url.master)))
            except (RedisError, OSError, TimeoutError) as error:
                told.append((f"{host}:{port}", plain(error)))
        return told

    async def close(self) -> None:
        for one in self._known:
            with suppress(RedisError, OSError, RuntimeError):
                await one.aclose()
        self._known = []
