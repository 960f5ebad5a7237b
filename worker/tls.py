"""Whom we trust: the one TLS context of all calls to HelseID and PTS."""

import ssl
import sys
from pathlib import Path
from typing import Final

from worker.errors import ConfigurationError
from worker.trusted_files import Trust, read_trusted

_CA_BYTES_MAX: Final = 4 << 20


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, verified. Making it takes 15 ms and 4 MB, so a run makes one.

    Nothing is taken from the environment: neither ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, which
    OpenSSL would read, nor ``SSLKEYLOGFILE``, to which Python would write the session keys.

    Args:
        ca_file: a PEM file with a private CA, trusted besides the machine's own.

    Raises:
        ConfigurationError: the CA file cannot be read or trusted, or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    _trust_the_machine(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        pem = read_trusted(ca_file, key="tls.ca_file", trust=Trust.SECRET, bytes_max=_CA_BYTES_MAX)
        try:
            context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):
            raise ConfigurationError(
                f"tls.ca_file: cannot use {ca_file}: not a PEM file with certificates",
                hint="give a readable PEM file with the certificates to trust",
            ) from None
    return context


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
