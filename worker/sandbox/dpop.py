"""DPoP proofs (RFC 9449) as HelseID's token endpoint and NHN's sample API check them."""

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from worker.sandbox.faults import Action, Fault, has_action
from worker.sandbox.jose import (
    ALGORITHMS,
    Claims,
    KeyRefusedError,
    PublicKey,
    decode_segment,
    encode_segment,
    header_of,
    import_public,
    split,
    verifies,
)
from worker.sandbox.web import Request
from worker.sandbox.windows import ReplayWindow

PROOF_CHARACTERS_MAX: Final = 4_000
NONCE_VALID_S: Final = 60
IAT_PAST_S: Final = 6
IAT_FUTURE_S: Final = 5
REPLAY_S: Final = 11
_AS_IAT_S: Final = 300


class ProofError(Exception):
    """A DPoP proof is refused.

    Attributes:
        description: Duende's text (HelseID reference, section 7).
    """

    def __init__(self, description: str, error: str = "invalid_dpop_proof") -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Proof:
    """A DPoP proof with valid format and signature."""

    claims: Claims
    thumbprint: str


def open_proof(compact: str) -> Proof:
    """Check format, key and signature, in Duende's order.

    Raises:
        ProofError: one of them is invalid.
    """
    if len(compact) > PROOF_CHARACTERS_MAX:
        raise ProofError("Malformed DPoP token.")
    try:
        token = split(compact)
    except ValueError as error:
        raise ProofError("Malformed DPoP token.") from error
    key, thumbprint = _open_header(token.header_segment)
    if not verifies(token, key):
        raise ProofError("Invalid signature on DPoP token.")
    jti = token.claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise ProofError("Invalid 'jti' value.")
    return Proof(token.claims, thumbprint)


@lru_cache(maxsize=256)
def _open_header(segment: str) -> tuple[PublicKey, str]:
    """The key in a proof's header, and its thumbprint."""
    header = header_of(segment)
    if header.get("typ") != "dpop+jwt":
        raise ProofError("Invalid 'typ' value.")
    if header.get("alg") not in ALGORITHMS:
        raise ProofError("Invalid 'alg' value.")
    try:
        key = import_public(header.get("jwk"))
    except KeyRefusedError as error:
        if error.private:
            raise ProofError("'jwk' value contains a private key.") from error
        raise ProofError("Invalid 'jwk' value.") from error
    return key, key.thumbprint()


def check_at_token_endpoint(proof: Proof, url: str, now_s: float) -> None:
    """Check ``htm``, ``htu`` and ``iat`` as HelseID's token endpoint does.

    ``htu`` is compared ignoring the case of scheme and host, with default ports. The nonce limits
    the age; ``iat`` may differ by 5 minutes (inferred).

    Raises:
        ProofError: one of them is invalid.
    """
    if proof.claims.get("htm") != "POST":
        raise ProofError("Invalid 'htm' value.")
    if _plain(proof.claims.get("htu")) != _plain(url):
        raise ProofError("Invalid 'htu' value.")
    issued_s = _iat(proof)
    if abs(now_s - issued_s) > _AS_IAT_S:
        raise ProofError("Invalid 'iat' value.")


def check_at_api(proof: Proof, request: Request, token: str, now_s: float) -> None:
    """Check ``htm``, ``htu``, ``ath`` and ``iat`` as NHN's sample API does.

    ``htu`` must equal scheme, host and path as a string; ``iat`` must be in [now-6, now+5].

    Raises:
        ProofError: one of them is invalid.
    """
    claims = proof.claims
    if claims.get("ath") != token_hash(token):
        raise ProofError("Invalid 'ath' value.")
    if claims.get("htm") != request.method:
        raise ProofError("Invalid 'htm' value.")
    if claims.get("htu") != request.url:
        raise ProofError("Invalid 'htu' value.")
    if not -IAT_FUTURE_S <= int(now_s) - _iat(proof) <= IAT_PAST_S:
        raise ProofError("Invalid 'iat' value.")


def refuse_replay(seen: ReplayWindow, proof: Proof) -> None:
    """Check that the proof was not used before. Must be the last check, as it records the proof.

    Raises:
        ProofError: the proof was used before.
    """
    if seen.seen(proof.claims["jti"]):
        raise ProofError("Detected replay of DPoP proof token.")


def token_hash(access_token: str) -> str:
    """The expected ``ath``: base64url of the token's SHA-256 (RFC 9449, section 4.2)."""
    digest = hashlib.sha256(access_token.encode("latin-1")).digest()
    return encode_segment(digest)


def _iat(proof: Proof) -> float:
    issued_s = proof.claims.get("iat")
    if issued_s is None:
        raise ProofError("Missing 'iat' value.")
    if isinstance(issued_s, bool) or not isinstance(issued_s, int | float):
        raise ProofError("Invalid 'iat' value.")
    return issued_s


def _plain(url: object) -> tuple[str, str, int | None, str] | None:
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if parts.query or parts.fragment or not parts.hostname:
        return None
    return parts.scheme.lower(), parts.hostname.lower(), port, parts.path


class Nonces:
    """Nonces as authenticated timestamps, like Duende's: no table, not bound to a client."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._used = ReplayWindow(NONCE_VALID_S)

    def check(self, proof: Proof, fault: Fault | None, now_s: float, *, is_required: bool) -> None:
        """Check the proof's nonce, if one is required or a fault demands one.

        Raises:
            ProofError: it is missing or not accepted.
        """
        each_call = has_action(fault, Action.NONCE_EVERY_CALL)
        never = has_action(fault, Action.NONCE_FOREVER, Action.NONCE_WITHOUT_HEADER)
        nonce = proof.claims.get("nonce")
        # Record every use, so that a nonce used before the fault counts as used.
        is_used = nonce is not None and self._used.seen(str(nonce))
        if not (is_required or each_call or never):
            return
        if nonce is None:
            raise ProofError("Missing 'nonce' value.", "use_dpop_nonce")
        if never or (each_call and is_used) or not self._is_valid(nonce, now_s):
            raise ProofError("Invalid 'nonce' value.", "use_dpop_nonce")

    def answer(self, error: ProofError, fault: Fault | None, now_s: float) -> str:
        """The nonce to send with a refusal, valid for ``NONCE_VALID_S`` seconds; else empty."""
        if error.error != "use_dpop_nonce" or has_action(fault, Action.NONCE_WITHOUT_HEADER):
            return ""
        stamp = struct.pack(">d", now_s) + secrets.token_bytes(4)
        return encode_segment(stamp + self._mac(stamp))

    def _mac(self, stamp: bytes) -> bytes:
        return hmac.digest(self._key, stamp, "sha256")[:16]

    def _is_valid(self, nonce: object, now_s: float) -> bool:
        """Whether the nonce was created here and has not expired."""
        if not isinstance(nonce, str):
            return False
        try:
            data = decode_segment(nonce)
        except ValueError:
            return False
        stamp, mac = data[:12], data[12:]
        if not hmac.compare_digest(self._mac(stamp), mac):
            return False
        issued_s: float = struct.unpack(">d", stamp[:8])[0]
        return now_s - NONCE_VALID_S <= issued_s <= now_s + 1
