"""Who is let in, how seldom a password is hashed, and how soon a change counts."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest

from facade.access.accounts import Accounts
from facade.access.control import GOOD_FOR_S, AccessControl, Visitor, refuse_foreign_page
from facade.access.keys import made_key
from facade.access.passwords import WAITING_MOST, WAITING_OF_ONE_ADDRESS, Passwords
from facade.access.refusals import (
    AccountGone,
    AccountRefused,
    BadCredentials,
    Fault,
    LockedOut,
    NoCredentials,
    NotPermitted,
    TooManyLogins,
    WrongPassword,
)
from facade.access.rules import ACCOUNT, SERVICE
from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.registry.model import Permission, Resource, SigningKey
from facade.registry.registry import Registry
from facade.registry.store import Put, Remove

from .conftest import PASSWORD

pytestmark = pytest.mark.anyio

HERE = "10.0.0.1"
ROOT = Visitor("root", True)


def basic(name: str, password: str) -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


@pytest.fixture
def hashed(access: AccessControl, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed, in order."""
    seen: list[str] = []
    fits = Passwords.fits

    async def counted(self: Passwords, password: str, password_hash: str | None, address: str) -> bool:
        seen.append(password)
        return await fits(self, password, password_hash, address)

    monkeypatch.setattr(Passwords, "fits", counted)
    return seen


async def test_basic_is_hashed_once_for_many_renewals(
    access: AccessControl, accounts: Accounts, hashed: list[str]
) -> None:
    for _ in range(100):
        assert await access.identify(basic("anna", PASSWORD), HERE) == Visitor("anna", True)

    assert hashed == [PASSWORD]


async def test_many_who_come_at_once_share_one_hash(
    access: AccessControl, accounts: Accounts, hashed: list[str]
) -> None:
    """All clients of one service after a restart."""
    await asyncio.gather(*(access.identify(basic("anna", PASSWORD), HERE) for _ in range(200)))

    assert hashed == [PASSWORD]


async def test_a_good_password_is_hashed_again_after_a_while(
    access: AccessControl, accounts: Accounts, hashed: list[str], clock: ManualClock
) -> None:
    await access.identify(basic("anna", PASSWORD), HERE)
    clock.advance(GOOD_FOR_S)

    assert access.recall(basic("anna", PASSWORD)) is None
    await access.identify(basic("anna", PASSWORD), HERE)
    assert hashed == [PASSWORD] * 2


@pytest.mark.parametrize("password", ["Ab1@xxxx", "Aé1:ü:xx", ":::aA1::", "Pässw0rd-日本"])
async def test_a_password_may_hold_colons_and_any_letters(
    access: AccessControl, accounts: Accounts, password: str
) -> None:
    await accounts.create("otto", password, ("developer",))

    assert await access.identify(basic("otto", password), HERE) == Visitor("otto", True)


async def test_a_changed_password_counts_at_once(access: AccessControl, accounts: Accounts) -> None:
    await access.identify(basic("anna", PASSWORD), HERE)
    await accounts.set_password("anna", ROOT, "", "Ab2@yyyy", HERE)

    with pytest.raises(WrongPassword):
        await access.identify(basic("anna", PASSWORD), HERE)
    assert await access.identify(basic("anna", "Ab2@yyyy"), HERE) == Visitor("anna", True)


async def test_an_account_that_is_gone_or_inactive_is_let_in_no_more(access: AccessControl, accounts: Accounts) -> None:
    token = f"Bearer {access.issue(accounts.account('anna'), 900)}"
    await access.identify(basic("anna", PASSWORD), HERE)
    assert await access.identify(token, HERE) == Visitor("anna", False)

    await accounts.change("anna", ROOT, ("developer",), False)
    with pytest.raises(WrongPassword):
        await access.identify(basic("anna", PASSWORD), HERE)
    with pytest.raises(AccountGone, match="inactive"):
        await access.identify(token, HERE)

    await accounts.end("anna", ROOT)
    with pytest.raises(AccountGone, match="deleted"):
        await access.identify(token, HERE)


async def test_a_role_that_changes_counts_for_old_tokens_at_once(access: AccessControl, accounts: Accounts) -> None:
    """Better than the original, whose tokens keep their roles for up to 24 hours (B30)."""
    anna = Visitor("anna", False)
    epoch = access.epoch
    access.grant(anna, SERVICE, "DELETE")
    await accounts.create_role("reader", (Permission(resources=(Resource(type="service"),), verbs=("get",)),))

    await accounts.change("anna", ROOT, ("reader",), None)

    assert access.epoch > epoch
    access.grant(anna, SERVICE, "GET")
    with pytest.raises(NotPermitted, match=r"role has no permissions\[service:delete\]"):
        access.grant(anna, SERVICE, "DELETE")
    await accounts.set_perms("reader", ())
    with pytest.raises(NotPermitted, match="role has no any permissions"):
        access.grant(anna, SERVICE, "GET")


