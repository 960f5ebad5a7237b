"""The client's key, by which HelseID knows the worker: read from its file and judged, or made.

HelseID accepts RS, PS and ES with 256, 384 and 512 (HelseID reference, section 4): RSA keys of at
least 2048 bits, and the curves P-256, P-384 and P-521. Symmetric keys and EdDSA are not accepted.
"""

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias
from urllib.parse import unquote

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.trusted_files import read_secret

KEY_FILE: Final = "helseid.private_jwk_file"
"""The configuration key, for error messages."""

_RSA_BITS_MIN: Final = 2048
_RSA_ALGORITHMS: Final = ("PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""The first is for a key that names none: FAPI 2.0, on which HelseID is based, has no RS256."""
_CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_INVALID: Final = (JoseError, ValueError, TypeError, KeyError, OverflowError)

_Key: TypeAlias = RSAKey | ECKey


class ClientKey(Value, frozen=True, kw_only=True):
    """A private key that signs assertions. Key material never appears in ``repr`` or pickles."""

    hidden = frozenset({"key"})

    key: _Key
    alg: str
    kid: str

    def sign(self, *, typ: str, claims: Mapping[str, Any]) -> str:
        """A compact JWS over the claims, with ``alg``, ``kid`` and ``typ`` in the header."""
        header = {"alg": self.alg, "kid": self.kid, "typ": typ}
        content = msgspec.json.encode(claims)
        return jws.serialize_compact(header, content, self.key, algorithms=[self.alg])

    def public_jwk(self) -> dict[str, Any]:
        """The public key, as registered in HelseID self-service."""
        return dict(self.key.as_dict(private=False, alg=self.alg, kid=self.kid, use="sig"))

    def document(self) -> bytes:
        """The private key as its file holds it, a JWK. Secret."""
        jwk = self.key.as_dict(private=True, alg=self.alg, use="sig", kid=self.kid)
        return msgspec.json.format(msgspec.json.encode(jwk)) + b"\n"

    def describe(self) -> str:
        """Type, size, algorithm and key id as text: ``RSA 4096 bits, PS512, kid …``."""
        size = self.key.public_key.key_size
        return f"{self.key.key_type} {size} bits, {self.alg}, kid {self.kid}"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client key cannot be pickled or copied")


def load_client_key(path: Path) -> ClientKey:
    """Read the client's private key from a JWK, a PEM file, or HelseID's self-service JSON.

    Its algorithm is what a JWK says, else that of its curve, or ``PS256`` for RSA. Its id is the
    JWK's ``kid``, else the RFC 7638 thumbprint, as in HelseID's tools. Importing a 4096-bit RSA key
    takes 250 ms, so load the key once.

    Args:
        path: the file, which nobody but its owner can write.

    Raises:
        ConfigurationError: the file or key cannot be used. The message holds no key material.
    """
    content = read_secret(path, key=KEY_FILE).removeprefix(codecs.BOM_UTF8)
    jwk: dict[str, Any] = {}
    try:
        if b"-----BEGIN" in content:
            native = _from_pem(content)
        else:
            jwk = _jwk_in(_json_object(content))
            native = _from_jwk(jwk)
        key, chosen = _usable(native, jwk.get("alg"))
    except ConfigurationError as error:
        problem = f"{KEY_FILE}: {path}: {error.message}"
        raise ConfigurationError(problem, hint=error.hint) from None
    return ClientKey(key=key, alg=chosen, kid=jwk.get("kid") or key.thumbprint())


def new_client_key() -> ClientKey:
    """A new key, with its RFC 7638 thumbprint as ``kid``.

    It is P-521 with ES512, the default of HelseID's key generator (HelseID reference, section 9).
    """
    key = ECKey.generate_key("P-521")
    return ClientKey(key=key, alg="ES512", kid=key.thumbprint())


def _json_object(content: bytes | str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ConfigurationError(
            "neither a PEM file nor a JSON object",
            hint="use a private JWK, a PEM private key, or the JSON from HelseID self-service",
        ) from None


def _jwk_in(document: dict[str, Any]) -> dict[str, Any]:
    """The JWK in a document: itself, or a member of self-service's, as JSON in a string or not."""
    if "kty" in document:
        return document
    members = {name.casefold(): value for name, value in document.items()}
    inner = members.get("privatejwk") or members.get("clientjwk")
    if inner is None:
        raise ConfigurationError(
            "holds neither 'kty' nor 'privateJwk'",
            hint="download the client's configuration with its private JWK from self-service",
        )
    if isinstance(inner, str):
        inner = _json_object(inner if inner.lstrip().startswith("{") else unquote(inner))
    if not isinstance(inner, dict):
        raise ConfigurationError("'privateJwk' is not a JWK")
    return inner


def _from_pem(content: bytes) -> object:
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigurationError(
            "the PEM file is encrypted", hint="store it decrypted, with mode 0400"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            "is not a readable PEM private key",
            hint="use the private key of the key pair, an EC or RSA key; `ssh-keygen` writes "
            "another format",
        ) from None


def _from_jwk(jwk: dict[str, Any]) -> object:
    kind = jwk.get("kty")
    if kind not in ("RSA", "EC"):
        raise ConfigurationError("is neither an RSA nor an EC key; HelseID accepts only key pairs")
    if not jwk.get("d"):
        raise ConfigurationError("is a public key", hint="use the private key of the key pair")
    imported = RSAKey if kind == "RSA" else ECKey
    try:
        imported.validate_dict_key(jwk)
        # Not import_key, which warns of a short key; HelseID does not take one at all.
        native = imported.binding.import_from_dict(jwk)
    except _INVALID:
        raise ConfigurationError(f"is not a valid {kind} private JWK") from None
    if jwk.get("use", "sig") != "sig" or "sign" not in jwk.get("key_ops", ["sign"]):
        raise ConfigurationError("the key is not meant for signing ('use' or 'key_ops')")
    return native


def _usable(native: object, alg: str | None) -> tuple[_Key, str]:
    """The key, and the algorithm that it signs with: the named one, else the key's default.

    Raises:
        ConfigurationError: HelseID does not accept them.
    """
    key: _Key
    algorithms: Sequence[str]
    if isinstance(native, rsa.RSAPrivateKey):
        key, algorithms = RSAKey(native, native), _RSA_ALGORITHMS
        if native.key_size < _RSA_BITS_MIN:
            raise ConfigurationError(
                f"the RSA key has {native.key_size} bits; HelseID requires at least "
                f"{_RSA_BITS_MIN}",
                hint="create a new key: pts-worker keys new",
            )
    elif isinstance(native, ec.EllipticCurvePrivateKey) and native.curve.name in _CURVE_ALGORITHMS:
        key, algorithms = ECKey(native, native), [_CURVE_ALGORITHMS[native.curve.name]]
    else:
        raise ConfigurationError("HelseID accepts only RSA, P-256, P-384 and P-521 keys")
    if alg and alg not in algorithms:
        raise ConfigurationError(
            "'alg' does not match the key",
            hint="HelseID accepts RS, PS (RSA) and ES (EC, by its curve) with 256, 384 and 512",
        )
    return key, alg or algorithms[0]
