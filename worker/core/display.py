"""Formats counts and untrusted texts for readers: with nouns, rounded, escaped."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from worker.core.value import Value

LEAST: Final = 5
"""The default limit. Counts of fewer persons are shown as "few"."""
OFF: Final = 0
"""The limit that shows exact counts."""
_POSSIBLE_MIN: Final = 3
"""Minimum number of values that a count of few persons could have, as far as readers can tell."""
LEAST_MIN: Final = _POSSIBLE_MIN + 1
"""The lowest limit. "Fewer than 4" is 1, 2 or 3. A lower limit leaves fewer possible values."""
_STEP: Final = 5
_RATE_DIGITS: Final = 2
MANY: Final = 10**9
"""No upper bound of a count."""
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
"""White space and invisible characters, which a spreadsheet may strip."""
_CELL_STARTS: Final = re.compile(rf"(?:^|(?<=[;\t\r\n]))(?={_BLANK}*+[{_FORMULAS}])")


def counted(count: int, noun: str) -> str:
    """The number and its noun: ``1 person``, ``1,200 persons``."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """The first ten names, then "and others": an answer or a file may have thousands."""
    return ", ".join(names[:_LISTED_MAX]) + (", and others" if names[_LISTED_MAX:] else "")


class ShownCount(Value, frozen=True):
    """A count as the report shows it.

    Attributes:
        first, last: the rounded number, or the ends of a range of rounded numbers. 0 for few
            persons.
        low, high: the lowest and highest exact count that would be shown like this, if each person
            has one restriction.
        divisions: for each table that divides the count, the shown counts that add up to it.
    """

    first: int
    last: int
    low: int
    high: int
    divisions: Sequence[Sequence["ShownCount"]] = ()

    @property
    def is_few(self) -> bool:
        """Whether it may be a count of few persons."""
        return self.first == 0 < self.low

    @property
    def number(self) -> int | None:
        """The number. None for few persons or a range."""
        return self.first if self.first == self.last and not self.is_few else None

    def divided(self, divisions: Sequence[Sequence["ShownCount"]]) -> "ShownCount":
        """Return the same count, divided in these tables."""
        return ShownCount(self.first, self.last, self.low, self.high, divisions)

    @property
    def least(self) -> int:
        """The lowest exact count that fits its parts, too."""
        return max(self.low, *(sum(part.least for part in parts) for parts in self.divisions), 0)

    @property
    def most(self) -> int:
        """The highest exact count that fits its parts, too."""
        return min(self.high, *(sum(part.most for part in parts) for parts in self.divisions), MANY)


def whole(*divisions: Sequence[ShownCount]) -> ShownCount:
    """A total that is not shown itself, only divided in one or more tables."""
    return ShownCount(0, 0, 0, MANY, [parts for parts in divisions if parts])


def reveals(*totals: ShownCount) -> bool:
    """Whether a reader can narrow a count of few persons to fewer than three possible values.

    A reader adds and subtracts the shown counts. The bounds of a total follow from those of its
    parts, and the bounds of a part from those of its total and of the other parts, until none
    becomes narrower. Totals may share parts.

    A reader may assume one restriction per person, or any number of them.
    """
    return _reveals(totals, has_many=False) or _reveals(totals, has_many=True)


def _reveals(totals: Iterable[ShownCount], *, has_many: bool) -> bool:
    # By identity, because tables share counts, and two counts may be equal.
    counts = {id(count): count for count in within(totals)}
    bounds = {
        # A few persons may have any number of restrictions.
        key: (count.low, MANY if has_many and count.is_few else count.high)
        for key, count in counts.items()
    }
    before: dict[int, tuple[int, int]] = {}
    # Each round makes bounds narrower, so the loop ends when none changes. It also ends when the
    # bounds of a count contradict each other: the assumption about restrictions is then wrong, and
    # low and high would grow apart forever.
    while before != bounds and all(low <= high for low, high in bounds.values()):
        before = dict(bounds)
        for key, count in counts.items():
            for parts in count.divisions:
                _narrow(bounds, key, [id(part) for part in parts])
    few = [bounds[key] for key, count in counts.items() if count.is_few]
    # A negative width is a contradiction.
    return any(0 <= high - low < _POSSIBLE_MIN - 1 for low, high in few)


def within(counts: Iterable[ShownCount]) -> Iterator[ShownCount]:
    """Yield the counts, and all counts that they are divided into."""
    for count in counts:
        yield count
        yield from within(part for parts in count.divisions for part in parts)


def _narrow(bounds: dict[int, tuple[int, int]], total: int, parts: Sequence[int]) -> None:
    """Narrow the bounds of a total and of the parts that add up to it."""
    low, high = (sum(bounds[part][end] for part in parts) for end in (0, 1))
    least, most = bounds[total] = max(bounds[total][0], low), min(bounds[total][1], high)
    for part in parts:
        part_low, part_high = bounds[part]
        # A part is the total without the other parts.
        bounds[part] = (
            max(part_low, least - (high - part_high)),
            min(part_high, most - (low - part_low)),
        )


class SmallNumbers(Value, frozen=True):
    """Rounds counts, so that small groups of persons cannot be recognised.

    Attributes:
        least: the limit: ``OFF``, or at least ``LEAST_MIN``.
    """

    least: int = LEAST

    @property
    def step(self) -> int:
        """The smallest difference between two shown counts."""
        return 1 if self.least == OFF else _STEP

    def count(self, count: int, persons: int | None = None) -> ShownCount:
        """A count without shown parts: rounded to five, or few persons.

        Args:
            persons: the number of persons counted. None if it equals ``count``.
        """
        if self.least == OFF or count == 0:
            return ShownCount(count, count, count, count)
        if min(count, count if persons is None else persons) < self.least:
            return self._range(0, 0)
        rounded = self._rounded(count)
        return self._range(rounded, rounded)

    def total(
        self, count: int, persons: int | None, *divisions: Sequence[ShownCount]
    ) -> ShownCount:
        """A total of parts that are shown in one or more tables.

        Subtraction must not reveal a part of few persons. If a rounded total would leave such a
        part fewer than three possible values, the total is shown as a range that includes its
        neighbours. The ranges depend on the parts alone, so a range reveals no exact count.

        Example: parts of <5, <5 and 5 add up to 7 to 15. Shown as "5", the total would be 7, and
        both small parts would be 1. So it is shown as "5 to 10".
        """
        alone = self.count(count, persons)
        parts = whole(*divisions)
        # Exact counts hide nothing, and without shown parts there is nothing to subtract.
        if self.least == OFF or count == 0 or not parts.divisions:
            return alone
        return next(
            (total for total in self._totals(parts) if total.first <= alone.first <= total.last),
            # A person may have several restrictions, so a part of few persons has no upper bound.
            alone,
        )

    def rate(self, part: ShownCount, of: ShownCount) -> float | None:
        """Part of a whole, as shown. None unless both are numbers.

        A rate of rounded counts has two significant digits.
        """
        if part.number is None or not of.number:
            return None
        rate = part.number / of.number
        # 15 of 45 may be 13 of 47, so "333 per 1,000" would look more exact than it is.
        return rate if self.least == OFF else float(f"{rate:.{_RATE_DIGITS}g}")

    def _totals(self, parts: ShownCount) -> list[ShownCount]:
        """All totals between the bounds of the parts, as they would be shown.

        A range begins with one rounded number, and takes in the next one until it reveals nothing.
        """
        totals: list[ShownCount] = []
        first = last = self._rounded(parts.least)
        end = self._rounded(parts.most)
        while last <= end:
            total = self._range(first, last, parts.divisions)
            following = max(last + _STEP, self._lowest)
            if not reveals(total):
                totals.append(total)
                first = following
            elif last == end:
                # No number is left to take in, so the last range joins the one before it.
                first = totals.pop().first if totals else first
                totals.append(self._range(first, last, parts.divisions))
            last = following
        return totals

    @property
    def _lowest(self) -> int:
        """The smallest rounded number: with a limit of 7 it is 10."""
        return math.ceil(self.least / _STEP) * _STEP

    def _rounded(self, count: int) -> int:
        if count < self.least:
            return 0
        return max(self._lowest, (count + _STEP // 2) // _STEP * _STEP)

    def _range(
        self, first: int, last: int, divisions: Sequence[Sequence[ShownCount]] = ()
    ) -> ShownCount:
        low = first - _STEP // 2
        if first == 0:
            low = 1
        elif first == self._lowest:
            low = self.least
        high = self.least - 1 if last == 0 else last + _STEP // 2
        return ShownCount(first, last, low, high, divisions)


def visible(text: str) -> str:
    r"""Escape text for one line of a terminal or log.

    Control characters (ECMA-48, including ESC and U+009B), line ends, bidirectional marks (UAX #9)
    and invisible characters are written as escapes such as ``\u001b``. So are surrogates, which
    replace bytes that are not UTF-8 (PEP 383).
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
    end, where a cell begins in some locales. White space and invisible characters before a formula
    are ignored. Removing the apostrophe restores the text.
    """
    return _CELL_STARTS.sub("'", text) if text else text


def csv_cell(text: str) -> str:
    """A cell of a CSV file, safe in a spreadsheet (``csv_text``) and on a terminal.

    Control characters and bidirectional marks are escaped as in ``visible``, so JSON stays valid
    and keeps its meaning. Line feeds and tabs stay.
    """
    return csv_text(text.translate(_CONTROLS_IN_CELLS))
