"""TLS for HTTPS and for PostgreSQL: the connections of the store and of the roster query.

The required verification of PostgreSQL is explained in docs/decisions.md.
"""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from worker.core.database_urls import ROOT_PARAMETER
from worker.core.hosts import is_loopback
from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.trusted_files import read_trusted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL

log = structlog.get_logger(__name__)

_CA_KEY: Final = "tls.ca_file"
_UNENCRYPTED_HINT: Final = (
    "passwords and personal data are sent unencrypted: use sslmode=verify-full"
)
_PORT: Final = 5432
_NOT_TLS: Final = "rejected SSL upgrade"
"""asyncpg's message if the server has no TLS. There is neither an error class nor a code."""
_SYSTEM: Final = "system"
_UNENCRYPTED: Final = "disable"
_VERIFIED: Final = {
    "verify-ca": "certificate verified, host name not",
    "verify-full": "certificate and host name verified",
}
_UNVERIFIED: Final = ("allow", "prefer", "require")
"""Modes of libpq that send the password to a server without TLS, or with any certificate."""


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context for verified TLS 1.2 or newer. Takes 10 ms and up to 4 MB, so reuse it.

    Ignores ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, which OpenSSL would read, and
    ``SSLKEYLOGFILE``, to which Python would write session keys.

    Args:
        ca_file: PEM file with a private CA, trusted in addition to the system's.

    Raises:
        ConfigurationError: the CA file cannot be read or trusted, or contains no certificate.
    """
    return _context("http/1.1", ca_file)


class PostgresTls(Value, frozen=True, kw_only=True):
    """TLS of the connections to one PostgreSQL server.

    Attributes:
        mode: libpq's ``sslmode`` (PostgreSQL manual, section 34.19, "SSL Support").
        context: for a server that is verified.
        is_local: the server is on this machine.
        place: host and port, or several hosts, for messages.
        key: configuration key of the URL.
    """

    mode: str
    context: ssl.SSLContext | None
    is_local: bool
    place: str
    key: str

    def arguments(self) -> "Mapping[str, Any]":
        """Arguments for asyncpg's ``connect``, which would read missing ones from the environment.

        With a context, asyncpg closes the connection if the server does not support TLS.
        """
        return {"ssl": self.context or self.mode, "direct_tls": False}

    def warn(self) -> None:
        """Log a warning if the connection crosses a network without encryption."""
        if self.mode == _UNENCRYPTED and not self.is_local:
            log.warning(
                "database.not_encrypted", key=self.key, server=self.place, hint=_UNENCRYPTED_HINT
            )

    def refusal(self, error: BaseException) -> ConfigurationError | None:
        """The error for a server that failed TLS verification. None for any other error."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"{self.key}: the certificate of the server at {self.place} is not accepted: "
                f"{error.verify_message.rstrip('.')}; no password was sent",
                hint="install a valid certificate for this host in the server, and set its CA as "
                "tls.ca_file or as sslrootcert= in the URL",
            )
        if type(error) is ConnectionError and _NOT_TLS in str(error):
            return ConfigurationError(
                f"{self.key}: the server at {self.place} does not offer TLS, or an attacker on "
                "the network removed the offer; no password was sent",
                hint="enable TLS in the server (ssl = on), or use ?sslmode=disable if the network "
                "is private",
            )
        return None

    def describe(self, connection: Any) -> str:
        """How an asyncpg connection is encrypted and verified."""
        transport = connection._transport  # noqa: SLF001 - asyncpg has no public accessor
        if isinstance(transport.get_extra_info("peername"), (str, bytes)):
            return "UNIX socket"
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            return "not encrypted" + (", on this machine" if self.is_local else "")
        return f"{tls.version()}, {_VERIFIED.get(self.mode, 'not verified')}"