async def test_a_developer_may_not_see_accounts(access: AccessControl, accounts: Accounts) -> None:
    with pytest.raises(NotPermitted):
        access.grant(Visitor("anna", False), ACCOUNT, "GET")


@pytest.mark.parametrize(
    ("authorization", "refusal"),
    [
        ("", NoCredentials),
        ("Basic", BadCredentials),
        ("Basic  x", BadCredentials),
        ("Basic !!!", BadCredentials),
        (f"Basic {b64encode(b'no colon').decode()}", BadCredentials),
        (f"Basic {b64encode(bytes([0xFF, 0x3A])).decode()}", BadCredentials),
        ("Bearer a b", BadCredentials),
        ("Bearer é", BadCredentials),
        (basic("nobody", PASSWORD), WrongPassword),
        (basic("anna", ""), WrongPassword),
        (basic("anna", "x" * 50_000), WrongPassword),
        (basic("", ""), WrongPassword),
    ],
)
async def test_whatever_the_header_reading_it_ends(
    access: AccessControl, accounts: Accounts, authorization: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await access.identify(authorization, HERE)


async def test_guesses_lock_out_the_guesser_and_no_client_that_was_in(
    access: AccessControl, accounts: Accounts, clock: ManualClock, hashed: list[str]
) -> None:
    """A renewal must not end because somebody behind the same address guesses."""
    await access.identify(basic("anna", PASSWORD), HERE)
    for number in range(3):
        with pytest.raises(WrongPassword):
            await access.identify(basic("anna", f"guess{number}"), HERE)
    hashed.clear()

    with pytest.raises(LockedOut):
        await access.identify(basic("anna", "another"), HERE)
    with pytest.raises(LockedOut):
        await access.log_in("anna", PASSWORD, HERE)
    assert hashed == []  # who is locked out costs nothing
    clock.advance(GOOD_FOR_S)
    assert await access.identify(basic("anna", PASSWORD), HERE) == Visitor("anna", True)


async def test_guesses_at_once_tell_no_more_than_one_by_one(access: AccessControl, accounts: Accounts) -> None:
    """All of them pass the first look at the lock, for none of them has failed yet."""
    tries = [access.identify(basic("anna", f"guess{number}"), HERE) for number in range(WAITING_OF_ONE_ADDRESS - 1)]

    told = await asyncio.gather(*tries, access.identify(basic("anna", PASSWORD), HERE), return_exceptions=True)

    assert sum(isinstance(one, WrongPassword) for one in told) == 3
    assert sum(isinstance(one, LockedOut) for one in told) == WAITING_OF_ONE_ADDRESS - 3


async def test_nor_do_those_at_the_password_to_be_changed(accounts: Accounts) -> None:
    anna = Visitor("anna", False)
    guesses = [f"guess{number}" for number in range(WAITING_OF_ONE_ADDRESS - 1)]

    tries = [accounts.set_password("anna", anna, guess, "An0ther-one", HERE) for guess in (*guesses, PASSWORD)]
    told = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(one, AccountRefused) for one in told) == 3
    assert sum(isinstance(one, LockedOut) for one in told) == WAITING_OF_ONE_ADDRESS - 3


