"""The longer setting, and how long looking for a smaller failure may take."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import engine

SHRINKING_S = 60
"""Hypothesis would take five minutes to make a failing sequence smaller."""

LIMIT_S = 8 * 60
"""Of a test with few examples, shrinking included."""

settings.register_profile(
    "long",
    deadline=None,
    derandomize=False,
    max_examples=400,
    stateful_step_count=60,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def bounded_shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence that is not the smallest, in time, is better than none."""
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", SHRINKING_S)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With another profile than the suite's there is no limit."""
    is_short = settings.get_current_profile_name() == "suite"
    for item in items:
        if "stateful" in item.path.parts:
            item.add_marker(pytest.mark.timeout(LIMIT_S if is_short else 0))
