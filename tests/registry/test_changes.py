"""The bounded history: complete or refused, never with a gap."""

from __future__ import annotations

import pytest

from facade.errors import RevisionCompacted
from facade.registry.changes import ChangeFeed
from facade.registry.model import Cause, Change
from tests.registry.records import flat


def change(revision: int) -> Change:
    return Change(revision=revision, at_ms=0, cause=Cause.REGISTERED, before=None, after=flat())


def feed_of(*revisions: int, kept: int = 3) -> ChangeFeed:
    feed = ChangeFeed(start=10, kept=kept)
    for revision in revisions:
        feed.publish(change(revision))
    return feed


def test_a_follower_hears_each_change_until_it_stops() -> None:
    feed, heard = feed_of(), []
    stop = feed.follow(lambda change: heard.append(change.revision))

    feed.publish(change(11))
    stop()
    feed.publish(change(12))

    assert heard == [11]


def test_the_history_after_a_revision_is_complete_and_in_order() -> None:
    assert [one.revision for one in feed_of(11, 12, 15).since(11)] == [12, 15]


def test_the_whole_history_is_there_for_who_was_there_from_the_start() -> None:
    assert [one.revision for one in feed_of(11, 12).since(10)] == [11, 12]


def test_a_reader_who_fell_behind_is_told_so() -> None:
    """A silent gap would leave it with a wrong view for ever."""
    feed = feed_of(11, 12, 15, 16)

    with pytest.raises(RevisionCompacted):
        feed.since(10)
    assert [one.revision for one in feed.since(11)] == [12, 15, 16]


def test_people_see_the_latest_first() -> None:
    assert [one.revision for one in feed_of(11, 12, 15).recent(2)] == [15, 12]
