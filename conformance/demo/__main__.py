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

from conformance.demo.story import CHAPTERS, CLIENTS, Ports, StoryError, set_up
from conformance.peers.processes import PeerError


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(format="          %(message)s")
    logging.getLogger("conformance").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _end)
    home = Path(tempfile.mkdtemp(prefix="registry-facade-demo-"))
    ports = Ports(
        arguments.eureka_port, arguments.servicecenter_port, arguments.account_server_port, arguments.hello_server_port
    )
    order = CLIENTS if arguments.order == "account-first" else CLIENTS[::-1]
    try:
        with set_up(home, ports, order, arguments.hello_app) as stage:
            for chapter in CHAPTERS:
                chapter(stage)
    except (StoryError, PeerError, httpx.HTTPError) as error:
        print(f"demo: {error}\ndemo: what every program said stands in {home}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    shutil.rmtree(home)
    print("The guide's story holds: one server, two protocols, one registry.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance.demo", description=__doc__)
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
