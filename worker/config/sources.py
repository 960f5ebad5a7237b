"""The sources of settings: flags, environment, TOML file, and the ``api.environment`` defaults."""

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
"""Keys with paths, in addition to all keys that end with ``_file``."""
_ONE_UNDERSCORE: Final = frozenset(variable_of(name).replace("__", "_") for name in KEYS)
_TOML: Final = (
    "check that it is a TOML file such as worker.toml. In TOML, write text between straight "
    "quotes, \\ in double quotes as \\\\, and numbers with a decimal point. Each key and section "
    "may appear only once"
)


class SourceValue(NamedTuple):
    """A value as written in its source, and the name of the source for messages."""

    value: Any
    origin: str


Source = dict[str, SourceValue]
"""The values of a source by key name. A section that is not a table is listed by its name."""


def flags(values: Mapping[str, tuple[object, str]], cwd: Path) -> Source:
    """The values of the command line, by key name, each with its flag."""
    return {
        name: SourceValue(_under(cwd, name, value), f"flag {flag}")
        for name, (value, flag) in values.items()
    }


def environment(environ: Mapping[str, str], cwd: Path) -> Source:
    """The variables ``PTS_<SECTION>__<KEY>``. An empty variable counts as not set.

    Other variables are ignored, because Kubernetes sets ``PTS_…`` for every service. Only a key
    written with one underscore is included, as an error.
    """
    values: Source = {}
    for variable, text in sorted(environ.items()):
        name = variable.removeprefix(PREFIX).lower().replace("__", ".", 1)
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or not text:
            continue
        if "." in name:
            values[name] = SourceValue(_under(cwd, name, text), f"environment variable {variable}")
        elif variable in _ONE_UNDERSCORE:
            values[variable] = SourceValue("", "environment variable with one underscore")
    return values


def near_config_variable(environ: Mapping[str, str]) -> str:
    """A variable that looks like a misspelled ``PTS_CONFIG``. Empty if there is none."""
    names = [name for name in environ if "__" not in name and name != CONFIG_VARIABLE]
    return next(iter(get_close_matches(CONFIG_VARIABLE, names, n=1, cutoff=0.8)), "")


def file(path: Path) -> Source:
    """The values of a TOML file. Relative paths are resolved against its folder.

    Raises:
        ConfigurationError: the file cannot be read or trusted, or is not TOML.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    # Others must not write it: api.base_url decides where the identifiers are sent.
    document = parse_toml(read_text(path, key="the configuration"), name=str(path))
    values: Source = {}
    for section, table in document.items():
        is_table = isinstance(table, dict)
        keys = {f"{section}.{key}": table[key] for key in table} if is_table else {section: table}
        for name, value in keys.items():
            values[name] = SourceValue(_under(path.parent, name, value), str(path))
    return values


def read_text(path: Path, *, key: str) -> str:
    """The text of a file that only its owner and root can have changed.

    Args:
        key: the file's configuration key, for messages.

    Raises:
        ConfigurationError: the file cannot be read or trusted, or is not UTF-8.
    """
    content = read_trusted(path, key=key)
    try:
        return content.decode("utf-8-sig")  # editors on Windows may write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{key}: {path}, line {line}: the file is not UTF-8",
            hint="save it as UTF-8 (Notepad's `Unicode` is UTF-16)",
        ) from None


def parse_toml(text: str, *, name: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ConfigurationError: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not valid TOML: {error}", hint=_TOML) from None


def _under(folder: Path, name: str, value: Any) -> Any:
    """The value. If it is a relative path, it is resolved against this folder."""
    if not isinstance(value, (str, Path)) or value in {"", "-"}:
        return value
    if name in {"database.url", "roster.url"}:
        return sqlite_under(str(value), str(folder))
    return str(folder / value) if name.endswith("_file") or name in _PATHS else value


def merged(highest_first: Sequence[Source]) -> Source:
    """Merge all sources. The addresses of ``api.environment`` have the lowest precedence.

    A roster file replaces the roster query of lower sources, and a query replaces the file.
    """
    values: Source = {}
    for source in highest_first:
        # `--roster FILE` must not conflict with the query in the configuration file.
        replaced = {"roster.url", "roster.query"} if "roster.path" in values else set()
        if "roster.url" in values:
            replaced = {"roster.path"}
        values = {name: value for name, value in source.items() if name not in replaced} | values
    environment_name = values.get("api.environment", SourceValue("", "")).value
    addresses = ENVIRONMENTS.get(str(environment_name).strip(), {})
    implied = {name: SourceValue(url, "api.environment") for name, url in addresses.items()}
    return implied | values