def open_tls(url: "URL", *, key: str, ca_file: Path | None) -> PostgresTls:
    """TLS settings for the server that the driver will connect to.

    A server on another machine must be verified, or its encryption explicitly disabled. A URL
    without a host counts as another machine.

    Args:
        url: the URL, with libpq's parameters ``sslmode`` and ``sslrootcert``.
        key: configuration key of the URL, for messages.
        ca_file: a private CA, trusted in addition to the machine's.

    Raises:
        ConfigurationError: the URL is invalid or not secure, or a CA file cannot be used.
    """
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - HTTPS does without it

    try:
        # The dialect reads the URL, so these are the hosts that the driver connects to.
        _, arguments = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{key}: cannot be used ({type(error).__name__})",
            hint="check its hosts, ports and parameters",
        ) from None
    named, port = arguments.get("host", ""), arguments.get("port", _PORT)
    hosts = [named] if isinstance(named, str) else named
    # A name that begins with a slash is the folder of a UNIX socket.
    is_local = all(host.startswith("/") or is_loopback(host) for host in hosts)
    mode = _mode(url.query, key, is_local=is_local)
    return PostgresTls(
        mode=mode,
        context=_verified_context(mode, url.query, key, ca_file) if mode in _VERIFIED else None,
        is_local=is_local,
        place=f"{named}:{port}" if isinstance(named, str) else ", ".join(hosts),
        key=key,
    )


def _mode(parameters: "Mapping[str, Any]", key: str, *, is_local: bool) -> str:
    """The ``sslmode`` of the connection. The error does not repeat an unknown value."""
    # On this machine, an attacker on the network cannot answer in the server's place.
    root = parameters.get(ROOT_PARAMETER, _SYSTEM)
    default = "prefer" if is_local and root == _SYSTEM else "verify-full"
    mode = str(parameters.get("sslmode", default))
    if mode == "verify-ca" and root == _SYSTEM:
        raise ConfigurationError(
            f"{key}: has sslmode=verify-ca, which accepts any certificate of a trusted authority",
            hint="name a private CA with sslrootcert=FILE, or write sslmode=verify-full",
        )
    if mode not in {*_VERIFIED, _UNENCRYPTED, *(_UNVERIFIED if is_local else ())}:
        raise ConfigurationError(
            f"{key}: has an sslmode that is unknown, or can expose the password to an attacker on "
            "the network",
            hint="write sslmode=verify-full, with sslrootcert=FILE or tls.ca_file for a private "
            "CA; or sslmode=disable if the network to the server is private",
        )
    return mode


def _verified_context(
    mode: str, parameters: "Mapping[str, Any]", key: str, ca_file: Path | None
) -> ssl.SSLContext:
    root = parameters.get(ROOT_PARAMETER, _SYSTEM)
    if root == _SYSTEM:
        context = _context("postgresql", ca_file)
    else:
        root_key = f"{key} ({ROOT_PARAMETER})"
        context = _context("postgresql", Path(root), root_key, trusts_system=False)
    context.check_hostname = mode == "verify-full"
    return context


def _context(
    protocol: str, ca_file: Path | None, key: str = _CA_KEY, *, trusts_system: bool = True
) -> ssl.SSLContext:
    """A context that verifies certificate and host name.

    It trusts the authorities of the file, and those of the machine if ``trusts_system``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    # Not set_default_verify_paths, which obeys SSL_CERT_FILE and SSL_CERT_DIR.
    if trusts_system:
        paths = ssl.get_default_verify_paths()
        context.load_verify_locations(capath=paths.openssl_capath)
        with suppress(FileNotFoundError):  # some systems have a folder only
            context.load_verify_locations(paths.openssl_cafile)
    if ca_file is None:
        return context
    pem = read_trusted(ca_file, key=key)
    try:
        # Text between the certificates may contain any characters.
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"{key}: cannot use {ca_file}: not a PEM file with certificates",
            hint="use a PEM file with the CA certificates to trust",
        ) from None
    return context
