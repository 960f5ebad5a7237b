"""What a status means, and when to try again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retry import (
    RetryPolicy,
    instant_after,
    is_denial,
    is_transient,
    parse_retry_after,
    wait_before_retry,
)

NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
POLICY = RetryPolicy(attempts_max=4, wait_s_first=0.5, wait_s_max=30.0)


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ((True, False), [408, 425, 429, 500, 502, 503, 504, 599]),
        ((False, True), [401, 403]),
        ((False, False), [100, 200, 204, 206, 301, 304, 400, 404, 405, 409, 410, 422, 451]),
    ],
)
def test_kinds_of_statuses(kind, statuses):
    """A retry may help, or the client is not authorized, or neither."""
    assert {(is_transient(status), is_denial(status)) for status in statuses} == {kind}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_609_733_119.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wednesday, 21-Oct-26 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30.0),
        ("Wed Oct 21 07:28:30 2026", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 400, None),
        ("\u0663", None),
    ],
)
def test_retry_after(value, expected):
    """Seconds and all three forms of HTTP dates are understood (RFC 9110 §5.6.7), never clipped."""
    assert parse_retry_after(value, NOW) == expected


@given(value=st.text(max_size=60))
def test_any_retry_after_is_understood_or_ignored(value):
    """No header makes the reader fail, or gives a negative wait."""
    wait_s = parse_retry_after(value, NOW)
    assert wait_s is None or wait_s >= 0


@pytest.mark.parametrize(
    ("attempt", "retry_after_s", "jitter", "expected"),
    [
        (1, None, 1.0, 0.5),  # 0.5 * 2**0
        (3, None, 1.0, 2.0),  # 0.5 * 2**2
        (3, None, 0.25, 0.5),  # 0.25 * 2
        (1, 600.0, 1.0, 600.0),
        (3, 1.0, 1.0, 2.0),
        (4, None, 0.5, None),
    ],
)
def test_decisions(attempt, retry_after_s, jitter, expected):
    """The wait doubles, has full jitter, is at least what was asked for, and ends."""
    assert wait_before_retry(POLICY, attempt, retry_after_s, jitter) == expected


@pytest.mark.promise("7")
@given(
    attempt=st.integers(1, 100),
    jitter=st.floats(0, 1, exclude_max=True),
    wait_s_max=st.floats(0, 3600),
)
def test_own_waits_stay_within_the_limit(attempt, jitter, wait_s_max):
    """However many attempts were made, a wait of our own choice keeps its limit."""
    policy = RetryPolicy(attempts_max=200, wait_s_max=wait_s_max)
    wait_s = wait_before_retry(policy, attempt, None, jitter)
    assert wait_s is not None
    assert 0 <= wait_s <= wait_s_max


@pytest.mark.parametrize(
    ("wait_s", "expected"),
    [
        (90.5, datetime(2026, 10, 21, 7, 29, 30, 500_000, tzinfo=UTC)),
        (251_609_733_120.0, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (1e18, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_an_instant_never_overflows(wait_s, expected):
    """The end of any wait, however long, is an instant in UTC."""
    assert instant_after(NOW, wait_s) == expected
