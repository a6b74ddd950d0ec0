"""Settings: which source wins, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from facade.config import KNOBS, Address, Settings, shown, variable
from facade.errors import StartRefused
from facade.sources import load


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a server of their own configured."""
    for name in [*map(variable, KNOBS), "REGISTRY_FACADE_CONFIG", "XDG_STATE_HOME"]:
        monkeypatch.delenv(name, raising=False)

    for knob in KNOBS.values():
        monkeypatch.delenv(knob.known_as or "-", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registry.toml"


def refusal_of(flags: dict[str, object] | None = None, file: Path | None = None) -> str:
    with pytest.raises(StartRefused) as refused:
        load(flags, file)
    return str(refused.value)


def test_what_nobody_states_is_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jack")

    settings, origins = load()

    assert settings == Settings()
    assert settings.listen == (Address("127.0.0.1", 8761), Address("127.0.0.1", 30100), Address("127.0.0.1", 30103))
    assert (settings.store, settings.data_dir) == (("sqlite:///",), Path("/home/jack/.local/state/registry-facade"))
    assert origins["protection_limit_s"] == "default: ours; Netflix's never ends"


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    file.write_text("sc_version = '1'\neureka_app = '1'\nlog_level = 'debug'\n")
    monkeypatch.setenv("REGISTRY_FACADE_SC_VERSION", "2")
    monkeypatch.setenv("REGISTRY_FACADE_EUREKA_APP", "2")

    settings, origins = load({"sc_version": "3"}, file)

    assert (settings.sc_version, settings.eureka_app, settings.log_level) == ("3", "2", "debug")
    assert settings.log_format == Settings.log_format
    assert origins["sc_version"] == "flag --sc-version"
    assert origins["eureka_app"] == "variable REGISTRY_FACADE_EUREKA_APP"
    assert origins["log_level"] == f"file {file}"


def test_the_original_s_variable_counts_where_ours_says_nothing(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text("quota_services = 1\nquota_instances = 1\n")
    monkeypatch.setenv("QUOTA_SERVICE", "2")
    monkeypatch.setenv("QUOTA_INSTANCE", "2")
    monkeypatch.setenv("REGISTRY_FACADE_QUOTA_INSTANCES", "3")
    monkeypatch.setenv("CSE_SHARED_SERVICES", "a,b")

    settings, origins = load(None, file)

    assert (settings.quota_services, settings.quota_instances) == (2, 3)
    assert settings.sc_shared_services == {"a", "b"}
    assert origins["quota_services"] == "variable QUOTA_SERVICE"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("listen", "127.0.0.1:8761, [::1]:30100", (Address("127.0.0.1", 8761), Address("::1", 30100))),
        ("listen", "registry.example:0", (Address("registry.example", 0),)),
        ("store", "memory://", ("memory://",)),
        (
            "store",
            "servicecenter+http://a:30100,localhost:30100, eureka+http://b:8761/eureka,c:8761/eureka",
            ("servicecenter+http://a:30100,localhost:30100", "eureka+http://b:8761/eureka,c:8761/eureka"),
        ),
        ("host_name", "fd00::7", "fd00::7"),
        ("merge", "orders,stock", frozenset({"orders", "stock"})),
        ("self_preservation", "false", False),
        ("exact_leases", "1", True),
        ("renewal_threshold", "0.5", 0.5),
        ("connections", "20", 20),
        ("data_dir", "/srv/registry", Path("/srv/registry")),
        ("log_format", "json", "json"),
    ],
)
def test_a_variable_is_read_in_the_type_of_its_knob(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(variable(name), text)

    assert getattr(load().settings, name) == value


def test_an_empty_variable_states_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass variables on, set or not."""
    monkeypatch.setenv("REGISTRY_FACADE_STORE", "")

    assert load().settings.store == Settings().store


def test_the_file_states_values_in_its_own_types(file: Path) -> None:
    file.write_text('listen = ["0.0.0.0:8761"]\nplain_apps = []\nself_preservation = false\nprotection_limit_s = inf\n')

    settings = load(file=file).settings

    assert settings == Settings(
        listen=(Address("0.0.0.0", 8761),),
        plain_apps=frozenset(),
        self_preservation=False,
        protection_limit_s=float("inf"),
        data_dir=settings.data_dir,
    )


def test_the_file_may_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text("connections = 7\n")
    monkeypatch.setenv("REGISTRY_FACADE_CONFIG", str(file))

    assert load().settings.connections == 7


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(file: Path) -> None:
    file.write_text("eviction-interval-s = 5\n")

    assert refusal_of(file=file) == (
        f"unknown setting 'eviction-interval-s' in {file}: did you mean eviction_interval_s?"
    )


def test_an_unknown_variable_is_refused_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_FACADE_LISTENS", "127.0.0.1:1")

    assert refusal_of() == (
        "unknown setting 'REGISTRY_FACADE_LISTENS' in the environment: did you mean REGISTRY_FACADE_LISTEN?"
    )


def test_a_name_like_none_other_is_refused_with_the_way_to_the_list(file: Path) -> None:
    file.write_text("[zookeeper]\n")

    assert refusal_of(file=file).endswith(": `registry-facade config show` lists those there are")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        pytest.param("listen", "8761", "HOST:PORT", id="no-host"),
        pytest.param("listen", "::1:8761", "in brackets", id="bare-ipv6"),
        pytest.param("listen", "127.0.0.1:65536", "HOST:PORT", id="port-too-high"),
        pytest.param("listen", "127.0.0.1:٣", "HOST:PORT", id="port-in-other-digits"),
        pytest.param("listen", [], "not be empty", id="nowhere"),
        pytest.param("store", "", "not be empty", id="no-store"),
        pytest.param("cluster", "}a", "not begin with }", id="no-name-of-a-slot"),
        pytest.param("host_name", "http://a", "without scheme", id="url-for-host"),
        pytest.param("host_name", "a:8761", "and port", id="port-behind-host"),
        pytest.param("merge", 7, "a list of texts", id="number-for-list"),
        pytest.param("renewal_threshold", "1.5", "at least 0 and at most 1", id="above-range"),
        pytest.param("renewal_threshold", "nan", "at least 0 and at most 1", id="nan"),
        pytest.param("protection_limit_s", "-1", "at least 0", id="below-range"),
        pytest.param("connections", "many", "valid integer", id="no-number"),
        pytest.param("self_preservation", "perhaps", "valid boolean", id="no-boolean"),
        pytest.param("log_level", "loud", "'debug', 'info' or 'warning'", id="no-choice"),
        pytest.param("log_level", "a\nb\x1b", r"'a\nb\x1b'", id="control-characters"),
    ],
)
def test_a_bad_value_is_refused_on_one_line_that_names_its_origin(name: str, value: object, reason: str) -> None:
    text = refusal_of({name: value})

    assert text.startswith(f"{name}: ")
    assert f"(flag --{name.replace('_', '-')})" in text
    assert reason in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(b"connections = \n", "Invalid value", id="no-toml"),
        pytest.param(b"merge = '\xff'\n", "can't decode", id="no-utf8"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_on_one_line(file: Path, text: bytes, reason: str) -> None:
    file.write_bytes(text)

    assert refusal_of(file=file).startswith(f"cannot read the settings in {file}: ")
    assert reason in refusal_of(file=file)
    assert refusal_of(file=file).isprintable()


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    assert refusal_of(file=file) == f"cannot read the settings in {file}: No such file or directory"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("redis://jack:secret@host:6379/0", "redis://jack:***@host:6379/0", id="one"),
        pytest.param("redis://:secret@host", "redis://:***@host", id="nobody's"),
        pytest.param(
            "eureka+http://a:secret@h1/eureka,b:secret@h2/eureka",
            "eureka+http://a:***@h1/eureka,b:***@h2/eureka",
            id="of each address",
        ),
        pytest.param(
            "eureka+http://h1:8761/eureka, a:secret@[::1]:8762,[fe80::2]",
            "eureka+http://h1:8761/eureka, a:***@[::1]:8762,[fe80::2]",
            id="of a later address alone",
        ),
        pytest.param(
            "servicecenter+http://a:secret@h:30100, eureka+http://b:secret@i:1",
            "servicecenter+http://a:***@h:30100, eureka+http://b:***@i:1",
            id="of two registries in one text",
        ),
        pytest.param("http://a:sec,ret@h", "http://a:***@h", id="with a comma"),
        pytest.param("http://a:12/secret@h", "http://a:***@h", id="with a slash"),
        pytest.param("http://a://se@cret://@h", "http://a:***@h", id="with what else should be quoted"),
        pytest.param("redis://jack:secret", "redis://jack:***", id="without a host"),
        pytest.param("redis://:se/cret/0", "redis://:***", id="without a host, with a slash"),
        pytest.param("redis+sentinel://h:1,jack:secret", "redis+sentinel://h:1,jack:***", id="without a second host"),
        pytest.param("redis:/:secret@h:1", "redis:***@h:1", id="with a slash too few"),
        pytest.param("redis:jack:secret@h", "redis:***@h", id="without slashes"),
        pytest.param("/data/a@b:c.db", "/data/a@b:c.db", id="none, but a file"),
        pytest.param("redis+sentinel://h:1,i:2/m/0", "redis+sentinel://h:1,i:2/m/0", id="none, of sentinels"),
        pytest.param("http://h:80/a,i:81,[::1]:82", "http://h:80/a,i:81,[::1]:82", id="none"),
    ],
)
def test_a_password_is_never_shown(url: str, expected: str) -> None:
    assert shown(url) == expected
    assert shown((url, url)) == f"{expected},{expected}"


def test_what_is_shown_can_be_stated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = Settings(listen=(Address("::1", 1), Address("h", 2)), merge=frozenset({"a", "b"}), exact_leases=True)
    for name in KNOBS:
        monkeypatch.setenv(variable(name), shown(getattr(stated, name)))

    assert load().settings == stated


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_address_is_one(host: str) -> None:
    assert Address(host, 80).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "127.evil.example", "localhost.example"])
def test_an_address_that_others_reach_is_no_loopback_however_it_looks(host: str) -> None:
    assert not Address(host, 80).is_loopback
