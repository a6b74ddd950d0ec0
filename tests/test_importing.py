"""A Eureka server's own configuration as a source of ours: what each key becomes, and what is said of the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from facade.config import KNOBS, Address, variable
from facade.errors import StartRefused
from facade.importing import Imported, read_eureka
from facade.sources import Loaded, load
from tests.flows.product import running

OF_THE_GUIDE = """\
server:
  port: 8761

eureka:
  instance:
    hostname: localhost
  client:
    registerWithEureka: false
    fetchRegistry: false
    serviceUrl:
      defaultZone: http://${eureka.instance.hostname}:${server.port}/eureka/
"""
"""As Spring Cloud's reference has it for a server that stands alone."""

OF_AN_OPERATOR = """\
# registry of the shop, node 1
spring:
  application:
    name: eureka-server
server:
  port: ${PORT:8761}
  address: 10.1.4.17
  tomcat.threads.max: 400
eureka:
  environment: production
  server:
    enable-self-preservation: false
    renewal-percent-threshold: 0.49
    eviction-interval-timer-in-ms: 5000
    response-cache-update-interval-ms: 3000
    useReadOnlyResponseCache: false
    retention-time-in-m-s-in-delta-queue: 300000
    disable-delta: no
    sync-when-timestamp-differs: true
    wait-time-in-ms-when-sync-empty: 0
    peer-node-read-timeout-ms: 2000
    rate-limiter-enabled: true
    a-s-g-query-timeout-ms: 300
    renewal-percent-treshold: 0.5
  client:
    service-url:
      defaultZone: http://jack:s3cret@eureka-2:8761/eureka/,http://eureka-3:8761/eureka/
  instance:
    prefer-ip-address: true
    registry:
      default-open-for-traffic-count: 0
management.endpoints.web.exposure.include: "*"
logging.level.com.netflix: WARN
"""

WITH_PROFILES = """\
spring:
  profiles:
    active: ${ENVIRONMENT:peer1}
server.port: 8761
eureka.server.eviction-interval-timer-in-ms: 60000
---
spring.config.activate.on-profile: peer1
eureka.client.service-url.defaultZone: http://peer2:8761/eureka/
---
spring:
  profiles: peer2
eureka.client.service-url.defaultZone: http://peer1:8761/eureka/
---
spring.config.activate.on-profile: "!peer2 & !test"
eureka.server.eviction-interval-timer-in-ms: 10000
---
spring.config.activate.on-cloud-platform: kubernetes
eureka.server.disable-delta: true
"""

