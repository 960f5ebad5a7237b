"""Text from outside stays text, wherever it is shown."""

import re
import unicodedata
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from worker.core.display import csv_text, visible, visible_lines, xml_text


def test_lines_of_our_own_stay():
    """Line feeds and tabs of text with several lines."""
    assert visible_lines("a\n\tb\r") == "a\n\tb\\u000d"


@given(st.text())
def test_nothing_that_controls_is_left(text):
    """No control character, and none that turns the direction or hides."""
    left = {unicodedata.category(char) for char in visible(text)} & {"Cc", "Zl", "Zp"}
    assert not left
    assert not {unicodedata.bidirectional(char) for char in visible(text)} & {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
    }  # fmt: skip


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_xml(text):
    """An XML parser takes it, and what XML may hold is as it was."""
    safe = xml_text(text)
    element = ET.Element("t")
    element.text = safe
    ET.fromstring(ET.tostring(element, encoding="unicode").encode())  # noqa: S314 - our own
    assert len(safe) == len(text)
    assert all(a in (b, "\ufffd") for a, b in zip(safe, text, strict=True))


@given(st.text(alphabet=";\t\r\n=+-@'ab\uff1d \xa0\x0b\x85\u200b\u2028\ufeff"))
def test_csv_gives_the_text_back(text):
    """One apostrophe less in each place, and no cell that begins a formula in any locale."""
    cell = csv_text(text)
    assert text == re.sub(r"(^|(?<=[;\t\r\n]))'", "", cell)
    for part in re.split(r"[;\t\r\n]", cell):
        bare = part.lstrip(" \xa0\x0b\x85\u200b\u2028\ufeff")
        assert not bare.startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
