"""WWW-Authenticate as servers write it."""

import pytest

from worker.helseid.challenges import parse_challenges


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        (["DPoP"], [("dpop", {})]),
        (['DPoP error="use_dpop_nonce"'], [("dpop", {"error": "use_dpop_nonce"})]),
        (["DPoP error=invalid_token"], [("dpop", {"error": "invalid_token"})]),
        (
            ['Bearer realm="a, b", DPoP ERROR = "x" , algs="ES256 PS256"'],
            [("bearer", {"realm": "a, b"}), ("dpop", {"error": "x", "algs": "ES256 PS256"})],
        ),
        (
            ["Bearer", 'DPoP error="x"'],
            [("bearer", {}), ("dpop", {"error": "x"})],
        ),
        (["Bearer, DPoP"], [("bearer", {}), ("dpop", {})]),
        (["Negotiate abc==, DPoP"], [("negotiate", {}), ("dpop", {})]),
        (
            [r'DPoP error_description="say \"hi\"", error="x"'],
            [("dpop", {"error_description": 'say "hi"', "error": "x"})],
        ),
        (['DPoP error="unclosed'], [("dpop", {"error": "unclosed"})]),
        (['error="homeless", ,, @@ DPoP error="x", error="y"'], [("dpop", {"error": "x"})]),
    ],
)
def test_parse(values, expected):
    """Challenges and their parameters are told apart, and nonsense is passed over."""
    assert expected == [(found.scheme, found.parameters) for found in parse_challenges(values)]


@pytest.mark.parametrize("value", ["=" * 9000, 'a="' + "\\" * 9000, "a " * 5000, "a=" * 5000])
def test_parse_bounded(value):
    """However long and odd the header, reading it ends at once."""
    parse_challenges([value])
