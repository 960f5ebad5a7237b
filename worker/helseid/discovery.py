"""HelseID's OpenID configuration (discovery), cached for 24 hours."""

from typing import Final

import httpx
import structlog

from worker.core.value import Value
from worker.errors import ConfigurationError, TransientError, UnavailableError
from worker.helseid.client import HelseIdClient, json_object
from worker.helseid.dpop import origin
from worker.ports import Runtime

_LIFETIME_S: Final = 24 * 3600.0
"""How long the metadata is cached (HelseID requirement FK2)."""
_RENEWAL_PAUSE_S: Final = 600.0
_ISSUER: Final = "helseid.issuer"
_log = structlog.get_logger(__name__)


class Metadata(Value, frozen=True, kw_only=True):
    """The metadata that the worker uses.

    Attributes:
        issuer: as HelseID writes it; the audience of assertions.
    """

    issuer: str
    token_endpoint: str


class Discovery:
    """Reads ``{issuer}/.well-known/openid-configuration`` and caches it for 24 h."""

    def __init__(self, issuer: str, client: HelseIdClient, runtime: Runtime) -> None:
        self._issuer = issuer.rstrip("/")
        self._client = client
        self._runtime = runtime
        self._metadata: Metadata | None = None
        self._renew_at_s = 0.0

    async def metadata(self) -> Metadata:
        """The metadata, at most 24 h old; older only while HelseID gives no valid one.

        Raises:
            ConfigurationError: the metadata was never read, and the issuer has none, or it names
                another issuer.
            UnavailableError: the metadata was never read, and HelseID is unavailable.
        """
        if self._metadata is not None and self._runtime.monotonic() < self._renew_at_s:
            return self._metadata
        try:
            self._metadata = await self._client.call(self.request, self._parse)
            self._renew_at_s = self._runtime.monotonic() + _LIFETIME_S
        except (ConfigurationError, UnavailableError) as error:
            if self._metadata is None:
                raise
            self._renew_at_s = self._runtime.monotonic() + _RENEWAL_PAUSE_S
            _log.warning("helseid.discovery_stale", problem=error.message)
        else:
            _log.info("helseid.discovery_read", issuer=self._metadata.issuer)
        return self._metadata

    def request(self) -> httpx.Request:
        """What asks for the metadata."""
        url = f"{self._issuer}/.well-known/openid-configuration"
        return self._client.http.build_request("GET", url)

    def _parse(self, response: httpx.Response) -> Metadata:
        if response.status_code != httpx.codes.OK:
            raise ConfigurationError(
                f"{_ISSUER}: found no OpenID configuration (HTTP {response.status_code})",
                hint="check the issuer, and whether a proxy or firewall sent this response",
            )
        document = json_object(response)
        if document is None:
            raise TransientError("the OpenID configuration is not a JSON object")
        issuer, endpoint = document.get("issuer"), document.get("token_endpoint")
        if not isinstance(issuer, str) or not isinstance(endpoint, str):
            raise ConfigurationError(
                f"{_ISSUER}: the OpenID configuration has no issuer or no token_endpoint",
                hint="check that this is HelseID's issuer",
            )
        if issuer.rstrip("/") != self._issuer:
            raise ConfigurationError(
                f"{_ISSUER}: is {self._issuer}, but the OpenID configuration names another",
                hint="set the issuer exactly as HelseID writes it in /.well-known/"
                "openid-configuration there",
            )
        if not self._is_at_the_issuer(endpoint):
            raise ConfigurationError(
                f"{_ISSUER}: token_endpoint has another scheme, host or port",
                hint="assertions are sent to the issuer's host and port only; if HelseID has moved "
                "its token endpoint, this program must be changed",
            )
        return Metadata(issuer=issuer, token_endpoint=endpoint)

    def _is_at_the_issuer(self, endpoint: str) -> bool:
        try:
            return origin(endpoint) == origin(self._issuer)
        except httpx.InvalidURL:
            return False
