"""Where boxes and arrows go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from facade.dashboard.picture import HEIGHT, WIDTH, Drawing, Node, around, busiest, drawn

ARROWS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda arrow: arrow[0] != arrow[1]))


def picture_of(arrows: list[tuple[Node, Node]]) -> Drawing[Node]:
    *_, picture = drawn(arrows)
    assert picture is not None
    return picture


def columns(drawing: Drawing[str]) -> dict[str, int]:
    return {box.node: box.x for box in drawing.boxes}


def test_callers_stand_to_the_left_of_whom_they_call() -> None:
    at = columns(picture_of([("gateway", "orders"), ("orders", "stock"), ("gateway", "stock")]))

    assert at["gateway"] < at["orders"] < at["stock"]


def test_nothing_is_drawn_where_there_are_no_relations() -> None:
    assert picture_of([]) == Drawing(0, 0, [], [])


def test_a_picture_of_many_arrows_is_made_a_little_at_a_time() -> None:
    """60 services that all call each other: at once it held everybody up for a quarter of a second or more."""
    arrows = [(caller, called) for caller in range(60) for called in range(60) if caller != called]

    pieces = list(drawn(arrows))

    assert len(pieces) > 3 * len(arrows)  # one for each arrow: its way, its neighbours, its line


def test_who_call_each_other_are_drawn_all_the_same() -> None:
    drawing = picture_of([("a", "b"), ("b", "c"), ("c", "a")])

    assert (len(drawing.boxes), len(drawing.arrows)) == (3, 3)


@given(ARROWS)
def test_boxes_never_overlap_and_stay_in_the_picture(arrows: list[tuple[int, int]]) -> None:
    drawing = picture_of(arrows)

    boxes = drawing.boxes
    assert {box.node for box in boxes} == {node for arrow in arrows for node in arrow}
    assert all(0 <= box.x <= drawing.width - WIDTH and 0 <= box.y <= drawing.height - HEIGHT for box in boxes)
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT


def test_an_arrow_that_passes_a_column_runs_behind_no_box_of_it() -> None:
    drawing = picture_of([("gateway", "orders"), ("orders", "stock"), ("gateway", "stock")])

    (passing,) = [path for path in drawing.arrows if "H" in path]
    y = int(passing.partition("H")[0].rpartition(" ")[2])
    orders = next(box for box in drawing.boxes if box.node == "orders")
    assert not orders.y <= y <= orders.y + HEIGHT


def test_the_busiest_are_kept_with_the_arrows_between_them() -> None:
    arrows = [("a", "b"), ("a", "c"), ("b", "c"), ("d", "e")]

    assert busiest(arrows, 3) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_the_neighbourhood_of_a_service_is_who_calls_it_and_whom_it_calls() -> None:
    arrows = [("a", "b"), ("b", "c"), ("c", "d")]

    assert around(arrows, {"b"}) == [("a", "b"), ("b", "c")]
