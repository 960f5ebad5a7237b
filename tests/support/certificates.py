"""Certificates made for a test."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A private CA; its certificate lies in ``file``."""

    ca: trustme.CA
    file: Path


def make_authority(folder: Path) -> Authority:
    made = Authority(ca=trustme.CA(), file=folder / "ca.pem")
    made.ca.cert_pem.write_to_path(made.file)
    return made


def server_context(authority: Authority, *names: str, days: int = 1) -> ssl.SSLContext:
    """A server's TLS for these names; a certificate of negative ``days`` has run out."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = datetime.now(UTC) + timedelta(days=days)
    authority.ca.issue_cert(*(names or ("127.0.0.1",)), not_after=until).configure_cert(context)
    return context
