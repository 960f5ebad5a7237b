"""Moved to ``tests.support.documents``: import it from there."""

from tests.support.documents import *  # noqa: F403
