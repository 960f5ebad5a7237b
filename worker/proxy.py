"""The proxy that calls to other machines go through (``network.proxy_url``).

Nothing here is taken from the environment: ``HTTP_PROXY``, ``NO_PROXY`` and the like are not read.
"""

import ssl
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import httpx

from worker.core.hosts import is_loopback
from worker.core.value import Value
from worker.errors import ConfigurationError

_KEY: Final = "network.proxy_credentials_file"
_CREDENTIALS_WANTED: Final = 407
_PASSING: Final = frozenset({408, 425, 429})


class Proxy(Value, frozen=True, kw_only=True):
    """An HTTP proxy that tunnels (CONNECT, RFC 9110 §9.3.6).

    Attributes:
        url: ``http://host:port`` or ``https://host:port``, without credentials.
        user: for ``Proxy-Authorization``; empty without credentials.
    """

    hidden = frozenset({"user", "password"})

    url: str
    user: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        """Its name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def shown(self) -> str:
        """Host and port, for messages."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{port}"

    @property
    def is_tls(self) -> bool:
        """Whether the proxy itself is spoken to over TLS."""
        return self.url.startswith("https://")

    def for_httpx(self, context: ssl.SSLContext) -> httpx.Proxy:
        """The same for httpx's clients.

        Args:
            context: whom to trust, should the proxy be spoken to over TLS.
        """
        return httpx.Proxy(
            self.url,
            ssl_context=context if self.is_tls else None,
            auth=(self.user, self.password) if self.user else None,
        )

    def url_with_credentials(self) -> str:
        """For clients that take both in one text. Never to be logged."""
        if not self.user:
            return self.url
        scheme, _, place = self.url.partition("://")
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{place}"


def proxy_for(proxy: Proxy | None, host: str | None) -> Proxy | None:
    """The proxy for calls to a host: none for this very machine."""
    return None if is_loopback(host) else proxy


def read_proxy(url: str | None, credentials_file: Path | None) -> Proxy | None:
    """The configured proxy, with the credentials of the file: one line, ``user:password``.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    if url is None:
        return None
    if credentials_file is None:
        return Proxy(url=url)
    try:
        text = credentials_file.read_text(encoding="utf-8", errors="replace").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"{_KEY}: {credentials_file} cannot be read: {type(error).__name__}"
        ) from None
    user, colon, password = text.partition(":")
    if not (user and colon and text.isascii() and text.isprintable()):
        # Beyond ASCII no two programs agree on the encoding (RFC 7617 §2.1).
        raise ConfigurationError(
            f"{_KEY}: {credentials_file} must hold one line, user:password, in ASCII"
        )
    return Proxy(url=url, user=user, password=password)


def proxy_refusal(proxy: Proxy, status: int) -> ConfigurationError:
    """The error for a proxy that answers a CONNECT with a status that another try cannot change."""
    if status != _CREDENTIALS_WANTED:
        return ConfigurationError(
            f"the proxy {proxy.shown} does not let this call through (status {status})",
            hint="the proxy must allow CONNECT to HelseID's and PTS's addresses",
        )
    if proxy.user:
        return ConfigurationError(
            f"the proxy {proxy.shown} does not accept the credentials (status {status})",
            hint=f"check {_KEY}: one line, user:password, for HTTP Basic",
        )
    return ConfigurationError(
        f"the proxy {proxy.shown} asks for credentials (status {status})",
        hint=f"set {_KEY} to a file with one line, user:password",
    )


def status_of_refusal(error: Exception) -> int:
    """The status in the text of httpx's and httpcore's ``ProxyError``; 0 if there is none."""
    word = str(error).partition(" ")[0]
    return int(word) if word.isdecimal() else 0


def is_refusal(status: int) -> bool:
    """Whether a proxy's status says no for good: 4xx, except those that pass."""
    return status in range(400, 500) and status not in _PASSING
