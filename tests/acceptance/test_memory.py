"""Flat memory: ten times the persons, the same peak; and never more than 120 MB."""

from pathlib import Path

import pytest

from tests.support.secrecy.memory import measure

PEAK_MB_MAX = 120


@pytest.mark.nightly
@pytest.mark.promise("10")
def test_ten_times_the_persons_take_no_more_memory(tmp_path: Path) -> None:
    """2,500 persons against the sandbox peak within 10 MB of 250, and below 120 MB."""
    small, large = (measure(tmp_path / str(persons), persons) for persons in (250, 2_500))
    assert small > 20
    assert large - small < 10
    assert large < PEAK_MB_MAX


@pytest.mark.promise("10")
def test_two_hundred_persons_take_less_than_120_mb(tmp_path: Path) -> None:
    """The same limit on a roster that takes no time."""
    assert 20 < measure(tmp_path, 200) < PEAK_MB_MAX
