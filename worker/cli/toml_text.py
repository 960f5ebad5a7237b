"""Writes TOML with comments: the file of ``init``, config/worker.toml, and contracts with PTS."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from pydantic import SecretStr

from worker.config import KEYS, text_of
from worker.config.settings import EVERYDAY, Settings
from worker.core.contract import Contract
from worker.core.display import visible

_COMMENT_WIDTH: Final = 98
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TABLES: Final = ("columns", "values", "extra")
"""The keys of an area that are tables of their own."""
_HEAD: Final = """\
# Configuration of pts-worker. A line that starts with "#" has the default of a key, or an example;
# remove the "#" to set it. Flags and the environment (PTS_<SECTION>__<KEY>) override this file.
# Relative paths here start at its folder. Durations are written as 30s, 15m, 12h, 1d or 1h30m.
# `pts-worker config show` shows each value and its origin, `pts-worker config check` what is wrong.
#
# Everybody sets these six keys; each stands at the top of its section:
"""

Notes = Mapping[str, Sequence[str]]
"""An area's comments by key: above the key, or below what a table holds."""


def settings_toml(values: Mapping[str, Any] = MappingProxyType({})) -> str:
    """A configuration file that sets these keys, and describes all others."""
    everyday = "".join(f"#   {name}\n" for name in EVERYDAY)
    sections = ("\n".join(_section(name, values)) for name in Settings.model_fields)
    return _HEAD + everyday + "".join(f"\n{text}\n" for text in sections)


def _section(section: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(str(type(Settings.model_fields[section].default).__doc__))
    yield f"[{section}]"
    for name, key in KEYS.items():
        if not name.startswith(f"{section}."):
            continue
        meaning, value, off = str(key.description), key.default, "#"
        if name in values:
            value, off = values[name], ""
        elif value is None:
            meaning, value = f"{meaning} Example:", next(iter(key.examples or ()), None)
        yield from ("", *_comment(meaning), f"{off}{name.partition('.')[2]} = {_setting(value)}")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _setting(value: object) -> str:
    if isinstance(value, SecretStr):
        return toml_value(value.get_secret_value())
    return toml_value(value if isinstance(value, (tuple, bool, int, float)) else text_of(value))


def document_of(contract: Contract) -> dict[str, dict[str, Any]]:
    """A contract with every key, also those that have their default value, as the file has them."""
    tables = {name: area.model_dump(mode="json") for name, area in contract.items()}
    for table in tables.values():
        table["paging"] = table["paging"] or "none"
    return tables


def contract_toml(contract: Contract, notes: Mapping[str, Notes] = MappingProxyType({})) -> str:
    """A contract as a file that reads back to the same contract, with these comments."""
    areas = document_of(contract).items()
    texts = ("\n".join(_area_lines(name, table, notes.get(name, {}))) for name, table in areas)
    return "\n".join(f"{text}\n" for text in texts)


def _area_lines(name: str, table: Mapping[str, Any], notes: Notes) -> Iterator[str]:
    yield f"[{_key(name)}]"
    for key, value in table.items():
        if key not in _TABLES:
            yield from (f"# {visible(note)}" for note in notes.get(key, ()))
            yield toml_line(key, value)
    for key in _TABLES:
        yield from ("", f"[{_key(name)}.{key}]")
        yield from (toml_line(part, value) for part, value in table[key].items())
        yield from (f"# {visible(note)}" for note in notes.get(key, ()))


def toml_line(key: str, value: Any) -> str:
    """A key with its value."""
    return f"{_key(key)} = {toml_value(value)}"


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else toml_value(text)


def toml_value(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(toml_line(name, part) for name, part in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, float):
        return repr(value)  # JSON's word for infinity is none of TOML's
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
