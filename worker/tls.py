"""TLS contexts for HTTPS clients and for PostgreSQL."""

import ssl
from pathlib import Path
from typing import Final

from worker.core.database_tls import SslMode, TlsDemand
from worker.errors import ConfigurationError
from worker.trusted_files import read_trusted

_CA_BYTES_MAX: Final = 4 << 20
_CA_KEY: Final = "tls.ca_file"


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context for verified TLS 1.2 or newer. Takes 15 ms and 4 MB, so a run creates one.

    Ignores ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, which OpenSSL would read, and
    ``SSLKEYLOGFILE``, to which Python would write session keys.

    Args:
        ca_file: PEM file with a private CA, trusted in addition to the system's.

    Raises:
        ConfigurationError: the CA file cannot be read or trusted, or contains no certificate.
    """
    context = _bare_context("http/1.1")
    _trust_the_machine(context)
    if ca_file is not None:
        _trust(context, ca_file, key=_CA_KEY)
    return context


def postgres_context(
    demand: TlsDemand, *, key: str, ca_file: Path | None = None
) -> ssl.SSLContext | str | bool:
    """The value for asyncpg's ``ssl``. Never None, for which asyncpg reads the environment.

    With a context, asyncpg closes the connection if the server does not support TLS.

    Args:
        key: configuration key of the URL, for messages.

    Raises:
        ConfigurationError: a CA file cannot be read or trusted, or contains no certificate.
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
    """A context that verifies certificate and host name, without any CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    return context


def _trust(context: ssl.SSLContext, file: Path, *, key: str) -> None:
    pem = read_trusted(file, key=key, bytes_max=_CA_BYTES_MAX)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"{key}: cannot use {file}: not a PEM file with certificates",
            hint="use a PEM file with the CA certificates to trust",
        ) from None


def _trust_the_machine(context: ssl.SSLContext) -> None:
    paths = ssl.get_default_verify_paths()
    file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if file.is_file() or folder.is_dir():
        context.load_verify_locations(
            cafile=file if file.is_file() else None, capath=folder if folder.is_dir() else None
        )
