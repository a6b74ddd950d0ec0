"""What files make a context, how the others are refused, and what becomes of changed ones."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from facade import tls
from facade.errors import StartRefused
from facade.tls import ServerTls, Trust
from tests.authority import Authority, Pair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair()


def refused(certificate: Path, key: Path | None = None, client_ca: Path | None = None) -> str:
    with pytest.raises(StartRefused) as refusal:
        ServerTls(certificate, key, client_ca)
    line = str(refusal.value)
    assert "\n" not in line
    return line


def serial(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "127.0.0.1") -> str:
    """Of the certificate that the server shows. Raises what either side does."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    sides = [asking, server.wrap_bio(to_server, to_client, server_side=True)]
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = asking.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def test_a_certificate_with_its_key_is_shown(authority: Authority, pair: Pair) -> None:
    assert serial(ServerTls(*pair, None).context, authority.trusting())


def test_key_and_certificate_may_share_a_file(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())

    assert serial(ServerTls(both, None, None).context, authority.trusting())


def test_tls_older_than_1_2_is_refused_by_either_side(authority: Authority, pair: Pair) -> None:
    """S13."""
    for context in (ServerTls(*pair, None).context, Trust(authority.file).context()):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


# What is refused


def test_a_file_that_is_not_there_is_named(pair: Pair, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pem"

    assert refused(nowhere, pair.key) == f"tls_certificate: cannot read {nowhere}: No such file or directory"
    assert refused(pair.certificate, nowhere) == f"tls_key: cannot read {nowhere}: No such file or directory"
    assert refused(*pair, nowhere) == f"tls_client_ca: cannot read {nowhere}: No such file or directory"


def test_a_keystore_is_told_from_pem(pair: Pair, tmp_path: Path) -> None:
    """What Java's users have."""
    store = tmp_path / "store.p12"
    store.write_bytes(b"\x30\x82\x0a\x00 no text")

    assert "holds no certificate in PEM; of a keystore `openssl pkcs12" in refused(store, pair.key)
    assert f"{store} holds no key in PEM" in refused(pair.certificate, store)


def test_a_key_that_nobody_named_is_missed(pair: Pair) -> None:
    assert "name its file with --tls-key" in refused(pair.certificate)


def test_a_strangers_key_is_refused(authority: Authority, pair: Pair) -> None:
    other = authority.pair("localhost")

    assert refused(pair.certificate, other.key) == f"tls_key: the key in {other.key} is not that of {pair.certificate}"


def test_an_encrypted_key_is_refused_without_asking_anybody(pair: Pair, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True)

    assert f"the key in {locked} is encrypted" in refused(pair.certificate, locked)


def test_a_broken_certificate_is_refused(pair: Pair, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n")

    assert f"tls_certificate: {broken} will not do: " in refused(broken, pair.key)
    assert f"tls_client_ca: {broken} will not do: " in refused(*pair, broken)


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    expired = authority.pair(days=-1)

    assert refused(*expired) == f"tls_certificate: {expired.certificate} will not do: certificate has expired"


# What changes


@pytest.fixture
def looked_at_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0)


@pytest.mark.usefixtures("looked_at_always")
def test_a_renewed_certificate_is_shown_in_the_next_handshake(authority: Authority, pair: Pair) -> None:
    server = ServerTls(*pair, None)
    before = serial(server.context, authority.trusting())

    authority.pair(file=pair.certificate.stem)

    assert serial(server.context, authority.trusting()) != before


@pytest.mark.usefixtures("looked_at_always")
def test_files_that_will_not_do_leave_those_before_in_use(
    authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Certificate and key are never replaced in one moment."""
    server = ServerTls(*pair, None)
    before = serial(server.context, authority.trusting())

    renewed = authority.pair(file="renewed")
    shutil.copy(renewed.certificate, pair.certificate)
    assert serial(server.context, authority.trusting()) == before
    assert "the certificates in use stay: tls_key: the key in" in caplog.text

    shutil.copy(renewed.key, pair.key)
    assert serial(server.context, authority.trusting()) != before


@pytest.mark.usefixtures("looked_at_always")
def test_a_renewed_authority_judges_clients_from_then_on(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    """Both its clients and their certificates are renewed while the server runs."""
    ca = tmp_path / "clients.pem"
    shutil.copy(authority.file, ca)
    server = ServerTls(*pair, ca)
    other = Authority(tmp_path / "other")
    theirs = authority.trusting(other.pair("client"))
    with pytest.raises(ssl.SSLCertVerificationError):
        serial(server.context, theirs)

    shutil.copy(other.file, ca)

    assert serial(server.context, theirs)


# Whom we trust


def test_a_server_of_our_own_authority_is_trusted_beside_the_systems(authority: Authority, pair: Pair) -> None:
    server = ServerTls(*pair, None).context
    with pytest.raises(ssl.SSLCertVerificationError):
        serial(server, Trust().context())

    assert serial(server, Trust(authority.file).context())
    assert len(Trust(authority.file).context().get_ca_certs()) > len(Trust().context().get_ca_certs())


@pytest.mark.parametrize("days", [-1, 1])
def test_expired_servers_and_those_of_another_name_are_not_trusted(authority: Authority, days: int) -> None:
    """S13."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.pair(days=days))
    name = "127.0.0.1" if days < 0 else "elsewhere"

    with pytest.raises(ssl.SSLCertVerificationError):
        serial(server, Trust(authority.file).context(), name)


def test_a_server_that_asks_who_we_are_is_shown_our_own_certificate(authority: Authority, pair: Pair) -> None:
    server = ServerTls(*pair, authority.file).context

    assert serial(server, Trust(authority.file, *pair).context())
    with pytest.raises(ssl.SSLError):
        serial(server, Trust(authority.file).context())
