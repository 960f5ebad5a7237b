"""What a proof says of a request, against the examples of RFC 9449."""

import pytest

from worker.core.dpop import is_nonce, origin, target_uri, token_hash


def test_token_hash_of_the_standard():
    """The access token of RFC 9449 §7.1 has the ``ath`` that is shown there, without padding."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo" == token_hash(token)


def test_token_hashes_are_whole():
    """Nothing but the padding is taken off: 256 bits are 43 characters."""
    assert {43} == {len(token_hash(f"token-{number}")) for number in range(1000)}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://server.example.com/token", "https://server.example.com"),
        ("HTTPS://Server.example.com:443/token?a=b#c", "https://server.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:80/x", "http://[::1]"),
    ],
)
def test_origins_and_targets(url, expected):
    """The target is the origin and the path, normalised alike."""
    assert expected == origin(url)
    assert target_uri(url).startswith(f"{expected}/")


def test_a_nonce_is_bounded():
    """An endless nonce would make every request endless."""
    assert is_nonce("n" * 1024)
    assert not is_nonce("n" * 1025)
