"""What our server promises beyond speed: growth laws, memory, starts, latencies under an open loop, watchers, idleness.

    python -m loadtests.limits                  about ten minutes; up to 100,000 instances
    python -m loadtests.limits --quick          less than two: a twentieth of that, fewer of everything
    python -m loadtests.limits --only TEXT      the measurements with TEXT in their name
    python -m loadtests.limits --markdown FILE  the table as Markdown too

The server runs on one core, what asks it on the other. The goals are stated where they are measured; the registries are
as large as the goals say, unless --instances or --quick makes them smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadtests.goals import Row, measure
from loadtests.limits_measures import batch, changes, idle, lag, memory, open_loop, renewals, starts
from loadtests.limits_registries import Registries
from loadtests.limits_watchers import eureka_events, watchers

MEASUREMENTS: dict[str, Callable[[Registries], Iterator[Row]]] = {
    "start": starts,
    "memory": memory,
    "cost of a renewal": renewals,
    "cost of a change": changes,
    "open loop": open_loop,
    "lag of the loop": lag,
    "batch": batch,
    "watchers": watchers,
    "events of Eureka's": eureka_events,
    "idle": idle,
}


def main() -> None:
    measure("limits", __doc__, MEASUREMENTS, Registries, ports_from=24_000)


if __name__ == "__main__":
    main()
