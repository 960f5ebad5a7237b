"""Moved to ``worker.log_events``: import it from there."""

from worker.log_events import *  # noqa: F403
