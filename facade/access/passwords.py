"""Passwords: what one must be, and its slow hash, made and compared on a few threads beside the event loop.

Rules:  a bounded number wait, and fewer of one address; beyond that TooManyLogins, so that guessing costs those at
        other addresses nothing but a moment. Comparing takes as long for a name that nobody has.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from facade.access.refusals import TooManyLogins

SHORTEST, LONGEST = 8, 32
"""Bytes of a password that is set. Source: ServiceCenter's password rule."""
LONGEST_CHECKED = 256
"""Bytes; no account has a longer one."""
SAMPLES = frozenset(
    {"Complicated_password1", "Complicated_password2", "Complicated_password3", "Golden_Pass1", "Root@123"}
)
"""Of documentation and examples: whoever guesses begins with these."""
WAITING_MOST = 64
WAITING_OF_ONE_ADDRESS = 8

_Result = TypeVar("_Result")

# OWASP's smallest for argon2id: 19 MiB, two passes, one lane; some 30 ms of one core.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def is_strong(password: str) -> bool:
    """8 to 32 bytes with an upper and a lower case letter, a digit and another sign, as ServiceCenter wants it."""
    kinds = {unicodedata.category(sign) for sign in password}
    return (
        SHORTEST <= len(password.encode("utf-8", "surrogatepass")) <= LONGEST
        and "Lu" in kinds
        and "Ll" in kinds
        and any(kind[0] == "N" for kind in kinds)
        and any(kind[0] in "PS" for kind in kinds)
    )


def is_too_like(password: str, name: str) -> bool:
    return password in (name, name[::-1])


class Passwords:
    """Hashes and compares, a few at a time."""

    def __init__(self) -> None:
        # Half of the cores stay with those who have been let in.
        threads = max(1, min(4, (os.cpu_count() or 1) // 2))
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="passwords")
        self._waiting = Counter[str]()
        """By address."""
        self._nobodys = _hasher.hash(os.urandom(16))

    async def hashed(self, password: str) -> str:
        """One to be set, by somebody who has been let in; all of these have one share of the queue."""
        return await self._run("", lambda: _hasher.hash(password))

    async def fits(self, password: str, password_hash: str | None, address: str) -> bool:
        """Whether it is the password of that hash; None is the hash of a name that nobody has."""
        stated = self._nobodys if password_hash is None else password_hash
        is_same = await self._run(address, lambda: _is_same(password, stated))
        return is_same and password_hash is not None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, address: str, work: Callable[[], _Result]) -> _Result:
        if self._waiting[address] >= WAITING_OF_ONE_ADDRESS or self._waiting.total() >= WAITING_MOST:
            raise TooManyLogins("too many passwords wait to be checked; try again in a moment")
        self._waiting[address] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= Counter((address,))  # which keeps no zeros


def _is_same(password: str, password_hash: str) -> bool:
    if len(password.encode("utf-8", "surrogatepass")) > LONGEST_CHECKED:
        return False
    try:
        return _hasher.verify(password_hash, password)
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False
