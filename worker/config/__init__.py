"""Configuration from flags, environment, TOML file and defaults. Reports all problems at once."""

from worker.config.keys import KEYS, read_value, text_of, variable_of
from worker.config.loading import Loaded, load, needs
from worker.config.needs import Purpose
from worker.config.passwords import database_url
from worker.config.settings import Settings

__all__ = [
    "KEYS",
    "Loaded",
    "Purpose",
    "Settings",
    "database_url",
    "load",
    "needs",
    "read_value",
    "text_of",
    "variable_of",
]
