"""One gzip member joined from pieces that were deflated apart: a change costs its piece, not the whole document.

Members are never concatenated: several clients stop after the first without an error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

LEVEL = 6
FANOUT = 4
"""Sums joined to one, and these again, until there is one: a small number needs the least work per changed piece."""
_HEAD = bytes.fromhex("1f8b08000000000000ff")
_LAST_BLOCK = b"\x03\x00"
_POLYNOMIAL = 0xEDB88320


class Sum(NamedTuple):
    """What a gzip member says of a text at its end."""

    crc: int
    length: int


class Deflated(NamedTuple):
    """Raw deflate that ends on a byte boundary and refers to nothing before it, with the sum of its text."""

    data: bytes
    sum: Sum


def deflate(text: bytes) -> Deflated:
    press = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Deflated(press.compress(text) + press.flush(zlib.Z_FULL_FLUSH), Sum(zlib.crc32(text), len(text)))


def join(pieces: Sequence[Deflated]) -> Deflated:
    """The pieces as one; 9 µs each, so join groups and keep those."""
    return Deflated(b"".join([piece.data for piece in pieces]), joined_sum([piece.sum for piece in pieces]))


def gzip_member(pieces: Sequence[Deflated], whole: Sum) -> bytes:
    """The document, copied once. `whole` is the sum of all pieces."""
    ending = _LAST_BLOCK + struct.pack("<II", whole.crc, whole.length & 0xFFFFFFFF)
    return b"".join([_HEAD, *[piece.data for piece in pieces], ending])


def joined_sum(sums: Iterable[Sum]) -> Sum:
    crc, length = 0, 0
    for piece in sums:
        crc, length = _joined_crc(crc, piece.crc, piece.length) if length else piece.crc, length + piece.length
    return Sum(crc, length)


class Sums:
    """The sum of a long row of pieces, asked for again and again: one piece changed costs a few per level of a tree."""

    def __init__(self) -> None:
        self._levels: list[dict[int, tuple[Sequence[Sum], Sum]]] = []

    def whole(self, row: Sequence[Sum]) -> Sum:
        level = 0
        while len(row) > FANOUT:
            row = self._joined(level, row)
            level += 1
        return joined_sum(row)

    def _joined(self, level: int, row: Sequence[Sum]) -> list[Sum]:
        """One for each group of this level, made anew where any in it is another one."""
        if level == len(self._levels):
            self._levels.append({})
        kept = self._levels[level]
        joined = []
        for start in range(0, len(row), FANOUT):
            group = row[start : start + FANOUT]
            known = kept.get(start)
            if known is None or known[0] != group:
                known = kept[start] = group, joined_sum(group)
            joined.append(known[1])
        return joined


def _joined_crc(first: int, second: int, second_length: int) -> int:
    """CRC-32 of a + b from those of a and b: a's is moved past b by multiplication with x ** (8 * length of b)."""
    return _times(_shift(second_length), first) ^ second


def _times(one: int, other: int) -> int:
    """The product of two polynomials modulo that of the CRC; the highest bit is the lowest power."""
    product = 0
    while one:
        if one & 0x80000000:
            product ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product


@lru_cache(maxsize=65_536)
def _shift(length: int) -> int:
    """x ** (8 * length)."""
    power, square = 0x80000000, 0x00800000
    while length:
        if length & 1:
            power = _times(square, power)
        square, length = _times(square, square), length >> 1
    return power
