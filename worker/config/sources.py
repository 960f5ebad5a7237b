"""The sources of settings: flags, environment, TOML file, and what ``api.environment`` implies."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from worker.config.settings import KEYS, PREFIX, variable_of
from worker.core.database_urls import sqlite_under
from worker.core.hosts import ENVIRONMENTS
from worker.errors import ConfigurationError
from worker.trusted_files import read_trusted

CONFIG_VARIABLE: Final = "PTS_CONFIG"
_PATHS: Final = ("roster.path", "telemetry.textfile")
"""Besides all keys that end with ``_file``."""
_ONE_UNDERSCORE: Final = frozenset(variable_of(name).replace("__", "_") for name in KEYS)
_TOML: Final = (
    "text stands between straight quotes, and within double quotes \\ is written twice; a number "
    "has a point and no comma; each key and section may appear only once"
)


class Given(NamedTuple):
    """A value as it was written, and where, for messages."""

    value: Any
    origin: str


Source = dict[str, Given]
"""What a source sets, by key name; a section that is no table by its own name."""


def flags(values: Mapping[str, tuple[object, str]], cwd: Path) -> Source:
    """The command line: values by key name, each with its flag."""
    return {
        name: Given(_under(cwd, name, value), f"flag {flag}")
        for name, (value, flag) in values.items()
    }


def environment(environ: Mapping[str, str], cwd: Path) -> Source:
    """``PTS_<SECTION>__<KEY>``, and what only lacks an underscore. Empty counts as not set.

    Other variables are ignored, because Kubernetes sets ``PTS_…`` for every service.
    """
    found: Source = {}
    for variable, text in sorted(environ.items()):
        name = variable.removeprefix(PREFIX).lower().replace("__", ".", 1)
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or not text:
            continue
        if "." in name:
            found[name] = Given(_under(cwd, name, text), f"environment variable {variable}")
        elif variable in _ONE_UNDERSCORE:
            found[variable] = Given("", "environment variable with one underscore")
    return found


def near_config_variable(environ: Mapping[str, str]) -> str:
    """A variable that is set and may be a misspelled ``PTS_CONFIG``; empty if there is none."""
    names = [name for name in environ if "__" not in name and name != CONFIG_VARIABLE]
    return next(iter(get_close_matches(CONFIG_VARIABLE, names, n=1, cutoff=0.8)), "")


def file(path: Path) -> Source:
    """A TOML file. Relative paths in it start at its folder.

    Raises:
        ConfigurationError: it cannot be read or trusted, or is not TOML.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    document = parse_toml(read_text(path, key="the configuration"), name=str(path))
    found: Source = {}
    for section, table in document.items():
        is_table = isinstance(table, dict)
        keys = {f"{section}.{key}": table[key] for key in table} if is_table else {section: table}
        for name, value in keys.items():
            found[name] = Given(_under(path.parent, name, value), str(path))
    return found


def read_text(path: Path, *, key: str) -> str:
    """The text of a file that nobody but its owner can have changed.

    Args:
        key: the configuration key that names it.

    Raises:
        ConfigurationError: it cannot be read or trusted, or is not UTF-8.
    """
    content = read_trusted(path, key=key)
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
