"""Pieces compressed apart read as one member: clients that stop after the first member would lose the rest."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from facade.eureka.gzipped import deflate, gzip_member, join

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
