"""The words of the pages, in each language that `texts/` has a file for; and which one a reader wants. No HTML here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

Text = Callable[..., str]
"""`text("key", name=value)`: the words for a key, with what belongs into them. Not escaped."""

TEXTS: Mapping[str, Mapping[str, str]] = {
    file.stem: tomllib.loads(file.read_text("utf-8"))
    for file in sorted((Path(__file__).parent / "texts").glob("*.toml"))
}
"""By language and key. Every language has the same keys, and each text the same places to fill in."""

DEFAULT = "en"


def text_in(language: str) -> Text:
    texts = TEXTS[language]

    def text(key: str, **values: object) -> str:
        return texts[key].format(**values)

    return text


def chosen(stated: str, accepted: str) -> str:
    """The language named in the address, else the first that the browser accepts and we have.

    `accepted` is an Accept-Language header: zh-CN,zh;q=0.9,en;q=0.5.
    """
    if stated in TEXTS:
        return stated
    wishes = []
    for wish in accepted[:1_000].split(","):
        name, _, quality = wish.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        wishes.append((weight, name.strip().lower().partition("-")[0]))
    wishes.sort(key=lambda wish: -wish[0])
    return next((name for weight, name in wishes if name in TEXTS and weight > 0), DEFAULT)
