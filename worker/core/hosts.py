"""The addresses of PTS and HelseID, and checks for loopback, test environments and one service."""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_POSTGRES_PORT: Final = 5432

_HELSEID_TEST: Final = {"helseid.issuer": "https://helseid-sts.test.nhn.no"}
ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "test": {"api.base_url": "https://api.test.pts.nhn.no", **_HELSEID_TEST},
    "test-internet": {"api.base_url": "https://api-internett.test.pts.nhn.no", **_HELSEID_TEST},
    "production": {
        "api.base_url": "https://api.pts.nhn.no",
        "helseid.issuer": "https://helseid-sts.nhn.no",
    },
}
"""The addresses of PTS and HelseID, by ``api.environment`` (HelseID reference, section 8)."""

_PRODUCTION: Final = "production"

HELSENETT: Final = frozenset({"api.pts.nhn.no", "api.test.pts.nhn.no"})
"""Host names that only the DNS of Helsenett resolves."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is loopback (contract: ``http://`` is allowed only there)."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parts_of(url: str) -> SplitResult:
    """The parts of an address.

    Raises:
        ValueError: it is not a URL, or its port is invalid. The caller puts the key's name before
            the message.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # the property raises if the port is not a number
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def place_of(url: str) -> str:
    """Host and port of an HTTP or database address, without user and password."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, _POSTGRES_PORT)
    return f"{parts.hostname or 'a socket'}:{port}"


def is_rehearsal(environment: str | None, base_url: str | None) -> bool:
    """Whether this PTS certainly has no real persons.

    True for a test environment, unless ``api.base_url`` is that of production. Without an
    environment, true only for a loopback address, such as the sandbox. Any other address counts as
    production, because it may be a gateway to production.
    """
    host = urlsplit(base_url or "").hostname
    if environment is None:
        return is_loopback(host)
    production_host = urlsplit(ENVIRONMENTS[_PRODUCTION]["api.base_url"]).hostname
    return environment != _PRODUCTION and host != production_host


def service_of(base_url: str) -> str:
    """The identity of a PTS installation: host, port and path. The two test addresses are one."""
    address = urlsplit(base_url)
    for name, addresses in ENVIRONMENTS.items():
        if address.hostname == urlsplit(addresses["api.base_url"]).hostname:
            return name.removesuffix("-internet")
    # The scheme is left out: plain HTTP is possible only on loopback.
    port = f":{address.port}" if address.port else ""
    return f"{address.hostname}{port}{address.path}"
