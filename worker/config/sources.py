"""The sources of settings: flags, environment, TOML file, and what ``api.environment`` implies."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Final, NamedTuple

from worker.config.settings import KEYS
from worker.core.database_urls import sqlite_under
from worker.core.hosts import ENVIRONMENTS
from worker.errors import ConfigurationError
from worker.trusted_files import read_trusted

CONFIG_VARIABLE: Final = "PTS_CONFIG"
_PREFIX: Final = "PTS_"
_PATHS: Final = ("roster.path", "telemetry.textfile")
"""Besides all keys that end with ``_file``."""
_FILE_BYTES_MAX: Final = 1 << 20
_TOML: Final = (
    "text stands between straight quotes, and within double quotes \\ is written twice; a number "
    "has a point and no comma; a key, and a section, stands once"
)


class Given(NamedTuple):
    """A value as it was written, and where, for messages."""

    value: Any
    origin: str


Source = dict[str, Given]
"""What a source sets, by key name; a section that is no table by its own name."""


def variable_of(name: str) -> str:
    """The environment variable of a key."""
    return f"{_PREFIX}{name.replace('.', '__')}".upper()


_ONE_UNDERSCORE: Final = {one.replace("__", "_"): one for one in map(variable_of, KEYS)}


def flags(values: Mapping[str, object], flag_names: Mapping[str, str], cwd: Path) -> Source:
    """The command line: values by key name, None for a flag that was not given."""
    origins = {name: f"flag {flag}" for name, flag in flag_names.items()}
    return {
        name: Given(_under(cwd, name, value), origins.get(name, "command line"))
        for name, value in values.items()
        if value is not None
    }


def environment(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> Source:
    """``PTS_<SECTION>__<KEY>``. An empty variable counts as not set.

    Other variables are ignored, because Kubernetes sets ``PTS_…`` for every service.

    Args:
        problems: what cannot be read is added here.
    """
    found: Source = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable == CONFIG_VARIABLE or not environ[variable]:
            continue
        name, origin = variable[len(_PREFIX) :].lower(), f"environment variable {variable}"
        if "__" in name:
            name = name.replace("__", ".", 1)
            found[name] = Given(_under(cwd, name, environ[variable]), origin)
        elif meant := _ONE_UNDERSCORE.get(variable):
            problems.append(f"{origin}: unknown key; did you mean {meant}, with two underscores?")
    return found


def file(path: Path, problems: list[str]) -> Source:
    """A TOML file. Relative paths in it start at its folder.

    Args:
        problems: what cannot be read is added here.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    try:
        document = parse_toml(read_text(path, key="the configuration"), name=str(path))
    except ConfigurationError as error:
        problems.append("; ".join(filter(None, (error.message, error.hint))))
        return {}
    found: Source = {}
    for section, table in document.items():
        is_full = isinstance(table, dict) and table
        keys = {f"{section}.{key}": value for key, value in table.items()} if is_full else {}
        for name, value in (keys or {section: table}).items():
            found[name] = Given(_under(path.parent, name, value), str(path))
    return found


def read_text(path: Path, *, key: str) -> str:
    """The text of a file that nobody but its owner can have changed.

    Args:
        key: the configuration key that names it.

    Raises:
        ConfigurationError: it cannot be read or trusted, or is not UTF-8.
    """
    content = read_trusted(path, key=key, bytes_max=_FILE_BYTES_MAX)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{key}: {path}, line {line}: the file is not UTF-8") from None


def parse_toml(text: str, *, name: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ConfigurationError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not valid TOML: {error}", hint=_TOML) from None


def _under(folder: Path, name: str, value: Any) -> Any:
    """A value with its relative path, if it is one, starting at this folder."""
    if not isinstance(value, (str, Path)) or value in {"", "-"}:
        return value
    if name in {"database.url", "roster.url"}:
        return sqlite_under(str(value), str(folder))
    return str(folder / value) if name.endswith("_file") or name in _PATHS else value


def merged(highest_first: Sequence[Source]) -> Source:
    """What all sources set together.

    A roster that one of them names takes the place of the other kind in those below it. Lowest are
    the addresses of the environment that was chosen.
    """
    found: Source = {}
    for source in highest_first:
        replaced = {"roster.url", "roster.query"} if "roster.path" in found else set()
        if "roster.url" in found:
            replaced = {"roster.path"}
        found = {name: given for name, given in source.items() if name not in replaced} | found
    chosen = found.get("api.environment", Given("", "")).value
    addresses = ENVIRONMENTS.get(str(chosen).strip(), {})
    return {name: Given(value, "api.environment") for name, value in addresses.items()} | found


def tables(source: Source) -> dict[str, Any]:
    """The values by section and key."""
    found: dict[str, Any] = {}
    for name, given in source.items():
        section, dot, key = name.partition(".")
        if not dot:
            found[section] = copy(given.value)  # keys are added to it
        elif isinstance(found.setdefault(section, {}), dict):
            found[section][key] = given.value
    return found
