"""HTTP to PTS, HelseID, the Pushgateway and the ping, and the retry loop."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from worker.core.retry import RetryPolicy, wait_before_retry
from worker.errors import WorkerError
from worker.ports import Runtime

T = TypeVar("T")


class FailedAttempt(NamedTuple):
    """An attempt that can be retried.

    Attributes:
        error: raised if no attempt is left.
        retry_after_s: the wait that the response asked for, in seconds.
    """

    error: WorkerError
    retry_after_s: float | None = None


async def with_retries(
    attempt: Callable[[int], Awaitable[T | FailedAttempt]],
    *,
    policy: RetryPolicy,
    runtime: Runtime,
    before_wait: Callable[[int, FailedAttempt, float], None],
) -> T:
    """Make attempts until one succeeds or none is left, and wait before each retry.

    Args:
        attempt: makes one attempt; gets its number, from 1. What it raises ends the retries.
        policy: number of attempts and backoff. ``Retry-After`` is obeyed and not clipped.
        before_wait: gets the number of the failed attempt, its failure and the wait in seconds.
            What it raises ends the retries.

    Raises:
        WorkerError: the error of the last attempt.
    """
    number = 1
    while True:
        result = await attempt(number)
        if not isinstance(result, FailedAttempt):
            return result
        wait_s = wait_before_retry(policy, number, result.retry_after_s, runtime.uniform())
        if wait_s is None:
            raise result.error
        before_wait(number, result, wait_s)
        await runtime.sleep(wait_s)
        number += 1
