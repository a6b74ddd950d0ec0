"""Cases 74-77: tags of a service."""

from __future__ import annotations

import pytest

from .asking import ServiceCenter, assert_json, assert_ok, assert_refused


@pytest.fixture
def tags(sc: ServiceCenter, app: str) -> str:
    """The path of the tags of a service that carries k1=v1."""
    path = f"microservices/{sc.create_service(app, 'svc')}/tags"
    assert_ok(sc.post(path, {"tags": {"k1": "v1"}}))
    sc.soon(lambda: assert_json(sc.get(path), {"tags": {"k1": "v1"}}))
    return path


def test_074_adding_tags_replaces_all(sc: ServiceCenter, tags: str) -> None:
    assert_ok(sc.post(tags, {"tags": {"k2": "v2"}}))

    sc.soon(lambda: assert_json(sc.get(tags), {"tags": {"k2": "v2"}}))


@pytest.mark.parametrize("body", [{}, {"tags": {}}])
def test_074_no_tags_are_accepted(sc: ServiceCenter, tags: str, body: dict[str, object]) -> None:
    assert_ok(sc.post(tags, body))

    sc.soon(lambda: assert_json(sc.get(tags), {}))


def test_075_a_tag_that_exists_is_changed(sc: ServiceCenter, tags: str) -> None:
    assert_ok(sc.put(f"{tags}/k1", value="w"))

    sc.soon(lambda: assert_json(sc.get(tags), {"tags": {"k1": "w"}}))


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        pytest.param("/k1", 400001, "", id="case075-no-value"),
        pytest.param("/none?value=w", 400018, "Tag does not exist, please add one first.", id="case075-unknown-tag"),
        pytest.param("/k1?value=a%20b", 400001, "", id="case077-blank-in-value"),
    ],
)
def test_a_tag_is_not_changed(sc: ServiceCenter, tags: str, path: str, code: int, text: str) -> None:
    assert_refused(sc.put(tags + path), code, text)


def test_076_nothing_is_deleted_when_one_tag_is_unknown(sc: ServiceCenter, tags: str) -> None:
    refusal = sc.delete(f"{tags}/k1,none")

    assert_refused(refusal, 400018, "Delete tags failed for this key none does not exist.")
    assert_json(sc.get(tags), {"tags": {"k1": "v1"}})


def test_076_a_tag_is_deleted(sc: ServiceCenter, tags: str) -> None:
    assert_ok(sc.delete(f"{tags}/k1"))

    sc.soon(lambda: assert_json(sc.get(tags), {}))


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param({"1k": "v"}, id="case077-digit-first"),
        pytest.param({"k": "a b"}, id="case077-blank-in-value"),
        pytest.param({"k": "a" * 65}, id="case077-value-of-65"),
        pytest.param({f"k{number}": "v" for number in range(101)}, id="case077-101-pairs"),
    ],
)
def test_tags_outside_their_rules_are_refused(sc: ServiceCenter, tags: str, pairs: dict[str, str]) -> None:
    assert_refused(sc.post(tags, {"tags": pairs}), 400001)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_074_an_unknown_service_has_no_tags(sc: ServiceCenter, method: str) -> None:
    body = {"tags": {"k1": "v1"}} if method == "POST" else None

    assert_refused(sc.ask(method, "microservices/nope/tags", body), 400012)
