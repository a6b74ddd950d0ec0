"""Access control of several servers over one store: one key, one root, and no wrong word about either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from conformance.peers.processes import Processes
from conformance.peers.redis import redis
from facade.access import accounts
from facade.access.keys import KEY_FILE, PASSWORD_FILE, PASSWORD_VARIABLE, keep_key, made_key
from facade.clock import ManualClock
from facade.config import Settings
from facade.errors import StartRefused
from facade.parts import access_of, policy_of
from facade.registry.model import SigningKey
from facade.registry.registry import Registry
from facade.registry.store import Store
from facade.stores.memory import MemoryStore
from tests.ports import free_port
from tests.stores.redis_nodes import redis_store
from tests.stores.shared import Shared

from .guarded import AS_ROOT, ROOT_PASSWORD, basic
from .product import BASE, Process, Product, product, running, wait_until

pytestmark = pytest.mark.anyio

LISTS = f"{BASE}/microservices"


@pytest.fixture
def shared(clock: ManualClock) -> Shared:
    return Shared(clock)


class Nodes:
    """Servers over one store, each with a data directory of its own."""

    def __init__(self, store: Callable[[], Store], clock: ManualClock, place: Path, stack: AsyncExitStack) -> None:
        self._store, self._clock, self._place, self._stack = store, clock, place, stack

    def data_dir(self, name: str) -> Path:
        return self._place / name

    async def start(self, name: str, store: Store | None = None, **settings: object) -> Product:
        stated = {"auth": True, "data_dir": self.data_dir(name)} | settings
        server = product(store or self._store(), self._clock, **stated)
        return await self._stack.enter_async_context(server)


@pytest.fixture(params=["shared", "redis"])
async def nodes(
    request: pytest.FixtureRequest,
    shared: Shared,
    redis_url: Callable[[], str],
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Nodes]:
    monkeypatch.setenv(PASSWORD_VARIABLE, ROOT_PASSWORD)
    kinds: dict[str, Callable[[], Store]] = {
        "shared": shared.node,
        "redis": lambda: redis_store(redis_url(), f"access-{tmp_path.name}", clock),
    }
    async with AsyncExitStack() as stack:
        yield Nodes(kinds[request.param], clock, tmp_path, stack)


in_step = pytest.mark.parametrize("nodes", ["shared"], indirect=True)
"""For what needs a node that hears of the others when it is told to."""


async def token(node: Product, password: str = ROOT_PASSWORD) -> str:
    answer = await node.http.post("/v4/token", json={"name": "root", "password": password})
    return str(answer.json()["token"])


async def status(node: Product, bearer: str) -> int:
    return (await node.http.get(LISTS, headers={"Authorization": f"Bearer {bearer}"})).status_code


async def test_a_token_holds_on_every_node_also_on_one_that_starts_later(nodes: Nodes) -> None:
    first = await nodes.start("a")
    second = await nodes.start("b")
    bearers = [await token(first), await token(second)]
    third = await nodes.start("a new machine")

    assert [await status(node, bearer) for node in (first, second, third) for bearer in bearers] == [200] * 6


async def test_nodes_leave_no_copy_of_the_key_behind(nodes: Nodes) -> None:
    for name in ("a", "b"):
        await nodes.start(name)

    assert not any(nodes.data_dir(name).exists() for name in ("a", "b"))


async def test_nodes_that_start_at_once_make_one_root_and_one_key(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And write down one password, which is right everywhere."""
    monkeypatch.delenv(PASSWORD_VARIABLE)
    names = ("a", "b", "c")

    started = await asyncio.gather(*map(nodes.start, names))

    (written,) = [path for name in names if (path := nodes.data_dir(name) / PASSWORD_FILE).exists()]
    password = written.read_text().strip()
    for node, name in zip(started, names, strict=True):
        answer = await node.http.get("/v4/accounts", headers=basic("root", password))
        assert [one["name"] for one in answer.json()["data"]] == ["root"], name
    bearer = await token(started[0], password)
    assert [await status(node, bearer) for node in started] == [200] * 3


