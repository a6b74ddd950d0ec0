"""Where a Redis is, as an operator writes it."""

import pytest

from facade.errors import StartRefused
from facade.stores.redis_url import RedisUrl, parse


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("redis://host", RedisUrl("single", (("host", 6379),))),
        ("redis://host:7000/3", RedisUrl("single", (("host", 7000),), database=3)),
        ("rediss://[::1]:6380", RedisUrl("single", (("::1", 6380),), is_tls=True)),
        ("redis://:p%40ss@host", RedisUrl("single", (("host", 6379),), password="p@ss")),
        ("redis://jack:p@s:s@host", RedisUrl("single", (("host", 6379),), username="jack", password="p@s:s")),
        (
            "redis+sentinel://a,b:26380/shop",
            RedisUrl("sentinel", (("a", 26379), ("b", 26380)), master="shop"),
        ),
        ("redis+sentinel://a/shop/2", RedisUrl("sentinel", (("a", 26379),), master="shop", database=2)),
        ("REDISS://:p@host", RedisUrl("single", (("host", 6379),), is_tls=True, password="p")),
        ("redis://host:", RedisUrl("single", (("host", 6379),))),
        ("redis+cluster://a:7000,b", RedisUrl("cluster", (("a", 7000), ("b", 6379)))),
        ("rediss+cluster://u:p@a", RedisUrl("cluster", (("a", 6379),), is_tls=True, username="u", password="p")),
    ],
)
def test_a_url_is_read(url: str, read: RedisUrl) -> None:
    assert parse(url) == read


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://", "HOST:PORT"),
        ("redis://host:port", "HOST:PORT"),
        ("redis://host:70000", "HOST:PORT"),
        ("redis://a,b", "names one server"),
        ("redis://host/shop", "the number of a database"),
        ("redis://host/0/1", "the number of a database"),
        ("redis://host/-1", "the number of a database"),
        (f"redis://host/{'9' * 5_000}", "the number of a database"),
        ("redis://:secret@host:0", "'host:0' is none"),
        ("redis://:secret@::1:6379", "an IPv6 host in brackets"),
        ("redis://jack:secret", "HOST:PORT"),
        ("redis://:secret/0", "HOST:PORT"),
        ("redis:/:secret@host", "HOST:PORT"),
        ("redis:jack:secret@host", "HOST:PORT"),
        ("redis+sentinel://a:secret@h1,b:secret@h2/m", "one account"),
        ("redis+sentinel://h1,jack:secret@h2/m", "one account"),
        ("redis://:secret@host?timeout=3", "no options"),
        ("redis+sentinel://a", "the name by which sentinels know"),
        ("redis+cluster://a/1", "takes no path"),
    ],
)
def test_another_is_refused_and_its_password_not_told(url: str, why: str) -> None:
    with pytest.raises(StartRefused, match=why) as refused:
        parse(url)

    assert "secret" not in str(refused.value)
