"""What nodes that share a Redis can do beside one that keeps its registrations itself, and what a fleet of them costs.

    python -m loadtests.cluster                 about a quarter of an hour; up to 100,000 instances
    python -m loadtests.cluster --quick         about three: a twentieth of that, fewer of everything
    python -m loadtests.cluster --only TEXT     the measurements with TEXT in their name
    python -m loadtests.cluster --markdown FILE the table as Markdown too

Three nodes on one core, Redis and what asks them on the other. The goals are stated where they are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadtests.cluster_measures import commands, renewals, visible
from loadtests.cluster_model import fleets
from loadtests.cluster_nodes import Run
from loadtests.cluster_outages import failover
from loadtests.goals import Row, measure

MEASUREMENTS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "renewals": renewals,
    "commands": commands,
    "visible": visible,
    "fail-over": failover,
    "fleets": fleets,
}


def main() -> None:
    measure("cluster", __doc__, MEASUREMENTS, Run, ports_from=25_000)


if __name__ == "__main__":
    main()
