"""HTTP to PTS, HelseID, the Pushgateway and the ping service, and the retry loop."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.core.retry import RetryPolicy, wait_before_retry
from worker.errors import TransientError
from worker.ports import Runtime

T = TypeVar("T")


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    *,
    policy: RetryPolicy,
    runtime: Runtime,
    before_wait: Callable[[int, TransientError, float], None],
) -> T:
    """Make attempts until one succeeds or none is left, and wait before each retry.

    Args:
        attempt: makes one attempt. Its argument is the number of the attempt, from 1. A
            ``TransientError`` is retried.
        policy: number of attempts and backoff. ``Retry-After`` is obeyed and not clipped.
        before_wait: gets the number of the failed attempt, its error and the wait in seconds. It
            ends the retries if it raises an error.

    Raises:
        WorkerError: the error of the last attempt.
    """
    number = 1
    while True:
        try:
            return await attempt(number)
        except TransientError as error:
            retry_after_s, jitter = error.retry_after_s, runtime.uniform()
            wait_s = wait_before_retry(policy, number, retry_after_s, jitter)
            if wait_s is None:
                raise
            before_wait(number, error, wait_s)
        await runtime.sleep(wait_s)
        number += 1
