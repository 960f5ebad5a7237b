"""Writes TOML with comments: the file of ``init``, config/worker.toml, and contracts with PTS."""

import json
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from pydantic import Secret

from worker.config.settings import EVERYDAY, SECTIONS, text_of
from worker.core.contract import Contract

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TABLES: Final = ("columns", "values", "extra")
"""The keys of an area that are tables of their own."""
_Table: TypeAlias = Mapping[str, Any]
_NONE: Final[_Table] = MappingProxyType({})
_Remarks: TypeAlias = Mapping[str, tuple[Collection[str], Collection[str]]]
_HEAD: Final = """\
# Configuration of pts-worker. A line that starts with "#" has the default of a key, or an example;
# remove the "#" to set it. Flags and the environment (PTS_<SECTION>__<KEY>) override this file.
# Relative paths here start at its folder. Durations are written as 30s, 15m, 12h, 1d or 1h30m.
# `pts-worker config show` shows each value and its origin, `pts-worker config check` what is wrong.
#
# Everybody sets these six keys; each stands at the top of its section:"""


def settings_toml(values: Mapping[str, Any] = _NONE) -> str:
    """A configuration file that sets these keys, and describes all others."""
    lines = [_HEAD, *(f"#   {name}" for name in EVERYDAY)]
    for section, model in SECTIONS.items():
        lines += ["", _comment(str(model.__doc__)), f"[{section}]"]
        for name, key in model.model_fields.items():
            value = values.get(f"{section}.{name}")
            shown = [one for one in (value, key.default, *(key.examples or ())) if one is not None]
            hint = " Example:" if value is None and key.default is None else ""
            off = "#" if value is None else ""
            lines += ["", _comment(f"{key.description}{hint}"), off + toml_line(name, shown[0])]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return textwrap.indent(textwrap.fill(text, 96, break_on_hyphens=False), "# ")


def contract_toml(contract: Contract, known: Contract = _NONE, remarks: _Remarks = _NONE) -> str:
    """A contract as a file that reads back to the same one.

    Args:
        known: the one in force: each line of a proposal that differs is marked.
        remarks: of each area, keys and columns that nothing was found for, which are marked too;
            and comments for its end, which is in ``extra``.
    """
    lines = list[str]()
    for name, area in contract.items():
        table = area.model_dump(mode="json")
        before = known.get(name, area).model_dump(mode="json")
        own = {key: value for key, value in table.items() if key not in _TABLES}
        unseen, notes = remarks.get(name, ((), ()))
        lines += [f"[{name}]", *_lines(own, before, unseen)]
        for key in _TABLES:
            lines += ["", f"[{name}.{key}]", *_lines(table[key], before[key], unseen)]
        lines += [*(f"# {line}" for line in notes), ""]
    return "\n".join(lines)


def _lines(table: _Table, known: _Table, unseen: Collection[str]) -> Iterator[str]:
    for key, value in table.items():
        line, before = toml_line(key, value), toml_line(key, known.get(key))
        if line != before and key in known:
            yield f"# in force: {before}"
        mark = "  # not seen" if key in unseen else ""
        yield line + (mark if line == before else "  # proposal")


def toml_line(key: str, value: Any) -> str:
    """A key with its value."""
    return f"{key if _BARE_KEY.fullmatch(key) else toml_value(key)} = {toml_value(value)}"


def toml_value(value: Any) -> str:
    """A value on one line; ``"none"`` for None."""
    if isinstance(value, dict):
        return f"{{{', '.join(toml_line(name, part) for name, part in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Secret):
        value = value.get_secret_value()
    text = json.dumps("none" if value is None else value, ensure_ascii=False, default=text_of)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
