"""DPoP (RFC 9449): the key of this process, its proofs, and their claims.

A run makes a proof for every request, so the constant parts are encoded once: a proof costs the
ES256 signature plus 8 µs. The key is ES256 regardless of the client key, because an RSA-4096
signature takes 43 times as long (HelseID reference, section 9).
"""

import base64
import hashlib
import re
from functools import lru_cache
from typing import Final

import httpx
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")
"""NQCHAR of RFC 6749, as RFC 9449 §8.1 requires. The length limit is the worker's own."""


class ProofKey:
    """A P-256 key in memory that signs DPoP proofs, with the latest nonce of each origin."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        jwk = ECKey(public, public).as_dict(private=False)
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}
        self._head = _encode(msgspec.json.encode(header)) + b"."
        self._nonces: dict[str, str] = {}

    def proof(
        self, method: str, url: str, *, iat: int, jti: str, access_token_hash: str | None = None
    ) -> str:
        """A DPoP proof for one attempt of one request, with the nonce of its origin.

        Args:
            url: the request URL. ``htu`` is the URL without query and fragment.
            iat: seconds since 1970, never rounded up.
            jti: unique per proof.
            access_token_hash: ``ath``, for requests with a token.
        """
        # Cut before both look-ups: each page has its own query, and would fill the caches.
        url = url.partition("?")[0]
        claims = {"jti": jti, "iat": iat, "htm": method, "htu": target_uri(url)}
        if access_token_hash is not None:
            claims["ath"] = access_token_hash
        # If there is no nonce at all, skip the look-up of the origin, which costs time per request.
        if self._nonces and (nonce := self._nonces.get(origin(url))):
            claims["nonce"] = nonce
        signed = self._head + _encode(msgspec.json.encode(claims))
        # JWS requires the two numbers as fixed-length bytes, cryptography returns DER.
        r, s = decode_dss_signature(self._key.sign(signed, _ALGORITHM))
        signature = _encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f"{signed.decode('ascii')}.{signature.decode('ascii')}"

    def keep_nonce(self, url: str, nonce: str | None) -> None:
        """Keep a received ``DPoP-Nonce`` for the origin that gave it (RFC 9449 §8.2).

        An invalid nonce (§8.1) is ignored.
        """
        if nonce is not None and _NONCE.fullmatch(nonce):
            self._nonces[origin(url.partition("?")[0])] = nonce


@lru_cache(maxsize=256)
def target_uri(url: str) -> str:
    """The ``htu`` claim of a request: the URL as it is sent, without query and fragment.

    Scheme and host are lower-case, a default port is dropped, and an empty path is ``/`` (RFC 9449
    §4.3, RFC 3986 §6.2.3).
    """
    path = httpx.URL(url).raw_path.partition(b"?")[0]
    return origin(url) + path.decode("ascii")


@lru_cache(maxsize=256)
def origin(url: str) -> str:
    """The normalised scheme, host and port of a URL, which identify its nonce (RFC 9449 §8.2).

    Raises:
        httpx.InvalidURL: the text is not a URL.
    """
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}"


def token_hash(access_token: str) -> str:
    """The ``ath`` claim: base64url of SHA-256 over the token's ASCII (RFC 9449 §4.2)."""
    return _encode(hashlib.sha256(access_token.encode("ascii")).digest()).decode("ascii")


def _encode(content: bytes) -> bytes:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")
