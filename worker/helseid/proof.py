"""The DPoP key of this process and its proofs (RFC 9449 §4.2).

A run can make thousands of proofs per second on one core, so the constant parts are encoded once: a
proof costs the ES256 signature plus 8 µs. The key is ES256 regardless of the client key, because an
RSA-4096 signature takes 43 times as long (HelseID reference, section 9).
"""

import binascii
from typing import Final

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

from worker.core.dpop import target_uri

_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_TO_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


class ProofKey:
    """A P-256 key, held in memory only, that signs DPoP proofs."""

    __slots__ = ("_head", "_key", "thumbprint")

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        jwk = ECKey(public, public)
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk.as_dict(private=False)}
        self._head = _encode(orjson.dumps(header)) + b"."
        self.thumbprint = jwk.thumbprint()

    def proof(
        self,
        method: str,
        url: str,
        *,
        iat: int,
        jti: str,
        access_token_hash: str | None = None,
        nonce: str | None = None,
    ) -> str:
        """A DPoP proof for one attempt of one request.

        Args:
            url: the request URL; ``htu`` is the URL without query and fragment.
            iat: seconds since 1970, never rounded up.
            jti: unique per proof; base64url characters or a UUID.
            access_token_hash: ``ath``, for requests with a token.
        """
        claims = {"jti": jti, "iat": iat, "htm": method, "htu": target_uri(url.partition("?")[0])}
        if access_token_hash is not None:
            claims["ath"] = access_token_hash
        if nonce is not None:
            claims["nonce"] = nonce
        signed = self._head + _encode(orjson.dumps(claims))
        r, s = decode_dss_signature(self._key.sign(signed, _ALGORITHM))
        signature = _encode((r << 256 | s).to_bytes(64, "big"))
        return f"{signed.decode('ascii')}.{signature.decode('ascii')}"

    def __repr__(self) -> str:
        return f"ProofKey(thumbprint={self.thumbprint!r})"


def _encode(content: bytes) -> bytes:
    """Base64url without padding."""
    return binascii.b2a_base64(content, newline=False).translate(_TO_URLSAFE, b"=")