AS_PROPERTIES = r"""# a comment
! another
server.port = 9000
eureka.server.enableSelfPreservation=false
eureka.server.eviction-interval-timer-in-ms : 5\
    000
eureka.client.region=eu
eureka.client.availability-zones.eu[0]=a
eureka.client.availability-zones.eu[1]=b
eureka.client.service-url[a]=http://in-a:8761/eureka/
eureka.client.serviceUrl.b=http\://in-b\:8761/eureka/
eureka.client.serviceUrl.c=http://in-c:8761/eureka/
eureka.environment=caf\u00e9
#---
spring.config.activate.on-profile=test
server.port=1
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("REGISTRY_FACADE_", "EUREKA_", "SERVER_", "SPRING_", "SECURITY_")) or name == "PORT":
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "application.yml"


def imported(file: Path, text: str | bytes, **environment: str) -> Imported:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_eureka(file, environment)


def rows(of: Imported) -> dict[str, tuple[str, str]]:
    return {row.key: (row.outcome, row.knob) for row in of.rows}


def reasons(of: Imported) -> dict[str, str]:
    return {row.key: row.reason for row in of.rows}


def refusal_of(file: Path, text: str | bytes, **environment: str) -> str:
    with pytest.raises(StartRefused) as refused:
        imported(file, text, **environment)
    return str(refused.value)


def test_the_file_of_springs_own_guide_starts_ours(file: Path) -> None:
    found = imported(file, OF_THE_GUIDE)

    assert found.settings == {
        "listen": "0.0.0.0:8761,127.0.0.1:30100,127.0.0.1:30103",
        "eureka_peers": "http://localhost:8761/eureka/",
    }
    assert rows(found) == {
        "server.port": ("mapped", "listen"),
        "eureka.client.serviceUrl.defaultZone": ("mapped", "eureka_peers"),
        "eureka.client.registerWithEureka": ("ignored", ""),
        "eureka.client.fetchRegistry": ("ignored", ""),
        "eureka.instance.hostname": ("ignored", ""),
    }
    assert found.remarks == ()


def test_each_key_of_an_operators_file_is_used_mapped_or_ignored(file: Path) -> None:
    found = imported(file, OF_AN_OPERATOR)

    assert found.settings == {
        "self_preservation": "false",
        "renewal_threshold": "0.49",
        "eureka_disable_delta": "false",
        "eureka_sync_when_timestamp_differs": "true",
        "eviction_interval_s": "5.0",
        "eureka_delta_window_s": "300.0",
        "eureka_read_gate_s": "0.0",
        "listen": "10.1.4.17:8761,127.0.0.1:30100,127.0.0.1:30103",
        "eureka_peers": "http://jack:s3cret@eureka-2:8761/eureka/,http://eureka-3:8761/eureka/",
    }
    assert {key for key, (outcome, _) in rows(found).items() if outcome == "used"} == {
        "eureka.server.enable-self-preservation",
        "eureka.server.renewal-percent-threshold",
        "eureka.server.disable-delta",
        "eureka.server.sync-when-timestamp-differs",
    }
    ignored = {key: reason for key, reason in reasons(found).items() if rows(found)[key][0] == "ignored"}
    assert ignored == {
        "spring.application.name": "this server does not list itself",
        "server.tomcat.threads.max": "has no effect here: Java's web server",
        "eureka.environment": "shown nowhere",
        "eureka.server.response-cache-update-interval-ms": (
            "no read is older than the last write: there is no such cache"
        ),
        "eureka.server.useReadOnlyResponseCache": "no read is older than the last write: there is no such cache",
        "eureka.server.peer-node-read-timeout-ms": "replication has bounds of its own: see docs/eureka-peers.md",
        "eureka.server.rate-limiter-enabled": (
            "there is no rate limit here; connections_per_address bounds what one client may take"
        ),
        "eureka.server.a-s-g-query-timeout-ms": "has no effect here: AWS",
        "eureka.server.renewal-percent-treshold": "Spring's Eureka server knows no such key",
        "eureka.instance.prefer-ip-address": "this server does not list itself; placeholders may name it",
    }
    assert found.remarks == ("not about Eureka, so not looked at: logging.*, management.*",)


@pytest.mark.parametrize(
    "key",
    [
        "eureka.server.enable-self-preservation",
        "eureka.server.enableSelfPreservation",
        "eureka.server.enable_self_preservation",
        "eureka.server.ENABLESELFPRESERVATION",
    ],
)
def test_a_name_is_known_in_each_of_springs_spellings(file: Path, key: str) -> None:
    assert imported(file, f"{key}: false").settings == {"self_preservation": "false"}


@pytest.mark.parametrize("name", ["EUREKA_SERVER_ENABLESELFPRESERVATION", "EUREKA_SERVER_ENABLE_SELF_PRESERVATION"])
@pytest.mark.parametrize("text", ["eureka.server.enable-self-preservation: true", ""])
def test_a_variable_of_springs_wins_over_the_file(file: Path, name: str, text: str) -> None:
    found = imported(file, text, **{name: "false"})

    assert found.settings == {"self_preservation": "false"}
    assert found.origins == {
        "self_preservation": f"imported eureka.server.enable-self-preservation from variable {name}"
    }


def test_an_empty_variable_states_nothing(file: Path) -> None:
    found = imported(file, "eureka.server.disable-delta: true", EUREKA_SERVER_DISABLEDELTA="", SERVER_PORT="")

    assert found.settings == {"eureka_disable_delta": "true"}


def test_peers_may_come_from_a_variable(file: Path) -> None:
    """As docker-compose files have it."""
    found = imported(file, OF_THE_GUIDE, EUREKA_CLIENT_SERVICEURL_DEFAULTZONE="http://peer2:8761/eureka")

    assert found.settings["eureka_peers"] == "http://peer2:8761/eureka"


def test_only_documents_of_active_profiles_count_and_the_others_are_named(file: Path) -> None:
    found = imported(file, WITH_PROFILES)

    assert found.settings["eureka_peers"] == "http://peer2:8761/eureka/"
    assert found.settings["eviction_interval_s"] == "10.0"
    assert "eureka_disable_delta" not in found.settings
    assert found.remarks == (
        "left out: document 3, for profile peer2; active: peer1",
        "left out: document 5, for cloud platform kubernetes",
    )


@pytest.mark.parametrize("environment", [{"ENVIRONMENT": "peer2"}, {"SPRING_PROFILES_ACTIVE": "peer2"}])
def test_the_environment_chooses_the_profile(file: Path, environment: dict[str, str]) -> None:
    found = imported(file, WITH_PROFILES, **environment)

    assert found.settings["eureka_peers"] == "http://peer1:8761/eureka/"
    assert found.settings["eviction_interval_s"] == "60.0"


def test_without_an_active_profile_that_of_the_name_default_is(file: Path) -> None:
    documents = (
        "server.port: 1",
        "spring.profiles: default\nserver.port: 2",
        "spring.profiles: a | b\nserver.port: 3",
    )

    assert imported(file, "\n---\n".join(documents)).settings["listen"].startswith("0.0.0.0:2,")


def test_a_file_for_an_active_profile_is_not_read_but_named(file: Path) -> None:
    file.with_name("application-peer1.yml").write_text("server.port: 1\n")

    found = imported(file, "server.port: 2", SPRING_PROFILES_ACTIVE="peer1,absent")

    assert found.remarks == (
        "not read: application-peer1.yml, which Spring would read as well; move its keys into application.yml",
    )


def test_properties_are_read_as_java_reads_them(tmp_path: Path) -> None:
    found = imported(tmp_path / "application.properties", AS_PROPERTIES)

    assert found.settings == {
        "self_preservation": "false",
        "eviction_interval_s": "5.0",
        "listen": "0.0.0.0:9000,127.0.0.1:30100,127.0.0.1:30103",
        "eureka_peers": "http://in-a:8761/eureka/,http://in-b:8761/eureka/",
    }
    assert reasons(found)["eureka.client.serviceUrl.c"] == "no zone of region eu is called c"
    assert rows(found)["eureka.client.availability-zones.eu"] == ("used", "eureka_peers")
    assert found.remarks[0] == "left out: document 2, for profile test; active: default"


def test_a_zone_without_urls_has_those_of_the_default_zone(file: Path) -> None:
    text = "eureka.client: {availability-zones: {us-east-1: 'a, b'}, service-url: {a: 'http://a', defaultZone: 'http://d'}}"

    assert imported(file, text).settings == {"eureka_peers": "http://a,http://d"}


@pytest.mark.parametrize("zone", ["default-zone", "defaultzone", "default_zone"])
def test_the_default_zone_is_a_key_to_the_letter(file: Path, zone: str) -> None:
    """Experience 3.1.8: a common slip, which Spring passes over in silence."""
    found = imported(file, f"eureka.client.service-url.{zone}: http://peer2:8761/eureka")

    assert found.settings == {}
    assert reasons(found)[f"eureka.client.service-url.{zone}"].endswith("Spring's name for the default is defaultZone")


# Placeholders


@pytest.mark.parametrize(
    ("text", "environment", "port"),
    [
        pytest.param("${PORT}", {"PORT": "1"}, "1", id="variable"),
        pytest.param("${PORT:2}", {}, "2", id="default"),
        pytest.param("${PORT:${OTHER:3}}", {}, "3", id="default of a default"),
        pytest.param("${${WHICH}:4}", {"WHICH": "MINE", "MINE": "5"}, "5", id="name in a placeholder"),
        pytest.param("${my.port}", {}, "6", id="key of the file"),
        pytest.param("${my.port}", {"MY_PORT": "7"}, "7", id="key as a variable"),
        pytest.param("1${PORT:2}${PORT:3}", {}, "123", id="several"),
    ],
)
def test_a_placeholder_is_resolved(file: Path, text: str, environment: dict[str, str], port: str) -> None:
    found = imported(file, f"my.port: 6\nserver.port: '{text}'", **environment)

    assert found.settings["listen"].startswith(f"0.0.0.0:{port},")


def test_a_placeholder_that_nothing_stands_for_is_refused(file: Path) -> None:
    assert refusal_of(file, "server.port: ${PORT}") == (
        "application.yml: server.port: ${PORT} is neither in the environment nor in the file"
    )


def test_a_placeholder_that_stands_for_itself_is_refused(file: Path) -> None:
    assert refusal_of(file, "server.port: ${a}\na: ${b}\nb: ${a}").endswith("${a} stands for itself")


def test_a_placeholder_in_a_key_that_is_ignored_is_not_resolved(file: Path) -> None:
    """Spring knows more than we do: ${random.value}, ${spring.cloud.client.ip-address}."""
    found = imported(file, "eureka.instance.instance-id: ${spring.cloud.client.ip-address}:${random.value}")

    assert rows(found) == {"eureka.instance.instance-id": ("ignored", "")}


# What keeps strangers out


@pytest.mark.parametrize(
    "guard",
    [
        "spring.security.user: {name: jack, password: s3cret}",
        "spring.security.user.password: ${EUREKA_PASSWORD}",
        "server.ssl.key-store: classpath:keystore.p12",
        "server.ssl.enabled: true",
    ],
)
def test_who_asks_for_a_login_or_tls_is_not_opened_to_the_network(file: Path, guard: str) -> None:
    """Whoever looks at the file elsewhere need not have the secrets."""
    found = imported(file, f"server: {{port: 8761, address: 10.0.0.1}}\n{guard}")

    assert found.settings["listen"] == "127.0.0.1:8761,127.0.0.1:30100,127.0.0.1:30103"
    assert reasons(found)["server.port"].startswith("on loopback only: the file asks for ")
    assert "s3cret" not in str(found)


def test_a_login_by_variable_counts_as_well(file: Path) -> None:
    found = imported(file, "server.port: 1", SPRING_SECURITY_USER_PASSWORD="s3cret")

    assert found.settings["listen"].startswith("127.0.0.1:1,")


def test_certificates_in_pem_are_taken(file: Path) -> None:
    """Spring Boot 2.7 and later read them beside keystores."""
    found = imported(
        file,
        """
        server:
          port: 8761
          ssl:
            certificate: file:/etc/tls/tls.crt
            certificate-private-key: /etc/tls/tls.key
            trust-certificate: /etc/tls/ca.crt
            client-auth: need
        """,
    )

    assert found.settings == {
        "listen": "0.0.0.0:8761,127.0.0.1:30100,127.0.0.1:30103",
        "tls_certificate": "/etc/tls/tls.crt",
        "tls_key": "/etc/tls/tls.key",
        "tls_client_ca": "/etc/tls/ca.crt",
    }


@pytest.mark.parametrize(
    "ssl",
    [
        "certificate: 'classpath:tls.crt'",
        "key-store: keystore.p12",
        "{certificate: tls.crt, client-auth: need}",
        "{certificate: tls.crt, certificate-private-key: 'classpath:tls.key'}",
    ],
)
def test_tls_that_cannot_be_taken_whole_is_not_taken(file: Path, ssl: str) -> None:
    """Whoever asked for clients' certificates is not to be served without."""
    body = ssl if ssl.startswith("{") else f"{{{ssl}}}"
    found = imported(file, f"server: {{port: 8761, ssl: {body}}}")

    assert set(found.settings) == {"listen"}
    assert found.settings["listen"].startswith("127.0.0.1:8761,")


