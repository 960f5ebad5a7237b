"""An answer that shows that it is a part is no complete read, whatever it looks like."""

from collections import Counter
from random import Random
from typing import cast

import pytest

from tests.support.clock import FakeRuntime
from tests.support.generated_answers import MadeUp
from tests.support.pts_answers import SAFETY, person
from worker.errors import AreaError
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient


async def read(made: MadeUp) -> set[str] | None:
    """The ids of what was read; None if the read is not complete."""
    reader = PtsReader(
        areas=[SAFETY],
        base_url="https://pts.example",
        client=cast("RetryingClient", made),
        runtime=FakeRuntime().runtime,
        contract={SAFETY.name: made.declared},
    )
    try:
        return {record.key for record in (await reader.read(person(), SAFETY.name)).records}
    except AreaError:
        return None


@pytest.mark.promise("1")
@pytest.mark.parametrize("answers", [300, pytest.param(10_000, marks=pytest.mark.nightly)])
async def test_a_part_is_never_taken_for_the_whole(
    request: pytest.FixtureRequest, answers: int
) -> None:
    """It would close what it lacks. What is whole is read, so that this says something."""
    seed, read_of = request.config.getoption("hypothesis_seed"), Counter[str]()
    for number in range(answers):
        made = MadeUp(Random(f"{seed} {number}"))
        wanted = None if made.sign else made.ids
        assert await read(made) == wanted, (seed, number, made.sign, made.declared)
        read_of[made.sign] += 1
    assert len(read_of) == 14
    assert read_of[""] > answers / 3
