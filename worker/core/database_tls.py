"""TLS requirements of a PostgreSQL connection, checked before a password is sent. ADR 0023."""

import enum
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from worker.core.hosts import is_loopback
from worker.core.value import Value


class SslMode(enum.StrEnum):
    """libpq's ``sslmode`` (PostgreSQL manual, section 34.19, "SSL Support")."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


MODE_PARAMETER: Final = "sslmode"
ROOT_PARAMETER: Final = "sslrootcert"
TLS_PARAMETERS: Final = (MODE_PARAMETER, ROOT_PARAMETER)
"""URL parameters for the worker, not for the driver."""
_SYSTEM: Final = "system"
_VERIFIED: Final = frozenset({SslMode.VERIFY_CA, SslMode.VERIFY_FULL})
_REMEDY: Final = (
    "write sslmode=verify-full, with sslrootcert=FILE or tls.ca_file for a private CA; or "
    "sslmode=disable if the network to the server is private"
)


class TlsDemand(Value, frozen=True, kw_only=True):
    """The TLS requirements of a connection.

    Attributes:
        mode: how the connection is encrypted and verified.
        root: a PEM file with the only trusted authorities; None: those of the system and of
            ``tls.ca_file``.
        is_local: the server is on this machine.
    """

    mode: SslMode
    root: str | None
    is_local: bool

    @property
    def is_open(self) -> bool:
        """Whether passwords and personal data cross a network unencrypted."""
        return self.mode is SslMode.DISABLE and not self.is_local


def demand_of(hosts: Sequence[str], parameters: Mapping[str, str]) -> TlsDemand:
    """The TLS requirements of a connection to these hosts.

    A connection to another machine must be verified, or its encryption explicitly disabled. With
    the modes between, an attacker who answers "no TLS" or has any certificate gets the password.

    Args:
        hosts: names, addresses or socket folders; empty if the driver chooses.
        parameters: the URL's parameters; only ``TLS_PARAMETERS`` are used.

    Raises:
        ValueError: the message continues the name of the configuration key, and holds no unknown
            value.
    """
    is_local = bool(hosts) and all(host.startswith("/") or is_loopback(host) for host in hosts)
    mode = _mode(parameters)
    root = parameters.get(ROOT_PARAMETER) or None
    if root == _SYSTEM:
        root = None
    if mode is None:
        mode = SslMode.PREFER if is_local else SslMode.VERIFY_FULL
        if root is not None:
            mode = SslMode.VERIFY_FULL
    if mode is SslMode.REQUIRE and root is not None:
        mode = SslMode.VERIFY_CA  # as libpq has it
    if mode is SslMode.VERIFY_CA and root is None:
        raise ValueError(
            "has sslmode=verify-ca, which accepts any certificate of a trusted authority; "
            "name a private CA with sslrootcert=FILE, or write sslmode=verify-full"
        )
    if not is_local and mode not in _VERIFIED and mode is not SslMode.DISABLE:
        raise ValueError(
            f"has sslmode={mode}, which can expose the password to an attacker on the network; "
            f"{_REMEDY}"
        )
    return TlsDemand(mode=mode, root=root, is_local=is_local)


def hosts_of(url: str) -> list[str]:
    """The hosts of a URL, from its authority or its parameter ``host``."""
    parts = urlsplit(url)
    named = [value for name, value in parse_qsl(parts.query) if name == "host"]
    hosts = [host for value in named for host in value.split(",")]
    if not hosts and parts.hostname:
        hosts = [parts.hostname]
    return [
        host if host.startswith(("/", "[")) or host.count(":") > 1 else host.partition(":")[0]
        for host in hosts
    ]


def _mode(parameters: Mapping[str, str]) -> SslMode | None:
    if MODE_PARAMETER not in parameters:
        return None
    try:
        return SslMode(parameters[MODE_PARAMETER])
    except ValueError:
        raise ValueError(
            "has an unknown value of sslmode; write sslmode=verify-full, or another of "
            f"{', '.join(SslMode)}"
        ) from None
