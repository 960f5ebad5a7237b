"""What is taken for an identifier beside the table of spellings, and what is not."""

import string
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.identifier_spellings import spellings
from worker.core.exact_json import LargeInteger
from worker.core.harmless import may_hold_digits
from worker.core.recogniser import Recogniser

pytestmark = pytest.mark.promise("8")

OWN, OTHER = "16858399649", "12057900499"
NAMES = {OWN: "pseudonymA", OTHER: "pseudonymB"}
SPELLED = [text for digits in (OWN, OTHER) for _, text in spellings(digits)]


def recogniser(own=OWN):
    return Recogniser(lambda digits: NAMES.get(digits, "pseudonymC"), own=own)


@pytest.mark.parametrize("text", [f"1{OWN}2", f"{OWN}{OWN}", f"4242{OWN}4242"])
def test_own_digits_are_found_within_longer_numbers(text):
    """The person who was asked for is known, so that no boundary is needed."""
    assert "pseudonymA" in recogniser().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "1685839964", "168583996491", "16858399648", "99999999999", "2026-01-02 12345",
        "2026-01-02T03:04:05.1234567+01:00", "urn:oid:2.16.578.1.12.4.1.1.9603",
        "123e4567-e89b-12d3-a456-426614174000", "30313233-3435-3637-3839-303132333435",
        "0123456789abcdef" * 4, "16858399649abcde" * 2, "+47 22 33 44 55", "1764000012345",
        "31.12.1899 75186", "%", "&#", "\\u", "AAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)  # fmt: skip
def test_other_text_stays(text):
    """Times, UUIDs, digests, codes and numbers of other lengths; the very same object."""
    assert recogniser(own="").text(text) is text


def test_documents():
    """Values, field names and numbers at any depth; what is no identifier keeps its type."""
    values = {"a": OTHER, "b": int(OTHER), "c": float(OWN), "d": True, "e": None, "f": 1.5}
    large = [LargeInteger(digits=f"{OWN}0000000000"), LargeInteger(digits="1" * 22)]
    document = {OWN: [values], "kept": 1685839964, "createdBy": {"offId": OTHER}, "large": large}
    found = {"a": "pseudonymB", "b": "pseudonymB", "c": "pseudonymA"}
    assert recogniser().document(document) == {
        "pseudonymA": [{**values, **found}],
        "kept": 1685839964,
        "createdBy": {"offId": "pseudonymB"},
        "large": ["pseudonymA0000000000", large[1]],
    }


def test_two_spellings_as_field_names_keep_both_values():
    """No field is lost where two names become one, and the order of fields makes no difference."""
    fields = {OTHER: 1, f"{OTHER[:6]} {OTHER[6:]}": 2}
    expected = {"pseudonymB": 2, "pseudonymB_": 1}
    assert recogniser().document(fields) == expected
    assert recogniser().document(dict(reversed(fields.items()))) == expected


@pytest.mark.parametrize("text", ["fnr {}", '{{"offId":{}}}', "Svarrapport|{}", "-{}", "{}.0"])
def test_the_own_identifier_without_its_zero(text):
    """As a number of its own; within a longer number it is somebody else's."""
    own = "02013299997"
    found = Recogniser(lambda _: "pseudonymC", own=own, finds_others=False)
    assert found.document([int(own), float(own)]) == ["pseudonymC"] * 2
    assert found.text(text.format(own[1:])) == text.format("pseudonymC")
    assert found.text(longer := text.format(f"7{own[1:]}")) == longer


TEXTS = st.lists(
    st.sampled_from(["2026-01-02T03:04:05.1234567Z", "%31", "&#49;", "=31", "<b>", "⑩", "12", " "])
    | st.text(alphabet=string.printable + "éø\u0661\uff10\u200b", max_size=12)
    | st.sampled_from(SPELLED),
    max_size=3,
).map("".join)


@settings(max_examples=50)
@given(TEXTS)
def test_what_passes_at_a_glance_holds_nobody(text):
    """The quick look lets nothing pass in which the close one finds an identifier."""
    found = recogniser().find(text)
    assert not found or may_hold_digits(text)
    assert (recogniser().text(text) is not text) == bool(found)


@pytest.mark.promise("10")
def test_characters_that_become_many_take_no_memory():
    """NFKC makes 18 letters of U+FDFA; without digits they are one."""
    text = "\ufdfa" * 80_000 + OWN
    tracemalloc.start()
    try:
        assert recogniser().text(text).endswith("pseudonymA")
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
