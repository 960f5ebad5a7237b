"""The effective configuration for human eyes (``config show``)."""

from dataclasses import dataclass
from typing import Final

from worker.config.keys import text_of
from worker.config.loading import Loaded
from worker.config.urls import HIDDEN, hide_password
from worker.config.values import Secret

_HARMLESS_HEADERS: Final = {"accept", "accept-language", "api-version", "content-type"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key: its value as text, secrets hidden, and where the value came from."""

    key: str
    value: str
    origin: str


def show(loaded: Loaded) -> list[Row]:
    """Every key in the order of the documentation; overrides of areas only where one is set."""
    rows = []
    for name, origin in loaded.origins.items():
        section, _, word = name.rpartition(".")
        if section.startswith("areas."):
            override = loaded.settings.area_overrides()[section.removeprefix("areas.")]
            value = override.get(word)
        else:
            value = getattr(getattr(loaded.settings, section), word)
        rows.append(Row(key=name, value=_shown(word, value), origin=origin))
    return rows


def _shown(word: str, value: object) -> str:
    if isinstance(value, Secret):
        return hide_password(value.reveal())
    if word == "headers" and isinstance(value, dict):
        return text_of(
            {name: v if name.lower() in _HARMLESS_HEADERS else HIDDEN for name, v in value.items()}
        )
    return text_of(value)
