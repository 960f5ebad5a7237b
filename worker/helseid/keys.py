"""The client key, which authenticates the worker to HelseID.

HelseID accepts RS, PS and ES with 256, 384 and 512 (HelseID reference, section 4): RSA keys of at
least 2048 bits, and the curves P-256, P-384 and P-521. Symmetric keys and EdDSA are not accepted.
"""

import base64
import binascii
import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast
from urllib.parse import unquote

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.helseid.secret_files import read_secret

RSA_BITS_MIN: Final = 2048
KEY_FILE: Final = "helseid.private_jwk_file"
"""The configuration key, for error messages."""

CURVE_ALGORITHMS: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
RSA_ALGORITHMS: Final = ("PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
RSA_DEFAULT: Final = "PS256"
"""For an RSA key without ``alg``. FAPI 2.0, on which HelseID is based, allows PS256, not RS256."""

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_IMPORT_ERRORS: Final = (JoseError, ValueError, TypeError, KeyError, OverflowError, binascii.Error)

KeyKind: TypeAlias = Literal["ec", "rsa"]
_Key: TypeAlias = RSAKey | ECKey


class KeyHints(Value, frozen=True, kw_only=True):
    """Client id and issuer from a self-service file, which the configuration should name too."""

    client_id: str | None = None
    issuer: str | None = None


class ClientKey:
    """A private key that signs assertions. Key material never appears in ``repr`` or pickles.

    Attributes:
        hints: what else the file says, if it is self-service's.
    """

    __slots__ = ("_key", "alg", "hints", "kid")

    def __init__(self, key: _Key, *, alg: str, kid: str, hints: KeyHints) -> None:
        self._key = key
        self.alg = alg
        self.kid = kid
        self.hints = hints

    def sign(self, *, typ: str, claims: Mapping[str, Any]) -> str:
        """A compact JWS over the claims, with ``alg``, ``kid`` and ``typ`` in the header."""
        header = {"alg": self.alg, "kid": self.kid, "typ": typ}
        return jws.serialize_compact(header, orjson.dumps(claims), self._key, algorithms=[self.alg])

    def public_jwk(self) -> dict[str, str]:
        """The public key, as registered in HelseID self-service."""
        members = self._key.as_dict(private=False)
        return public_jwk({**members, "alg": self.alg, "kid": self.kid})

    def describe(self) -> str:
        """Type, size, algorithm and key id as text: ``RSA 4096 bits, PS512, kid …``."""
        size = self._key.public_key.key_size
        return f"{self._key.key_type} {size} bits, {self.alg}, kid {self.kid}"

    def __repr__(self) -> str:
        return f"ClientKey({self.alg}, kid={self.kid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client key cannot be pickled or copied")


def load_client_key(path: Path, *, alg: str | None = None, kid: str | None = None) -> ClientKey:
    """Read the client's private key from a JWK, a PEM file, or HelseID's self-service JSON.

    Importing a 4096-bit RSA key takes 250 ms, so load the key once.

    Args:
        path: the file, readable by owner and group only.
        alg: overrides the JWK's ``alg``. Default: determined by the curve; ``PS256`` for RSA.
        kid: overrides the JWK's ``kid``. Default: the RFC 7638 thumbprint, as in HelseID's tools.

    Raises:
        ConfigurationError: the file or key cannot be used. The message holds no key material.
    """
    content = read_secret(path, key=KEY_FILE).removeprefix(codecs.BOM_UTF8)
    if b"-----BEGIN" in content:
        return _finish(_from_pem(content, path), {"alg": alg, "kid": kid}, KeyHints(), path)
    document = _json_object(content, path)
    jwk, hints = _unwrap(document, path)
    named = {"alg": alg or jwk.get("alg"), "kid": kid or jwk.get("kid")}
    return _finish(_from_jwk(jwk, path), named, hints, path)


def new_client_key(kind: KeyKind = "ec") -> dict[str, str]:
    """A new private key as a JWK, with its RFC 7638 thumbprint as ``kid``.

    ``ec`` is P-521 with ES512, the default of HelseID's key generator. ``rsa`` is 4096 bits with
    PS512, as in self-service; it takes 1 s to generate and 250 ms to load (HelseID reference,
    sections 4 and 9).
    """
    key: _Key
    if kind == "rsa":
        key, alg = RSAKey.generate_key(4096), "PS512"
    else:
        key, alg = ECKey.generate_key("P-521"), "ES512"
    members = cast("dict[str, str]", key.as_dict(private=True))
    return {**members, "alg": alg, "use": "sig", "kid": key.thumbprint()}


def public_jwk(jwk: Mapping[str, Any]) -> dict[str, str]:
    """The public part of a JWK, without private members and ``key_ops``, with ``use`` set."""
    public = {name: value for name, value in jwk.items() if name not in _PRIVATE_MEMBERS}
    public.pop("key_ops", None)
    return {**public, "use": "sig"}


