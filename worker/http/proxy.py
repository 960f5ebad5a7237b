"""The proxy for requests to other machines (``network.proxy_url``).

``HTTP_PROXY``, ``NO_PROXY`` and similar variables are ignored.
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from worker.core.hosts import is_loopback
from worker.core.value import Value
from worker.errors import ConfigurationError, TransientError, WorkerError
from worker.trusted_files import read_secret

PROXY_HINT: Final = "check network.proxy_url, and the proxy"
"""For a proxy that does not respond or cannot reach the server."""
_KEY: Final = "network.proxy_credentials_file"
_CREDENTIALS_REQUIRED: Final = 407
_TRANSIENT: Final = frozenset({408, 425, 429})


class Proxy(Value, frozen=True, kw_only=True):
    """An HTTP proxy that supports CONNECT (RFC 9110 §9.3.6).

    Attributes:
        url: ``http://host:port`` or ``https://host:port``, without credentials.
        user: for ``Proxy-Authorization``; empty for none.
    """

    hidden = frozenset({"user", "password"})

    url: str
    user: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        """Host name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port; without one in the URL, that of the scheme."""
        return urlsplit(self.url).port or (443 if self.is_tls else 80)

    @property
    def shown(self) -> str:
        """Host and port, for messages."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def is_tls(self) -> bool:
        """Whether the connection to the proxy uses TLS."""
        return self.url.startswith("https://")


def proxy_for(proxy: Proxy | None, host: str | None) -> Proxy | None:
    """The proxy for requests to a host; None for loopback."""
    return None if is_loopback(host) else proxy


def read_proxy(url: str | None, credentials_file: Path | None) -> Proxy | None:
    """The configured proxy. The credentials file holds one line, ``user:password``.

    Raises:
        ConfigurationError: the file cannot be read or has another format.
    """
    if url is None:
        return None
    if credentials_file is None:
        return Proxy(url=url)
    text = read_secret(credentials_file, key=_KEY).decode(errors="replace").rstrip("\r\n")
    user, colon, password = text.partition(":")
    if not (user and colon and text.isascii() and text.isprintable()):
        # RFC 7617 §2.1 leaves the encoding of other characters undefined.
        raise ConfigurationError(
            f"{_KEY}: {credentials_file} must hold one line, user:password, in ASCII"
        )
    return Proxy(url=url, user=user, password=password)


def proxy_refusal(proxy: Proxy, status: int, server: str) -> WorkerError:
    """The error for a proxy's answer to CONNECT: 4xx is for good, but for some that may pass.

    Args:
        server: who was to be reached.
    """
    if status not in range(400, 500) or status in _TRANSIENT:
        problem = f"the proxy {proxy.shown} cannot reach {server} (status {status})"
        return TransientError(problem, hint=PROXY_HINT)
    if status != _CREDENTIALS_REQUIRED:
        return ConfigurationError(
            f"the proxy {proxy.shown} does not allow this request (status {status})",
            hint="allow CONNECT to the addresses of HelseID and PTS in the proxy",
        )
    if proxy.user:
        return ConfigurationError(
            f"the proxy {proxy.shown} does not accept the credentials (status {status})",
            hint=f"check {_KEY}: one line, user:password (HTTP Basic)",
        )
    return ConfigurationError(
        f"the proxy {proxy.shown} requires credentials (status {status})",
        hint=f"set {_KEY} to a file with one line, user:password",
    )
