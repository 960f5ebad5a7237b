"""Read flags, environment and file into layers of values with their origins."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.config.keys import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, KEYS, sections
from worker.errors import ConfigurationError
from worker.trusted_files import OWN_DESCRIPTORS, Trust, read_trusted

DEFAULT_FILE: Final = Path("config/worker.toml")
_BY_VARIABLE: Final = {key.variable: key.name for key in KEYS.values()}
_BY_FLAT_VARIABLE: Final = {variable.replace("__", "_"): variable for variable in _BY_VARIABLE}
_FILE_BYTES_MAX: Final = 1 << 20
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


@dataclass(slots=True, kw_only=True)
class Layer:
    """The values of one source.

    Attributes:
        values: by key name.
        problems: one line per problem, without values.
        is_unread: whether the source could not be read, so that its values are unknown.
        meant: keys and sections that a misspelled one seems to stand for.
        folder: where relative paths of this source start; None: the working directory.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_unread: bool = False
    folder: Path | None = None
    meant: set[str] = field(default_factory=set)

    def put(self, name: str, value: object, origin: str) -> None:
        """Set a key; of an unknown one, note which seems to be meant."""
        if name in KEYS:
            self.values[name] = value
            self.origins[name] = origin
            return
        meant = _meant(name)
        self.meant.update({meant} - {""})
        hint = f"; did you mean {meant}?" if meant else ""
        self.problems.append(f"{name} ({origin}): unknown key{hint}")

    def drop(self, name: str) -> None:
        """Remove a key."""
        self.values.pop(name, None)
        self.origins.pop(name, None)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values by key name to a nested dictionary."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *branches, leaf = name.split(".")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = value
    return tree


def from_flags(flags: Mapping[str, object], flag_names: Mapping[str, str]) -> Layer:
    """The layer of the command line: values by key name, None for an unused flag."""
    layer = Layer()
    for name, value in flags.items():
        if value is None:
            continue
        origin = f"flag {flag_names[name]}" if name in flag_names else "command line"
        layer.put(name, value, origin)
    return layer


def from_environment(environ: Mapping[str, str]) -> Layer:
    """The layer of ``PTS_<SECTION>__<KEY>``. An empty variable counts as not set.

    A misspelled key of a known section is a problem. Other variables that start with ``PTS_`` are
    ignored, because Kubernetes sets such variables for every service.
    """
    layer = Layer()
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name = _BY_VARIABLE.get(variable)
        origin = f"environment variable {variable}"
        if name is None:
            _refuse_variable(layer, variable, origin)
        elif environ[variable] != "":
            layer.put(name, environ[variable], origin)
    return layer


def _refuse_variable(layer: Layer, variable: str, origin: str) -> None:
    """Note an unknown key of a section, and which one seems to be meant."""
    meant, how = _BY_FLAT_VARIABLE.get(variable), ", with two underscores"
    if meant is None:
        section, separator, _ = variable.removeprefix(ENVIRONMENT_PREFIX).partition("__")
        known = [name.upper() for name in sections()]
        if not separator or not difflib.get_close_matches(section, known, n=1, cutoff=0.75):
            return
        close = difflib.get_close_matches(variable, _BY_VARIABLE, n=1, cutoff=0.75)
        meant, how = (close[0] if close else None), ""
    hint = ""
    if meant is not None:
        layer.meant.add(_BY_VARIABLE[meant])
        hint = f"; did you mean {meant}{how}?"
    layer.problems.append(f"{origin}: unknown key{hint}")


def from_file(path: Path, *, shown: str) -> Layer:
    """The layer of a TOML file. Syntax errors are reported with line and column.

    Relative paths in it start at its folder; those of a file that was handed over open, such as a
    shell's ``<(command)``, at the working directory.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    is_handed_over = str(path).startswith(OWN_DESCRIPTORS)
    layer = Layer(is_unread=True, folder=None if is_handed_over else path.parent)
    try:
        content = read_trusted(
            path, key="the configuration", trust=Trust.CONFIGURATION, bytes_max=_FILE_BYTES_MAX
        )
    except ConfigurationError as error:
        layer.problems.append("; ".join(filter(None, (error.message, error.hint))))
        return layer
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = len(content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        layer.problems.append(f"{shown}, line {line}, column {column}: the file is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        layer.problems.append(f"{shown}{_syntax_problem(str(error), content)}")
    except (ValueError, RecursionError):  # an integer of thousands of digits; arrays in arrays
        layer.problems.append(f"{shown}: a number is too long, or values are nested too deeply")
    else:
        layer.is_unread = False
        for section, table in document.items():
            _read_section(layer, section, table, shown)
    return layer


def _syntax_problem(message: str, content: bytes) -> str:
    match = _PLACE.search(message)
    if match is None:
        return ": not valid TOML"
    reason = message[: match.start()]
    remedy = next((text for start, text in _SYNTAX.items() if reason.startswith(start)), "")
    reason += f"; {remedy}" * bool(remedy)
    if match[3]:
        last_line = content.count(b"\n") + 1
        return f", line {last_line}, at the end of the file: not valid TOML: {reason}"
    return f", line {match[1]}, column {match[2]}: not valid TOML: {reason}"


def _read_section(layer: Layer, section: str, table: object, origin: str) -> None:
    if section in sections():
        _read_table(layer, section, table, origin)
    else:
        close = difflib.get_close_matches(section, [*sections()], n=1)
        layer.meant.update(close)
        hint = f"; did you mean [{close[0]}]?" if close else ""
        layer.problems.append(f"[{section}] ({origin}): unknown section{hint}")


def _read_table(layer: Layer, prefix: str, table: object, origin: str) -> None:
    if not isinstance(table, dict):
        layer.problems.append(f"{prefix} ({origin}): must be a section, [{prefix}]")
        layer.meant.add(prefix)
        return
    for key, value in table.items():
        layer.put(f"{prefix}.{key}", value, origin)


def _meant(name: str) -> str:
    """The key that is most similar, or has the same name in another section; empty if none is."""
    section, _, last_part = name.rpartition(".")
    siblings = {key.rpartition(".")[2]: key for key in KEYS if key.startswith(f"{section}.")}
    close = difflib.get_close_matches(last_part, siblings, n=1)
    if close:
        return siblings[close[0]]
    elsewhere = [key for key in KEYS if key.rpartition(".")[2] == last_part]
    elsewhere += difflib.get_close_matches(name, KEYS, n=1, cutoff=0.8)
    return elsewhere[0] if elsewhere else ""
