"""One gzip member joined from pieces that were deflated apart: a change costs its piece, not the whole document.

Members are never concatenated: several clients stop after the first without an error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import is_
from typing import NamedTuple

LEVEL = 6
RUN = 32
"""About the square root of as many pieces as there are in a large registry."""
_HEAD = bytes.fromhex("1f8b08000000000000ff")
_LAST_BLOCK = b"\x03\x00"
_POLYNOMIAL = 0xEDB88320


class Deflated(NamedTuple):
    """Raw deflate that ends on a byte boundary and refers to nothing before it, with the checksum of its text."""

    data: bytes
    crc: int
    length: int


_NOTHING = Deflated(b"", 0, 0)


def deflate(text: bytes) -> Deflated:
    press = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Deflated(press.compress(text) + press.flush(zlib.Z_FULL_FLUSH), zlib.crc32(text), len(text))


def join(pieces: Iterable[Deflated]) -> Deflated:
    """The pieces as one; 9 µs each, so join groups and keep those."""
    data, crc, length = [], 0, 0
    for piece in pieces:
        data.append(piece.data)
        crc, length = _joined_crc(crc, piece.crc, piece.length), length + piece.length
    return Deflated(b"".join(data), crc, length)


class Runs:
    """A long row of pieces that is joined again and again: only those runs of it in which a piece is another one."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[Deflated, ...], Deflated]] = []

    def join(self, pieces: Sequence[Deflated]) -> Deflated:
        runs = [tuple(pieces[start : start + RUN]) for start in range(0, len(pieces), RUN)]
        kept = [*self._kept, *[((), _NOTHING)] * len(runs)]
        self._kept = [old if _is_same(old[0], run) else (run, join(run)) for old, run in zip(kept, runs, strict=False)]
        return join(joined for _, joined in self._kept)


def _is_same(one: Sequence[Deflated], other: Sequence[Deflated]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def gzip_member(text: Deflated) -> bytes:
    return b"".join((_HEAD, text.data, _LAST_BLOCK, struct.pack("<II", text.crc, text.length & 0xFFFFFFFF)))


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
