"""Where the boxes and arrows of a graph go: callers to the left of whom they call. Pure functions; pixels.

Columns from left to right by the longest way from a caller; within a column, near to the neighbours in the one before.
An arrow that passes a column has a lane of its own there, so that it runs behind no box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

Node = TypeVar("Node", bound=Hashable)

WIDTH, HEIGHT = 184, 46
LANE = 10
"""The height of an arrow that passes."""
ACROSS, DOWN = 60, 14
"""Between two boxes."""
MARGIN = 8


class Box(NamedTuple, Generic[Node]):
    node: Node
    x: int
    y: int


class Drawing(NamedTuple, Generic[Node]):
    width: int
    height: int
    boxes: Sequence[Box[Node]]
    arrows: Sequence[str]
    """Each the `d` of an SVG path, from the right of the caller to the left of the called."""


class _Lane(NamedTuple, Generic[Node]):
    """Where an arrow passes a column."""

    caller: Node
    called: Node
    column: int


def drawn(arrows: Iterable[tuple[Node, Node]]) -> Iterator[Drawing[Node] | None]:
    """All nodes that an arrow touches, and the arrows. Cycles are fine.

    The drawing comes last; before it None after each piece of work, for where many call each other it takes a while.
    """
    arrows = list(dict.fromkeys(arrows))
    layers = yield from _layers(arrows)
    ways = []
    for caller, called in arrows:
        ways.append(_way(caller, called, layers))
        yield None
    columns = yield from _ordered(layers, ways)
    height = max(map(_height, columns), default=0)
    places: dict[Node | _Lane[Node], tuple[int, int]] = {}
    for at, column in enumerate(columns):
        y = MARGIN + (height - _height(column)) // 2
        for place in column:
            places[place] = MARGIN + at * (WIDTH + ACROSS), y
            y += _tall(place) + DOWN
        yield None
    paths = []
    for way in ways:
        paths.append(_path(way, places))
        yield None
    yield Drawing(
        width=2 * MARGIN + len(columns) * (WIDTH + ACROSS) - ACROSS if columns else 0,
        height=2 * MARGIN + height if columns else 0,
        boxes=[Box(node, *places[node]) for node in layers],
        arrows=paths,
    )


def around(arrows: Collection[tuple[Node, Node]], wanted: Collection[Node]) -> list[tuple[Node, Node]]:
    """The arrows that touch one of these."""
    return [(caller, called) for caller, called in arrows if caller in wanted or called in wanted]


def busiest(arrows: Collection[tuple[Node, Node]], most: int) -> list[tuple[Node, Node]]:
    """The arrows between the nodes that have most of them, of at most so many nodes."""
    degrees = Counter(node for arrow in arrows for node in arrow)
    kept = {node for node, _ in degrees.most_common(most)}
    return [(caller, called) for caller, called in arrows if caller in kept and called in kept]


def _layers(arrows: Sequence[tuple[Node, Node]]) -> Generator[None, None, Mapping[Node, int]]:
    callers: dict[Node, set[Node]] = {}
    called_by: dict[Node, list[Node]] = {}
    for caller, called in arrows:
        callers.setdefault(caller, set())
        callers.setdefault(called, set()).add(caller)
        called_by.setdefault(caller, []).append(called)
    layers = dict.fromkeys(callers, 0)
    while callers:
        # Where there is a cycle nobody is without callers: whoever has fewest stands first.
        node = min(callers, key=lambda one: len(callers[one]))
        del callers[node]
        for called in called_by.get(node, ()):
            if called in callers:
                callers[called].discard(node)
                layers[called] = max(layers[called], layers[node] + 1)
        yield
    return layers


def _way(caller: Node, called: Node, layers: Mapping[Node, int]) -> list[Node | _Lane[Node]]:
    """What an arrow goes through; one that closes a cycle goes straight back."""
    between = range(layers[caller] + 1, layers[called])
    return [caller, *(_Lane(caller, called, column) for column in between), called]


def _ordered(
    layers: Mapping[Node, int], ways: Sequence[Sequence[Node | _Lane[Node]]]
) -> Generator[None, None, list[list[Node | _Lane[Node]]]]:
    columns: list[list[Node | _Lane[Node]]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for node, layer in layers.items():
        columns[layer].append(node)
    near: dict[Node | _Lane[Node], list[Node | _Lane[Node]]] = {}
    for way in ways:
        for lane in way[1:-1]:
            assert isinstance(lane, _Lane), "between the two ends"
            columns[lane.column].append(lane)
        for before, after in pairwise(way):
            near.setdefault(after, []).append(before)
        yield
    for left, column in pairwise(columns):
        at = {place: number for number, place in enumerate(left)}

        def middle(place: Node | _Lane[Node], at: Mapping[Node | _Lane[Node], int] = at) -> float:
            numbers = [at[before] for before in near.get(place, ()) if before in at]
            return sum(numbers) / len(numbers) if numbers else 0

        column.sort(key=middle)
        yield
    return columns


def _tall(place: Node | _Lane[Node]) -> int:
    return LANE if isinstance(place, _Lane) else HEIGHT


def _height(column: Sequence[Node | _Lane[Node]]) -> int:
    return sum(_tall(place) + DOWN for place in column) - DOWN


def _path(way: Sequence[Node | _Lane[Node]], places: Mapping[Node | _Lane[Node], tuple[int, int]]) -> str:
    return "".join(_pieces(way, places))


def _pieces(way: Sequence[Node | _Lane[Node]], places: Mapping[Node | _Lane[Node], tuple[int, int]]) -> Iterator[str]:
    for number, (one, other) in enumerate(pairwise(way)):
        x1, y1 = places[one][0] + WIDTH, places[one][1] + _tall(one) // 2
        x2, y2 = places[other][0], places[other][1] + _tall(other) // 2
        # From the second on, the way goes on from the left end of its lane.
        yield f"M{x1} {y1}" if number == 0 else f"H{x1}"
        bend = max(ACROSS // 2, abs(x2 - x1) // 2)
        yield f"C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
