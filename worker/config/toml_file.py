"""Reads TOML files of the user's; what is wrong is said with line and column, and what to do."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from worker.errors import ConfigurationError
from worker.trusted_files import read_trusted

_BYTES_MAX: Final = 1 << 20
_LINE_END: Final = b"\n"
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$")
_ESCAPE: Final = "between double quotes write \\\\ for each \\; between single quotes \\ is enough"
_REMEDIES: Final = {
    "Invalid value": 'text stands between straight double quotes: key = "text"',
    "Illegal character '\\n'": "the quote that ends the text is missing",
    "Invalid hex value": _ESCAPE,
    "Unescaped '\\\\'": _ESCAPE,
    "Expected newline": "a key has one value; a number has a point and no comma",
    "Cannot overwrite": "the key stands above already",
    "Cannot declare": "the section stands above already; put the keys there",
}
"""What to do about some of the parser's messages, by their beginning."""


def read_text(path: Path, *, key: str, name: str) -> str:
    """The text of a file that nobody but its owner can have changed.

    Args:
        key: the configuration key that names it.
        name: what it is called in messages about its content.

    Raises:
        ConfigurationError: it cannot be read or trusted, or is not UTF-8.
    """
    content = read_trusted(path, key=key, bytes_max=_BYTES_MAX)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(_LINE_END) + 1
        column = len(before.rpartition(_LINE_END)[2].decode()) + 1
        raise ConfigurationError(
            f"{name}, line {line}, column {column}: the file is not UTF-8"
        ) from None


def parse_toml(text: str, *, name: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ConfigurationError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}{_syntax_fault(error, text)}") from None


def _syntax_fault(error: Exception, text: str) -> str:
    match = _PLACE.search(str(error))
    if match is None:  # an integer of thousands of digits; arrays in arrays
        return ": a number is too long, or values are nested too deeply"
    place = f"line {match[1]}, column {match[2]}"
    if match[3]:
        place = f"line {text.count(chr(10)) + 1}, at the end of the file"
    reason = str(error)[: match.start()]
    remedies = [remedy for start, remedy in _REMEDIES.items() if reason.startswith(start)]
    return "; ".join([f", {place}: not valid TOML: {reason}", *remedies[:1]])
