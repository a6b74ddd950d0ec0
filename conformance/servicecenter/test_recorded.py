"""The stories of `record.py`, told to the server under test and compared with what the real one answered."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .asking import WITHOUT_KIE, ServiceCenter, keeps_policies
from .record import RECORDED, stories, tell

STORIES = stories()
ANSWERS: dict[str, list[dict[str, Any]]] = {name: json.loads((RECORDED / name).read_text()) for name in STORIES}
# The rule behind a refused value is for people; ours may be another, and in other words.
RULE = re.compile(r"does not match rule: .*")


@pytest.fixture(scope="module")
def answers(sc: ServiceCenter) -> dict[tuple[str, str], dict[str, Any]]:
    told = {name: story for name, story in STORIES.items() if name != "policies.json" or keeps_policies(sc)}
    return {(name, request.title): answer for name, story in told.items() for request, answer in tell(sc, story)}


@pytest.mark.parametrize("name", STORIES)
def test_the_whole_story_is_recorded(name: str) -> None:
    assert [answer["title"] for answer in ANSWERS[name]] == [request.title for request in STORIES[name]]


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        pytest.param(name, answer, id=f"{name.partition('.')[0]}-{answer['title'].replace(' ', '-')}")
        for name, all_answers in ANSWERS.items()
        for answer in all_answers
    ],
)
def test_the_answer_is_the_recorded_one(
    answers: dict[tuple[str, str], dict[str, Any]], name: str, recorded: dict[str, Any]
) -> None:
    if (name, recorded["title"]) not in answers:
        pytest.skip(WITHOUT_KIE)
    assert comparable(answers[name, recorded["title"]]) == comparable(recorded)


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