def test_tls_that_is_switched_off_is_none(file: Path) -> None:
    found = imported(file, "server: {port: 1, ssl: {enabled: false, key-store: x}}")

    assert found.settings["listen"].startswith("0.0.0.0:1,")


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("server.address: '::1'", "[::1]:8761,127.0.0.1:30100,127.0.0.1:30103"),
        ("server.port: 30100", "0.0.0.0:30100,127.0.0.1:30103"),
        ("server.port:", None),
    ],
)
def test_the_address_of_springs_server_becomes_the_first_of_ours(file: Path, text: str, listen: str | None) -> None:
    assert imported(file, text).settings.get("listen") == listen


# The gate


@pytest.mark.parametrize(
    ("text", "gate_s"),
    [
        ("eureka.server.wait-time-in-ms-when-sync-empty: 120000", None),
        ("eureka.instance.registry.default-open-for-traffic-count: 0", "300.0"),
        ("eureka.instance.registry.default-open-for-traffic-count: 1", None),
    ],
)
def test_reads_are_gated_only_where_springs_server_would(file: Path, text: str, gate_s: str | None) -> None:
    """Protocol 4.12: with an empty start counted as one instance the gate is never shut."""
    assert imported(file, text).settings.get("eureka_read_gate_s") == gate_s


# What cannot be read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(b"server: {port: 1", "line 1: expected ',' or '}', but got '<stream end>'", id="cut"),
        pytest.param(b"a: @project.version@", "that cannot start any token", id="not filtered by Maven"),
        pytest.param(b"- a\n- b\n", "expected keys and values", id="list"),
        pytest.param(b"just words", "expected keys and values", id="words"),
        pytest.param(b"a: \xff\xfe", "invalid", id="no UTF-8"),
        pytest.param(b"a: \x00", "special characters are not allowed", id="NUL"),
        pytest.param(b"a: !!python/object/apply:os.system [ls]", "could not determine a constructor", id="object"),
        pytest.param(b"[" * 100_000, "cannot be read", id="deep"),
        pytest.param(b"a: &a {b: *a}", "50 levels", id="of itself"),
        pytest.param(
            b"a: &a {%b}\n" % b", ".join(b"k%d: 0" % n for n in range(150))
            + b"b: &b {%b}\n" % b", ".join(b"k%d: *a" % n for n in range(150)),
            "more than 10000 keys",
            id="aliases",
        ),
        pytest.param(b"a: 2024-99-99", "cannot be read", id="no date"),
        pytest.param(b"#" * 2_000_000, "larger than", id="long"),
        pytest.param(b"spring.profiles: (a | b) & c", "parentheses, which are not read here", id="profiles"),
        pytest.param(b"eureka.server.evictionIntervalTimerInMs: 1m", "expected milliseconds, got 1m", id="duration"),
    ],
)
def test_what_cannot_be_read_is_refused_on_one_line(file: Path, text: bytes, reason: str) -> None:
    refusal = refusal_of(file, text)

    assert refusal.startswith("application.yml: ")
    assert reason in refusal
    assert refusal.isprintable()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"^application\.yml: cannot be read: No such file or directory$"):
        read_eureka(tmp_path / "application.yml", {})


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"^eureka\.toml: expected application\.yml, "):
        read_eureka(tmp_path / "eureka.toml", {})


