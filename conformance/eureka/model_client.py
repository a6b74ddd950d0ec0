"""A client that does what Netflix's does: registers, renews, reads deltas, and reads in full where a hash tells it to.

Source: Netflix/eureka, DiscoveryClient: fetchRegistry, getAndUpdateDelta, reconcileAndLogDifference, renew; and
RetryableEurekaHttpClient, which stays with a server until that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from conformance.eureka.client import JSON, Document, instance_path, registration

JSON_BODY = {"Content-Type": "application/json"} | JSON


class AllFailedError(Exception):
    """No server in its list has answered."""


class ModelClient:
    """`servers` are service URLs, the preferred one first."""

    def __init__(self, http: httpx.AsyncClient, servers: Sequence[str], app: str, instance_id: str) -> None:
        self.app = app
        self.instance_id = instance_id
        self.known: dict[tuple[str, str], str] = {}
        """What it believes to be registered: application and id, with the status."""
        self.full_fetches = 0
        self.mismatches = 0
        self.registrations = 0
        self.fewest = 1 << 30
        """Instances it ever knew of, since `watch_from_now`."""
        self._http = http
        self._servers = list(servers)

    def watch_from_now(self) -> None:
        self.full_fetches = self.mismatches = self.registrations = 0
        self.fewest = len(self.known)

    async def register(self) -> None:
        document = {"instance": registration(self.app, self.instance_id, leaseInfo={"durationInSecs": 90})}
        answer = await self._ask("POST", f"apps/{self.app}", json=document)
        assert answer.status_code == 204, answer.text
        self.registrations += 1

    async def renew(self) -> None:
        """A 404 asks for the registration, as after every other answer that does not know the instance."""
        path = instance_path(self.app, self.instance_id)
        answer = await self._ask("PUT", f"{path}?status=UP&lastDirtyTimestamp=1000")
        if answer.status_code == 404:
            await self.register()

    async def read(self) -> None:
        """The delta, or everything where nothing is known or the delta does not lead to what the server has."""
        if not self.known:
            await self._read_in_full()
        else:
            answer = await self._ask("GET", "apps/delta")
            if answer.status_code != 200:
                await self._read_in_full()
            else:
                delta = _applications(answer)
                self._apply(delta)
                if self.hash_code != delta["apps__hashcode"]:
                    self.mismatches += 1
                    await self._read_in_full()
        self.fewest = min(self.fewest, len(self.known))

    @property
    def hash_code(self) -> str:
        counts = Counter(self.known.values())
        return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))

    async def _read_in_full(self) -> None:
        answer = await self._ask("GET", "apps")
        if answer.status_code != 200:  # it keeps what it has
            return
        self.full_fetches += 1
        self.known.clear()
        self._apply(_applications(answer))

    def _apply(self, applications: Document) -> None:
        for application in applications["application"]:
            for one in application["instance"]:
                key = one["app"], one["instanceId"]
                if one["actionType"] == "DELETED":
                    self.known.pop(key, None)
                else:
                    self.known[key] = one["status"]

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        for server in list(self._servers):
            try:
                answer = await self._http.request(method, server + path, headers=JSON_BODY, **content)
            except httpx.HTTPError:
                answer = None
            # A renewal's 404 is an answer; any other refusal sends it to the next server.
            if answer is not None and (answer.status_code < 400 or (method, answer.status_code) == ("PUT", 404)):
                return answer
            self._servers.append(self._servers.pop(0))
        raise AllFailedError(f"{method} {path}: none of {self._servers}")


def _applications(answer: httpx.Response) -> Document:
    """Decoded by the quickest library at hand: two hundred of these clients share a process."""
    applications: Document = msgspec.json.decode(answer.content)["applications"]
    return applications
