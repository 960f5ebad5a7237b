"""Which hosts are this very machine."""

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine (contract: where ``http://`` may go)."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
