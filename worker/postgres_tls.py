"""The one gate for connections to PostgreSQL: the store's, and the roster query's. ADR 0023."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from worker.core.database_tls import SslMode, TlsDemand, demand_of
from worker.errors import ConfigurationError
from worker.tls import postgres_context

log = structlog.get_logger(__name__)

_PORT: Final = 5432
_NOT_TLS: Final = "rejected SSL upgrade"
"""How asyncpg words the answer "no TLS"; it has neither a class nor a code for it."""
_VERIFIED: Final = {
    SslMode.VERIFY_CA: "certificate verified, host name not",
    SslMode.VERIFY_FULL: "certificate and host name verified",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTls:
    """How one PostgreSQL is spoken to.

    Attributes:
        demand: what its connections must prove.
        ssl: for asyncpg's argument of this name.
        is_direct: TLS begins at once, without asking for it (``direct_tls=true``).
        places: host and port, for messages.
        key: the configuration key of its URL.
    """

    demand: TlsDemand
    ssl: ssl.SSLContext | str | bool
    is_direct: bool
    places: str
    key: str

    def arguments(self) -> Mapping[str, Any]:
        """For asyncpg's ``connect``, which would read the environment for what is not there."""
        return {"ssl": self.ssl, "direct_tls": self.is_direct}

    def warn(self) -> None:
        """Log that passwords and persons cross a network in clear, if they do."""
        if self.demand.is_open:
            log.warning("database.not_encrypted", key=self.key, server=self.places, hint=OPEN_HINT)

    def refusal(self, error: BaseException) -> ConfigurationError | None:
        """The error for a server that does not prove who it is; None for any other fault."""
        if not is_tls_refusal(error):
            return None
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"{self.key}: the certificate of the server at {self.places} is not accepted: "
                f"{error.verify_message.rstrip('.')}; no password was sent",
                hint="let the server show a valid certificate for this very host, and name its CA "
                "in tls.ca_file or by sslrootcert= in the URL",
            )
        return ConfigurationError(
            f"{self.key}: the server at {self.places} has no TLS, or somebody on the way says so; "
            "no password was sent",
            hint="switch TLS on in the server (ssl = on); or write ?sslmode=disable if nobody else "
            "can reach the network between",
        )

    def describe(self, connection: Any) -> str:
        """How a connection of asyncpg's is encrypted and verified."""
        transport = connection._transport  # noqa: SLF001 - asyncpg does not tell
        if isinstance(transport.get_extra_info("peername"), (str, bytes)):
            return "UNIX socket"
        secured = transport.get_extra_info("ssl_object")
        if secured is None:
            return "not encrypted" + (", on this machine" if self.demand.is_local else "")
        return f"{secured.version()}, {_VERIFIED.get(self.demand.mode, 'not verified')}"


OPEN_HINT: Final = "passwords and persons cross the network in clear: write sslmode=verify-full"


def open_tls(
    arguments: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    key: str,
    ca_file: Path | None,
) -> PostgresTls:
    """How to speak to the server that the driver would be connected with.

    Args:
        arguments: the driver's, with ``host`` and ``port`` as it will get them.
        parameters: of the URL.
        key: the configuration key of the URL, for messages.
        ca_file: ``tls.ca_file``.

    Raises:
        ConfigurationError: the URL asks for what is not safe, or a CA file cannot be used.
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
        places=places or "the driver's own place",
        key=key,
    )


def is_tls_refusal(error: BaseException) -> bool:
    """Whether a server did not prove who it is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return type(error) is ConnectionError and _NOT_TLS in str(error)


def _listed(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
