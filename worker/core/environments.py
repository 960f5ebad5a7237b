"""The environments of PTS and HelseID: their addresses, and which have real persons."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from worker.core.hosts import is_loopback

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


def is_rehearsal(environment: str | None, base_url: str | None) -> bool:
    """Whether PTS certainly has no real persons.

    True for a test environment, unless ``api.base_url`` is production's. Without an environment,
    true only for a loopback address, such as the sandbox's. Any other address may lead to
    production and counts as production.
    """
    host = urlsplit(base_url or "").hostname
    if environment is None:
        return is_loopback(host)
    production_host = urlsplit(ENVIRONMENTS[_PRODUCTION]["api.base_url"]).hostname
    return environment != _PRODUCTION and host != production_host


def service_of(base_url: str) -> str:
    """What tells one PTS from another: host, port and path; both test addresses are one PTS."""
    address = urlsplit(base_url)
    for name, addresses in ENVIRONMENTS.items():
        if address.hostname == urlsplit(addresses["api.base_url"]).hostname:
            return name.removesuffix("-internet")
    port = f":{address.port}" if address.port else ""
    return f"{address.hostname}{port}{address.path.rstrip('/')}"
