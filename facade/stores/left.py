"""A note in the data directory that a running server has left the store its settings name for another one.

Whoever starts it again over the old settings would show what was true at that moment, and lose what was written since.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from facade.errors import StartRefused

NAME = "store-left.json"

log = logging.getLogger(__name__)


class _Left(msgspec.Struct):
    """URLs as people may see them, without passwords."""

    left: str
    now: str
    at: str


def note_left(data_dir: Path, stated: str, now: str, now_ms: int) -> None:
    """`stated` is what the settings name, `now` where the records are: the same again when it has come back."""
    path = data_dir / NAME
    try:
        if stated == now:
            path.unlink(missing_ok=True)
            return
        at = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="seconds")
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(_Left(stated, now, at)))
    except OSError as error:
        log.error("cannot note that the store was left path=%s reason=%s", path, error.strerror)


def refuse_left(data_dir: Path, stated: str) -> None:
    """Raises StartRefused when the records are no longer where the settings say."""
    path = data_dir / NAME
    try:
        left = msgspec.json.decode(path.read_bytes(), type=_Left)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return
    if left.left == stated != left.now:
        raise StartRefused(
            f"store: at {left.at} a running server moved from {left.left} to {left.now}: start with --store {left.now},"
            f" or remove {path} to go back to what was in {left.left} then"
        )
