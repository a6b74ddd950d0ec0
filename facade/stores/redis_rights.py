"""What an account of Redis has to be allowed to do for us, found out before we serve.

An account that may register and not renew, say, would make of each renewal an outage; so it is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from facade.errors import StartRefused

TOLD_AT_MOST = 3

_CALL = re.compile(r"redis\.call\('(\w+)'(?:, (\w+))?")
"""A command in a script of ours, and the key that it is for: a variable with the name that we have for the key."""
_OURS = (
    ("EVALSHA", "0" * 40, "0"),
    ("HSCAN", "records", "0"),
    ("XREAD", "STREAMS", "log", "0-0"),
    ("XREVRANGE", "log", "+", "-"),
    *((command, "restorer") for command in ("SET", "GET", "DEL")),
    *((command, "evictor") for command in ("GET", "DEL")),
    *(("HDEL", key, "node") for key in ("nodes", "done")),
)
"""Beside the scripts."""


def needs(scripts: Iterable[str], keys: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Commands with their keys; `keys` tells the whole name of each."""
    called = {(command, key) for script in scripts for command, key in _CALL.findall(script)}
    in_scripts = [(command, key) if key in keys else (command,) for command, key in sorted(called)]
    return [tuple(keys.get(word, word) for word in words) for words in dict.fromkeys([*in_scripts, *_OURS])]


async def refuse_without(client: Any, title: str, rights: str, scripts: Iterable[str], keys: Mapping[str, str]) -> None:
    """`rights` is the script that tells. Raises StartRefused, and what the client raises."""
    wanted = ["\0".join(words) for words in needs(scripts, keys)]
    refused = await client.execute_command("EVAL", rights, len(keys), *keys.values(), *wanted)
    if not refused:
        return
    told = [_told(command.decode(), keys) for command in refused[:TOLD_AT_MOST]]
    if len(refused) > TOLD_AT_MOST:
        told.append(f"{len(refused) - TOLD_AT_MOST} more")
    raise StartRefused(f"store: {title} does not permit its account all that is needed: {', '.join(told)}")


def _told(command: str, keys: Mapping[str, str]) -> str:
    name, *words = command.split("\0")
    key = next((word for word in words if word in keys.values()), "")
    return f"{name} of {key}" if key else name
