"""The effective configuration as text (``config show``)."""

from dataclasses import dataclass
from typing import Final

from worker.config.keys import text_of
from worker.config.loading import Loaded
from worker.config.urls import HIDDEN, hide_password
from worker.config.values import Secret

_PUBLIC_HEADERS: Final = {"accept", "accept-language", "api-version", "content-type"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key with its value as text (secrets hidden) and its origin."""

    key: str
    value: str
    origin: str


def show(loaded: Loaded) -> list[Row]:
    """All keys in the order of the documentation, with those overrides of areas that are set."""
    rows = []
    for name, origin in loaded.origins.items():
        section, _, field = name.rpartition(".")
        if section.startswith("areas."):
            override = loaded.settings.area_overrides()[section.removeprefix("areas.")]
            value = override.get(field)
        else:
            value = loaded.settings.value(name)
        rows.append(Row(key=name, value=_shown(field, value), origin=origin))
    return rows


def _shown(field: str, value: object) -> str:
    if isinstance(value, Secret):
        return hide_password(value.reveal())
    if field == "headers" and isinstance(value, dict):
        return text_of(
            {name: v if name.lower() in _PUBLIC_HEADERS else HIDDEN for name, v in value.items()}
        )
    return text_of(value)