def _unusable(path: Path, problem: str, *, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"{KEY_FILE}: {path}: {problem}", hint=hint)


def _json_object(content: bytes | str, path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise _unusable(
            path,
            "neither a PEM file nor a JSON object",
            hint="use a private JWK, a PEM private key, or the JSON from HelseID self-service",
        ) from None
    return document


def _unwrap(document: dict[str, Any], path: Path) -> tuple[dict[str, Any], KeyHints]:
    """The JWK in a document, and the hints if it is a self-service file."""
    if "kty" in document:
        return document, KeyHints()
    members = {name.casefold(): value for name, value in document.items()}
    inner = members.get("privatejwk") or members.get("clientjwk")
    if inner is None:
        raise _unusable(
            path,
            "holds neither 'kty' nor 'privateJwk'",
            hint="download the client's configuration with its private JWK from self-service",
        )
    if isinstance(inner, str):
        inner = _json_object(inner if inner.lstrip().startswith("{") else unquote(inner), path)
    if not isinstance(inner, dict):
        raise _unusable(path, "'privateJwk' is not a JWK")
    return inner, KeyHints(
        client_id=_text(members.get("clientid")), issuer=_issuer(members.get("authority"))
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _issuer(value: object) -> str | None:
    """The issuer in ``authority``, without the token path that some published files include."""
    text = _text(value)
    return text.rstrip("/").removesuffix("/connect/token") if text else None


def _from_pem(content: bytes, path: Path) -> _Key:
    if b"PRIVATE KEY-----" not in content:
        raise _unusable(path, "is not a private key", hint="use the private key of the key pair")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise _unusable(
            path, "the PEM file is encrypted", hint="store it decrypted, with mode 0400"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable(
            path,
            "is not a readable PEM private key",
            hint="use an EC or RSA key; `ssh-keygen` writes another format",
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        _require_rsa_size(key.key_size, path)
        return RSAKey(key, key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    ):
        return ECKey(key, key)
    raise _unusable(path, "HelseID accepts only RSA, P-256, P-384 and P-521 keys")


def _from_jwk(jwk: dict[str, Any], path: Path) -> _Key:
    kind = jwk.get("kty")
    if kind == "oct":
        raise _unusable(path, "is a symmetric key; HelseID accepts only key pairs")
    if kind not in {"RSA", "EC"}:
        raise _unusable(path, "is neither an RSA nor an EC key")
    if not jwk.get("d"):
        raise _unusable(path, "is a public key", hint="use the private key of the key pair")
    if jwk.get("use", "sig") != "sig" or "sign" not in jwk.get("key_ops", ["sign"]):
        raise _unusable(path, "the key is not meant for signing ('use' or 'key_ops')")
    try:
        return _import(jwk, path)
    except _IMPORT_ERRORS:
        raise _unusable(path, f"is not a valid {kind} private JWK") from None


def _import(jwk: dict[str, Any], path: Path) -> _Key:
    """Import the key. Rebuilding it from the native key makes its members canonical."""
    members = {name: value for name, value in jwk.items() if name not in {"use", "key_ops"}}
    if jwk["kty"] == "EC":
        if jwk.get("crv") not in CURVE_ALGORITHMS:
            raise _unusable(path, "the curve is not P-256, P-384 or P-521")
        curve_key = ECKey.import_key(members).raw_value
        return ECKey(curve_key, curve_key)
    bits = int.from_bytes(base64.urlsafe_b64decode(jwk["n"] + "=="), "big").bit_length()
    _require_rsa_size(bits, path)
    native_rsa = RSAKey.import_key(members).raw_value
    return RSAKey(native_rsa, native_rsa)


def _require_rsa_size(bits: int, path: Path) -> None:
    if bits < RSA_BITS_MIN:
        raise _unusable(
            path,
            f"the RSA key has {bits} bits; HelseID requires at least {RSA_BITS_MIN}",
            hint="create a new key: pts-worker keys new",
        )


def _finish(key: _Key, named: Mapping[str, str | None], hints: KeyHints, path: Path) -> ClientKey:
    """Determine ``alg`` and ``kid``."""
    alg = named["alg"] or _default_algorithm(key)
    if not _fits(key, alg):
        allowed = "RS, PS (RSA) and ES (EC, by its curve) with 256, 384 and 512"
        raise _unusable(
            path,
            f"'alg' does not match the {key.key_type} key",
            hint=f"HelseID accepts {allowed}",
        )
    kid = named["kid"] or key.thumbprint()
    if not isinstance(kid, str):
        raise _unusable(path, "'kid' is not a string")
    return ClientKey(key, alg=alg, kid=kid, hints=hints)


def _default_algorithm(key: _Key) -> str:
    return CURVE_ALGORITHMS[key.curve_name] if isinstance(key, ECKey) else RSA_DEFAULT


def _fits(key: _Key, alg: object) -> bool:
    if isinstance(key, ECKey):
        return alg == CURVE_ALGORITHMS[key.curve_name]
    return alg in RSA_ALGORITHMS
