"""Flat memory: ten times the persons, the same peak."""

from pathlib import Path

from tests.acceptance.memory import measure


def test_ten_times_the_persons_take_no_more_memory(tmp_path: Path) -> None:
    """4,000 persons against the sandbox peak within 10 MB of 400."""
    small, _ = measure(tmp_path / "small", 400)
    large, _ = measure(tmp_path / "large", 4_000)
    assert small > 20
    assert large - small < 10
