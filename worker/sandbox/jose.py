"""Keys, signatures and DPoP proofs (RFC 9449), as HelseID and NHN's sample API check them."""

import hashlib
import json
import math
import secrets
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from worker.sandbox.web import ALGORITHMS, RefusedError

PublicKey: TypeAlias = RSAKey | ECKey
Claims: TypeAlias = dict[str, Any]

PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Private members of a JWK."""

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
    """Decode a compact JWS. None if the text is not one, or a part is not a JSON object."""
    try:
        signed = jws.extract_compact(compact.encode("ascii"), registry=_REGISTRY)
        claims = json.loads(signed.payload)
    except (JoseError, TypeError, ValueError):
        return None
    header: Any = signed.protected
    is_valid = isinstance(claims, dict) and isinstance(header, dict)
    return Token(header, claims, signed) if is_valid else None


def verifies(token: Token, key: PublicKey) -> bool:
    """Whether the key made the signature, with an algorithm that HelseID accepts."""
    # No critical extension is known here, and unknown ones must be refused (RFC 7515 §4.1.11).
    if "crit" in token.header:
        return False
    try:
        return jws.validate_compact(token.signed, key, registry=_REGISTRY)
    except (JoseError, TypeError, ValueError):
        return False


def import_public(jwk: object) -> PublicKey | None:
    """Import a public JWK. None for a private one, or a type or size that HelseID refuses."""
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
    """HelseID's key in this process, RSA 3072 like the real one. Takes most of a second."""
    names: Any = {"use": "sig", "alg": "RS256", "kid": secrets.token_hex(20).upper()}
    return RSAKey.generate_key(3072, names, private=True)


def sign(claims: Claims) -> str:
    """An access token with these claims."""
    key = signing_key()
    header = {"alg": "RS256", "kid": key.kid, "typ": "at+jwt"}
    return jws.serialize_compact(header, json.dumps(claims), key, algorithms=["RS256"])


NONCE_VALID_S: Final = 60
_PROOF_CHARACTERS_MAX: Final = 4_000
_USED_MAX: Final = 100_000


def invalid(description: str) -> RefusedError:
    """The refusal of a proof, in Duende's words (HelseID reference, section 7)."""
    return RefusedError("invalid_dpop_proof", description)


@dataclass(frozen=True, slots=True)
class Proof:
    """A DPoP proof with valid format and signature."""

    claims: Claims
    thumbprint: str


def open_proof(compact: str) -> Proof:
    """Check format, key and signature, in Duende's order.

    Raises:
        RefusedError: one of them is invalid.
    """
    token = read(compact) if len(compact) <= _PROOF_CHARACTERS_MAX else None
    if token is None:
        raise invalid("Malformed DPoP token.")
    if token.header.get("typ") != "dpop+jwt":
        raise invalid("Invalid 'typ' value.")
    if token.header.get("alg") not in ALGORITHMS:
        raise invalid("Invalid 'alg' value.")
    jwk = token.header.get("jwk")
    if isinstance(jwk, dict) and PRIVATE & jwk.keys():
        raise invalid("'jwk' value contains a private key.")
    key = _imported(json.dumps(jwk))
    if key is None:
        raise invalid("Invalid 'jwk' value.")
    if not verifies(token, key[0]):
        raise invalid("Invalid signature on DPoP token.")
    jti = token.claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise invalid("Invalid 'jti' value.")
    return Proof(token.claims, key[1])


@lru_cache(maxsize=256)
def _imported(jwk: str) -> tuple[PublicKey, str] | None:
    """A proof's key and its thumbprint. Cached, because a client sends it with every request."""
    key = import_public(json.loads(jwk))
    return None if key is None else (key, key.thumbprint())


def check_request(
    proof: Proof, url: str, now_s: float, *, past_s: float, future_s: float, token: str = ""
) -> None:
    """Check that the proof is for a POST to this URL, and not too old or too new.

    ``htu`` must equal the URL as a string, as in NHN's sample. Duende's token endpoint ignores the
    case of scheme and host, and the stand-in is stricter. Proofs for HelseID have no token.

    Raises:
        RefusedError: the proof is for another request, or its time is wrong.
    """
    expected = {"htm": "POST", "htu": url}
    if token:
        digest = hashlib.sha256(token.encode("latin-1")).digest()
        expected["ath"] = urlsafe_b64encode(digest).decode("ascii")
    # Bound to method, address and token (RFC 9449 §4.3), so a stolen proof is of no use.
    for name, value in expected.items():
        if proof.claims.get(name) != value:
            raise invalid(f"Invalid '{name}' value.")
    issued_s = proof.claims.get("iat")
    if issued_s is None:
        raise invalid("Missing 'iat' value.")
    # A bool is also an int.
    is_number = isinstance(issued_s, int | float) and not isinstance(issued_s, bool)
    if not is_number or not -past_s <= issued_s - int(now_s) <= future_s:
        raise invalid("Invalid 'iat' value.")


class Once:
    """Ids that may be used once. Keeps the latest 100,000."""

    def __init__(self) -> None:
        self._used: dict[str, None] = {}

    def is_used(self, jti: str) -> bool:
        """Whether the id was used before. Records it."""
        if jti in self._used:
            return True
        self._used[jti] = None
        if len(self._used) > _USED_MAX:  # the oldest proof expired long ago
            del self._used[next(iter(self._used))]
        return False


class Nonces:
    """Nonces with a lifetime. Like Duende's, they can be reused, by every client."""

    def __init__(self) -> None:
        self._issued_s: dict[str, float] = {}

    def check(self, proof: Proof, now_s: float) -> None:
        """Check the proof's nonce.

        Raises:
            RefusedError: the nonce is missing, foreign or expired. The error has a new one.
        """
        nonce = proof.claims.get("nonce")
        age_s = now_s - self._issued_s.get(str(nonce), -math.inf)
        if -1 <= age_s <= NONCE_VALID_S:
            return
        new = secrets.token_urlsafe()
        # Expired nonces are forgotten, so the memory is bounded.
        self._issued_s = {k: v for k, v in self._issued_s.items() if v > now_s - NONCE_VALID_S}
        self._issued_s[new] = now_s
        problem = "Missing" if nonce is None else "Invalid"
        raise RefusedError("use_dpop_nonce", f"{problem} 'nonce' value.", nonce=new)
