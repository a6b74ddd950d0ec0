"""Accounts and roles: made, changed and ended as records of the store, by whoever may.

In:   values that have been validated by the room that they came through. Out: one write, or AccountRefused.
Rules: root and the roles admin and developer cannot be changed; nobody can end or change the own account, but for its
      password. What decides on a write decides when the write has its turn.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from facade.access.control import AccessControl, Visitor
from facade.access.keys import (
    KEY_FILE,
    PASSWORD_FILE,
    ROOT,
    filed_key,
    filed_password,
    first_root_password,
    keep_key,
    made_key,
    remove_password,
)
from facade.access.refusals import AccountRefused, Fault, LockedOut
from facade.access.rules import ADMIN, DEVELOPER, built_in_roles
from facade.errors import StartRefused, StoreUnavailable
from facade.registry.model import Account, AccountName, Permission, Role, RoleName, SigningKey
from facade.registry.registry import Registry
from facade.registry.store import Put, Remove, Write

MOST_ACCOUNTS, MOST_ROLES = 1_000, 100
"""Source: quota.cap.account and quota.cap.role of ServiceCenter."""
TRIED_EVERY_S = 0.25

log = logging.getLogger(__name__)


class Accounts:
    def __init__(self, registry: Registry, control: AccessControl) -> None:
        self._registry = registry
        self._catalogue = registry.catalogue
        self._control = control

    async def open(self, data_dir: Path, key_file: Path | None = None) -> None:
        """See that there are the key that signs tokens, the roles that every server has, and root.

        Of nodes that share a store and start together one makes them for all. A key in `key_file` takes the place of
        the one there is. Raises: StartRefused, StoreUnavailable.
        """
        if self._registry.is_shared and not self._registry.has_data:
            raise StoreUnavailable("accounts have not been read from the store yet")
        now_s = self._now_s()
        key = self._stated_key(key_file) if key_file is not None else self._first_key(data_dir / KEY_FILE)
        root: Account | None = None
        if ROOT not in self._catalogue.accounts:
            password = first_root_password(data_dir / PASSWORD_FILE)
            root = self._new(ROOT, await self._control.passwords.hashed(password), (ADMIN,))

        def decide() -> Sequence[Write]:
            roles = [
                replace(role, created_s=now_s, updated_s=now_s)
                for role in built_in_roles()
                if (held := self._catalogue.roles.get(role.key.role)) is None or held.perms != role.perms
            ]
            current = self._catalogue.signing_key
            keys = [key] if current is None or (key_file is not None and current.pem != key.pem) else []
            accounts = [root] if root is not None and ROOT not in self._catalogue.accounts else []
            return [*map(Put, keys), *map(Put, roles), *map(Put, accounts)]

        await self._write(decide)
        await self._check_filed_password(data_dir / PASSWORD_FILE, root)

    async def open_late(self, data_dir: Path, key_file: Path | None) -> None:
        """Over a shared store that is away: until this is done, whoever shows an account hears that it is."""
        while True:
            await asyncio.sleep(TRIED_EVERY_S)
            try:
                return await self.open(data_dir, key_file)
            except StoreUnavailable:
                continue
            except StartRefused as refusal:
                return log.error("accounts not opened reason=%s", refusal)

    def _stated_key(self, path: Path) -> SigningKey:
        pem = filed_key(path)
        if pem is None:
            raise StartRefused(f"signing_key: there is no file {path}")
        return SigningKey(pem=pem, made_s=self._now_s())

    def _first_key(self, path: Path) -> SigningKey:
        """The store's; else that of the data directory, which a store that nodes share has no need of."""
        filed = filed_key(path)
        held = self._catalogue.signing_key
        if held is not None:
            if filed not in (None, held.pem):
                log.warning("tokens are signed by the key that the store holds, and not by that of path=%s", path)
            return held
        pem = filed or made_key()
        if filed is None and not self._registry.is_shared:
            keep_key(path, pem)
        return SigningKey(pem=pem, made_s=self._now_s())

    async def _check_filed_password(self, path: Path, made: Account | None) -> None:
        """What is written down must not be wrong: another node may have made root meanwhile, with another password."""
        filed, root = filed_password(path), self.account(ROOT)
        if filed is None:
            return
        if not await self._control.passwords.fits(filed, root.password_hash, ""):
            remove_password(path)
        elif made is not None and made.id == root.id:
            log.warning("account root made; its password is in path=%s; change it, and remove that file", path)

    # Accounts

    def all(self) -> Sequence[Account]:
        return list(self._catalogue.accounts.values())

    def account(self, name: str) -> Account:
        account = self._catalogue.accounts.get(name)
        if account is None:
            raise AccountRefused(Fault.NO_SUCH_ACCOUNT, f"account [{name}] not exist")
        return account

    async def create(
        self, name: str, password: str, roles: tuple[str, ...], *, is_active: bool = True, stated_id: str = ""
    ) -> None:
        self._check_new(name, roles)  # before a hash is paid for
        account = self._new(name, await self._control.passwords.hashed(password), roles, is_active, stated_id)

        def decide() -> Sequence[Write]:
            self._check_new(name, roles)
            return [Put(account)]

        await self._write(decide)

    async def change(self, name: str, by: Visitor, roles: tuple[str, ...], is_active: bool | None) -> None:
        _refuse_fixed(name, by)

        def decide() -> Sequence[Write]:
            held = self.account(name)
            self._check_roles(roles)
            changed = replace(held, roles=roles, updated_s=self._now_s())
            return [Put(changed if is_active is None else replace(changed, is_active=is_active))]

        await self._write(decide)

    async def end(self, name: str, by: Visitor) -> None:
        _refuse_fixed(name, by)

        def decide() -> Sequence[Write]:
            return [Remove(self.account(name).key)]

        await self._write(decide)

    async def set_password(self, name: str, by: Visitor, current: str, password: str, address: str) -> None:
        """The own one with the current one, another's as an administrator."""
        is_own = name == by.account
        if not is_own and ADMIN not in self.account(by.account).roles:
            raise AccountRefused(Fault.ACCOUNT_OF_SOMEBODY_ELSE, "can not change other account password")
        held = self.account(name)
        if is_own:
            if self._control.lockouts.is_locked(name, address):
                raise LockedOut("")
            if current == password:
                raise AccountRefused(Fault.BAD_NEW_PASSWORD, "the password can not be same as old one")
            fits = await self._control.passwords.fits(current, held.password_hash, address)
            if self._control.lockouts.is_locked(name, address):  # by guesses that came at the same time
                raise LockedOut("")
            if not fits:
                self._control.lockouts.note_failure(name, address)
                raise AccountRefused(Fault.WRONG_OLD_PASSWORD)
        password_hash = await self._control.passwords.hashed(password)

        def decide() -> Sequence[Write]:
            account = self.account(name)
            # While we hashed, it may have been ended, and another of that name made.
            if account.id != held.id:
                raise AccountRefused(Fault.NO_SUCH_ACCOUNT, f"account [{name}] not exist")
            if is_own and account.password_hash != held.password_hash:
                raise AccountRefused(Fault.WRONG_OLD_PASSWORD)
            return [Put(replace(account, password_hash=password_hash, updated_s=self._now_s()))]

        await self._write(decide)

    def _new(
        self, name: str, password_hash: str, roles: tuple[str, ...], is_active: bool = True, stated_id: str = ""
    ) -> Account:
        now_s = self._now_s()
        return Account(
            key=AccountName(name),
            id=stated_id or uuid.uuid4().hex,
            password_hash=password_hash,
            roles=roles,
            is_active=is_active,
            created_s=now_s,
            updated_s=now_s,
        )

    def _check_new(self, name: str, roles: tuple[str, ...]) -> None:
        if len(self._catalogue.accounts) >= MOST_ACCOUNTS:
            raise AccountRefused(Fault.TOO_MANY_ACCOUNTS, f"no more than {MOST_ACCOUNTS} accounts")
        self._check_roles(roles)
        if name in self._catalogue.accounts:
            raise AccountRefused(Fault.ACCOUNT_EXISTS, "account is duplicated")

    def _check_roles(self, roles: tuple[str, ...]) -> None:
        if any(name not in self._catalogue.roles for name in roles):
            raise AccountRefused(Fault.UNKNOWN_ROLES, "role not exist")

    # Roles

    def all_roles(self) -> Sequence[Role]:
        return list(self._catalogue.roles.values())

    def role(self, name: str) -> Role:
        role = self._catalogue.roles.get(name)
        if role is None:
            raise AccountRefused(Fault.NO_SUCH_ROLE)
        return role

    async def create_role(self, name: str, perms: tuple[Permission, ...], stated_id: str = "") -> None:
        def decide() -> Sequence[Write]:
            if len(self._catalogue.roles) >= MOST_ROLES:
                raise AccountRefused(Fault.TOO_MANY_ROLES, f"no more than {MOST_ROLES} roles")
            if name in self._catalogue.roles:
                raise AccountRefused(Fault.ROLE_EXISTS, "role is duplicated")
            now_s = self._now_s()
            role_id = stated_id or uuid.uuid4().hex
            return [Put(Role(key=RoleName(name), id=role_id, perms=perms, created_s=now_s, updated_s=now_s))]

        await self._write(decide)

    async def set_perms(self, name: str, perms: tuple[Permission, ...]) -> None:
        _refuse_built_in(name)

        def decide() -> Sequence[Write]:
            return [Put(replace(self.role(name), perms=perms, updated_s=self._now_s()))]

        await self._write(decide)

    async def end_role(self, name: str) -> None:
        _refuse_built_in(name)

        def decide() -> Sequence[Write]:
            role = self.role(name)
            if any(name in account.roles for account in self._catalogue.accounts.values()):
                raise AccountRefused(Fault.ROLE_IN_USE)
            return [Remove(role.key)]

        await self._write(decide)

    async def _write(self, decide: Callable[[], Sequence[Write]]) -> None:
        """One turn for all of them: an account must not get a role that is being ended."""
        await self._registry.transact("accounts and roles", decide)

    def _now_s(self) -> int:
        return self._registry.clock.now_ms() // 1000


def _refuse_fixed(name: str, by: Visitor) -> None:
    if name == ROOT:
        raise AccountRefused(Fault.BUILT_IN_ACCOUNT, "root can not be operated")
    if name == by.account:
        raise AccountRefused(Fault.OWN_ACCOUNT, "your account can not be operated")


def _refuse_built_in(role: str) -> None:
    if role in (ADMIN, DEVELOPER):
        raise AccountRefused(Fault.BUILT_IN_ROLE, "build-in role can not be operated")
