"""Configuration from flags, environment, TOML file and defaults. Reports all problems at once."""

from worker.config.environments import is_rehearsal
from worker.config.keys import KEYS, markdown_table, new_toml, reference_toml
from worker.config.loading import Loaded, load, needs
from worker.config.needs import Purpose
from worker.config.settings import Settings
from worker.config.show import Row, show
from worker.config.urls import database_url, hide_password

__all__ = [
    "KEYS",
    "Loaded",
    "Purpose",
    "Row",
    "Settings",
    "database_url",
    "hide_password",
    "is_rehearsal",
    "load",
    "markdown_table",
    "needs",
    "new_toml",
    "reference_toml",
    "show",
]
