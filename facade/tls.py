"""TLS: what our server shows its clients, and by what we judge the servers that we call.

In:     files in PEM, as an operator names them.
Out:    contexts for the ssl module, made anew when a file has changed: certificates are renewed without a restart.
Raises: StartRefused, naming the setting and the file. Later on the files that worked before stay in use instead.
Rules:  TLS 1.2 and newer; a certificate is tried by a handshake with itself before anybody gets to see it.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from facade.errors import StartRefused

LOOK_EVERY_S = 1.0
"""So often, and only while somebody connects, files are looked at."""

log = logging.getLogger(__name__)

_Seen = tuple[tuple[int, int, int] | None, ...]


class Renewed:
    """A context that follows its files."""

    def __init__(self, paths: Sequence[Path], make: Callable[[], ssl.SSLContext]) -> None:
        """Raises what `make` raises, at first only."""
        self._paths = paths
        self._make = make
        self._seen = self._look()
        self._looked_s = time.monotonic()
        self._context = make()

    def newest(self) -> ssl.SSLContext:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            if (seen := self._look()) != self._seen:
                self._seen = seen
                self._take()
        return self._context

    def _take(self) -> None:
        try:
            self._context = self._make()
        except StartRefused as refusal:  # half of a new pair, perhaps: the other half changes the files again
            log.warning("the certificates in use stay: %s", refusal)
        else:
            log.info("changed certificates are taken files=%s", ",".join(map(str, self._paths)))

    def _look(self) -> _Seen:
        return tuple(_state(path) for path in self._paths)


class ServerTls:
    """What clients are shown, and where `client_ca` is given, who may come in at all."""

    def __init__(self, certificate: Path, key: Path | None, client_ca: Path | None) -> None:
        """Raises StartRefused. A key that is not named is in the certificate's file."""
        paths = [path for path in (certificate, key, client_ca) if path is not None]
        self._renewed = Renewed(paths, lambda: _server_context(certificate, key, client_ca))
        self.context = self._renewed.newest()
        """For listening. Each handshake goes on with the newest."""
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        newest = self._renewed.newest()
        if connection.context is not newest:
            connection.context = newest


class Trust:
    """How servers that we call are judged: by the system's authorities, those that SSL_CERT_FILE names, and `ca`.

    A server that asks who we are is shown the certificate that our own clients see.
    """

    def __init__(self, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> None:
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self._renewed: Renewed | None = None

    def context(self) -> ssl.SSLContext:
        """Made when it is first needed: the system's authorities take their time. Raises StartRefused."""
        if self._renewed is None:
            paths = [path for path in (self.ca, self.certificate, self.key) if path is not None]
            self._renewed = Renewed(paths, self._made)
        return self._renewed.newest()

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            _load_authorities(context, self.ca, "trusted_ca")
        if self.certificate is not None:
            _load_pair(context, self.certificate, self.key)
        return context


def trusting_only(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """For asking ourselves: by whatever address, whoever shows this very certificate. Raises StartRefused."""
    context = _trusting_itself(certificate)
    _load_pair(context, certificate, key)
    return context


def _server_context(certificate: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, certificate, key)
    _refuse_unfit(context, certificate)
    if client_ca is not None:
        _load_authorities(context, client_ca, "tls_client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in _bytes(certificate, "tls_certificate"):
        raise StartRefused(f"tls_certificate: {certificate} holds no certificate in PEM; {_OF_A_KEYSTORE}")
    if b"PRIVATE KEY-----" not in _bytes(key or certificate, "tls_key"):
        where = f"{key} holds no key in PEM" if key else f"{certificate} holds no key: name its file with --tls-key"
        raise StartRefused(f"tls_key: {where}; {_OF_A_KEYSTORE}")

    def refuse_encrypted() -> str:
        raise StartRefused(f"tls_key: the key in {key or certificate} is encrypted, and nobody is here to unlock it")

    try:
        context.load_cert_chain(certificate, key, password=refuse_encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartRefused(f"tls_key: the key in {key or certificate} is not that of {certificate}") from None
        raise StartRefused(f"tls_certificate: {certificate} will not do: {_in_words(error)}") from None


_OF_A_KEYSTORE = "of a keystore `openssl pkcs12 -in STORE.p12 -nodes -out FILE.pem` makes it"


def _load_authorities(context: ssl.SSLContext, file: Path, setting: str) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in _bytes(file, setting):
        raise StartRefused(f"{setting}: {file} holds no certificate in PEM")
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise StartRefused(f"{setting}: {file} will not do: {_in_words(error)}") from None


def _bytes(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StartRefused(f"{setting}: cannot read {file}: {error.strerror}") from None


def _refuse_unfit(server: ssl.SSLContext, certificate: Path) -> None:
    """A handshake in memory finds what every client would: expired, not valid yet, or meant for something else."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        _trusting_itself(certificate).wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        for side in sides * 3:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise StartRefused(f"tls_certificate: {certificate} will not do: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise StartRefused(f"tls_certificate: {certificate} will not do: {_in_words(error)}") from None


def _trusting_itself(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be its own authority
    _load_authorities(context, certificate, "tls_certificate")
    return context


def _in_words(error: ssl.SSLError) -> str:
    """PEM_LIB and the like tell nobody anything, but something to look for."""
    return (error.reason or str(error)).lower().replace("_", " ")


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
