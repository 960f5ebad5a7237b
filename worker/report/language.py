"""The report's texts, and how a language writes numbers and dates.

The texts are tables in ``texts/``, one file a language, all with the same keys (a test compares
them). A text may have two forms, ``one`` and ``other``; in all three languages ``one`` is for 1.
"""

import math
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from worker.views import codes

LANGUAGES: Final = ("nb", "nn", "en")
NOTHING: Final = "\u2013"
"""What stands where there is no number."""
_MINUS: Final = "\u2212"


class Language:
    """One language of the report."""

    def __init__(self, code: str, texts: Mapping[str, Any]) -> None:
        self.code = code
        self.texts = texts
        self._names: dict[str, dict[str, str]] = {}
        for coded in codes():
            self._names.setdefault(coded.system, {})[coded.code] = getattr(coded, f"name_{code}")

    def text(self, key: str, /, n: int | None = None, **values: object) -> str:
        """The text of a key, with these values in it; ``n`` chooses its form and is ``{n}``."""
        text = self.texts[key]
        if n is not None:
            values = {"n": self.number(n)} | values
            text = text if isinstance(text, str) else text["one" if n == 1 else "other"]
        return str(text.format(**values))

    def name(self, system: str, code: str) -> str:
        """What a code is called (``report_code``); empty for a code that is not known."""
        return self._names[system].get(code, "")

    def names(self, system: str) -> Mapping[str, str]:
        """What all codes of a system are called, in their order."""
        return self._names[system]

    def group(self, group: str) -> str:
        """What a group of restrictions is called, those of unknown codes as well."""
        return self.name("restriction_group", group) or self.text("group_unknown")

    def number(self, value: float, decimals: int = 0) -> str:
        """An amount, with the language's separators."""
        text = f"{abs(value):,.{decimals}f}".translate(
            {ord(","): self.texts["thousands"], ord("."): self.texts["decimal"]}
        )
        return _MINUS + text if value < 0 and text.strip("0,.") else text

    def percent(self, share: float, decimals: int = 0) -> str:
        """A share of 1."""
        return self.text("percent", value=self.number(share * 100, decimals))

    def percent_down(self, share: float) -> str:
        """A share of 1 with one decimal, rounded down: what is not complete is not 100 %."""
        return self.percent(math.floor(share * 1000 + 1e-9) / 1000, 1)

    def change(self, now: float, then: float) -> str:
        """From one amount to another, in per cent; empty where there is nothing to divide by."""
        if not then:
            return ""
        change = now / then - 1
        shown = self.percent(change)
        return f"+{shown}" if round(change * 100) > 0 else shown

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
        there = at.astimezone(zone)
        clock = there.strftime(self.texts["clock"])
        return self.text("moment", day=self.full_day(there), clock=clock)


@cache
def language(code: str) -> Language:
    """The language of a code in ``LANGUAGES``."""
    path = Path(__file__).with_name("texts") / f"{code}.toml"
    return Language(code, tomllib.loads(path.read_text("utf-8")))
