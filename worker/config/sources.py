"""The sources of settings: flags, environment, TOML file, and what ``api.environment`` implies."""

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic_settings import InitSettingsSource

from worker.config.keys import CONFIG_VARIABLE, KEYS, PREFIX, SECTIONS
from worker.config.settings import Settings
from worker.core.database_urls import sqlite_under
from worker.core.environments import ENVIRONMENTS
from worker.errors import ConfigurationError
from worker.trusted_files import OWN_DESCRIPTORS, Trust, read_trusted

_ONE_UNDERSCORE: Final = {key.variable.replace("__", "_"): key.variable for key in KEYS.values()}
_SIMILAR: Final = 0.75
_FILE_BYTES_MAX: Final = 1 << 20
_LINE_END: Final = b"\n"
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$")
_ESCAPE: Final = "between double quotes write \\\\ for each \\; between single quotes \\ is enough"
_SYNTAX: Final = {
    "Invalid value": 'text stands between straight double quotes: key = "text"',
    "Illegal character '\\n'": "the quote that ends the text is missing",
    "Invalid hex value": _ESCAPE,
    "Unescaped '\\\\'": _ESCAPE,
    "Expected newline": "a key has one value; a number has a point and no comma",
    "Cannot overwrite": "the key stands above already",
    "Cannot declare": "the section stands above already; put the keys there",
}
"""What to do about some of the parser's messages, by their beginning."""


class Source(InitSettingsSource):
    """What one source sets.

    Attributes:
        values: by key name.
        origins: where each of them stands, for messages.
        problems: what cannot be read of it, a line each.
    """

    def __init__(
        self, values: Mapping[str, Any], origins: Mapping[str, str], *problems: str
    ) -> None:
        super().__init__(Settings, {})
        self.values = dict(values)
        self.origins = origins
        self.problems = problems

    def __call__(self) -> dict[str, Any]:
        """The values by section and key.

        A roster that a higher source names takes the place of the other kind in this one.
        """
        higher = _table(self.current_state, "roster")
        other = ("url", "query") if "path" in higher else ("path",) if "url" in higher else ()
        for key in other:
            self.values.pop(f"roster.{key}", None)
        tables: dict[str, Any] = {}
        for name, value in self.values.items():
            section, dot, key = name.partition(".")
            if dot:
                tables.setdefault(section, {})[key] = value
            else:
                tables[section] = value
        return tables


class Addresses(Source):
    """The lowest source: the addresses of the environment that the others have chosen."""

    def __call__(self) -> dict[str, Any]:
        """The addresses by section and key."""
        chosen = str(_table(self.current_state, "api").get("environment"))
        self.values = dict(ENVIRONMENTS.get(chosen.strip().lower(), {}))
        self.origins = dict.fromkeys(self.values, "api.environment")
        return super().__call__()


def _table(tables: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section; empty if it is not there, or is none."""
    table = tables.get(section)
    return table if isinstance(table, dict) else {}


def flags(values: Mapping[str, object], flag_names: Mapping[str, str]) -> Source:
    """The command line: values by key name, None for a flag that was not given."""
    given = {name: value for name, value in values.items() if value is not None}
    spelt = {name: f"flag {flag}" for name, flag in flag_names.items()}
    return Source(given, dict.fromkeys(given, "command line") | spelt)


def environment(environ: Mapping[str, str]) -> Source:
    """``PTS_<SECTION>__<KEY>``. An empty variable counts as not set.

    A misspelt key is kept, to be refused. Variables that are like none of ours are ignored, because
    Kubernetes sets ``PTS_…`` for every service.
    """
    values, origins, problems = {}, {}, []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or not environ[variable]:
            continue
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        origin = f"environment variable {variable}"
        if separator and get_close_matches(section, SECTIONS, cutoff=_SIMILAR):
            values[f"{section}.{key}"] = environ[variable]
            origins[f"{section}.{key}"] = origin
        elif meant := _ONE_UNDERSCORE.get(variable):
            problems.append(f"{origin}: unknown key; did you mean {meant}, with two underscores?")
    return Source(values, origins, *problems)


def file(path: Path) -> Source:
    """A TOML file. Syntax errors are reported with line and column.

    Relative paths in it start at its folder; those of a file that was handed over open, such as a
    shell's ``<(command)``, at the working directory.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    try:
        content = read_trusted(
            path, key="the configuration", trust=Trust.CONFIGURATION, bytes_max=_FILE_BYTES_MAX
        )
    except ConfigurationError as error:
        return Source({}, {}, "; ".join(filter(None, (error.message, error.hint))))
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Source({}, {}, f"{path}{_syntax_fault(error, content)}")
    values: dict[str, Any] = {}
    for section, table in document.items():
        if not isinstance(table, dict) or not table:
            values[section] = table
        else:
            values |= {f"{section}.{key}": value for key, value in table.items()}
    if not str(path).startswith(OWN_DESCRIPTORS):
        values = {name: _under(name, value, path.parent) for name, value in values.items()}
    return Source(values, dict.fromkeys(values, str(path)))


def _syntax_fault(error: Exception, content: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        before = content[: error.start]
        column = len(before.rpartition(_LINE_END)[2].decode()) + 1
        return f", line {before.count(_LINE_END) + 1}, column {column}: the file is not UTF-8"
    match = _PLACE.search(str(error))
    if match is None:  # an integer of thousands of digits; arrays in arrays
        return ": a number is too long, or values are nested too deeply"
    place = f"line {match[1]}, column {match[2]}"
    if match[3]:
        place = f"line {content.count(_LINE_END) + 1}, at the end of the file"
    reason = str(error)[: match.start()]
    remedy = next((f"; {text}" for start, text in _SYNTAX.items() if reason.startswith(start)), "")
    return f", {place}: not valid TOML: {reason}{remedy}"


def _under(name: str, value: Any, folder: Path) -> Any:
    """A value of the file, with its relative path starting at the file's folder."""
    if not isinstance(value, str) or value == "-":
        return value
    if name in {"database.url", "roster.url"}:
        return sqlite_under(value, str(folder))
    is_path = name.endswith("_file") or name in {"roster.path", "telemetry.textfile"}
    return str(folder / value) if is_path else value
