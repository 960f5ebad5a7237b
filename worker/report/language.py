"""The report's texts, and the formats of numbers and dates, in three languages.

``texts/`` has one file for each language, all with the same keys (a test compares them). A text may
have two forms, ``one`` and ``other``. In all three languages ``one`` is for 1.
"""

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from worker.views import codes

LANGUAGES: Final = ("nb", "nn", "en")
NO_NUMBER: Final = "\u2013"
"""The text in place of a missing number."""
_MINUS: Final = "\u2212"


class Language:
    """One language of the report."""

    def __init__(self, code: str, texts: Mapping[str, Any]) -> None:
        self.code = code
        self.texts = texts
        self._names: dict[str, dict[str, str]] = {}
        for row in codes():
            # A dict keeps the order of the code list, in which tables list their rows.
            self._names.setdefault(row.system, {})[row.code] = getattr(row, f"name_{code}")

    def text(self, key: str, /, n: int | None = None, **values: object) -> str:
        """Return the text of a key with these values. ``n`` selects the form, and fills ``{n}``."""
        text = self.texts[key]
        if n is not None:
            values = {"n": self.number(n)} | values
            text = text if isinstance(text, str) else text["one" if n == 1 else "other"]
        return str(text.format(**values))

    def name(self, system: str, code: str) -> str:
        """Return the name of a code (``report_code``). Empty for an unknown code."""
        return self._names[system].get(code, "")

    def names(self, system: str) -> Mapping[str, str]:
        """Return the names of all codes of a system, in their order."""
        return self._names[system]

    def group(self, group: str) -> str:
        """Return the name of a group of restrictions, including the group of unknown codes."""
        return self.name("restriction_group", group) or self.text("group_unknown")

    def number(self, value: float) -> str:
        """Format a number without decimals, with the language's separator of thousands."""
        number = round(value)
        text = f"{abs(number):,}".replace(",", self.texts["thousands"])
        return _MINUS + text if number < 0 else text

    def per_1000(self, share: float) -> str:
        """Format a share of 1 as a rate per 1,000."""
        return self.number(share * 1000)

    def percent(self, share: float) -> str:
        """Format a share of 1 in per cent."""
        return self.text("percent", value=self.number(share * 100))

    def change(self, now: float, then: float) -> str:
        """Format the change between two amounts in per cent. Empty if ``then`` is 0."""
        if not then:
            return ""
        change = now / then - 1
        percent = self.percent(change)
        return f"+{percent}" if round(change * 100) > 0 else percent

    def day(self, day: date) -> str:
        """``26. november``."""
        return self.text("day", day=day.day, month=self.texts["months"][day.month - 1])

    def short_day(self, day: date) -> str:
        """``26. nov.``."""
        return self.text("day", day=day.day, month=self.texts["months_short"][day.month - 1])

    def full_day(self, day: date) -> str:
        """``26. november 2026``."""
        return f"{self.day(day)} {day.year}"

    def moment(self, at: datetime, zone: ZoneInfo) -> str:
        """``26. november 2026 kl. 03.12``, in the zone."""
        local = at.astimezone(zone)
        clock = local.strftime(self.texts["clock"])
        return self.text("moment", day=self.full_day(local), clock=clock)


@cache
def language(code: str) -> Language:
    """Return the language of a code in ``LANGUAGES``."""
    path = Path(__file__).with_name("texts") / f"{code}.toml"
    return Language(code, tomllib.loads(path.read_text("utf-8")))
