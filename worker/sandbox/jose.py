"""JSON Web Signatures: verified and created by the stand-ins."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

PublicKey: TypeAlias = RSAKey | ECKey
Claims: TypeAlias = dict[str, Any]

ALGORITHMS: Final = tuple(
    f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)
)
"""HelseID's algorithms for assertions and DPoP proofs (HelseID reference, section 4)."""

RSA_BITS_MIN: Final = 2048
_EC_CURVES: Final = frozenset({"P-256", "P-384", "P-521"})
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeyRefusedError(ValueError):
    """A key that HelseID would refuse.

    Attributes:
        private: whether the JWK has private members.
    """

    def __init__(self, message: str, *, private: bool = False) -> None:
        super().__init__(message)
        self.private = private


@dataclass(frozen=True, slots=True)
class Token:
    """A decoded compact JWS, not verified."""

    header: Claims
    claims: Claims
    header_segment: str
    signing_input: bytes
    signature: bytes


def encode_segment(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_segment(segment: str) -> bytes:
    """The bytes of a base64url segment.

    Raises:
        ValueError: the segment is not base64url without padding.
    """
    if "=" in segment or "+" in segment or "/" in segment:
        raise ValueError("not base64url")
    padded = segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4)
    return binascii.a2b_base64(padded, strict_mode=True)


@lru_cache(maxsize=256)
def header_of(segment: str) -> Claims:
    """The header in the first segment of a compact JWS; not to be changed.

    Raises:
        ValueError: it is not a JSON object.
    """
    return _object(segment)


def split(compact: str) -> Token:
    """Decode a compact JWS.

    Raises:
        ValueError: the text is not a compact JWS, or a part is not a JSON object.
    """
    header_segment, payload_segment, signature_segment = compact.split(".")
    return Token(
        header_of(header_segment),
        _object(payload_segment),
        header_segment,
        compact[: len(header_segment) + 1 + len(payload_segment)].encode("ascii"),
        decode_segment(signature_segment),
    )


def _object(segment: str) -> Claims:
    value = orjson.loads(decode_segment(segment))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error type for the caller
    return value


def import_public(jwk: object) -> PublicKey:
    """Import a public JWK.

    Raises:
        KeyRefusedError: not a key, a private key, or a type or size that HelseID refuses.
    """
    if not isinstance(jwk, dict):
        raise KeyRefusedError("not a JWK")
    if _PRIVATE & jwk.keys():
        raise KeyRefusedError("the JWK holds private members", private=True)
    try:
        if jwk.get("kty") == "RSA":
            return _import_rsa(jwk)
        if jwk.get("kty") == "EC" and jwk.get("crv") in _EC_CURVES:
            key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
            key.get_op_key("verify")
            return key
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise KeyRefusedError("the JWK cannot be imported") from error
    raise KeyRefusedError("HelseID accepts RSA keys, and EC keys on P-256, P-384 and P-521")


def _import_rsa(jwk: Claims) -> RSAKey:
    # Checked before the import, because joserfc only warns about a short key.
    bits = int.from_bytes(decode_segment(jwk["n"]), "big").bit_length()
    if bits < RSA_BITS_MIN:
        raise KeyRefusedError(f"RSA keys must have at least {RSA_BITS_MIN} bits, not {bits}")
    key = RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e")})
    key.get_op_key("verify")
    return key


def verifies(token: Token, key: PublicKey) -> bool:
    """Whether the key verifies the signature, with an algorithm that HelseID accepts."""
    name = token.header.get("alg")
    if name not in ALGORITHMS or "crit" in token.header:
        return False
    algorithm = JWSRegistry.algorithms[name]
    try:
        algorithm.check_key(key)
        return algorithm.verify(token.signing_input, token.signature, key)
    except (JoseError, ValueError):
        return False


class TokenSigner:
    """HelseID's signing key, RSA 3072 like the real one; signs tokens with RS256."""

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(3072, private=True)
        digest = hashlib.sha1(self._key.as_der(private=False), usedforsecurity=False).digest()
        self.kid = digest.hex().upper()
        self.x5t = encode_segment(digest)

    def jwks(self) -> Claims:
        """The document of the JWKS endpoint."""
        public = self._key.as_dict(private=False)
        return {
            "keys": [{**public, "use": "sig", "kid": self.kid, "x5t": self.x5t, "alg": "RS256"}]
        }

    def sign(self, claims: Claims, *, typ: str = "at+jwt") -> str:
        """A compact JWS over the claims."""
        header = {"alg": "RS256", "kid": self.kid, "x5t": self.x5t, "typ": typ}
        return jws.serialize_compact(header, orjson.dumps(claims), self._key, algorithms=["RS256"])

    def verifies(self, token: Token) -> bool:
        """Whether the token was signed with this key."""
        return token.header.get("kid") == self.kid and verifies(token, self._key)
