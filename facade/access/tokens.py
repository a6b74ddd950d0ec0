"""Tokens: what an account shows instead of its password for a while. Signed, so no node keeps any.

Shape:  a JWT whose header is {"alg":"RS512","typ":"JWT"} and whose claims are account, roles and exp, nothing else.
Source: go-chassis, security/token; servicecomb-service-center, server/service/rbac/authr_plugin.go.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.types import Options

from facade.access.refusals import BadCredentials, TokenExpired
from facade.clock import Clock

ALGORITHM = "RS512"
LONGEST = 4_096
KNOWN_MOST = 10_000

_SIGNATURE_ONLY: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
_NOTHING: Options = {"verify_signature": False, **_SIGNATURE_ONLY}
"""Times are compared here, with our own clock."""


class Claim(NamedTuple):
    """Whose token it is, and when it ends (epoch seconds)."""

    account: str
    expires_s: float


class Tokens:
    def __init__(self, pem: str, clock: Clock) -> None:
        """Of an RSA key, as `keys` has checked it."""
        self._key = cast(rsa.RSAPrivateKey, load_pem_private_key(pem.encode(), password=None))
        self._public = self._key.public_key()
        self._clock = clock
        self._known: OrderedDict[bytes, Claim] = OrderedDict()

    def issue(self, account: str, roles: tuple[str, ...], lasts_s: int) -> str:
        claims = {"account": account, "exp": self._clock.now_ms() // 1000 + lasts_s, "roles": list(roles)}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def read(self, token: str) -> Claim:
        """Raises BadCredentials, TokenExpired. A signature is verified once, its end is looked at each time."""
        if len(token) > LONGEST:
            raise BadCredentials("token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claim = self._known.get(digest)
        if claim is None:
            claim = self._verified(token)
            self._known[digest] = claim
            if len(self._known) > KNOWN_MOST:
                self._known.popitem(last=False)
        if claim.expires_s <= self._clock.now_ms() / 1000:
            raise TokenExpired("")
        return claim

    def _verified(self, token: str) -> Claim:
        try:
            stated = jwt.decode(token, options=_NOTHING)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise BadCredentials("token is malformed") from None
        # Said of a forged one too, as the original does: clients that hear it log in again.
        if not self._is_current(stated):
            raise TokenExpired("")
        try:
            claims = jwt.decode(token, self._public, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
        except (jwt.PyJWTError, ValueError):
            raise BadCredentials("token is not signed by this server") from None
        return _claim(claims)

    def _is_current(self, claims: Mapping[str, Any]) -> bool:
        now_s = self._clock.now_ms() / 1000
        ends, begins = claims.get("exp"), claims.get("nbf")
        has_ended = isinstance(ends, int | float) and ends <= now_s
        has_begun = not isinstance(begins, int | float) or begins <= now_s
        return not has_ended and has_begun


def _claim(claims: Mapping[str, Any]) -> Claim:
    match claims:
        case {"account": str() as account, "roles": [_, *_] as roles, "exp": int() | float() as ends} if all(
            isinstance(role, str) for role in roles
        ):
            return Claim(account, float(ends))
    raise BadCredentials("no role found in token")
