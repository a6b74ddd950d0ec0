"""Runs the real servers for a person until Ctrl-C: `python -m conformance.peers`, or `make peers`.

A real Eureka server, built when it is first asked for, and a real ServiceCenter where SERVICECENTER_BIN names one.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from conformance.peers.processes import PeerError, Processes
from conformance.peers.upstreams import Upstream, eureka_behind, has_real_servicecenter, servicecenter_behind


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("conformance").setLevel(logging.INFO)
    for told_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_stop, _end)
    home = Path(tempfile.mkdtemp(prefix="registry-facade-peers-"))
    try:
        with Processes(home) as processes:
            _tell(list(_start(processes, arguments, home)))
            signal.pause()
    except PeerError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped")
    shutil.rmtree(home)
    return 0


def _start(processes: Processes, arguments: argparse.Namespace, home: Path) -> Iterator[Upstream]:
    yield eureka_behind(processes, arguments.eureka_port, arguments.variant, arguments.eureka_peer).start()
    if has_real_servicecenter():
        yield servicecenter_behind(processes, arguments.servicecenter_port, arguments.etcd_port, home).start()
    else:
        print("no ServiceCenter: no registry has one; name the binary of one with SERVICECENTER_BIN")


def _tell(upstreams: list[Upstream]) -> None:
    for upstream in upstreams:
        print(f"{upstream.title:22} {upstream.url}{'/eureka/' if upstream.protocol == 'eureka' else ''}")
    stores = " ".join(f"--store {upstream.store}" for upstream in upstreams)
    print(f'ours in front          make serve ARGS="{stores} --listen 127.0.0.1:9000"')
    print("Ctrl-C stops them; they keep nothing.", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, port in (("eureka", 8761), ("servicecenter", 30100), ("etcd", 42379)):
        parser.add_argument(f"--{name}-port", type=int, default=port, metavar="PORT", help=f"({port})")
    parser.add_argument("--variant", default="stock", help="of Eureka's settings, as in its application.yml (stock)")
    parser.add_argument(
        "--eureka-peer", action="append", default=[], metavar="URL", help="a server that Eureka tells all it hears"
    )
    return parser.parse_args()


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
