"""Moved to ``tools.docs.dbt_sources``: import it from there."""

from tools.docs.dbt_sources import *  # noqa: F403
