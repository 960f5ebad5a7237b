"""Moved to ``tools.docs.command_line``: import it from there."""

from tools.docs.command_line import *  # noqa: F403
