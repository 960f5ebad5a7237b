"""The client's key: the forms that HelseID takes, the forms that it refuses, and its file."""

import json
import os
import stat
import struct
from pathlib import Path
from urllib.parse import quote

import jwskate
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.support.http.helseid import write_secret
from worker.errors import ConfigurationError
from worker.helseid.keys import KeyFiles, load_client_key

KIND_OF = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *KIND_OF]
PEM_FORMATS = [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
STRANGER = 4242
UNREADABLE = "is not a private key that can be read"
UNACCEPTED = "HelseID accepts private keys of P-256, P-384 and P-521, and of RSA"
_OWNER, _USER, _OWN_GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20  # acl(5)
_NOBODY = 0xFFFFFFFF


def set_list(path: Path, rights: int, *, number: int, is_default: bool = False) -> None:
    """Let one user have these rights (bits of a mode), and the owning group none.

    Args:
        path: whose owner has all rights.
        rights: also the mask, so the mode shows them as the group's.
        number: of the user.
        is_default: of new files in the folder.
    """
    entries = [
        (_OWNER, 7, _NOBODY),
        (_USER, rights, number),
        (_OWN_GROUP, 0, _NOBODY),
        (_MASK, rights, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    packed = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in sorted(entries)
    )
    which = "default" if is_default else "access"
    os.setxattr(path, f"system.posix_acl_{which}", packed)


def pem(key, form=PrivateFormat.PKCS8, encryption=None) -> str:
    content: bytes = key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())
    return content.decode()


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_signs_with_each_algorithm(alg, private_jwks, tmp_path):
    """A JWK that names any of HelseID's nine algorithms signs what others can verify."""
    jwk = {**private_jwks[KIND_OF.get(alg, "RSA")], "alg": alg, "kid": "my-key"}
    key = load_client_key(write_secret(tmp_path / "key", jwk))
    signed = jwskate.SignedJwt(key.sign(typ="JWT", claims={"a": 1}))
    assert dict(signed.headers) == {"alg": alg, "kid": "my-key", "typ": "JWT"}
    assert signed.verify_signature(jwskate.Jwk(key.public_jwk()), alg=alg)


@pytest.mark.parametrize(
    ("kind", "alg"), [("RSA", "PS256"), ("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512")]
)
def test_chooses_alg_and_kid(kind, alg, private_jwks, tmp_path):
    """Without alg and kid, the key's type decides and the kid is the RFC 7638 thumbprint."""
    key = load_client_key(write_secret(tmp_path / "key", private_jwks[kind]))
    assert (key.alg, key.kid) == (alg, jwskate.Jwk(private_jwks[kind]).thumbprint())


@pytest.mark.parametrize("form", PEM_FORMATS, ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["RSA", "P-521"])
def test_reads_pem(kind, form, private_jwks, tmp_path):
    """A PEM private key, PKCS#8 or traditional, is the same key as the JWK."""
    native = jwskate.Jwk(private_jwks[kind]).cryptography_key
    key = load_client_key(write_secret(tmp_path / "key", pem(native, form)))
    assert key.kid == jwskate.Jwk(private_jwks[kind]).thumbprint()


@pytest.mark.parametrize(
    "form",
    [lambda jwk: {"ClientJwk": jwk}, lambda jwk: {"privateJwk": quote(json.dumps(jwk))}],
    ids=["another tool", "percent-encoded text"],
)
def test_reads_a_key_inside_a_document(form, private_jwks, tmp_path):
    """Both forms are in use beside self-service's own (tests/acceptance/test_cli_rotate.py)."""
    key = load_client_key(write_secret(tmp_path / "key", form(private_jwks["RSA"])))
    assert key.kid == jwskate.Jwk(private_jwks["RSA"]).thumbprint()


def unusable_keys(jwks) -> dict[str, tuple[object, str]]:
    """Contents that must be refused, and what the message says."""
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 -- it must be refused
    small_jwk = jwskate.Jwk(small).to_dict()
    rsa_jwk, ec_jwk = jwks["RSA"], jwks["P-256"]
    odd_curve = ec.generate_private_key(ec.SECP256K1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    native = jwskate.Jwk(rsa_jwk).cryptography_key
    public_pem = native.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other_rsa = jwskate.Jwk(rsa.generate_private_key(65537, 2048)).to_dict()
    other = jwskate.ECJwk.generate(crv="P-256").to_dict()
    return {
        "small JWK": ({**small_jwk, "alg": "RS256"}, UNACCEPTED),
        "symmetric": ({"kty": "oct", "k": "c2VjcmV0LXNlY3JldA"}, UNREADABLE),
        "public JWK": ({n: v for n, v in ec_jwk.items() if n != "d"}, "contains a public key"),
        "public PEM": (public_pem.decode(), UNREADABLE),
        "secp256k1 JWK": (jwskate.Jwk(odd_curve).to_dict(), UNACCEPTED),
        "secp256k1 PEM": (pem(odd_curve), UNACCEPTED),
        "small PEM": (pem(small), UNACCEPTED),
        "Ed25519 PEM": (pem(edwards), UNACCEPTED),
        "encrypted PEM": (
            pem(native, encryption=BestAvailableEncryption(b"x")),
            "key is encrypted",
        ),
        "broken PEM": (pem(native)[:400] + "\n-----END PRIVATE KEY-----\n", UNREADABLE),
        "halves of two RSA keys": ({**rsa_jwk, "n": other_rsa["n"]}, UNREADABLE),
        "halves of two keys": ({**ec_jwk, "d": other["d"]}, UNREADABLE),
        "number, not text": ({**rsa_jwk, "n": 5}, UNREADABLE),
        "HS256": ({**rsa_jwk, "alg": "HS256"}, "does not match"),
        "wrong curve for alg": ({**ec_jwk, "alg": "ES512"}, "does not match"),
        "a kind that is none": ({**ec_jwk, "kty": []}, UNREADABLE),
        "a kid that is none": ({**ec_jwk, "kid": 5}, UNREADABLE),
        "no JSON": ("hello", UNREADABLE),
        "no end of JSON": ('{"a":' * 13_000, UNREADABLE),
        "no key in it": ({"clientId": "x"}, UNREADABLE),
        "no key in self-service's": ({"privateJwk": [1]}, UNREADABLE),
    }


def test_refuses_unfit_keys(private_jwks, tmp_path):
    """Keys that HelseID would not take are refused, by name of the file and never by content."""
    for name, (content, expected) in unusable_keys(private_jwks).items():
        path = write_secret(tmp_path / name.replace(" ", "-"), content)
        with pytest.raises(ConfigurationError) as caught:
            load_client_key(path)
        assert expected in caught.value.message, name
        assert "helseid.private_jwk_file" in caught.value.message
        assert private_jwks["RSA"]["d"] not in repr(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.promise("8")
def test_others_can_make_files_beside_the_key(tmp_path: Path):
    """A planted ``F.new`` is not taken for a rotation that goes on: it is somebody else's."""
    tmp_path.chmod(0o1777)
    planted = write_secret(tmp_path / "key.jwk.new", {})
    os.chown(planted, STRANGER, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        load_client_key(KeyFiles(tmp_path / "key.jwk").pending)


def test_a_default_list_of_the_folder_lets_nobody_read_the_new_key(client_key, tmp_path: Path):
    """The mode of the key before it brings the group's bits, and with them a list into force."""
    key = tmp_path / "key.jwk"
    key.write_bytes(b"{}")
    key.chmod(0o640)
    set_list(tmp_path, 4, number=STRANGER, is_default=True)
    files = KeyFiles(key)
    files.put_pending(client_key)
    files.put_in_place()
    assert oct(stat.S_IMODE(key.stat().st_mode)) == oct(0o640)
    with pytest.raises(OSError, match="No data available"):
        os.getxattr(key, "system.posix_acl_access")


def test_a_rotation_by_root_leaves_the_key_with_its_account(client_key, tmp_path: Path):
    """The service still reads the new key, others no more, and a link stays one."""
    key, link = tmp_path / "key.jwk", tmp_path / "link.jwk"
    key.write_bytes(b"{}")
    key.chmod(0o644)
    os.chown(key, STRANGER, STRANGER + 1)
    link.symlink_to(key)
    files = KeyFiles(link)
    files.put_pending(client_key)
    files.put_in_place()
    found = key.stat()
    assert (found.st_uid, found.st_gid) == (STRANGER, STRANGER + 1)
    assert oct(stat.S_IMODE(found.st_mode)) == oct(0o640)
    assert (link.is_symlink(), key.read_bytes()) == (True, client_key.document())