# As a source of settings


def loaded(file: Path, text: str, flags: dict[str, object] | None = None, config: Path | None = None) -> Loaded:
    file.write_text(text)
    return load(flags, config, read_eureka(file))


def test_every_other_source_wins_over_an_imported_file(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    toml = file.with_name("registry.toml")
    toml.write_text("renewal_threshold = 0.2\n")
    monkeypatch.setenv("REGISTRY_FACADE_EVICTION_INTERVAL_S", "2")

    settings, origins = loaded(file, OF_AN_OPERATOR, {"eureka_delta_window_s": "200"}, toml)

    assert (settings.renewal_threshold, settings.eviction_interval_s, settings.eureka_delta_window_s) == (0.2, 2, 200)
    assert settings.self_preservation is False
    assert origins["self_preservation"] == ("imported eureka.server.enable-self-preservation from application.yml")
    assert origins["listen"] == "imported server.port from application.yml, server.address from application.yml"
    assert settings.listen[0] == Address("10.1.4.17", 8761)
    assert settings.eureka_peers == (
        "http://jack:s3cret@eureka-2:8761/eureka/",
        "http://eureka-3:8761/eureka/",
    )


def test_a_value_that_no_knob_takes_is_refused_with_its_key(file: Path) -> None:
    with pytest.raises(StartRefused) as refused:
        loaded(file, "eureka.server.enable-self-preservation: perhaps")

    assert str(refused.value).startswith(
        "self_preservation: 'perhaps' will not do "
        "(imported eureka.server.enable-self-preservation from application.yml): "
    )


def test_the_file_may_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text("server.port: 9000\n")
    monkeypatch.setenv("REGISTRY_FACADE_IMPORT_EUREKA", str(file))

    assert load().settings.listen[0] == Address("0.0.0.0", 9000)


def test_every_knob_that_a_key_becomes_exists(file: Path) -> None:
    found = imported(file, OF_AN_OPERATOR)

    assert found.settings.keys() <= KNOBS.keys()
    assert all(variable(name) for name in found.settings)


# On the command line


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_FACADE_")}
    command = [sys.executable, "-m", "facade", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_config_show_prints_the_table_and_where_each_setting_came_from(file: Path) -> None:
    file.write_text(OF_AN_OPERATOR)

    done = run("config", "show", "--import-eureka", str(file), "--eviction-interval-s", "3")

    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    assert lines[0] == "IMPORT KEY BECAME, OR WHY NOT"
    assert "used eureka.server.renewal-percent-threshold renewal_threshold = 0.49" in lines
    assert (
        "mapped eureka.server.eviction-interval-timer-in-ms eviction_interval_s = 5.0 "
        "(in seconds; overruled by flag --eviction-interval-s)"
    ) in lines
    assert "ignored eureka.environment shown nowhere" in lines
    assert lines[-1] == "not about Eureka, so not looked at: logging.*, management.*"
    assert "imported eureka.server.renewal-percent-threshold from application.yml" in done.stdout
    assert "jack:***@eureka-2" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_config_check_says_that_an_imported_file_is_good(file: Path) -> None:
    file.write_text(OF_THE_GUIDE)

    done = run("config", "check", "--import-eureka", str(file), "--store", "memory://")

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("IMPORT ")
    assert done.stdout == f"The settings are good: 3 stated, {len(KNOBS) - 3} left at their defaults.\n"


def test_a_server_lives_by_an_imported_file(file: Path) -> None:
    file.write_text("server.port: 8761\neureka.server.disable-delta: true\n")

    with running(file.parent / "data", "--store", "memory://", "--import-eureka", str(file)) as process:
        told = process.log.read_text()
        assert httpx.get(f"{process.url}/eureka/apps").status_code == 200
        assert httpx.get(f"{process.url}/eureka/apps/delta").status_code == 403
    assert "eureka_disable_delta = true" in told
    assert "overruled by flag --listen" in told


def test_serve_refuses_a_file_that_cannot_be_read_on_one_line(file: Path) -> None:
    done = run("serve", "--import-eureka", str(file))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "registry-facade: application.yml: cannot be read: No such file or directory\n"


def test_no_other_start_pays_for_reading_yaml() -> None:
    """Containers ask for `health` every few seconds."""
    script = "import sys; from facade.sources import load; import facade.cli; load(); sys.exit('yaml' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
