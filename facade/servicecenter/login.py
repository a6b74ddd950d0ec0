"""An account at another ServiceCenter (RBAC), and the token that it was given last.

Rules:  a token is renewed before it ends, and when the server takes it no more. A refused account is left alone: who
        tries it again and again gets it banned for everybody at this address. A server without accounts is asked now
        and then whether it has them by now.
Raises: StoreUnavailable.
Source: servicecomb-service-center, server/service/rbac; measured with v2.2.0.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from facade.clock import Clock
from facade.errors import StoreUnavailable
from facade.outbound import Outbound
from facade.servicecenter.answers import Refusal, expiry_s, read_token

_RENEW_TOKEN_BEFORE_S = 300
_LOGIN_PAUSE_S = 1000.0
"""Two refused logins are free, and one more every 15 minutes; one beyond those gets the account banned."""
_NO_RBAC_PAUSE_S = 300.0

log = logging.getLogger(__name__)


class Login:
    """One token serves every server behind the same base URLs."""

    def __init__(self, outbound: Outbound, credentials: tuple[str, str], clock: Clock) -> None:
        self._outbound = outbound
        self._clock = clock
        self._body = msgspec.json.encode({"name": credentials[0], "password": credentials[1]})
        self._turn = asyncio.Lock()
        self._headers: dict[str, str] = {}
        self._good_until_s = float("-inf")
        self._refused = ""

    async def headers(self) -> dict[str, str]:
        """Raises StoreUnavailable, without asking again for a while when the account was refused."""
        async with self._turn:
            if self._clock.monotonic_s() >= self._good_until_s:
                await self._log_in()
            if self._refused:
                raise StoreUnavailable(self._refused)
            return self._headers

    def forget(self, said: Mapping[str, str]) -> None:
        """The server did not take what these headers say; unless there is a new token already, ask for one."""
        if self._headers.items() <= said.items():
            self._good_until_s = float("-inf")

    async def _log_in(self) -> None:
        answer = await self._outbound.ask("POST", "/v4/token", read_token, content=self._body)
        now_s = self._clock.monotonic_s()
        self._headers, self._refused = {}, ""
        if isinstance(answer, Refusal):
            log.warning("account refused by upstream reason=%s", answer.text)
            self._refused = f"the account is refused: {answer.text}"
            self._good_until_s = now_s + _LOGIN_PAUSE_S
        elif answer:
            self._headers = {"Authorization": f"Bearer {answer}"}
            left_s = expiry_s(answer) - self._clock.now_ms() / 1000
            self._good_until_s = now_s + max(left_s - _RENEW_TOKEN_BEFORE_S, left_s / 2)
        else:
            self._good_until_s = now_s + _NO_RBAC_PAUSE_S
