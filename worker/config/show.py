"""The effective configuration as text (``config show``)."""

from dataclasses import dataclass

from worker.config.keys import text_of
from worker.config.loading import Loaded
from worker.config.urls import hide_password
from worker.config.values import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key with its value as text (secrets hidden) and its origin."""

    key: str
    value: str
    origin: str


def show(loaded: Loaded) -> list[Row]:
    """All keys in the order of the documentation."""
    return [
        Row(key=name, value=_shown(loaded.settings.value(name)), origin=origin)
        for name, origin in loaded.origins.items()
    ]


def _shown(value: object) -> str:
    return hide_password(value.reveal()) if isinstance(value, Secret) else text_of(value)