async def test_a_password_from_before_is_removed_where_it_is_not_roots(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    await nodes.start("a")
    path = nodes.data_dir("b") / PASSWORD_FILE
    keep_key(path, "Fr0m-before\n")

    await nodes.start("b")

    assert not path.exists()
    assert str(path) in caplog.text and "Fr0m-before" not in caplog.text


async def test_a_key_in_the_data_directory_is_taken_over_by_a_store_that_has_none(nodes: Nodes) -> None:
    """A ServiceCenter's own, with which its tokens stay good; or that of a server which becomes one of many."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    keep_key(nodes.data_dir("a") / KEY_FILE, pem)
    claims = {"account": "root", "roles": ["admin"], "exp": 2_000_000_000}

    started = [await nodes.start(name) for name in ("a", "b")]

    assert [await status(node, jwt.encode(claims, key, algorithm="RS512")) for node in started] == [200, 200]


async def test_another_key_in_the_data_directory_counts_no_more(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """Or the node that started last would void the tokens of all others."""
    first = await nodes.start("a")
    bearer = await token(first)
    keep_key(nodes.data_dir("b") / KEY_FILE, made_key())

    second = await nodes.start("b")

    assert [await status(node, bearer) for node in (first, second)] == [200, 200]
    assert "signed by the key that the store holds" in caplog.text


@in_step
async def test_a_stated_key_takes_the_place_of_the_one_there_is_on_every_node_at_once(
    nodes: Nodes, shared: Shared, tmp_path: Path
) -> None:
    """Which is how an operator replaces one that has leaked."""
    store = shared.node()
    first = await nodes.start("a", store)
    bearer = await token(first)
    keep_key(tmp_path / "new.pem", made_key())

    second = await nodes.start("b", signing_key=tmp_path / "new.pem")
    store.hear()

    assert [await status(node, bearer) for node in (first, second)] == [401, 401]
    assert await status(first, await token(second)) == 200
    third = await nodes.start("c")
    assert await status(third, await token(first)) == 200


async def test_a_stated_key_that_is_not_there_stops_the_start(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="signing_key: there is no file"):
        await nodes.start("a", signing_key=tmp_path / "nowhere.pem")


async def statuses_of_all_rooms(node: Product) -> list[int]:
    login = {"name": "root", "password": ROOT_PASSWORD}
    answers = await asyncio.gather(
        node.http.get("/eureka/apps", headers=AS_ROOT),
        node.http.put("/eureka/apps/ORDERS/orders-1", headers=AS_ROOT),
        node.http.get(LISTS, headers=AS_ROOT),
        node.http.get("/", headers=AS_ROOT),
        node.http.post("/v4/token", json=login),
    )
    return [answer.status_code for answer in answers]


@in_step
async def test_while_the_store_has_not_told_who_there_is_nobody_is_taken_for_a_stranger(
    nodes: Nodes, shared: Shared
) -> None:
    """401 would make clients log in anew or give up, and count as a guess."""
    await nodes.start("a")
    store = shared.node()
    store.is_away = True
    late = await nodes.start("b", store)

    for _ in range(3):
        assert await statuses_of_all_rooms(late) == [503, 503, 500, 503, 500]
    store.is_away = False
    store.hear()

    assert await statuses_of_all_rooms(late) == [200, 404, 200, 200, 200]


async def test_accounts_are_made_once_the_store_can_be_read(
    shared: Shared, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, ROOT_PASSWORD)
    monkeypatch.setattr(accounts, "TRIED_EVERY_S", 0)
    settings = Settings(auth=True, data_dir=tmp_path / "data")
    store = shared.node()
    store.is_away = True
    registry = Registry(store, clock, policy_of(settings))
    await registry.open()
    access = await access_of(settings, registry)
    assert access is not None and not access.is_ready

    opening = asyncio.create_task(accounts.Accounts(registry, access).open_late(settings.data_dir, None))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not shared.records
    store.is_away = False
    store.hear()
    await opening

    assert access.is_ready and "root" in registry.catalogue.accounts
    access.close()
    await registry.close()


async def test_a_server_alone_keeps_its_key_beside_a_store_that_forgets(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, ROOT_PASSWORD)
    async with product(MemoryStore(clock), clock, auth=True, data_dir=tmp_path) as node:
        bearer = await token(node)
    async with product(MemoryStore(clock), clock, auth=True, data_dir=tmp_path) as node:
        assert await status(node, bearer) == 200


def test_a_key_is_not_told_by_its_record() -> None:
    assert "secret" not in f"{SigningKey(pem='secret')!r} {SigningKey(pem='secret')}"


def answers(process: Process, bearer: str = "") -> int:
    if bearer:
        return httpx.get(f"{process.url}{LISTS}", headers={"Authorization": f"Bearer {bearer}"}).status_code
    return httpx.get(f"{process.url}/eureka/apps", auth=("root", ROOT_PASSWORD)).status_code


def test_servers_that_start_before_their_redis_make_one_root_and_one_key_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And let nobody in by what they might have made up meanwhile, nor send anybody away."""
    monkeypatch.setenv(PASSWORD_VARIABLE, ROOT_PASSWORD)
    port = free_port()
    flags = ("--auth", "--store", f"redis://127.0.0.1:{port}")
    with Processes(tmp_path) as processes, running(tmp_path / "a", *flags) as first:
        with running(tmp_path / "b", *flags) as second:
            nodes = (first, second)
            assert [answers(node) for node in nodes for _ in range(3)] == [503] * 6

            processes.start(redis(port, is_durable=False))
            for node in nodes:
                wait_until(lambda node=node: answers(node) == 200)

            login = {"name": "root", "password": ROOT_PASSWORD}
            bearers = [httpx.post(f"{node.url}/v4/token", json=login).json()["token"] for node in nodes]
            assert [answers(node, bearer) for node in nodes for bearer in bearers] == [200] * 4
            assert all("PRIVATE" not in node.log.read_text() for node in nodes)
        with running(tmp_path / "b", *flags) as second:  # again
            assert [answers(second, bearer) for bearer in bearers] == [200, 200]
