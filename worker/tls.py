"""Whom we trust: the TLS contexts of the calls to HelseID and PTS, and of PostgreSQL."""

import ssl
import sys
from pathlib import Path
from typing import Final

from worker.core.database_tls import SslMode, TlsDemand
from worker.errors import ConfigurationError
from worker.trusted_files import Trust, read_trusted

_CA_BYTES_MAX: Final = 4 << 20
_CA_KEY: Final = "tls.ca_file"


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, verified. Making it takes 15 ms and 4 MB, so a run makes one.

    Nothing is taken from the environment: neither ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, which
    OpenSSL would read, nor ``SSLKEYLOGFILE``, to which Python would write the session keys.

    Args:
        ca_file: a PEM file with a private CA, trusted besides the machine's own.

    Raises:
        ConfigurationError: the CA file cannot be read or trusted, or holds no certificate.
    """
    context = _bare_context("http/1.1")
    _trust_the_machine(context)
    if ca_file is not None:
        _trust(context, ca_file, key=_CA_KEY)
    return context


def postgres_context(
    demand: TlsDemand, *, key: str, ca_file: Path | None = None
) -> ssl.SSLContext | str | bool:
    """What asyncpg's ``ssl`` takes: never nothing, for which it would read the environment.

    With a context asyncpg ends a connection whose server answers that it has no TLS.

    Args:
        demand: what the connection must prove.
        key: the configuration key of the URL, for messages.
        ca_file: ``tls.ca_file``.

    Raises:
        ConfigurationError: a CA file cannot be read or trusted, or holds no certificate.
    """
    if demand.mode is SslMode.DISABLE:
        return False
    if demand.mode in {SslMode.ALLOW, SslMode.PREFER}:
        return demand.mode.value
    context = _bare_context("postgresql")
    context.check_hostname = demand.mode is SslMode.VERIFY_FULL
    if demand.mode is SslMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    elif demand.root is not None:
        _trust(context, Path(demand.root), key=f"{key} (sslrootcert)")
    else:
        _trust_the_machine(context)
        if ca_file is not None:
            _trust(context, ca_file, key=_CA_KEY)
    return context


def _bare_context(protocol: str) -> ssl.SSLContext:
    """Verifies certificate and host name, and trusts nobody yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    return context


def _trust(context: ssl.SSLContext, file: Path, *, key: str) -> None:
    pem = read_trusted(file, key=key, trust=Trust.SECRET, bytes_max=_CA_BYTES_MAX)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"{key}: cannot use {file}: not a PEM file with certificates",
            hint="give a readable PEM file with the certificates to trust",
        ) from None


def _trust_the_machine(context: ssl.SSLContext) -> None:
    if sys.platform == "win32":
        context.load_default_certs()  # its certificate stores
        return
    paths = ssl.get_default_verify_paths()
    file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if file.is_file() or folder.is_dir():
        context.load_verify_locations(
            cafile=file if file.is_file() else None, capath=folder if folder.is_dir() else None
        )
