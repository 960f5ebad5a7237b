"""HelseID's own description of itself, read once a day."""

import re
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson
import structlog

from worker.core.value import Value
from worker.errors import ConfigurationError, UnavailableError
from worker.helseid.refusals import clean
from worker.helseid.transport import HelseIdClient, HelseIdResponse, require_safe_url
from worker.ports import Runtime

LIFETIME_S: Final = 24 * 3600.0
"""How long the description is used (HelseID's requirement FK2)."""
_RENEWAL_PAUSE_S: Final = 600.0
_ISSUER: Final = "helseid.issuer"
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9.:-]+(?:/[A-Za-z0-9._~-]*)*")
_log = structlog.get_logger(__name__)


class Metadata(Value, frozen=True, kw_only=True):
    """What the worker uses of the description.

    Attributes:
        issuer: as HelseID writes it: the audience of assertions.
        token_endpoint: where tokens are asked for.
    """

    issuer: str
    token_endpoint: str


class Discovery:
    """Reads ``{issuer}/.well-known/openid-configuration`` and keeps it for 24 h.

    Args:
        issuer: as configured.
        caller: makes the calls.
        runtime: the clock.
        endpoint_host: where the token endpoint must be; None: the issuer's host.

    Raises:
        ConfigurationError: the issuer is not ``https``, nor ``http`` to loopback.
    """

    def __init__(
        self,
        issuer: str,
        caller: HelseIdClient,
        runtime: Runtime,
        *,
        endpoint_host: str | None = None,
    ) -> None:
        require_safe_url(issuer, key=_ISSUER)
        self._issuer = issuer.rstrip("/")
        self._caller = caller
        self._runtime = runtime
        self._endpoint_host = (endpoint_host or urlsplit(issuer).hostname or "").lower()
        self._metadata: Metadata | None = None
        self._renew_at_s = 0.0

    async def metadata(self) -> Metadata:
        """The description; a day old at most, or older while HelseID does not answer.

        Raises:
            ConfigurationError: there is none at this issuer, or it is another issuer's.
            UnavailableError: HelseID cannot be reached, and the description was never read.
        """
        if self._metadata is not None and self._runtime.monotonic() < self._renew_at_s:
            return self._metadata
        try:
            self._metadata = await self._read()
            self._renew_at_s = self._runtime.monotonic() + LIFETIME_S
        except UnavailableError as exc:
            if self._metadata is None:
                raise
            self._renew_at_s = self._runtime.monotonic() + _RENEWAL_PAUSE_S
            _log.warning("helseid.discovery_stale", problem=exc.message)
        return self._metadata

    async def _read(self) -> Metadata:
        url = f"{self._issuer}/.well-known/openid-configuration"

        async def request() -> httpx.Request:
            return self._caller.new_request("GET", url)

        metadata = self._understand(await self._caller.call(request, flaw=_flaw))
        _log.info("helseid.discovery_read", issuer=metadata.issuer)
        return metadata

    def _understand(self, reply: HelseIdResponse) -> Metadata:
        if reply.status != httpx.codes.OK:
            raise ConfigurationError(
                f"{_ISSUER}: no OpenID configuration there (HTTP {reply.status})",
                hint="check the issuer, and whether a proxy or firewall answered in its place",
            )
        document = orjson.loads(reply.body)
        issuer, endpoint = document.get("issuer"), document.get("token_endpoint")
        if not isinstance(issuer, str) or not isinstance(endpoint, str):
            raise ConfigurationError(
                f"{_ISSUER}: what is there names no issuer or no token_endpoint",
                hint="is this HelseID's issuer?",
            )
        if issuer.rstrip("/") != self._issuer:
            raise ConfigurationError(
                f"{_ISSUER}: is {self._issuer}, but what is there calls itself {_shown(issuer)}",
                hint="set the issuer exactly as HelseID writes it",
            )
        require_safe_url(endpoint, key=f"{_ISSUER}: the token_endpoint there")
        if endpoint.startswith("http://") and self._issuer.startswith("https://"):
            raise ConfigurationError(f"{_ISSUER}: the token_endpoint there is not https")
        if urlsplit(endpoint).hostname != self._endpoint_host:
            raise ConfigurationError(
                f"{_ISSUER}: the token_endpoint there is on another host",
                hint="assertions go to the issuer's own host; if HelseID has moved its token "
                "endpoint, name the host as helseid.token_endpoint_host",
            )
        return Metadata(issuer=issuer, token_endpoint=endpoint)


def _shown(issuer: str) -> str:
    """An issuer fit for a message: itself if it is an address and nothing else."""
    is_plain = _ADDRESS.fullmatch(issuer) is not None and clean(issuer) == issuer
    return issuer if is_plain else "something that is no address"


def _flaw(reply: HelseIdResponse) -> str:
    if reply.status != httpx.codes.OK:
        return ""
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return "the OpenID configuration is not JSON"
    return "" if isinstance(document, dict) else "the OpenID configuration is not a JSON object"
