"""The key that signs tokens and root's first password: where they come from when the store holds neither yet.

The store holds what counts, for all of its nodes. A key in the data directory is one that an operator put there, or one
that was made here: a store of ours alone may forget all that it holds. So may the first password, if nobody gave one.

Rules:  both files are for their owner's eyes only; one that others may read is refused. Nothing secret has a default.
Raises: StartRefused.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from facade.access.passwords import SAMPLES, is_strong, is_too_like
from facade.errors import StartRefused

KEY_FILE, PASSWORD_FILE = "signing-key.pem", "root-password"
PASSWORD_VARIABLE = "SC_INIT_ROOT_PASSWORD"  # noqa: S105  ServiceCenter's own name for it
ROOT = "root"
KEY_BITS = 2048

_RULE = "8 to 32 bytes with an upper and a lower case letter, a digit and another sign, and not the name"

log = logging.getLogger(__name__)


def filed_key(path: Path) -> str | None:
    """The key of a file, as it is kept in the store (PEM, PKCS#1); None where there is no file."""
    if not path.exists():
        return None
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        raise StartRefused(f"auth: {path} holds no RSA key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < KEY_BITS:
        raise StartRefused(f"auth: {path} has to be an RSA key of at least {KEY_BITS} bits")
    return _pem(key)


def made_key() -> str:
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS))


def keep_key(path: Path, pem: str) -> None:
    _write_new(path, pem.encode())
    log.info("key that signs tokens made path=%s", path)


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def first_root_password(path: Path) -> str:
    """What root's password is when there is no such account yet: from the environment, else made and written down."""
    if stated := os.environ.get(PASSWORD_VARIABLE, ""):
        if stated in SAMPLES:
            raise StartRefused(f"auth: {PASSWORD_VARIABLE} is the sample of some documentation; choose another")
        if not is_strong(stated) or is_too_like(stated, ROOT):
            raise StartRefused(f"auth: {PASSWORD_VARIABLE} will not do: it takes {_RULE}")
        return stated
    password = filed_password(path)
    if password is None:
        password = _generated()
        _write_new(path, f"{password}\n".encode())
    if not is_strong(password):
        raise StartRefused(f"auth: {path} holds no password that will do: it takes {_RULE}")
    return password


def filed_password(path: Path) -> str | None:
    """None where there is no file."""
    return _read(path).decode("utf-8", "replace").strip() if path.exists() else None


def remove_password(path: Path) -> None:
    path.unlink(missing_ok=True)
    log.warning("file with the first password removed: root has another one path=%s", path)


def _generated() -> str:
    """Of letters, digits and signs that need no quotes in a shell or in a URL."""
    while True:
        password = secrets.token_urlsafe(18)
        if is_strong(password):
            return password


def _write_new(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StartRefused(f"auth: cannot write {path}: {error.strerror}") from None


def _read(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise StartRefused(f"auth: others may read {path} (its mode is {mode:04o}); run: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise StartRefused(f"auth: cannot read {path}: {error.strerror}") from None
