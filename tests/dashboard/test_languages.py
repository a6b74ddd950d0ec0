"""The words of the pages in every language."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from facade import dashboard
from facade.dashboard.languages import TEXTS, chosen
from facade.registry.model import Cause

TEMPLATES = "\n".join(file.read_text() for file in (Path(dashboard.__file__).parent / "templates").glob("*.html"))


@pytest.mark.parametrize("language", TEXTS)
def test_every_language_has_the_same_texts_with_the_same_places_to_fill_in(language: str) -> None:
    def places(texts: dict[str, str]) -> dict[str, set[str]]:
        return {key: {name for _, name, _, _ in Formatter().parse(text) if name} for key, text in texts.items()}

    assert places(dict(TEXTS[language])) == places(dict(TEXTS["en"]))


def test_english_and_chinese_are_there() -> None:
    assert {"en", "zh"} <= TEXTS.keys()


def test_no_chinese_text_was_left_in_english() -> None:
    same = {key for key, text in TEXTS["zh"].items() if not re.search(r"[\u4e00-\u9fff]", text)}

    assert same <= {"id"}


def test_every_cause_has_its_word() -> None:
    assert {f"cause.{cause}" for cause in Cause} <= TEXTS["en"].keys()


def test_every_text_is_shown_somewhere() -> None:
    whole = {key for key in TEXTS["en"] if re.search(rf'"{re.escape(key)}"', TEMPLATES)}
    made = ("cause.", "nav.", "count.", "no service", "no schema", "no instance", "not written", "form refused")
    tabs = {"instances", "providers", "consumers", "schemas", "properties"}

    assert {key for key in TEXTS["en"].keys() - whole - tabs if not key.startswith(made)} == {"language"}


@pytest.mark.parametrize(
    ("stated", "accepted", "language"),
    [
        ("", "", "en"),
        ("zh", "en", "zh"),
        ("xx", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "fr, en;q=0.3, zh;q=0.7", "zh"),
        ("", "zh;q=0, de", "en"),
        ("", "zh;q=nonsense, en", "en"),
        ("../../etc/passwd", ";;;,,,q=", "en"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_browsers(stated: str, accepted: str, language: str) -> None:
    assert chosen(stated, accepted) == language