async def test_a_password_is_not_for_another_account_that_got_the_name_meanwhile(
    registry: Registry, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing takes a while."""
    hashed = Passwords.hashed

    async def replaced_meanwhile(self: Passwords, password: str) -> str:
        monkeypatch.undo()
        await accounts.end("anna", ROOT)
        await accounts.create("anna", "Of-another-1", ("developer",))
        return await hashed(self, password)

    for by, current in ((ROOT, ""), (Visitor("anna", False), "Of-another-1")):
        monkeypatch.setattr(Passwords, "hashed", replaced_meanwhile)
        before = len(registry.catalogue.accounts)

        with pytest.raises(AccountRefused, match="not exist"):
            await accounts.set_password("anna", by, current, "An0ther-one", HERE)

        assert len(registry.catalogue.accounts) == before


async def test_a_password_that_was_set_meanwhile_is_the_current_one(
    registry: Registry, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator may have set it because somebody knew it who should not."""
    hashed = Passwords.hashed

    async def set_meanwhile(self: Passwords, password: str) -> str:
        monkeypatch.undo()
        await accounts.set_password("anna", ROOT, "", "By-root-1", HERE)
        return await hashed(self, password)

    monkeypatch.setattr(Passwords, "hashed", set_meanwhile)
    with pytest.raises(AccountRefused) as refused:
        await accounts.set_password("anna", Visitor("anna", False), PASSWORD, "An0ther-one", HERE)

    assert refused.value.fault is Fault.WRONG_OLD_PASSWORD


async def test_root_that_comes_while_the_server_starts_stays_as_it_is(
    registry: Registry, access: AccessControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = registry.catalogue.accounts["root"]
    await registry.transact("accounts and roles", lambda: [Remove(root.key)])
    hashed = Passwords.hashed

    async def entered_meanwhile(self: Passwords, password: str) -> str:
        await registry.transact("accounts and roles", lambda: [Put(root)])
        return await hashed(self, password)

    monkeypatch.setattr(Passwords, "hashed", entered_meanwhile)
    await Accounts(registry, access).open(tmp_path)

    assert registry.catalogue.accounts["root"] == root


async def test_guesses_that_fill_the_queue_keep_no_client_out_that_was_in(
    access: AccessControl, accounts: Accounts, clock: ManualClock
) -> None:
    await access.identify(basic("anna", PASSWORD), HERE)
    clock.advance(GOOD_FOR_S)
    tries = [access.identify(basic(f"nobody{number}", "x"), f"10.6.6.{number}") for number in range(WAITING_MOST)]

    *_, let_in = await asyncio.gather(*tries, access.identify(basic("anna", PASSWORD), HERE), return_exceptions=True)

    assert let_in == Visitor("anna", True)


async def test_more_logins_than_can_be_checked_are_refused(access: AccessControl, accounts: Accounts) -> None:
    tries = [access.identify(basic(f"nobody{number}", "x"), f"10.6.6.{number}") for number in range(WAITING_MOST + 20)]

    refused = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(one, TooManyLogins) for one in refused) == 20
    assert sum(isinstance(one, WrongPassword) for one in refused) == WAITING_MOST


async def test_guesses_from_one_address_keep_nobody_out_at_another(access: AccessControl, accounts: Accounts) -> None:
    tries = [access.identify(basic(f"nobody{number}", "x"), "10.6.6.6") for number in range(WAITING_MOST)]

    *refused, new = await asyncio.gather(*tries, access.identify(basic("anna", PASSWORD), HERE), return_exceptions=True)

    assert new == Visitor("anna", True)
    assert sum(isinstance(one, WrongPassword) for one in refused) == WAITING_OF_ONE_ADDRESS


async def test_a_page_of_another_site_changes_nothing_by_a_browser_that_knows_the_password() -> None:
    for site in ("cross-site", "same-site"):
        with pytest.raises(NotPermitted):
            refuse_foreign_page(ROOT, "POST", site)
    refuse_foreign_page(ROOT, "POST", "same-origin")
    refuse_foreign_page(ROOT, "GET", "cross-site")
    refuse_foreign_page(Visitor("root", False), "POST", "cross-site")  # no browser adds a token by itself


async def test_what_cannot_be_changed_is_refused(accounts: Accounts) -> None:
    for act, fault in (
        (accounts.end("root", Visitor("anna", False)), Fault.BUILT_IN_ACCOUNT),
        (accounts.end("anna", Visitor("anna", False)), Fault.OWN_ACCOUNT),
        (accounts.end("nobody", ROOT), Fault.NO_SUCH_ACCOUNT),
        (accounts.create("anna", PASSWORD, ("developer",)), Fault.ACCOUNT_EXISTS),
        (accounts.create("new", PASSWORD, ("nosuch",)), Fault.UNKNOWN_ROLES),
        (accounts.set_perms("admin", ()), Fault.BUILT_IN_ROLE),
        (accounts.end_role("developer"), Fault.BUILT_IN_ROLE),
        (accounts.end_role("nosuch"), Fault.NO_SUCH_ROLE),
        (accounts.set_password("root", Visitor("anna", False), "", PASSWORD, HERE), Fault.ACCOUNT_OF_SOMEBODY_ELSE),
    ):
        with pytest.raises(AccountRefused) as refused:
            await act
        assert refused.value.fault is fault


async def test_a_role_in_use_stays(accounts: Accounts) -> None:
    await accounts.create_role("reader", ())
    await accounts.change("anna", ROOT, ("reader",), None)

    with pytest.raises(AccountRefused) as refused:
        await accounts.end_role("reader")
    assert refused.value.fault is Fault.ROLE_IN_USE


async def test_accounts_are_no_part_of_what_is_registered(registry: Registry, accounts: Accounts) -> None:
    assert len(registry.catalogue) == 0
    assert PASSWORD not in str(registry.catalogue.accounts)


async def test_until_the_store_has_told_who_there_is_nobody_is_a_stranger(registry: Registry) -> None:
    """A guess at an account that is not known yet must not count, nor its client be sent away."""
    control = AccessControl(registry)

    for asked in (
        lambda: control.log_in("anna", PASSWORD, "10.0.0.1"),
        lambda: control.identify(basic("anna", PASSWORD), "10.0.0.1"),
        lambda: control.identify("Bearer a.b.c", "10.0.0.1"),
    ):
        with pytest.raises(StoreUnavailable):
            await asked()
    assert not control.lockouts.is_locked("anna", "10.0.0.1")
    control.close()


async def test_another_key_voids_tokens_and_what_was_decided_by_them(
    registry: Registry, access: AccessControl, accounts: Accounts
) -> None:
    bearer = f"Bearer {access.issue(accounts.account('anna'), 900)}"
    assert access.recall(bearer) is not None
    before = access.epoch

    await registry.transact("key", lambda: [Put(SigningKey(pem=made_key()))])

    assert access.epoch != before
    with pytest.raises(BadCredentials):
        access.recall(bearer)
