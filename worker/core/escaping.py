"""Text from outside, made harmless for the place where it is shown. One function for each place."""

import re
from typing import Final

_BIDI: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
_LINE_ENDS: Final = (0x2028, 0x2029)
_INVISIBLE: Final = (0xFEFF, *range(0xE0000, 0xE0080), *range(0xFFF9, 0xFFFC))


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


_CONTROLS: Final = {
    code: _escape(code)
    for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI, *_LINE_ENDS, *_INVISIBLE)
}
_CONTROLS_IN_LINES: Final = {code: text for code, text in _CONTROLS.items() if code not in {9, 10}}

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_FORMULAS: Final = "=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20"
_CELL_STARTS: Final = re.compile(rf"(?:^|(?<=[;\t\r\n]))(?=[{_FORMULAS}])")


def visible(text: str) -> str:
    r"""The text for one place in a line of a terminal or log; what controls either is written out.

    Control characters (ECMA-48, ESC and U+009B among them), line ends, marks that turn the
    direction of writing (UAX #9) and invisible characters appear as ``\u001b``.
    """
    return text.translate(_CONTROLS)


def visible_lines(text: str) -> str:
    """The same for text of several lines of our own: line feeds and tabs stay."""
    return text.translate(_CONTROLS_IN_LINES)


def xml_text(text: str) -> str:
    """The text with U+FFFD for what no XML document may hold (XML 1.0 §2.2), escaped or not."""
    return _NOT_XML.sub("\ufffd", text)


def csv_text(text: str) -> str:
    """The text as a cell that no spreadsheet runs as a formula (OWASP, "CSV Injection").

    An apostrophe goes before what begins like a formula, also behind a semicolon, tab or line end,
    where another locale may begin a cell. Taking one away in each such place gives the text back.
    """
    return _CELL_STARTS.sub("'", text) if text else text
