"""Tells the story to a person: `python -m conformance.demo`. Exit code 1, and a line that says why, if a step fails."""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import httpx

from conformance.demo import setups
from conformance.demo.setups import BEHIND, Ports, set_up
from conformance.demo.stage import CLIENTS, StoryError
from conformance.demo.story import CHAPTERS
from conformance.peers.processes import PeerError


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(format="          %(message)s")
    logging.getLogger("conformance").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _end)
    home = Path(tempfile.mkdtemp(prefix="registry-facade-demo-"))
    ports = Ports(**{name: getattr(arguments, f"{name}_port") for name in vars(Ports())})
    order = CLIENTS if arguments.order == "account-first" else CLIENTS[::-1]
    try:
        with set_up(home, ports, order, arguments.hello_app, arguments.setup) as stage:
            for chapter in CHAPTERS:
                chapter(stage)
    except (StoryError, PeerError, httpx.HTTPError) as error:
        print(f"demo: {error}\ndemo: what every program said stands in {home}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    shutil.rmtree(home)
    print(f"The guide's story holds. Set-up: {arguments.setup}.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.demo",
        description=f"{__doc__}\n{setups.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--setup", choices=tuple(BEHIND), default="embedded", help="one of the above (embedded)")
    parser.add_argument("--order", choices=("account-first", "hello-first"), default="account-first")
    parser.add_argument("--hello-app", default="eureka", metavar="APP", help="the app of hello-server (eureka)")
    for name, port in vars(Ports()).items():
        flag = f"--{name.replace('_', '-')}-port"
        parser.add_argument(flag, type=int, default=port, metavar="PORT", help=f"({port})")
    return parser.parse_args()


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that what was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
