"""The report's languages: the same texts, and each one's numbers, dates and plurals."""

import string
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from worker.report.language import LANGUAGES, language


def _fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def _places(value):
    match value:
        case str():
            return {"text": _fields(value)}
        case list():
            return {"list": len(value)}
        case _:
            return {form: _fields(text) for form, text in value.items()}


@pytest.mark.parametrize("code", LANGUAGES[1:])
def test_languages_have_the_same_texts(code):
    """No key is missing, and each text has the same values in it."""
    first, other = language(LANGUAGES[0]).texts, language(code).texts
    assert first.keys() == other.keys()
    assert {key: _places(value) for key, value in first.items()} == {
        key: _places(value) for key, value in other.items()
    }


AT = datetime(2026, 11, 5, 2, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("nb", ["216 501", "\u22122", "+1 %", "5. november", "26. mai",
                "5. november 2026 kl. 03.07"]),
        ("nn", ["216 501", "\u22122", "+1 %", "5. november", "26. mai",
                "5. november 2026 kl. 03.07"]),
        ("en", ["216,501", "\u22122", "+1%", "5 November", "26 May",
                "5 November 2026 at 03:07"]),
    ],
)  # fmt: skip
def test_numbers_and_dates(code, expected):
    """As the language writes them."""
    words, zone = language(code), ZoneInfo("Europe/Oslo")
    said = [
        words.number(216_501),
        words.number(-2),
        words.change(101, 100),
        words.day(date(2026, 11, 5)),
        words.short_day(date(2026, 5, 26)),
        words.moment(AT, zone),
    ]
    assert [text.replace("\u00a0", " ") for text in said] == expected
