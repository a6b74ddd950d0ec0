"""Who asks, and what that one may do.

In:   the text of an Authorization header (Basic, or a word and a token), the address of who asks, what a route needs.
Out:  a Visitor and a Grant, or one of the refusals.
Rules: permissions are those that the account has now, also with an old token. Passwords are hashed at most once in a
      while: a good one is remembered by a keyed digest until its account changes. `epoch` moves with every change of
      accounts, roles and the key that signs tokens: what was decided before is void then. Until that key is known
      nobody is: StoreUnavailable.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import hmac
import os
from base64 import b64decode
from collections import OrderedDict
from typing import NamedTuple

from facade.access.lockouts import Lockouts
from facade.access.passwords import Passwords
from facade.access.refusals import (
    AccountGone,
    BadCredentials,
    LockedOut,
    NoCredentials,
    NotPermitted,
    TooManyLogins,
    WrongPassword,
)
from facade.access.rules import ANY_ACCOUNT, EVERYTHING, OPEN, Grant, Labels, Needs, granted
from facade.access.tokens import Tokens
from facade.errors import StoreUnavailable
from facade.registry.model import Account, Role, SigningKey
from facade.registry.registry import Registry

GOOD_FOR_S = 300.0
"""A password that was right is hashed again after so long; until then, and while its account is as it was, it is right.
"""
REMEMBERED_MOST = 10_000


class Visitor(NamedTuple):
    """Somebody with an account."""

    account: str
    is_basic: bool
    """Told with each request by whoever holds the password; a browser sends it to us whichever page asks."""


class Recalled(NamedTuple):
    """A visitor who is known without waiting, for a while or until `epoch` moves."""

    visitor: Visitor
    until_s: float
    """Of the monotonic clock."""


class _Good(NamedTuple):
    account: str
    password_hash: str
    fresh_until_s: float


class AccessControl:
    def __init__(self, registry: Registry) -> None:
        self._clock = registry.clock
        self._catalogue = registry.catalogue
        self.passwords = Passwords()
        self.lockouts = Lockouts(registry.clock)
        self._signing: tuple[SigningKey, Tokens] | None = None
        self._secret = os.urandom(32)
        self._good: OrderedDict[bytes, _Good] = OrderedDict()
        self._checking: dict[bytes, asyncio.Task[Visitor]] = {}
        self._grants: dict[tuple[str, Needs, str], Grant | None] = {}
        self._grants_epoch = -1

    @property
    def epoch(self) -> int:
        return self._catalogue.access_changes

    @property
    def is_ready(self) -> bool:
        """Whether the store has told who there is."""
        return self._catalogue.signing_key is not None

    def close(self) -> None:
        self.passwords.close()

    @property
    def _tokens(self) -> Tokens:
        """By the key that all nodes of the store have now. Raises StoreUnavailable."""
        key = self._catalogue.signing_key
        if key is None:
            raise StoreUnavailable("accounts have not been read from the store yet")
        if self._signing is None or self._signing[0] is not key:
            self._signing = key, Tokens(key.pem, self._clock)
        return self._signing[1]

    # Who

    async def identify(self, authorization: str, address: str) -> Visitor:
        """Raises NotIdentified, LockedOut, TooManyLogins, StoreUnavailable."""
        recalled = self.recall(authorization)
        if recalled is not None:
            return recalled.visitor
        name, password = _basic(authorization)
        digest = self._digest(authorization)
        task = self._checking.get(digest)
        if task is None:  # thousands of clients with one password may come at once
            task = asyncio.create_task(self._check_basic(digest, name, password, address))
            self._checking[digest] = task
            task.add_done_callback(lambda done: self._forget(digest, done))
        return await asyncio.shield(task)

    def _forget(self, digest: bytes, done: asyncio.Task[Visitor]) -> None:
        del self._checking[digest]
        if not done.cancelled():
            done.exception()  # whoever asked may have left, and nobody else is to hear of it

    def recall(self, authorization: str) -> Recalled | None:
        """Who this is, without waiting; None for a password that has to be hashed first.

        Raises: NotIdentified, StoreUnavailable.
        """
        tokens = self._tokens
        words = authorization.split(" ")
        if not authorization:
            raise NoCredentials("")
        if len(words) != 2:
            raise BadCredentials("invalid auth header")
        now_s = self._clock.monotonic_s()
        if words[0].lower() == "basic":
            good = self._good.get(self._digest(authorization))
            if good is None or good.fresh_until_s <= now_s or not self._is_current(good):
                return None
            return Recalled(Visitor(good.account, True), good.fresh_until_s)
        claim = tokens.read(words[1])  # the original looks at no scheme either
        self._living(claim.account)
        left_s = claim.expires_s - self._clock.now_ms() / 1000
        return Recalled(Visitor(claim.account, False), now_s + left_s)

    def lasts_s(self, authorization: str) -> float | None:
        """For how long a token is good yet; None for a password, which does not end. Raises NotIdentified."""
        word, _, token = authorization.partition(" ")
        if word.lower() == "basic":
            return None
        return self._tokens.read(token).expires_s - self._clock.now_ms() / 1000

    async def log_in(self, name: str, password: str, address: str) -> Account:
        """Raises WrongPassword, LockedOut, TooManyLogins, StoreUnavailable."""
        if not self.is_ready:
            raise StoreUnavailable("accounts have not been read from the store yet")
        if self.lockouts.is_locked(name, address):
            raise LockedOut("")
        return await self._checked(name, password, address)

    def issue(self, account: Account, lasts_s: int) -> str:
        return self._tokens.issue(account.key.account, account.roles, lasts_s)

    async def _check_basic(self, digest: bytes, name: str, password: str, address: str) -> Visitor:
        """One that was right before is checked again even where others have guessed: guesses lock no client out."""
        good = self._good.get(digest)
        if good is not None and self._is_current(good):
            try:
                account = await self._checked(name, password, address, was_right=True)
            except TooManyLogins:  # nor may guesses that fill the queue make it miss its renewals
                return Visitor(name, True)
        else:
            account = await self.log_in(name, password, address)
        fresh_until_s = self._clock.monotonic_s() + GOOD_FOR_S
        self._good[digest] = _Good(name, account.password_hash, fresh_until_s)
        self._good.move_to_end(digest)
        if len(self._good) > REMEMBERED_MOST:
            self._good.popitem(last=False)
        return Visitor(name, True)

    async def _checked(self, name: str, password: str, address: str, *, was_right: bool = False) -> Account:
        account = self._catalogue.accounts.get(name)
        fits = await self.passwords.fits(password, account.password_hash if account is not None else None, address)
        if not was_right and self.lockouts.is_locked(name, address):  # by guesses that came at the same time
            raise LockedOut("")
        if account is None or not fits:
            self.lockouts.note_failure(name, address)
            raise WrongPassword("")
        if not account.is_active:
            raise WrongPassword("account is inactive")
        return account

    def _is_current(self, good: _Good) -> bool:
        account = self._catalogue.accounts.get(good.account)
        return account is not None and account.is_active and account.password_hash == good.password_hash

    def _living(self, name: str) -> Account:
        account = self._catalogue.accounts.get(name)
        if account is None:
            raise AccountGone(f"account [{name}] is deleted")
        if not account.is_active:
            raise AccountGone(f"account [{name}] is inactive")
        return account

    def _digest(self, authorization: str) -> bytes:
        return hmac.digest(self._secret, authorization.encode("utf-8", "surrogatepass"), hashlib.sha256)

    # What

    def grant(self, visitor: Visitor, needs: Needs, method: str) -> Grant:
        """What this one may do of what a route needs. Raises NotPermitted, AccountGone."""
        if needs in (OPEN, ANY_ACCOUNT):
            return EVERYTHING
        if self._grants_epoch != self.epoch:
            self._grants, self._grants_epoch = {}, self.epoch
        asked = (visitor.account, needs, method)
        if asked not in self._grants:
            self._grants[asked] = granted(self.roles_of(visitor), needs.resource, needs.verb_of(method))
        grant = self._grants[asked]
        if grant is None:
            has_any = any(role.perms for role in self.roles_of(visitor))
            wanted = f"role has no permissions[{needs.resource}:{needs.verb_of(method)}]"
            raise NotPermitted(wanted if has_any else "role has no any permissions")
        return grant

    def roles_of(self, visitor: Visitor) -> list[Role]:
        """The roles that the account has now and that there still are. Raises AccountGone."""
        account = self._living(visitor.account)
        return [role for name in account.roles if (role := self._catalogue.roles.get(name)) is not None]


def refuse_foreign_page(visitor: Visitor, method: str, fetch_site: str) -> None:
    """Refuse what a page of another site makes a browser do: it adds the password that its user once gave us.

    `fetch_site` is the header Sec-Fetch-Site, which no script can set; other clients send none. Raises NotPermitted.
    """
    if visitor.is_basic and method not in ("GET", "HEAD", "OPTIONS") and fetch_site not in ("", "same-origin", "none"):
        raise NotPermitted("asked by a page of another site")


def require(grant: Grant, *labels: Labels) -> None:
    """Raises NotPermitted unless the grant reaches every one of these services."""
    for one in labels:
        if not grant.fits(one):
            raise NotPermitted(f"role has no permissions[{grant.resource}:{grant.verb}] for labels {one}")


def require_all(grant: Grant) -> None:
    """For what concerns every service, or one that nobody knows: its labels could be any. Raises NotPermitted."""
    if grant.is_limited:
        raise NotPermitted(f"role has no permissions[{grant.resource}:{grant.verb}] for every service")


def _basic(authorization: str) -> tuple[str, str]:
    """Name and password, which may hold colons (RFC 7617). Raises BadCredentials."""
    try:
        name, colon, password = b64decode(authorization.split(" ")[1], validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise BadCredentials("invalid auth header") from None
    if not colon:
        raise BadCredentials("invalid auth header")
    return name, password
