"""The client key, which authenticates the worker to HelseID: reading, creating and replacing it.

HelseID accepts RS, PS and ES with 256, 384 and 512 (HelseID reference, section 4): RSA keys of at
least 2048 bits, and the curves P-256, P-384 and P-521. Symmetric keys and EdDSA are not accepted.
"""

import codecs
import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
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
from worker.errors import ConfigurationError, reason_of
from worker.files import write_new
from worker.trusted_files import read_trusted

KEY_FILE: Final = "helseid.private_jwk_file"
"""The configuration key, for error messages."""
FINISH: Final = "pts-worker keys rotate --finish"

_RSA_BITS_MIN: Final = 2048
_RSA_ALGORITHMS: Final = ("PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""The first is the default: FAPI 2.0, on which HelseID is based, does not allow RS256."""
_CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_UNREADABLE: Final = (
    JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, OverflowError, RecursionError,
)  # fmt: skip
_DOCUMENT: Final = msgspec.json.Decoder(dict[str, Any])

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
        """The content of the key file: a private JWK. Secret."""
        jwk = self.key.as_dict(private=True, alg=self.alg, use="sig", kid=self.kid)
        return msgspec.json.format(msgspec.json.encode(jwk)) + b"\n"

    def describe(self) -> str:
        """Type, size, algorithm and key id as text: ``RSA 4096 bits, PS512, kid …``."""
        size = self.key.public_key.key_size
        return f"{self.key.key_type} {size} bits, {self.alg}, kid {self.kid}"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client key cannot be pickled or copied")


def public_call(file: Path) -> str:
    """The command that prints the public key of this file."""
    return f"pts-worker keys public --set helseid.private_jwk_file={file}"


def load_client_key(path: Path) -> ClientKey:
    """Read the client's private key from a JWK, a PEM file, or HelseID's self-service JSON.

    The algorithm is the JWK's ``alg``, else that of its curve, or ``PS256`` for RSA. The id is the
    JWK's ``kid``, else the RFC 7638 thumbprint, as in HelseID's tools. Importing a 4096-bit RSA key
    takes 250 ms, so load the key once.

    Args:
        path: a file that other accounts cannot write.

    Raises:
        ConfigurationError: the file or key cannot be used. The message contains no key material.
    """
    content = read_trusted(path, key=KEY_FILE, is_secret=True).removeprefix(codecs.BOM_UTF8)
    jwk: dict[str, Any] = {}
    try:
        if b"-----BEGIN" in content:
            native: object = load_pem_private_key(content, password=None)
        else:
            jwk = _jwk_in(_DOCUMENT.decode(content))
            native = _native(jwk)
    except _UNREADABLE:
        if b"ENCRYPTED" in content:
            raise ConfigurationError(
                f"{KEY_FILE}: {path}: the private key is encrypted",
                hint=f"`umask 077; openssl pkey -in {path} -out NEW` writes it without encryption; "
                "configure the new file",
            ) from None
        raise ConfigurationError(
            f"{KEY_FILE}: {path}: is not a private key that can be read",
            hint="copy the complete file (a PEM file ends with an END line). It must be a private "
            "JWK, an unencrypted PEM private key, or the JSON from HelseID self-service",
        ) from None
    key, algorithms = _accepted(native, path)
    alg = jwk.get("alg") or algorithms[0]
    if alg not in algorithms:
        raise ConfigurationError(
            f"{KEY_FILE}: {path}: 'alg' does not match the key",
            hint="HelseID accepts RS, PS (RSA) and ES (EC, by its curve) with 256, 384 and 512",
        )
    return ClientKey(key=key, alg=alg, kid=jwk.get("kid") or key.thumbprint())


def new_client_key() -> ClientKey:
    """A new key, with its RFC 7638 thumbprint as ``kid``.

    It is P-521 with ES512, the default of HelseID's key generator (HelseID reference, section 9).
    """
    key = ECKey.generate_key("P-521")
    return ClientKey(key=key, alg="ES512", kid=key.thumbprint())


class KeyFiles:
    """The files of a key and its rotation.

    Next to the configured file ``F``, ``F.new`` contains a key that HelseID has not accepted yet.
    One rename installs it, so that ``F`` has the old or the new key after a crash at any point.

    Args:
        path: the key file as configured. If it is a symbolic link, its target is changed.

    Attributes:
        current: the key in use.
        pending: the new key, until HelseID accepts it.
    """

    def __init__(self, path: Path) -> None:
        self.current = path.resolve()
        self.pending = self.current.with_name(f"{self.current.name}.new")

    def put_pending(self, key: ClientKey) -> None:
        """Write the new key with mode 0600.

        Raises:
            ConfigurationError: a new key already exists, or the folder is not writable.
        """
        with self._changing():
            try:
                write_new(self.pending, key.document())
            except FileExistsError:
                raise ConfigurationError(
                    f"{self.pending} already exists: a rotation was started but not finished",
                    hint=f"register the key that `{public_call(self.pending)}` prints, then run "
                    f"`{FINISH}`; or delete the file and start again",
                ) from None

    def put_in_place(self) -> None:
        """Replace the current key with the pending one, in one step. The old key is not kept.

        Keeps owner, group and mode of the current file, but removes all permissions of others.

        Raises:
            ConfigurationError: the folder is not writable.
        """
        with self._changing():
            before, new = self.current.stat(), self.pending.stat()
            # A default ACL of the folder would otherwise give named accounts access to the key.
            with contextlib.suppress(OSError, AttributeError):
                os.removexattr(self.pending, "system.posix_acl_access")
            # Rotation may run as root, but the service's account must still read the key.
            if (new.st_uid, new.st_gid) != (before.st_uid, before.st_gid):
                os.chown(self.pending, before.st_uid, before.st_gid)
            self.pending.chmod(stat.S_IMODE(before.st_mode) & ~stat.S_IRWXO)
            self.pending.replace(self.current)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Make a change of the folder durable, and convert operating-system errors."""
        try:
            yield
            # A rename is durable after a crash only when its folder is written.
            folder = os.open(self.current.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ConfigurationError(
                f"cannot change keys in {self.current.parent}: {reason_of(error)}",
                hint="run this on the machine with the original key file, as its owner; the "
                "copies that systemd and Kubernetes provide are read-only",
            ) from None


def _jwk_in(document: dict[str, Any]) -> dict[str, Any]:
    """The JWK in a document: the document itself, or a member of self-service's JSON (or text)."""
    members = {name.casefold(): value for name, value in document.items()}
    # Self-service writes ``privateJwk``, and other tools for HelseID write ``ClientJwk``.
    inner = members.get("privatejwk") or members.get("clientjwk") or document
    if isinstance(inner, str):
        inner = _DOCUMENT.decode(inner if inner.lstrip().startswith("{") else unquote(inner))
    if not isinstance(inner, dict):
        raise TypeError
    return inner


def _native(jwk: dict[str, Any]) -> object:
    key_class = RSAKey if jwk.get("kty") == "RSA" else ECKey
    key_class.validate_dict_key(jwk)
    # Not import_key, which only warns about short keys. HelseID does not accept them.
    return key_class.binding.import_from_dict(jwk)


def _accepted(native: object, path: Path) -> tuple[_Key, Sequence[str]]:
    """The key and its allowed algorithms, the default first.

    Raises:
        ConfigurationError: HelseID does not accept it.
    """
    if isinstance(native, rsa.RSAPrivateKey) and native.key_size >= _RSA_BITS_MIN:
        return RSAKey(native, native), _RSA_ALGORITHMS
    if isinstance(native, ec.EllipticCurvePrivateKey) and native.curve.name in _CURVE_ALGORITHMS:
        return ECKey(native, native), [_CURVE_ALGORITHMS[native.curve.name]]
    if isinstance(native, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ConfigurationError(
            f"{KEY_FILE}: {path} contains a public key",
            hint="name the file of the private key that it belongs to",
        )
    raise ConfigurationError(
        f"{KEY_FILE}: {path}: HelseID accepts private keys of P-256, P-384 and P-521, and of RSA "
        f"with at least {_RSA_BITS_MIN} bits",
        hint="create a new key: pts-worker keys new",
    )
