"""Keys and signatures that HelseID accepts, on joserfc."""

import json
import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.util import urlsafe_b64decode

PublicKey: TypeAlias = RSAKey | ECKey
Claims: TypeAlias = dict[str, Any]

ALGORITHMS: Final = tuple(
    f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)
)
"""HelseID's algorithms for assertions and DPoP proofs (HelseID reference, section 4)."""

PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members that no public JWK has."""

_RSA_BITS_MIN: Final = 2048
_CURVES: Final = ("P-256", "P-384", "P-521")
_REGISTRY: Final = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
# The default of 512 is too short for a proof with an RSA key in its header.
_REGISTRY.max_header_length = 4_000


@dataclass(frozen=True, slots=True)
class Token:
    """A decoded compact JWS, not verified."""

    header: Claims
    claims: Claims
    signed: CompactSignature


def read(compact: str) -> Token | None:
    """Decode a compact JWS; None if the text is none, or a part is not a JSON object."""
    try:
        signed = jws.extract_compact(compact.encode("ascii"), registry=_REGISTRY)
        claims = json.loads(signed.payload)
    except (JoseError, TypeError, ValueError):
        return None
    header: Any = signed.protected
    is_good = isinstance(claims, dict) and isinstance(header, dict)
    return Token(header, claims, signed) if is_good else None


def verifies(token: Token, key: PublicKey) -> bool:
    """Whether the key made the signature, with an algorithm that HelseID accepts."""
    if "crit" in token.header:
        return False
    try:
        return jws.validate_compact(token.signed, key, registry=_REGISTRY)
    except (JoseError, TypeError, ValueError):
        return False


def import_public(jwk: object) -> PublicKey | None:
    """Import a public JWK; None for a private one, or a type or size that HelseID refuses."""
    if not isinstance(jwk, dict) or PRIVATE & jwk.keys():
        return None
    key: PublicKey
    try:
        if jwk.get("kty") == "EC" and jwk.get("crv") in _CURVES:
            key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
        # Checked before the import, because joserfc only warns about a short key.
        elif jwk.get("kty") == "RSA" and _bits(jwk["n"]) >= _RSA_BITS_MIN:
            key = RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e")})
        else:
            return None
        key.get_op_key("verify")
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return key


def _bits(number: str) -> int:
    return int.from_bytes(urlsafe_b64decode(number.encode("ascii"))).bit_length()


def new_key_pair() -> tuple[Claims, Claims]:
    """A new EC P-256 key pair as (private JWK, public JWK)."""
    key = ECKey.generate_key("P-256", private=True)
    names = {"kid": key.thumbprint(), "alg": "ES256"}
    return {**key.as_dict(private=True), **names}, {**key.as_dict(private=False), **names}


@cache
def signing_key() -> RSAKey:
    """HelseID's key in this process, RSA 3072 like the real one; it takes most of a second."""
    names: Any = {"use": "sig", "alg": "RS256", "kid": secrets.token_hex(20).upper()}
    return RSAKey.generate_key(3072, names, private=True)


def sign(claims: Claims) -> str:
    """An access token with these claims."""
    key = signing_key()
    header = {"alg": "RS256", "kid": key.kid, "typ": "at+jwt"}
    return jws.serialize_compact(header, json.dumps(claims), key, algorithms=["RS256"])
