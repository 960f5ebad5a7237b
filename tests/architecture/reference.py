"""Moved to ``tools.docs.reference``: import it from there."""

from tools.docs.reference import *  # noqa: F403
