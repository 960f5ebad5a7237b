"""What the connection to a PostgreSQL must prove before it is given a password. ADR 0023."""

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


MODE_PARAMETERS: Final = ("sslmode", "ssl")
"""``ssl`` is asyncpg's name, which the worker took before it knew libpq's."""
ROOT_PARAMETER: Final = "sslrootcert"
TLS_PARAMETERS: Final = (*MODE_PARAMETERS, ROOT_PARAMETER)
"""What stands in a URL for the worker, and not for the driver."""
_SYSTEM: Final = "system"
_VERIFIED: Final = frozenset({SslMode.VERIFY_CA, SslMode.VERIFY_FULL})
_REMEDY: Final = (
    "write sslmode=verify-full, with sslrootcert=FILE or tls.ca_file for a private CA; or "
    "sslmode=disable if nobody else can reach the network between"
)


class TlsDemand(Value, frozen=True, kw_only=True):
    """What is asked of a connection.

    Attributes:
        mode: how it is encrypted and verified.
        root: the PEM file whose authorities alone are trusted; None for the machine's and those
            of ``tls.ca_file``.
        is_local: the server is on this machine.
    """

    mode: SslMode
    root: str | None
    is_local: bool

    @property
    def is_open(self) -> bool:
        """Whether passwords and persons cross a network in clear."""
        return self.mode is SslMode.DISABLE and not self.is_local


def demand_of(hosts: Sequence[str], parameters: Mapping[str, str]) -> TlsDemand:
    """What the connection to these hosts must prove.

    Off this machine it is verified, or its encryption is switched off by name: the modes between
    give the password to whoever answers "no TLS" or shows a certificate of their own.

    Args:
        hosts: names, addresses or folders of sockets; none if the driver is to choose.
        parameters: of the URL; others than ``TLS_PARAMETERS`` do not matter.

    Raises:
        ValueError: in words that go behind the key's name, without a value of a parameter that is
            not known.
    """
    is_local = bool(hosts) and all(host.startswith("/") or is_loopback(host) for host in hosts)
    name = next((name for name in MODE_PARAMETERS if name in parameters), MODE_PARAMETERS[0])
    mode = _mode(name, parameters)
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
            f"has {name}=verify-ca, which takes any certificate of the authorities that it trusts; "
            "name a private one with sslrootcert=FILE, or write sslmode=verify-full"
        )
    if not is_local and mode not in _VERIFIED and mode is not SslMode.DISABLE:
        raise ValueError(
            f"has {name}={mode}, with which anybody on the way to the server could read the "
            f"password; {_REMEDY}"
        )
    return TlsDemand(mode=mode, root=root, is_local=is_local)


def hosts_of(url: str) -> list[str]:
    """The hosts that a URL names, before ``/`` or as the parameter ``host``."""
    parts = urlsplit(url)
    named = [value for name, value in parse_qsl(parts.query) if name == "host"]
    hosts = [host for value in named for host in value.split(",")]
    if not hosts and parts.hostname:
        hosts = [parts.hostname]
    return [
        host if host.startswith(("/", "[")) or host.count(":") > 1 else host.partition(":")[0]
        for host in hosts
    ]


def _mode(name: str, parameters: Mapping[str, str]) -> SslMode | None:
    given = {parameters[name] for name in MODE_PARAMETERS if name in parameters}
    if not given:
        return None
    if len(given) > 1:
        raise ValueError("has both sslmode and ssl, and they differ; leave ssl out")
    try:
        return SslMode(given.pop())
    except ValueError:
        raise ValueError(
            f"has {name}= with a value that is not known; write sslmode=verify-full, or another of "
            f"{', '.join(SslMode)}"
        ) from None
