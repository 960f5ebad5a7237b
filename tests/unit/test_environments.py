"""Which PTS surely holds no real persons."""

import pytest

from worker.core.hosts import is_rehearsal

REAL, TEST = "https://api.pts.nhn.no", "https://api.test.pts.nhn.no"


@pytest.mark.parametrize(
    ("environment", "base_url", "expected"),
    [
        ("test", TEST, True),
        ("test-internet", "https://api-internett.test.pts.nhn.no", True),
        ("test", "https://pts.example", True),
        ("test", REAL, False),
        ("test", "https://API.pts.nhn.no/v1", False),
        ("production", REAL, False),
        ("production", TEST, False),
        ("production", "http://127.0.0.1:8080", False),  # a tunnel
        (None, "http://127.0.0.1:8080", True),  # the sandbox
        (None, "http://[::1]:8080", True),
        (None, "http://localhost", True),
        (None, REAL, False),
        (None, TEST, False),
        (None, "https://pts.example", False),
        (None, None, False),
    ],
)
def test_only_what_is_surely_a_test(environment, base_url, expected):
    """Whatever may be a way to production counts as production."""
    assert is_rehearsal(environment, base_url) == expected
