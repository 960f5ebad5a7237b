"""How counts and untrusted texts are shown: with nouns, rounded, escaped."""

import re
from collections.abc import Sequence
from typing import Final

from worker.core.value import Value

LEAST: Final = 5
"""The number of persons from which a count is shown, where nobody has said another."""
OFF: Final = 0
"""The limit that shows every count as it is."""
LEAST_MIN: Final = 3
"""Below 2 there is only 1, so that a lower limit would name what it hides."""
_STEP: Final = 5
_LISTED_MAX: Final = 10

_BIDI: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
_LINE_ENDS: Final = (0x2028, 0x2029)
_SURROGATES: Final = range(0xD800, 0xE000)
_INVISIBLE: Final = (0xFEFF, *range(0xE0000, 0xE0080), *range(0xFFF9, 0xFFFC))


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


_CONTROLS: Final = {
    code: _escape(code)
    for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI, *_LINE_ENDS, *_INVISIBLE, *_SURROGATES)
}
_CONTROLS_IN_LINES: Final = {code: text for code, text in _CONTROLS.items() if code not in {9, 10}}
_CONTROLS_IN_CELLS: Final = {
    code: text
    for code, text in _CONTROLS_IN_LINES.items()
    if code <= 0xFFFF  # noqa: PLR2004 - escapes of JSON have four digits
}

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_FORMULAS: Final = "=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20"
_BLANK: Final = r"(?:[^\S\t\r\n]|[\u00ad\u180e\u200b-\u200d\u2060\ufeff])"
"""What a spreadsheet may strip, or nobody sees."""
_CELL_STARTS: Final = re.compile(rf"(?:^|(?<=[;\t\r\n]))(?={_BLANK}*+[{_FORMULAS}])")


def counted(count: int, noun: str) -> str:
    """The number and its noun: ``1 person``, ``1,200 persons``."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """The first names, and whether there are others: an answer or a file may have very many."""
    return ", ".join(names[:_LISTED_MAX]) + (", and others" if names[_LISTED_MAX:] else "")


class SmallNumbers(Value, frozen=True):
    """How a count is shown, because few persons may stand behind it.

    One rule for every count and every movement, totals too, so that no number can be subtracted
    from another to find a small one. What it does not hide: a count that crosses a step of five
    between two reports shows that it moved.

    Attributes:
        least: the limit: ``OFF``, or ``LEAST_MIN`` and more.
    """

    least: int = LEAST

    @property
    def step(self) -> int:
        """The smallest difference between two counts as they are shown."""
        return 1 if self.least == OFF else _STEP

    def shown(self, count: int, persons: int | None = None) -> int | None:
        """The count as it is shown, rounded to five; None if fewer persons than the limit have it.

        Args:
            persons: how many persons stand behind it; None: ``count`` of them.
        """
        if self.least == OFF or count == 0:
            return count
        if min(count, persons or count) < self.least:
            return None
        return max(_STEP, (count + _STEP // 2) // _STEP * _STEP)


def visible(text: str) -> str:
    r"""Escape text for one line of a terminal or log.

    Control characters (ECMA-48, including ESC and U+009B), line ends, bidirectional marks (UAX #9)
    and invisible characters are written as escapes such as ``\u001b``. So are surrogates, which
    stand for bytes that are not UTF-8 (PEP 383).
    """
    return text.translate(_CONTROLS)


def visible_lines(text: str) -> str:
    """Like ``visible``, but keep line feeds and tabs."""
    return text.translate(_CONTROLS_IN_LINES)


def xml_text(text: str) -> str:
    """Replace characters that XML does not allow, even escaped, by U+FFFD (XML 1.0 §2.2)."""
    return _NOT_XML.sub("\ufffd", text)


def csv_text(text: str) -> str:
    """Escape a cell so that no spreadsheet runs it as a formula (OWASP, "CSV Injection").

    An apostrophe is inserted before the start of a formula, also after a semicolon, tab or line
    end, where a cell begins in some locales; white space and what is invisible before it does not
    count. Removing one apostrophe there restores the text.
    """
    return _CELL_STARTS.sub("'", text) if text else text


def csv_cell(text: str) -> str:
    """A cell of a CSV file: ``csv_text`` of a text that does not control a terminal.

    Control characters and bidirectional marks are escaped as in ``visible``, which keeps JSON valid
    and its meaning; line feeds and tabs are kept.
    """
    return csv_text(text.translate(_CONTROLS_IN_CELLS))
