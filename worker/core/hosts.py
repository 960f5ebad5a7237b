"""Recognises loopback hosts."""

import ipaddress


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
