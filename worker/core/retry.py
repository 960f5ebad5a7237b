"""What a status means, how long to wait, and when to give up: decisions without a clock."""

import enum
import math
import re
from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

import msgspec

from worker.core.value import Value

_OK: Final = 200
_DENIED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_TRANSIENT: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_REDIRECT: Final = range(300, 400)
_REFUSAL: Final = range(400, 500)

_SECONDS: Final = re.compile(r"\d{1,18}(?:\.\d{1,6})?", re.ASCII)


_BUDGET_SLICES: Final = 6


class StatusClass(enum.Enum):
    """What an HTTP status means for the request that it answers."""

    OK = enum.auto()
    """200: read the body."""
    TRANSIENT = enum.auto()
    """408, 425, 429 and 5xx: another attempt may do."""
    DENIED = enum.auto()
    """401 and 403: this client may not."""
    NOT_FOUND = enum.auto()
    """404: means what the area's declaration says."""
    REJECTED = enum.auto()
    """Any other 4xx: PTS would say no again."""
    REDIRECT = enum.auto()
    """3xx: never followed."""
    UNEXPECTED = enum.auto()
    """1xx and the other 2xx, such as 204 and 206: not a whole answer to a search."""


def classify(status: int) -> StatusClass:
    """The class of an HTTP status."""
    if status == _OK:
        return StatusClass.OK
    if status in _TRANSIENT or status >= _SERVER_ERROR:
        return StatusClass.TRANSIENT
    if status in _DENIED:
        return StatusClass.DENIED
    if status == _NOT_FOUND:
        return StatusClass.NOT_FOUND
    if status in _REFUSAL:
        return StatusClass.REJECTED
    return StatusClass.REDIRECT if status in _REDIRECT else StatusClass.UNEXPECTED


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for (RFC 9110 §10.2.3); never clipped.

    Args:
        value: the header's value, seconds or an HTTP date.
        now: what a date is counted from; the answer's own ``Date`` is best, since it shares the
            server's clock.

    Returns:
        Seconds, 0 for a date in the past; None if there is no value or it cannot be read.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    at = parse_http_date(text)
    return None if at is None else max(0.0, (at - now).total_seconds())


def parse_http_date(value: str | None) -> datetime | None:
    """An HTTP date as an aware datetime, or None if it is none."""
    if value is None:
        return None
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def instant_after(now: datetime, wait_s: float) -> datetime:
    """The instant so many seconds after an aware one, in UTC; the last second of 9999 at most."""
    try:
        return now.astimezone(UTC) + timedelta(seconds=wait_s)
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


class RetryPolicy(Value, frozen=True, kw_only=True):
    """How often, and after which waits.

    Before attempt n + 1 the wait is ``jitter * min(wait_s_max, wait_s_first * 2 ** (n - 1))``,
    with ``jitter`` in [0, 1) ("full jitter"), but at least what ``Retry-After`` asks for. With the
    defaults and the longest jitter: 0.5, 1, 2, 4 and 8 s.

    Attributes:
        attempts_max: attempts in all, the first included; at least 1.
        wait_s_first: the longest wait before the second attempt.
        wait_s_max: the longest wait of our own choice; does not clip ``Retry-After``.
    """

    attempts_max: int = 6
    wait_s_first: float = 0.5
    wait_s_max: float = 30.0


class RetryIn(Value, frozen=True, kw_only=True):
    """Try again after so many seconds."""

    wait_s: float


class GiveUp(Value, frozen=True, kw_only=True):
    """No further attempt."""


RetryDecision: TypeAlias = RetryIn | GiveUp

_EXPONENT_MAX: Final = 60
"""2 ** 60 is beyond every ``wait_s_max``; a larger power would only overflow a float."""


def decide_retry(
    policy: RetryPolicy, attempt: int, retry_after_s: float | None, jitter: float
) -> RetryDecision:
    """Whether to try again after attempt number ``attempt`` (from 1) failed.

    Args:
        policy: the limits.
        attempt: how many attempts were made.
        retry_after_s: what the answer asked for, if it did.
        jitter: a random number in [0, 1).
    """
    if attempt >= policy.attempts_max:
        return GiveUp()
    power = min(attempt - 1, _EXPONENT_MAX)
    backoff_s = jitter * min(policy.wait_s_max, policy.wait_s_first * 2.0**power)
    return RetryIn(wait_s=max(backoff_s, retry_after_s or 0.0))


class RetryBudget(msgspec.Struct):
    """How many retries all requests together may cost: a share of them, and a few more.

    A service in trouble is asked little more than once for each thing; what fails beyond that is
    left for the next run (Google, *Site Reliability Engineering*, ch. 21, "Handling Overload").

    Attributes:
        share: retries for each request of the window.
        spare: retries beyond that share, so that a run may begin badly.
        window_s: seconds that count, to within a sixth.
    """

    share: float = 0.10
    spare: int = 200
    window_s: float = 60.0
    _slices: deque[list[int]] = msgspec.field(
        default_factory=lambda: deque([[0, 0]], maxlen=_BUDGET_SLICES)
    )
    _until_s: float = math.inf

    def request(self, now_s: float) -> None:
        """Count a request that is no retry."""
        self._move_on(now_s)
        self._slices[-1][0] += 1

    def take(self, now_s: float) -> bool:
        """Count a retry if the budget has room for it, and say whether it has."""
        self._move_on(now_s)
        requests = sum(slice_[0] for slice_ in self._slices)
        retries = sum(slice_[1] for slice_ in self._slices)
        if retries + 1 > self.spare + self.share * requests:
            return False
        self._slices[-1][1] += 1
        return True

    def _move_on(self, now_s: float) -> None:
        length_s = self.window_s / _BUDGET_SLICES
        if math.isinf(self._until_s):
            self._until_s = now_s + length_s
        if now_s < self._until_s:
            return
        passed = int((now_s - self._until_s) // length_s) + 1
        for _ in range(min(passed, _BUDGET_SLICES)):
            self._slices.append([0, 0])
        self._until_s += passed * length_s
