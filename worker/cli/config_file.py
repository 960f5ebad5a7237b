"""The configuration file with comments that ``init`` writes, and config/worker.toml."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import SecretStr

from worker.config import KEYS, text_of
from worker.config.settings import EVERYDAY, Settings

_WIDTH: Final = 98
_REFERENCE_HEAD: Final = """\
# All keys of pts-worker, with description and default. No key is set: remove the "#" at the start
# of a line to set its key.
"""
_NEW_HEAD: Final = """\
# Configuration of pts-worker, written by `pts-worker init`. A line that starts with "#" has an
# example or the default of a key; remove the "#" to set it.
"""
_RULES: Final = """\
#
# Flags override the environment (PTS_<SECTION>__<KEY>), the environment overrides this file, and
# this file overrides the defaults. Relative paths in this file start at its folder; paths in flags,
# in the environment and in defaults start at the working directory. Durations are written as 30s,
# 15m, 12h, 1d, 1h30m or PT1H.
# `pts-worker config show` shows each value and its origin, `pts-worker config check` what is wrong.
#
# Everybody sets these six keys; each stands at the top of its section:
"""


def reference_toml() -> str:
    """The text of config/worker.toml: all keys, commented out, with description and default."""
    return _REFERENCE_HEAD + _commented({})


def new_toml(values: Mapping[str, Any]) -> str:
    """A configuration file that sets these keys, and describes all others."""
    return _NEW_HEAD + _commented(values)


def _commented(values: Mapping[str, Any]) -> str:
    everyday = "".join(f"#   {name}\n" for name in EVERYDAY)
    sections = ("\n".join(_section(name, values)) for name in Settings.model_fields)
    return _RULES + everyday + "".join(f"\n{text}\n" for text in sections)


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
        yield from ("", *_comment(meaning), f"{off}{name.partition('.')[2]} = {_toml(value)}")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, (bool, int, float)):
        return text_of(value)
    text = value.get_secret_value() if isinstance(value, SecretStr) else text_of(value)
    return json.dumps(text, ensure_ascii=False)
