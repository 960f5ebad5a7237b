"""WWW-Authenticate as servers write it."""

import time

import pytest

from worker.helseid.challenges import parse_challenges


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([""], []),
        (["DPoP"], [("dpop", {})]),
        (['DPoP error="use_dpop_nonce"'], [("dpop", {"error": "use_dpop_nonce"})]),
        (
            ['Bearer realm="a, b", DPoP ERROR = "x" , algs="ES256 PS256"'],
            [("bearer", {"realm": "a, b"}), ("dpop", {"error": "x", "algs": "ES256 PS256"})],
        ),
        (
            ["Bearer", 'DPoP error="x"'],
            [("bearer", {}), ("dpop", {"error": "x"})],
        ),
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
    """Challenges and their parameters are separated, and invalid ones are skipped."""
    assert [(found.scheme, found.parameters) for found in parse_challenges(values)] == expected


@pytest.mark.parametrize(
    "hostile",
    ["=" * 9000, 'a="' + "\\" * 9001, "a " * 5000, "a," * 5000],
)
def test_parse_is_bounded(hostile):
    """However long, odd and many the header's values, they cost milliseconds and little memory."""
    began_s = time.process_time()
    found = parse_challenges([hostile] * 2000)
    assert time.process_time() - began_s < 10
    assert len(found) <= 8192
