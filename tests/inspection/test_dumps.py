"""The file: exact both ways, there only when whole, and refused with the line at fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facade.errors import StartRefused
from facade.inspection import dumps
from facade.inspection.contents import Contents
from tests.inspection.examples import cart, cart_instance, contents, orders, packed_orders

FULL = contents(cart(cart_instance(), cart_instance("cart-2")), packed_orders(), orders(), orders("o-2", "testing"))


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "registry.dump"
    dumps.write(FULL, path)
    return path


def test_what_is_written_is_read_again_document_for_document(dump: Path) -> None:
    read = dumps.read(dump)

    assert (read.services, read.applications, read.taken_ms) == (FULL.services, FULL.applications, FULL.taken_ms)
    assert (read.speaks_servicecenter, read.speaks_eureka) == (True, True)


def test_each_line_is_one_document_as_its_protocol_writes_it(dump: Path) -> None:
    header, service, schema, instance, *_, last = map(json.loads, dump.read_text().splitlines())

    assert (header["format"], header["version"], header["place"]) == ("registry-facade dump", 1, FULL.place)
    assert header["counts"] == {"services": 2, "schemas": 1, "serviceCenterInstances": 3, "eurekaInstances": 2}
    assert service["service"]["serviceName"] == "cart"
    assert service["tags"] == {"tier": "gold"}
    assert schema["schema"] == {"schemaId": "api", "summary": "5", "schema": "{}"}
    assert instance["instance"]["endpoints"] == ["rest://10.0.0.2:9090"]
    assert last["application"]["port"] == {"$": 8080, "@enabled": "true"}
    assert last["environment"] == "testing"


def test_a_dump_that_cannot_be_finished_leaves_the_older_one(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump.read_bytes()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(StartRefused, match="No space left on device"):
        dumps.write(contents(orders()), dump)

    assert dump.read_bytes() == before
    assert [path.name for path in dump.parent.iterdir()] == [dump.name]


def altered(dump: Path, line: int, text: str | None) -> Path:
    """The dump with one line replaced, or cut off before it."""
    lines = dump.read_text().splitlines()
    kept = lines[: line - 1] + ([] if text is None else [text, *lines[line:]])
    dump.write_text("".join(f"{one}\n" for one in kept))
    return dump


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        pytest.param(1, '{"applications":{}}', "line 1: this is no dump of registry-facade", id="foreign"),
        pytest.param(1, "#!/bin/sh", "line 1: this is no dump of registry-facade", id="no-json"),
        pytest.param(3, '{"schema":{"schemaId":"api"', "line 3: damaged", id="broken-json"),
        pytest.param(4, '{"instance":[],"of":"s-cart"}', "line 4: damaged: .*cannot unmarshal array", id="wrong-shape"),
        pytest.param(2, "{}", "line 2: damaged", id="no-document"),
        pytest.param(2, '{"servce":{}}', "line 2: damaged: .*servce", id="unknown-member"),
        pytest.param(8, '{"application":{}}', "line 8: damaged: not a document of its kind", id="no-application"),
        pytest.param(4, '{"instance":{},"of":"gone"}', "line 4: damaged: it belongs to service 'gone'", id="orphan"),
        pytest.param(9, None, "line 8: the file ends here with .*1 eurekaInstances; .*2 eurekaInstances", id="cut"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_its_line(dump: Path, line: int, text: str | None, said: str) -> None:
    with pytest.raises(StartRefused, match=said) as refusal:
        dumps.read(altered(dump, line, text))

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"\n" * 10])
def test_no_bytes_at_all_are_no_dump(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(StartRefused, match="line 1: this is no dump"):
        dumps.read(path)


def test_a_dump_of_a_later_version_is_told_as_that(dump: Path) -> None:
    header = json.loads(dump.read_text().splitlines()[0]) | {"version": 2}

    with pytest.raises(StartRefused, match="line 1: its format is version 2"):
        dumps.read(altered(dump, 1, json.dumps(header)))


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"cannot read .*: No such file"):
        dumps.read(tmp_path / "nothing")


def test_an_empty_registry_makes_a_dump_too(tmp_path: Path) -> None:
    empty = Contents("http://h", "test", 1000, speaks_eureka=True)
    dumps.write(empty, tmp_path / "dump")

    assert dumps.read(tmp_path / "dump").counts == empty.counts
