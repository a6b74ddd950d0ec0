"""Tokens, accounts, roles and locks, as ServiceCenter's users know them; the routes exist only with `auth` on.

In:   one request each. Out: one call to the room of accounts, and its refusals in the original's codes.
Rules: no text repeats a password, where the original's do.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence

from facade.access.accounts import Accounts
from facade.access.control import AccessControl, Visitor
from facade.access.passwords import is_strong, is_too_like
from facade.access.rules import ACCOUNT, ANY_ACCOUNT, OPEN, ROLE, Needs, fault_of
from facade.errors import FacadeError, MalformedDocument
from facade.registry import model
from facade.servicecenter import records, validation, wire
from facade.servicecenter.exchange import LARGE_BODY, OK, SMALL_BODY, Answer, Ask, found
from facade.servicecenter.validation import Rule

SHORTEST_S, LONGEST_S, USUAL_S = 15 * 60, 24 * 3600, 12 * 3600
"""Of a token. Source: pkg/validate/token_expiration_time_checker.go, server/resource/rbac/auth_resource.go."""
MOST_AT_ONCE = 20
"""Accounts of one batch."""

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"\+?(?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|µs|ns))+", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|ns)", re.ASCII)
_STATUS = Rule("^(active|inactive)$|^$", told="^(active|inactive)$|^$")
_ROLES = validation.NAME._replace(least=1, most=5)
_NAME = validation.NAME._replace(most=64)
_HIDDEN = "***"


class AccountCalls:
    def __init__(self, accounts: Accounts, control: AccessControl) -> None:
        self._accounts = accounts
        self._control = control

    def routes(self) -> list[tuple[str, str, Callable[[Ask], Awaitable[Answer]], Needs]]:
        return [
            ("POST", "/token", self.log_in, OPEN),
            ("GET", "/self-perms", self.own_permissions, ANY_ACCOUNT),
            ("GET", "/account-locks", self.list_locks, ACCOUNT),
            ("GET", "/accounts", self.list_all, ACCOUNT),
            ("POST", "/accounts", self.create, ACCOUNT),
            ("POST", "/accounts/batch-create", self.create_many, ACCOUNT),
            ("GET", "/accounts/*", self.show, ACCOUNT),
            ("PUT", "/accounts/*", self.change, ACCOUNT),
            ("DELETE", "/accounts/*", self.end, ACCOUNT),
            ("POST", "/accounts/*/password", self.set_password, ANY_ACCOUNT),
            ("GET", "/roles", self.list_roles, ROLE),
            ("POST", "/roles", self.create_role, ROLE),
            ("GET", "/roles/*", self.show_role, ROLE),
            ("PUT", "/roles/*", self.change_role, ROLE),
            ("DELETE", "/roles/*", self.end_role, ROLE),
        ]

    # Tokens

    async def log_in(self, ask: Ask) -> Answer:
        # Whoever comes may ask this: two megabytes of members that mean nothing take a fifth of a second to read.
        request = _decode(records.Account, await ask.body(SMALL_BODY))
        lasts_s = _lasts_s(request.token_expiration_time)
        account = await self._control.log_in(request.name, request.password, ask.peer)
        return found({"token": self._control.issue(account, lasts_s)})

    async def own_permissions(self, ask: Ask) -> Answer:
        perms = [perm for role in self._control.roles_of(_visitor(ask)) for perm in role.perms]
        return found({"perms": [_from_permission(perm) for perm in perms]} if perms else {})

    async def list_locks(self, ask: Ask) -> Answer:
        locks = [
            {"key": lock.key, "status": "banned" if lock.is_banned else "attempted", "releaseAt": lock.release_at_s}
            for lock in sorted(self._control.lockouts)
        ]
        return _listed(locks)

    # Accounts

    async def create(self, ask: Ask) -> Answer:
        await self._create(_decode(records.Account, await ask.body(LARGE_BODY)))
        return OK

    async def create_many(self, ask: Ask) -> Answer:
        """Each by itself. Who states no password gets one that nobody knows: it is for an administrator to set."""
        request = _decode(records.BatchCreateAccountsRequest, await ask.body(LARGE_BODY))
        if not 1 <= len(request.accounts) <= MOST_AT_ONCE:
            count = f"[{len(request.accounts) or ''}]"
            rule = Rule(least=1, most=MOST_AT_ONCE)
            raise MalformedDocument(
                f"field 'BatchCreateAccountsRequest.Accounts' invalid value '{count}' does not match rule: {rule}"
            )
        results = []
        for account in request.accounts:
            result = {"name": account.name}
            try:
                await self._create(account, account.password or f"Aa1-{secrets.token_hex(12)}")
            except FacadeError as error:
                refusal = wire.to_refusal(error).error
                result |= {"errorCode": refusal.error_code, "errorMessage": refusal.error_message}
                result |= {"detail": refusal.detail} if refusal.detail else {}
            results.append(result)
        return found({"accounts": results})

    async def _create(self, stated: records.Account, password: str = "") -> None:
        password = password or stated.password
        validation.check("Account.Name", stated.name, _NAME)
        _check_roles(stated.roles)
        _check_password(password)
        validation.check("Account.Status", stated.status, _STATUS)
        _check_likeness(password, stated.name)
        is_active = stated.status != "inactive"
        await self._accounts.create(stated.name, password, stated.roles, is_active=is_active, stated_id=stated.id[:64])

    async def list_all(self, ask: Ask) -> Answer:
        accounts = sorted(self._accounts.all(), key=lambda account: account.key)
        return _listed([_from_account(account) for account in accounts])

    async def show(self, ask: Ask) -> Answer:
        (name,) = ask.ids
        return found(_from_account(self._accounts.account(name)))

    async def change(self, ask: Ask) -> Answer:
        (name,) = ask.ids
        stated = _decode(records.Account, await ask.body(LARGE_BODY))
        _check_roles(stated.roles)
        validation.check("Account.Status", stated.status, _STATUS)
        is_active = stated.status == "active" if stated.status else None
        await self._accounts.change(name, _visitor(ask), stated.roles, is_active)
        return OK

    async def end(self, ask: Ask) -> Answer:
        (name,) = ask.ids
        await self._accounts.end(name, _visitor(ask))
        return OK

    async def set_password(self, ask: Ask) -> Answer:
        (name,) = ask.ids
        stated = _decode(records.Account, await ask.body(LARGE_BODY), "json is invalid")
        _check_password(stated.password)
        _check_likeness(stated.password, name)
        by = _visitor(ask)
        if by.account == name and not stated.current_password:
            raise MalformedDocument("current password should not be empty")
        await self._accounts.set_password(name, by, stated.current_password, stated.password, ask.peer)
        return OK

    # Roles

    async def list_roles(self, ask: Ask) -> Answer:
        roles = sorted(self._accounts.all_roles(), key=lambda role: role.key)
        return _listed([_from_role(role) for role in roles])

    async def show_role(self, ask: Ask) -> Answer:
        (name,) = ask.ids
        return found(_from_role(self._accounts.role(name)))

    async def create_role(self, ask: Ask) -> Answer:
        stated = _decode(records.Role, await ask.body(LARGE_BODY), "json is invalid")
        validation.check("Role.Name", stated.name, _NAME)
        await self._accounts.create_role(stated.name, _to_permissions(stated), stated.id[:64])
        return OK

    async def change_role(self, ask: Ask) -> Answer:
        """Its permissions, and with none if none are stated; the name stays."""
        (name,) = ask.ids
        stated = _decode(records.Role, await ask.body(LARGE_BODY), "json is invalid")
        await self._accounts.set_perms(name, _to_permissions(stated))
        return OK

    async def end_role(self, ask: Ask) -> Answer:
        (name,) = ask.ids
        await self._accounts.end_role(name)
        return OK


def _visitor(ask: Ask) -> Visitor:
    assert ask.visitor is not None, "these routes need an account"
    return ask.visitor


def _decode(kind: type[wire.DocumentT], body: bytes, told: str = "") -> wire.DocumentT:
    try:
        return wire.decode(kind, body)
    except MalformedDocument as error:
        raise MalformedDocument(told or str(error).replace(" discovery.", " rbac.")) from None


def _lasts_s(stated: str) -> int:
    """A duration as Go writes it."""
    if not stated:
        return USUAL_S
    rule = Rule(told="TokenExpirationTime")
    parts = _PART.findall(stated) if len(stated) < 64 and _DURATION.fullmatch(stated) else []
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise MalformedDocument(
            f"field 'Account.TokenExpirationTime' invalid value '{stated[:64]}' does not match rule: {rule}"
        )
    return int(seconds)


def _check_roles(roles: tuple[str, ...]) -> None:
    if not _ROLES.least <= len(roles) <= _ROLES.most:
        raise MalformedDocument(
            f"field 'Account.Roles' invalid value '[{' '.join(roles)}]' does not match rule: {_ROLES}"
        )
    for role in roles:
        if not _NAME._replace(least=0).fits(role):
            raise MalformedDocument(f"field 'Account.Roles' invalid value '{role}' does not match rule: {_ROLES}")


def _check_password(password: str) -> None:
    if not is_strong(password):
        raise MalformedDocument(
            f"field 'Account.Password' invalid value '{_HIDDEN}' does not match rule: {Rule(told='password')}"
        )


def _check_likeness(password: str, name: str) -> None:
    if is_too_like(password, name):
        raise MalformedDocument(
            "account name and password MUST NOT be same"
            if name == password
            else "password MUST NOT be the revered account name"
        )


def _to_permissions(stated: records.Role) -> tuple[model.Permission, ...]:
    perms = tuple(
        model.Permission(
            resources=tuple(model.Resource(type=one.type, labels=one.labels) for one in perm.resources),
            verbs=perm.verbs,
        )
        for perm in stated.perms
    )
    if fault := fault_of(perms):
        raise MalformedDocument(fault)
    return perms


def _from_permission(perm: model.Permission) -> records.Permission:
    resources = tuple(records.Resource(type=one.type, labels=one.labels) for one in perm.resources)
    return records.Permission(resources=resources, verbs=perm.verbs)


def _from_account(account: model.Account) -> records.Account:
    return records.Account(
        id=account.id,
        name=account.key.account,
        roles=account.roles,
        status="active" if account.is_active else "inactive",
        create_time=str(account.created_s),
        update_time=str(account.updated_s),
    )


def _from_role(role: model.Role) -> records.Role:
    return records.Role(
        id=role.id,
        name=role.key.role,
        perms=tuple(map(_from_permission, role.perms)),
        create_time=str(role.created_s),
        update_time=str(role.updated_s),
    )


def _listed(items: Sequence[object]) -> Answer:
    return found({"total": len(items), "data": items} if items else {})
