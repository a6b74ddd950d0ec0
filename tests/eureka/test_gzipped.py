"""Pieces compressed apart read as one member: clients that stop after the first member would lose the rest."""

from __future__ import annotations

import gzip
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facade.eureka import gzipped
from facade.eureka.gzipped import RUN, Runs, deflate, gzip_member, join

texts = st.lists(st.binary(max_size=300) | st.just(b"the same text " * 500))


@given(texts)
def test_joined_pieces_are_one_member(pieces: list[bytes]) -> None:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)

    text = inflater.decompress(gzip_member(join(deflate(piece) for piece in pieces)))

    assert text == b"".join(pieces)
    assert inflater.eof
    assert inflater.unused_data == b""


@given(texts, texts)
def test_joining_groups_is_joining_all(first: list[bytes], second: list[bytes]) -> None:
    """Groups are kept: what is joined of joined pieces must be what is joined of pieces."""
    groups = join([join(map(deflate, first)), join(map(deflate, second))])

    assert groups == join(map(deflate, [*first, *second]))
    assert gzip.decompress(gzip_member(groups)) == b"".join([*first, *second])


@given(st.lists(st.sampled_from(["change", "add", "remove"]), max_size=20), st.randoms(use_true_random=False))
def test_a_row_that_changes_is_joined_as_if_for_the_first_time(acts: list[str], chance: Random) -> None:
    runs, row = Runs(), [deflate(b"%d" % number) for number in range(RUN * 2 + 3)]
    for number, act in enumerate(acts):
        at = chance.randrange(len(row))
        if act == "remove":
            del row[at]
        else:
            row[at : at + (act == "change")] = [deflate(b"text %d" % number)]

        assert runs.join(row) == join(row)


def test_only_runs_that_changed_are_joined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, row = Runs(), [deflate(b"%d" % number) for number in range(RUN * 4)]
    runs.join(row)
    joined: list[int] = []
    monkeypatch.setattr(gzipped, "join", lambda pieces: joined.append(len(list(pieces))) or deflate(b""))

    row[RUN] = deflate(b"another")
    runs.join(row)

    assert joined == [RUN, 4]
