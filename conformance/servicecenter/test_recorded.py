"""The story of `record.py`, told to the server under test and compared with what the real one answered."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .asking import ServiceCenter
from .record import RECORDED, STORY, tell

ANSWERS: list[dict[str, Any]] = json.loads(RECORDED.read_text())
# The rule behind a refused value is for people; ours may be another, and in other words.
RULE = re.compile(r"does not match rule: .*")


@pytest.fixture(scope="module")
def answers(sc: ServiceCenter) -> dict[str, dict[str, Any]]:
    return {request.title: answer for request, answer in tell(sc)}


def test_the_whole_story_is_recorded() -> None:
    assert [answer["title"] for answer in ANSWERS] == [request.title for request in STORY]


@pytest.mark.parametrize("recorded", ANSWERS, ids=[answer["title"].replace(" ", "-") for answer in ANSWERS])
def test_the_answer_is_the_recorded_one(answers: dict[str, dict[str, Any]], recorded: dict[str, Any]) -> None:
    assert comparable(answers[recorded["title"]]) == comparable(recorded)


def comparable(answer: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Without what the protocol leaves open: the order of members and of lists."""
    body = answer["body"]
    is_json = answer["headers"].get("Content-Type", "").startswith("application/json")
    return answer["status"], answer["headers"], _unordered(json.loads(body)) if is_json else body


def _unordered(value: Any) -> Any:
    match value:
        case dict():
            return {name: _unordered(member) for name, member in value.items()}
        case list():
            return sorted((_unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        case str():
            return RULE.sub("does not match rule", value)
    return value
