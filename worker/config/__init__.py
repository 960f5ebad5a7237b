"""Configuration from flags, environment, TOML file and defaults. Reports all problems at once."""

from worker.config.loading import Loaded, load, needs
from worker.config.needs import Purpose, database_url, required
from worker.config.settings import KEYS, Settings, read_value, text_of
from worker.config.sources import variable_of

__all__ = [
    "KEYS",
    "Loaded",
    "Purpose",
    "Settings",
    "database_url",
    "load",
    "needs",
    "read_value",
    "required",
    "text_of",
    "variable_of",
]
