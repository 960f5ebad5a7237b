"""The longer setting: ``python -m pytest tests/stateful --hypothesis-profile long``."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "long",
    deadline=None,
    derandomize=False,
    max_examples=400,
    stateful_step_count=60,
    suppress_health_check=[HealthCheck.too_slow],
)
