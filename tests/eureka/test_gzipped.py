"""Pieces compressed apart read as one member: clients that stop after the first member would lose the rest."""

from __future__ import annotations

import gzip
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facade.eureka import gzipped
from facade.eureka.gzipped import FANOUT, Deflated, Sum, Sums, deflate, gzip_member, join, joined_sum

texts = st.lists(st.binary(max_size=300) | st.just(b"the same text " * 500))


def member(pieces: list[Deflated]) -> bytes:
    return gzip_member(pieces, joined_sum(piece.sum for piece in pieces))


@given(texts)
def test_joined_pieces_are_one_member(pieces: list[bytes]) -> None:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)

    text = inflater.decompress(member(list(map(deflate, pieces))))

    assert text == b"".join(pieces)
    assert inflater.eof
    assert inflater.unused_data == b""


@given(texts, texts)
def test_joining_groups_is_joining_all(first: list[bytes], second: list[bytes]) -> None:
    """Groups are kept: what is joined of joined pieces must be what is joined of pieces."""
    groups = [join(list(map(deflate, first))), join(list(map(deflate, second)))]

    assert join(groups) == join(list(map(deflate, [*first, *second])))
    assert gzip.decompress(member(groups)) == b"".join([*first, *second])


@given(st.lists(st.sampled_from(["change", "add", "remove"]), max_size=20), st.randoms(use_true_random=False))
def test_a_row_that_changes_is_summed_as_if_for_the_first_time(acts: list[str], chance: Random) -> None:
    sums, row = Sums(), [deflate(b"%d" % number).sum for number in range(FANOUT**2 + 3)]
    for number, act in enumerate(acts):
        at = chance.randrange(len(row))
        if act == "remove":
            del row[at]
        else:
            row[at : at + (act == "change")] = [deflate(b"text %d" % number).sum]

        assert sums.whole(row) == joined_sum(row)


def test_only_groups_that_changed_are_summed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, row = Sums(), [deflate(b"%d" % number).sum for number in range(FANOUT**3)]
    sums.whole(row)
    summed: list[int] = []

    def noted(some: list[Sum]) -> Sum:
        summed.append(len(some))
        return Sum(0, 1)

    monkeypatch.setattr(gzipped, "joined_sum", noted)

    row[FANOUT] = deflate(b"another").sum
    sums.whole(row)

    assert summed == [FANOUT] * 3
