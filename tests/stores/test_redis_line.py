"""One connection to a real Redis: what is lost is asked again, and no answer is taken for another's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from conformance.peers.patience import PATIENCE_S
from conformance.peers.redis import ask
from facade.stores.redis_line import OwnLine, sent

pytestmark = pytest.mark.anyio


@pytest.fixture
async def line(redis_url: Callable[[], str]) -> AsyncIterator[OwnLine]:
    address = urlsplit(redis_url())
    async with Redis(host=address.hostname or "", port=address.port or 0, protocol=2, socket_timeout=None) as client:
        yield OwnLine(client, within_s=20)


async def test_over_a_connection_that_was_cut_is_asked_again(line: OwnLine, redis_url: Callable[[], str]) -> None:
    await line.ask("PING")
    ask(redis_url(), "CLIENT KILL", "TYPE", "normal")

    assert await line.ask("PING") == b"PONG"


async def test_the_answer_to_a_question_that_was_given_up_is_nobody_elses(line: OwnLine) -> None:
    await line.ask("DEL", "line:none")
    given_up = asyncio.create_task(line.ask("BLPOP", "line:none", 1))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up

    assert await line.ask("ECHO", "mine") == b"mine"


async def test_those_who_ask_at_the_same_time_get_each_their_own_answer(line: OwnLine) -> None:
    await line.ask("PING")

    answers = await asyncio.gather(*(line.ask("ECHO", number) for number in range(20)))

    assert answers == [b"%d" % number for number in range(20)]


async def test_who_does_not_answer_in_time_is_given_up(redis_url: Callable[[], str]) -> None:
    address = urlsplit(redis_url())
    async with Redis(host=address.hostname or "", port=address.port or 0, protocol=2, socket_timeout=None) as client:
        hurried = OwnLine(client, within_s=0.3)
        await hurried.ask("DEL", "line:late")

        with pytest.raises(TimeoutError):
            await hurried.ask("BLPOP", "line:late", 30)


async def test_a_refusal_is_told_and_the_line_goes_on(line: OwnLine) -> None:
    with pytest.raises(NoScriptError):
        await line.ask("EVALSHA", "0" * 40, 0)

    assert await line.ask("PING") == b"PONG"


async def test_what_was_sent_goes_on_while_its_asker_does_something_else(
    line: OwnLine, redis_url: Callable[[], str]
) -> None:
    """A start decodes records, and a node that puts some back encodes them, while Redis is at the next or the last."""
    await line.ask("DEL", "line:sent")
    asked = await sent(line.ask("SET", "line:sent", "here"))

    give_up_s = time.monotonic() + PATIENCE_S
    while not ask(redis_url(), "GET", "line:sent") and time.monotonic() < give_up_s:
        time.sleep(0.001)  # noqa: ASYNC251  the event loop gets no turn

    assert ask(redis_url(), "GET", "line:sent") == b"here"
    assert await asked == b"OK"
