"""What a path names."""

from __future__ import annotations

from facade.eureka.exchange import split_path
from facade.registry.model import Space


def test_the_question_mark_of_an_empty_query_is_no_part_of_the_path() -> None:
    """The doorway leaves it there; the last segment would be a name that nobody has."""
    scope = {"path": "/eureka/apps/A/i1/status", "raw_path": b"/eureka/apps/A/i1/status?"}

    assert split_path(scope) == (Space(), ["apps", "A", "i1", "status"])
