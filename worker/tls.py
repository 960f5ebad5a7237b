"""TLS for HTTPS, and for PostgreSQL: the connections of the store and of the roster query.

What PostgreSQL has to prove: ADR 0023.
"""

import ssl
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import structlog

from worker.core.database_tls import SslMode, TlsDemand, demand_of
from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.trusted_files import read_trusted

log = structlog.get_logger(__name__)

_CA_BYTES_MAX: Final = 4 << 20
_CA_KEY: Final = "tls.ca_file"
OPEN_HINT: Final = "passwords and personal data are sent unencrypted: use sslmode=verify-full"
_PORT: Final = 5432
_NOT_TLS: Final = "rejected SSL upgrade"
"""asyncpg's message if the server has no TLS; it has neither an error class nor a code."""
_VERIFIED: Final = {
    SslMode.VERIFY_CA: "certificate verified, host name not",
    SslMode.VERIFY_FULL: "certificate and host name verified",
}


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


class PostgresTls(Value, frozen=True, kw_only=True):
    """TLS settings for one PostgreSQL server.

    Attributes:
        ssl: asyncpg's argument ``ssl``.
        places: hosts and ports, for messages.
        key: configuration key of the URL.
    """

    demand: TlsDemand
    ssl: ssl.SSLContext | str | bool
    places: str
    key: str

    def arguments(self) -> Mapping[str, Any]:
        """Arguments for asyncpg's ``connect``. It reads the environment for missing ones."""
        return {"ssl": self.ssl, "direct_tls": False}

    def warn(self) -> None:
        """Log a warning if the connection crosses a network without encryption."""
        if self.demand.is_open:
            log.warning("database.not_encrypted", key=self.key, server=self.places, hint=OPEN_HINT)

    def refusal(self, error: BaseException) -> ConfigurationError | None:
        """The error for a server that failed TLS verification; None for any other error."""
        if not is_tls_refusal(error):
            return None
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"{self.key}: the certificate of the server at {self.places} is not accepted: "
                f"{error.verify_message.rstrip('.')}; no password was sent",
                hint="install a valid certificate for this host in the server, and set its CA as "
                "tls.ca_file or as sslrootcert= in the URL",
            )
        return ConfigurationError(
            f"{self.key}: the server at {self.places} does not offer TLS, or an attacker on the "
            "network removed the offer; no password was sent",
            hint="enable TLS in the server (ssl = on), or use ?sslmode=disable if the network is "
            "private",
        )

    def describe(self, connection: Any) -> str:
        """How an asyncpg connection is encrypted and verified."""
        transport = connection._transport  # noqa: SLF001 - asyncpg has no public accessor
        if isinstance(transport.get_extra_info("peername"), (str, bytes)):
            return "UNIX socket"
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            return "not encrypted" + (", on this machine" if self.demand.is_local else "")
        return f"{tls.version()}, {_VERIFIED.get(self.demand.mode, 'not verified')}"


def open_tls(
    arguments: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    key: str,
    ca_file: Path | None,
) -> PostgresTls:
    """TLS settings for the server that the driver will connect to.

    Args:
        arguments: the driver's arguments, with ``host`` and ``port``.
        key: configuration key of the URL, for messages.

    Raises:
        ConfigurationError: the URL is not secure, or a CA file cannot be used.
    """
    hosts = _listed(arguments.get("host"))
    try:
        demand = demand_of(hosts, parameters)
    except ValueError as error:
        raise ConfigurationError(f"{key}: {error}") from None
    ports = cycle(_listed(arguments.get("port")) or [_PORT])
    places = ", ".join(f"{host}:{port or _PORT}" for host, port in zip(hosts, ports, strict=False))
    return PostgresTls(
        demand=demand,
        ssl=_postgres_ssl(demand, key=key, ca_file=ca_file),
        places=places or "the driver's default address",
        key=key,
    )


def is_tls_refusal(error: BaseException) -> bool:
    """Whether the error means that the server failed TLS verification."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return type(error) is ConnectionError and _NOT_TLS in str(error)


def _postgres_ssl(
    demand: TlsDemand, *, key: str, ca_file: Path | None
) -> ssl.SSLContext | str | bool:
    """The value for asyncpg's ``ssl``. Never None, for which asyncpg reads the environment.

    With a context, asyncpg closes the connection if the server does not support TLS.
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


def _listed(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


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
