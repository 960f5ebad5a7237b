"""The list of all keys, and what the documentation is made from: table, schema, reference file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from worker.config.settings import AREA_NAMES, AreaOverride, Section, Settings
from worker.core.durations import format_duration

ENVIRONMENT_PREFIX: Final = "PTS_"
CONFIG_VARIABLE: Final = "PTS_CONFIG"
_FILE_HEAD: Final = """\
# Reference of every key of pts-worker, with its meaning and its default. Nothing is set here:
# remove the "#" before a line to set its key.
#
# Flags come before the environment (PTS_<SECTION>__<KEY>), the environment before this file, this
# file before the defaults. Relative paths start at the directory in which the worker is started,
# not at this file. Durations are written 30s, 15m, 12h, 1d, 1h30m or PT1H.
# `pts-worker config show` tells each value and where it came from.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the configuration.

    Attributes:
        name: ``section.key``; ``areas.<name>.key`` for an override of an area.
        variable: the name in the environment.
        default: the value when nothing is set; None if there is none.
        description: what it means, one or two sentences.
        example: a value to show where there is no default.
    """

    name: str
    variable: str
    default: Any
    description: str
    example: Any = None

    @property
    def is_file(self) -> bool:
        """Whether the key names a file that must be there before the worker starts."""
        return self.name.endswith("_file")

    @property
    def is_secret_file(self) -> bool:
        """Whether that file holds a secret."""
        return self.is_file and self.name != "tls.ca_file"


def sections() -> dict[str, type[Section]]:
    """The sections with fixed keys, in the order of the documentation."""
    found = {}
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            found[name] = annotation
    return found


def variable_of(name: str) -> str:
    """The environment variable of a key."""
    return ENVIRONMENT_PREFIX + "__".join(name.upper().replace("-", "_").split("."))


def _key(name: str, field: FieldInfo) -> Key:
    return Key(
        name=name,
        variable=variable_of(name),
        default=field.default,
        description=field.description or "",
        example=field.examples[0] if field.examples else None,
    )


def _keys_of(section: str, model: type[Section]) -> Iterator[Key]:
    return (_key(f"{section}.{name}", field) for name, field in model.model_fields.items())


KEYS: Final = {
    key.name: key for section, model in sections().items() for key in _keys_of(section, model)
}
"""Every key with a fixed name."""

AREA_KEYS: Final = {
    key.name: key for area in AREA_NAMES for key in _keys_of(f"areas.{area}", AreaOverride)
}
"""Every override, for every area."""


def text_of(value: object) -> str:
    """A value as a person would write it; empty for none. Secrets are the caller's care."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, (tuple, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)


def json_schema() -> dict[str, Any]:
    """The configuration file's JSON Schema (``config schema``)."""
    schema = Settings.model_json_schema()
    schema["title"] = "pts-worker configuration"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def markdown_table() -> str:
    """The README's table of keys: key, environment variable, default, meaning."""
    lines = ["| key | environment | default | meaning |", "|---|---|---|---|"]
    for key in KEYS.values():
        default = f"`{text_of(key.default)}`" if key.default is not None else "none"
        meaning = key.description.replace("|", "\\|")
        lines.append(f"| `{key.name}` | `{key.variable}` | {default} | {meaning} |")
    for name, field in AreaOverride.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(
            f"| `areas.<name>.{name}` | `PTS_AREAS__<NAME>__{name.upper()}` | none | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def reference_toml() -> str:
    """``config/worker.toml``: every key, its meaning and its default, commented out."""
    parts = [_FILE_HEAD]
    for section, model in sections().items():
        parts.append(_reference_section(section, model, title=_first_line(model)))
    area = AREA_NAMES[0]
    title = f"{_first_line(AreaOverride)} Areas: {', '.join(AREA_NAMES)}."
    parts.append(_reference_section(f"areas.{area}", AreaOverride, title=title))
    return "\n".join(parts)


def _reference_section(section: str, model: type[Section], *, title: str) -> str:
    lines = [*_comment(title), f"[{section}]"]
    for key in _keys_of(section, model):
        value = key.default if key.default is not None else key.example
        meaning = key.description
        if key.default is None:
            meaning += " No default; an example:"
        lines += ["", *_comment(meaning), f"#{key.name.rpartition('.')[2]} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _first_line(model: type[Section]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _comment(text: str, width: int = 98) -> list[str]:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, (bool, int, float)):
        return text_of(value)
    if isinstance(value, (str, SecretStr, timedelta, Path)):
        return json.dumps(text_of(value), ensure_ascii=False)
    raise TypeError(f"{type(value).__name__} has no form in TOML")
