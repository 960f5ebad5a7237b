"""TLS for all PostgreSQL connections: those of the store and of the roster query. See ADR 0023."""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from worker.core.database_tls import SslMode, TlsDemand, demand_of
from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.tls import postgres_context

log = structlog.get_logger(__name__)

_PORT: Final = 5432
_NOT_TLS: Final = "rejected SSL upgrade"
"""asyncpg's message if the server has no TLS; it has neither an error class nor a code."""
_VERIFIED: Final = {
    SslMode.VERIFY_CA: "certificate verified, host name not",
    SslMode.VERIFY_FULL: "certificate and host name verified",
}


class PostgresTls(Value, frozen=True, kw_only=True):
    """TLS settings for one PostgreSQL server.

    Attributes:
        ssl: asyncpg's argument ``ssl``.
        is_direct: start TLS without negotiation (``direct_tls=true``).
        places: hosts and ports, for messages.
        key: configuration key of the URL.
    """

    demand: TlsDemand
    ssl: ssl.SSLContext | str | bool
    is_direct: bool
    places: str
    key: str

    def arguments(self) -> Mapping[str, Any]:
        """Arguments for asyncpg's ``connect``. It reads the environment for missing ones."""
        return {"ssl": self.ssl, "direct_tls": self.is_direct}

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


OPEN_HINT: Final = "passwords and personal data are sent unencrypted: use sslmode=verify-full"


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
    ports = [port or _PORT for port in _listed(arguments.get("port"))]
    try:
        demand = demand_of(hosts, parameters)
    except ValueError as error:
        raise ConfigurationError(f"{key}: {error}") from None
    ports = ports * len(hosts) if len(ports) == 1 else ports or [_PORT] * len(hosts)
    places = ", ".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
    return PostgresTls(
        demand=demand,
        ssl=postgres_context(demand, key=key, ca_file=ca_file),
        is_direct=parameters.get("direct_tls") == "true",
        places=places or "the driver's default address",
        key=key,
    )


def is_tls_refusal(error: BaseException) -> bool:
    """Whether the error means that the server failed TLS verification."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return type(error) is ConnectionError and _NOT_TLS in str(error)


def _listed(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
