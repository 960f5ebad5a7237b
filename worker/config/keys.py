"""The list of all keys, and the documentation generated from it: table and reference file."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from worker.config.settings import Settings
from worker.config.values import Kind, Secret, Section, kind_of
from worker.core.durations import format_duration
from worker.core.value import Value

ENVIRONMENT_PREFIX: Final = "PTS_"
CONFIG_VARIABLE: Final = "PTS_CONFIG"
_FILE_HEAD: Final = """\
# Reference of all keys of pts-worker, with description and default. No key is set: remove the "#"
# at the start of a line to set its key.
#
# Flags override the environment (PTS_<SECTION>__<KEY>), the environment overrides this file, and
# this file overrides the defaults. Relative paths in this file start at its folder; paths in flags,
# in the environment and in defaults start at the working directory. Durations are written as 30s,
# 15m, 12h, 1d, 1h30m or PT1H.
# `pts-worker config show` shows each value and its origin.
"""
_NEW_FILE_HEAD: Final = """\
# Configuration of pts-worker, written by `pts-worker init`. A line that starts with "#" has an
# example or the default of a key; remove the "#" to set it.
#
# Flags override the environment (PTS_<SECTION>__<KEY>), the environment overrides this file.
# Relative paths in this file start at its folder. `pts-worker config check` says what is wrong.
"""


class Key(Value, frozen=True, kw_only=True):
    """One key of the configuration.

    Attributes:
        name: ``section.key``.
        default: the default; None if there is none.
        example: an example if there is no default.
    """

    name: str
    variable: str
    kind: Kind
    default: Any
    description: str
    example: Any = None

    @property
    def is_file(self) -> bool:
        """Whether the key names a file that must exist when the worker starts."""
        return self.name.endswith("_file")

    @property
    def is_secret_file(self) -> bool:
        """Whether the key names a secret file."""
        return self.is_file and self.name not in {"tls.ca_file", "api.contract_file"}


def sections() -> dict[str, type[Section]]:
    """All sections, in the order of the documentation."""
    hints = get_type_hints(Settings)
    return {name: hints[name] for name in Settings.__struct_fields__}


def variable_of(name: str) -> str:
    """The environment variable of a key."""
    return ENVIRONMENT_PREFIX + "__".join(name.upper().replace("-", "_").split("."))


def _keys_of(section: str, model: type[Section]) -> Iterator[Key]:
    hints = get_type_hints(model, include_extras=True)
    defaults = model()
    for field in model.__struct_fields__:
        declared, *notes = get_args(hints[field])
        kind = notes.pop(0) if isinstance(notes[0], Kind) else kind_of(declared)
        description, *examples = notes
        name = f"{section}.{field}"
        yield Key(
            name=name,
            variable=variable_of(name),
            kind=kind,
            default=getattr(defaults, field),
            description=description,
            example=examples[0].value if examples else None,
        )


KEYS: Final = {
    key.name: key for section, model in sections().items() for key in _keys_of(section, model)
}
"""All keys, by name."""


def text_of(value: object) -> str:
    """A value as written in the configuration; empty for None. Reveals secrets."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, (tuple, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)


def markdown_table() -> str:
    """The table of keys in docs/reference/configuration.md."""
    lines = ["| key | environment | default | meaning |", "|---|---|---|---|"]
    for key in KEYS.values():
        default = f"`{text_of(key.default)}`" if key.default is not None else "none"
        meaning = key.description.replace("|", "\\|")
        lines.append(f"| `{key.name}` | `{key.variable}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def reference_toml() -> str:
    """The text of ``config/worker.toml``: all keys, commented out, with description and default."""
    return _commented(_FILE_HEAD, {})


def new_toml(values: Mapping[str, Any]) -> str:
    """A configuration file that sets these keys, and describes all others."""
    return _commented(_NEW_FILE_HEAD, values)


def _commented(head: str, values: Mapping[str, Any]) -> str:
    parts = [head]
    for section, model in sections().items():
        parts.append(_reference_section(section, model, values, title=_first_line(model)))
    return "\n".join(parts)


def _reference_section(
    section: str, model: type[Section], values: Mapping[str, Any], *, title: str
) -> str:
    lines = [*_comment(title), f"[{section}]"]
    for key in _keys_of(section, model):
        value = key.default if key.default is not None else key.example
        meaning, off = key.description, "#"
        if key.name in values:
            value, off = values[key.name], ""
        elif key.default is None:
            meaning += " No default. Example:"
        lines += ["", *_comment(meaning), f"{off}{key.name.rpartition('.')[2]} = {_toml(value)}"]
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
    if isinstance(value, (str, Secret, timedelta, Path)):
        return json.dumps(text_of(value), ensure_ascii=False)
    raise TypeError(f"cannot write {type(value).__name__} as TOML")
