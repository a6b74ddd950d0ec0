"""What the people who run the server get to read: its log, its addresses, and a warning where it stands open.

The log goes to stderr: text on a terminal, else one JSON object a line. Modules log through the standard library
(`logging.getLogger(__name__)`); structlog writes their lines, and those of uvicorn and others, in one form.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from facade.config import Address, Settings
from facade.escaping import one_line

log = logging.getLogger(__name__)

# What clients and people expect behind each port of the originals.
_EUREKA_PORT, _SERVICECENTER_PORT, _DASHBOARD_PORT = 8761, 30100, 30103


def set_up_logging(settings: Settings) -> None:
    """Write all log lines as the settings ask. Give uvicorn `log_config=None`, or it brings its own form."""
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    common: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=not is_text),
    ]
    # Tracebacks are plain ones: structlog's own show the values of variables, secrets among them.
    plain = structlog.dev.plain_traceback
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    last: list[Processor] = (
        [_without_control, renderer]
        if is_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    # A line for each request that we send, and two for each websocket that somebody opens.
    for chatty in ("httpx", "httpcore", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def announce(listening: Sequence[Address], host_name: str) -> None:
    """Tell where to point each kind of client, once the server answers there."""
    for place, (what, port, path) in enumerate(
        (
            ("Eureka", _EUREKA_PORT, "/eureka/"),
            ("ServiceCenter", _SERVICECENTER_PORT, ""),
            ("Dashboard", _DASHBOARD_PORT, "/"),
        )
    ):
        in_order = listening[min(place, len(listening) - 1)]  # whoever names ports of his own names them in this order
        at = next((address for address in listening if address.port == port), in_order)
        print(f"{what:<14} {reachable(at, host_name).url}{path}", flush=True)


def warn_if_open(listening: Sequence[Address]) -> None:
    """Nobody should find out from an intruder that the registry takes orders from anyone."""
    if exposed := [str(address) for address in listening if not address.is_loopback]:
        log.warning(
            "OPEN TO THE NETWORK WITHOUT AUTHENTICATION: whoever reaches %s can read, register and remove instances; "
            "start with --auth, listen on 127.0.0.1, or let only your own clients through",
            ", ".join(exposed),
        )


def reachable(address: Address, host_name: str) -> Address:
    """The address as a client may use it: one that stands for all interfaces becomes this name of ours."""
    is_any = address.host in ("0.0.0.0", "::")  # noqa: S104  compared, not listened on
    return address._replace(host=host_name) if is_any else address


def _without_control(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Clients choose parts of what we log: they must not move the cursor, nor begin a line."""
    return {key: one_line(value) if isinstance(value, str) else value for key, value in event.items()}
