"""Computes the claims of a DPoP proof (RFC 9449). Signing is elsewhere."""

import base64
import hashlib
import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")
"""NQCHAR of RFC 6749, as RFC 9449 §8.1 requires; the length limit is the worker's."""


@lru_cache(maxsize=256)
def target_uri(url: str) -> str:
    """The ``htu`` claim of a request: the normalised URL without query and fragment.

    Scheme and host are lower-case, a default port is dropped, and an empty path becomes ``/``. The
    path is otherwise unchanged (RFC 9449 §4.3, RFC 3986 §6.2.3).

    Raises:
        ValueError: the URL is not an absolute ``http`` or ``https`` URL.
    """
    return origin(url) + (urlsplit(url).path or "/")


def origin(url: str) -> str:
    """The normalised scheme, host and port of a URL, which identify its nonce (RFC 9449 §8.2).

    Raises:
        ValueError: the URL is not an absolute ``http`` or ``https`` URL.
    """
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("not an absolute http or https URL")
    shown = f"[{host}]" if ":" in host else host
    if parts.port is None or parts.port == _DEFAULT_PORTS[parts.scheme]:
        return f"{parts.scheme}://{shown}"
    return f"{parts.scheme}://{shown}:{parts.port}"


def token_hash(access_token: str) -> str:
    """The ``ath`` claim: base64url of SHA-256 over the token's ASCII (RFC 9449 §4.2)."""
    digest = hashlib.sha256(access_token.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def is_nonce(value: str) -> bool:
    """Whether a received ``DPoP-Nonce`` may be sent back (RFC 9449 §8.1)."""
    return _NONCE.fullmatch(value) is not None
