"""Recognises loopback hosts, and names the place of an address."""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_POSTGRES_PORT: Final = 5432

HELSENETT: Final = frozenset({"api.pts.nhn.no", "api.test.pts.nhn.no"})
"""Names that the DNS of Helsenett alone knows."""


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
    """The parts of an address, which has a valid port or none.

    Raises:
        ValueError: it is not a URL; the text is for a message.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def place_of(url: str) -> str:
    """Host and port of an HTTP or database address, never its user or password."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, _POSTGRES_PORT)
    return f"{parts.hostname or 'a socket'}:{port}"
