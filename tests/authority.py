"""Certificates for tests, made by an authority that nobody trusts."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme


class Pair(NamedTuple):
    certificate: Path
    key: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--tls-certificate", str(self.certificate), "--tls-key", str(self.key))


class Authority:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._authority = trustme.CA()
        self._folder = folder
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def pair(self, name: str = "127.0.0.1", *, days: float = 1, file: str = "") -> Pair:
        """Certificate and key for a name, good for so many days from now on, or until so many ago."""
        now = datetime.now(UTC)
        issued = self._authority.issue_cert(
            name, not_before=now - timedelta(days=30), not_after=now + timedelta(days=days)
        )
        stem = file or f"{name}-{days:g}"
        pair = Pair(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        return pair

    def trusting(self, shown: Pair | None = None) -> ssl.SSLContext:
        """A client that trusts this authority, and shows a certificate where one is given."""
        context = ssl.create_default_context(cafile=self.file)
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context
