"""Proofs of possession, judged by requests-oauth2client."""

import jwskate
import pytest
from requests_oauth2client.dpop import validate_dpop_proof

from tests.support.http.helseid import YEARS_S
from worker.core.dpop import is_nonce, target_uri, token_hash
from worker.helseid.proof import ProofKey

URL = "https://api.example/patient-safety/v0.5/_search"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.Example", "https://a.example/"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("HTTPS://a.example:8443/X/%2F?q=1#f", "https://a.example:8443/X/%2F"),
        ("http://[::1]:8080/x#f", "http://[::1]:8080/x"),
    ],
)
def test_target_uri(url, expected):
    """An htu is the URL without query and fragment, normalised as RFC 9449 §4.3 asks."""
    assert target_uri(url) == expected


@pytest.mark.parametrize("url", ["/x", "ftp://a/x"])
def test_target_uri_of_no_url(url):
    """What is no absolute http URL has no htu."""
    with pytest.raises(ValueError, match="not an absolute"):
        target_uri(url)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [("eyJ-._~", True), ("", False), ('a"b', False), ("a b", False), ("n" * 1024, True)],
)
def test_is_nonce(value, allowed):
    """A nonce that could break out of the claims is not one, nor an endless one."""
    assert is_nonce(value) == allowed
    assert not is_nonce("n" * 1025)


def test_token_hash():
    """RFC 9449 §7.1 shows the ``ath`` of this token; nothing but the padding is taken off."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert {len(token_hash(f"token-{number}")) for number in range(1000)} == {43}


def test_proof_is_valid():
    """A proof holds the claims of RFC 9449 and verifies by the key in its header."""
    key = ProofKey()
    ath = token_hash("token")
    proof = key.proof(
        "POST", f"{URL}?page=2", iat=1_790_000_000, jti="id-1", access_token_hash=ath, nonce="n1"
    )
    valid = validate_dpop_proof(
        proof, htm="POST", htu=URL, ath=ath, nonce="n1", algs=["ES256"], leeway=YEARS_S
    )
    assert dict(valid.claims) == {
        "jti": "id-1",
        "iat": 1_790_000_000,
        "htm": "POST",
        "htu": URL,
        "ath": ath,
        "nonce": "n1",
    }
    assert key.thumbprint == jwskate.Jwk(valid.headers["jwk"]).thumbprint()
    assert valid.headers["jwk"].keys() == {"kty", "crv", "x", "y"}


def test_many_proofs_are_valid():
    """Proofs for 300 URLs, more than are remembered, do not mix."""
    key = ProofKey()
    for number in range(400):
        url = f"{URL}/{number % 300}"
        proof = key.proof("GET", url, iat=1_790_000_000, jti=f"id-{number}")
        validate_dpop_proof(proof, htm="GET", htu=url, algs=["ES256"], leeway=YEARS_S)


def test_signatures_are_padded():
    """A signature has 64 bytes also when its numbers begin with zeros (one in 128 does)."""
    key = ProofKey()
    proofs = (key.proof("GET", URL, iat=1, jti="id") for _ in range(1500))
    assert {len(proof.rpartition(".")[2]) for proof in proofs} == {86}


def test_keys_differ():
    """Each process has a key of its own, and its repr holds the thumbprint only."""
    first, second = ProofKey(), ProofKey()
    assert first.thumbprint != second.thumbprint
    assert repr(first) == f"ProofKey(thumbprint='{first.thumbprint}')"
