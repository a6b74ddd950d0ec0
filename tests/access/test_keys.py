"""The files of access control in the data directory (quality S23)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from facade.access.keys import (
    KEY_FILE,
    PASSWORD_FILE,
    PASSWORD_VARIABLE,
    filed_key,
    filed_password,
    first_root_password,
    keep_key,
    made_key,
)
from facade.access.passwords import SAMPLES, is_strong
from facade.errors import StartRefused


def as_text(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


ED25519 = as_text(ed25519.Ed25519PrivateKey.generate())
RSA_OF_1024_BITS = as_text(rsa.generate_private_key(public_exponent=65537, key_size=1024))


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    return tmp_path / "data"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_kept_for_its_owner_only(data_dir: Path) -> None:
    made = made_key()

    keep_key(data_dir / KEY_FILE, made)

    assert (mode(data_dir), mode(data_dir / KEY_FILE)) == (0o700, 0o600)
    assert (data_dir / KEY_FILE).read_text().startswith("-----BEGIN RSA PRIVATE KEY-----")  # as ServiceCenter reads it
    assert filed_key(data_dir / KEY_FILE) == made


def test_a_key_in_another_form_is_the_same_key(data_dir: Path) -> None:
    """PKCS#8, as openssl writes it by default."""
    made = made_key()
    key = load_pem_private_key(made.encode(), password=None)
    keep_key(data_dir / KEY_FILE, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    assert filed_key(data_dir / KEY_FILE) == made


@pytest.mark.parametrize("readable", [0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read_stops_the_start(data_dir: Path, readable: int) -> None:
    key, password = data_dir / KEY_FILE, data_dir / PASSWORD_FILE
    keep_key(key, made_key())
    first_root_password(password)
    key.chmod(readable)
    password.chmod(readable)

    for read, path in ((filed_key, key), (filed_password, password), (first_root_password, password)):
        with pytest.raises(StartRefused, match=r"others may read .*chmod 600"):
            read(path)


@pytest.mark.parametrize("text", ["nonsense", ED25519, RSA_OF_1024_BITS], ids=["nonsense", "ed25519", "short"])
def test_what_is_no_key_stops_the_start_and_is_not_repeated(data_dir: Path, text: str) -> None:
    keep_key(data_dir / KEY_FILE, text)

    with pytest.raises(StartRefused, match=r"holds no RSA key|has to be an RSA key") as refused:
        filed_key(data_dir / KEY_FILE)
    assert text not in str(refused.value)


def test_a_first_password_is_made_once(data_dir: Path) -> None:
    password = first_root_password(data_dir / PASSWORD_FILE)

    assert is_strong(password)
    assert mode(data_dir / PASSWORD_FILE) == 0o600
    assert first_root_password(data_dir / PASSWORD_FILE) == filed_password(data_dir / PASSWORD_FILE) == password


def test_the_environment_wins_and_leaves_no_file(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "Str0ng-enough")

    assert first_root_password(data_dir / PASSWORD_FILE) == "Str0ng-enough"
    assert not (data_dir / PASSWORD_FILE).exists()


@pytest.mark.parametrize("weak", ["short", "alllowercase1-", "NoDigits-here", "NoSigns123", "x" * 33, *sorted(SAMPLES)])
def test_a_weak_or_well_known_first_password_stops_the_start_and_is_not_repeated(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, weak)

    with pytest.raises(StartRefused) as refused:
        first_root_password(data_dir / PASSWORD_FILE)
    assert weak not in str(refused.value)
