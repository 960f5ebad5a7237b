"""How long a request waits before it is sent again: to the millisecond, on a clock of our own."""

import contextlib
from datetime import timedelta
from email.utils import format_datetime

import pytest
from msgspec.structs import replace

from tests.support.clock import START, FakeRuntime
from tests.support.http.reading import reading
from tests.support.pts_answers import person
from tests.support.raw_server import answer
from worker.core.retry import RetryPolicy
from worker.errors import TransientError

pytestmark = pytest.mark.promise("7")

GOOD = answer(b"[]")
SLOW_DOWN = "Retry-After: 120"
POLICY = RetryPolicy(attempts_max=5, wait_s_first=0.5, wait_s_max=30.0)


def busy(*headers):
    """An answer that asks for patience."""
    return answer(b"", status="429 Too Many Requests", headers=headers)


def at(seconds):
    """An HTTP date so long after the worker's clock began."""
    moment = START.replace(microsecond=0) + timedelta(seconds=seconds)
    return format_datetime(moment, usegmt=True)


async def waits(*replies, requests=1, uniforms=(0.5,)):
    """When each of these requests, one after the other, was answered well."""
    ends = []
    async with reading(*replies, policy=POLICY, fake=FakeRuntime(uniforms=uniforms)) as it:
        began_s = it.fake.monotonic()
        for _ in range(requests):
            await it.read()
            ends.append(round(it.fake.monotonic() - began_s, 6))
    return ends


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        (("Retry-After: 90",), 90.0),
        ((f"Retry-After: {'9' * 12}",), 999_999_999_999.0),
        ((f"Date: {at(-3600)}", f"Retry-After: {at(-3480)}"), 120.0),  # its clock is behind
        ((f"Date: {at(86_400)}", f"Retry-After: {at(86_430)}"), 30.0),  # its clock is ahead
        ((f"Retry-After: {at(45)}",), 45.0 - START.microsecond / 1e6),  # by our own clock
        (("Date: nonsense", f"Retry-After: {at(45)}"), 45.0 - START.microsecond / 1e6),
    ],
)
async def test_a_wait_is_as_long_as_was_asked_for(headers, wait_s):
    """Even if a clock is wrong. The caller reads other persons in the meantime."""
    async with reading(busy(*headers), policy=POLICY) as it:
        with pytest.raises(TransientError, match="Retry-After") as caught:
            await it.read()
    assert caught.value.retry_after_s == pytest.approx(wait_s)
    assert (len(it.server.requests), it.fake.waits_s) == (1, [])


@pytest.mark.parametrize("value", ["0", "nonsense", at(-60)])
async def test_what_asks_for_no_wait(value):
    """Is repeated as any other failure."""
    assert await waits(busy(f"Date: {at(0)}", f"Retry-After: {value}"), GOOD) == [0.25]


@pytest.mark.parametrize(("status", "is_paused"), [("200 OK", False), ("429 Too Many", True)])
async def test_what_pauses_everyone(status, is_paused):
    """``Retry-After`` of three persons who were refused, and not of three who were answered."""
    async with reading(answer(b"[]", status=status, headers=(SLOW_DOWN,))) as it:
        for number in range(3):
            each = replace(person(), person_key=str(number))
            with contextlib.suppress(TransientError):
                await it.reader.read(each, "patient-safety")
        assert it.pace.is_paused is is_paused
