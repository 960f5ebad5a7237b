"""Classifies HTTP statuses, and decides whether and when to retry."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from worker.core.value import Value

_DENIALS: Final = frozenset({401, 403})
_TRANSIENT: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500

_SECONDS: Final = re.compile(r"\d{1,18}(?:\.\d{1,6})?", re.ASCII)


def is_transient(status: int) -> bool:
    """Whether a retry may help: 408, 425, 429 and 5xx."""
    return status in _TRANSIENT or status >= _SERVER_ERROR


def is_denial(status: int) -> bool:
    """Whether this client is not authorized: 401 and 403."""
    return status in _DENIALS


def parse_retry_after(value: str | None, now: datetime, *, date: str | None = None) -> float | None:
    """The wait in seconds of a ``Retry-After`` header (RFC 9110 §10.2.3), without an upper limit.

    Args:
        value: the header's value: seconds, or an HTTP date.
        now: the reference time for a date.
        date: the response's ``Date`` header, the server's clock. Takes precedence over ``now``.

    Returns:
        Seconds, 0 for a date in the past. None if the header is missing or invalid.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    at = parse_http_date(text)
    # Both dates are of the server's clock, so a wrong clock on this machine does not matter.
    answered_at = parse_http_date(date) or now
    return None if at is None else max(0.0, (at - answered_at).total_seconds())


def parse_http_date(value: str | None) -> datetime | None:
    """An HTTP date as an aware datetime, or None if it is invalid."""
    if value is None:
        return None
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # All HTTP dates are in GMT, and the parser returns one with "-0000" as naive.
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def instant_after(now: datetime, wait_s: float) -> datetime:
    """The time ``wait_s`` after ``now``, in UTC, at most the last second of 9999."""
    try:
        return now.astimezone(UTC) + timedelta(seconds=wait_s)
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


class RetryPolicy(Value, frozen=True, kw_only=True):
    """Retry limits and back-off.

    Before attempt n + 1 the wait is ``jitter * min(wait_s_max, wait_s_first * 2 ** (n - 1))``,
    with ``jitter`` in [0, 1) ("full jitter"), but at least ``Retry-After``. With the defaults the
    longest waits are 0.5, 1, 2, 4 and 8 s.

    Attributes:
        attempts_max: maximum number of attempts, including the first. At least 1.
        wait_s_first: maximum wait before the second attempt.
        wait_s_max: maximum back-off. Does not limit ``Retry-After``.
    """

    attempts_max: int = 6
    wait_s_first: float = 0.5
    wait_s_max: float = 30.0


def wait_before_retry(
    policy: RetryPolicy, attempt: int, retry_after_s: float | None, jitter: float
) -> float | None:
    """Seconds to wait after failed attempt number ``attempt`` (from 1). None: do not retry.

    Args:
        attempt: attempts made so far.
        retry_after_s: the response's ``Retry-After``, if any.
        jitter: a random number in [0, 1).
    """
    if attempt >= policy.attempts_max:
        return None
    backoff_s = jitter * min(policy.wait_s_max, policy.wait_s_first * 2.0 ** (attempt - 1))
    # The server's wait is a minimum. Jitter could otherwise return before the server is ready.
    return max(backoff_s, retry_after_s or 0.0)
