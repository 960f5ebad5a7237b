"""Identifiers are found in every spelling that we could think of, and nothing else is."""

import base64
import string
import tracemalloc
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.identifier_spellings import spellings
from worker.core.exact_json import LargeInteger
from worker.core.offid import checksum_ok, has_structure
from worker.core.recogniser import Recogniser

OWN, OTHER = "16858399649", "12057900499"
NAMES = {OWN: "pseudonymA", OTHER: "pseudonymB"}


def recogniser(own=OWN):
    return Recogniser(lambda digits: NAMES.get(digits, "pseudonymC"), own=own)


CASES = [(name, digits, text) for digits in (OWN, OTHER) for name, text in spellings(digits)]


def test_the_identifiers_are_what_the_rules_want():
    """Both of the tests' numbers have structure and control digits; else nothing is shown."""
    assert all(has_structure(digits) and checksum_ok(digits) for digits in (OWN, OTHER))
    assert len(CASES) >= 120


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("digits", "text"),
    [(digits, text) for _, digits, text in CASES],
    ids=[f"{'own' if digits == OWN else 'other'}: {name}" for name, digits, _ in CASES],
)
def test_every_spelling_is_replaced(digits, text):
    """The person's own identifier and anybody else's, each by its own pseudonym."""
    replaced = recogniser().text(text)
    assert NAMES[digits] in replaced
    assert recogniser().text(replaced) == replaced
    assert digits not in "".join(char for char in replaced if char.isdigit())


def test_the_own_identifier_goes_before_what_its_digits_make_with_others():
    """``24`` and the first nine digits look like somebody, too; no digit of the person stays."""
    own = "02867599994"
    text = f"24-{own[:9]} {own[9:]}"
    assert checksum_ok("24" + own[:9])
    assert Recogniser(lambda digits: "A" if digits == own else "B", own=own).text(text) == "24-A"


@pytest.mark.parametrize("text", [f"1{OWN}2", f"{OWN}{OWN}", f"00{OWN}", f"4242{OWN}4242"])
def test_own_digits_are_found_within_longer_numbers(text):
    """The person who was asked for is known, so that no boundary is needed."""
    assert "pseudonymA" in recogniser().text(text)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "text",
    [
        "", "1685839964", "168583996491", "16858399648", "99999999999",
        "2026-01-02T03:04:05.1234567Z",
        "2026-01-02 03:04:05.1", "2026-01-02T03:04:05.1234567+01:00", "9999-12-31",
        "urn:oid:2.16.578.1.12.4.1.1.9603", "123e4567-e89b-12d3-a456-426614174000",
        "a" * 64, "0123456789abcdef" * 4, "16858399649abcde" * 2, "+47 22 33 44 55",
        "2026-01-02 12345", "12.01.2026 12345", "1764000012345", "31.12.1899 75186",
        "T-04051234567x"[:5], "%", "&#", "\\u", "=", "<", "AAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)  # fmt: skip
def test_other_text_stays(text):
    """Times, UUIDs, digests, codes and numbers of other lengths; the very same object."""
    assert recogniser(own="").text(text) is text


def test_documents():
    """Values, field names and numbers at any depth; what is no identifier keeps its type."""
    document = {
        OWN: [{"a": OTHER, "b": int(OTHER), "c": float(OWN), "d": True, "e": None, "f": 1.5}],
        "kept": 1685839964,
        "createdBy": {"offId": OTHER, escape(f"<{OTHER}>"): 1},
    }
    assert recogniser().document(document) == {
        "pseudonymA": [
            {
                "a": "pseudonymB",
                "b": "pseudonymB",
                "c": "pseudonymA",
                "d": True,
                "e": None,
                "f": 1.5,
            }
        ],
        "kept": 1685839964,
        "createdBy": {"offId": "pseudonymB", "&lt;pseudonymB&gt;": 1},
    }


def test_a_lost_leading_zero():
    """As a number, or a text that is nothing else, the person's own identifier is known still."""
    own = "02013299997"
    assert (
        Recogniser(lambda _: "pseudonymC", own=own).document(
            [int(own), own.lstrip("0"), float(own)]
        )
        == ["pseudonymC"] * 3
    )


@pytest.mark.parametrize("written", ["17.12.1999 75186", "1999-12-17-75186", "1712199975186"])
@pytest.mark.parametrize("own", ["57912075186", "57129975186"])
def test_the_birth_date_of_a_d_number(own, written):
    """People write the day as it is, without the 40 of the number."""
    replaced = Recogniser(lambda digits: f"X{digits == own}", own=own, finds_others=False)
    assert replaced.text(f"f. {written}.") == f"f. {'XTrue' if own[4:6] == '99' else written}."


def test_two_spellings_as_field_names_keep_both_values():
    """No field is lost where two names become one, and the order of fields makes no difference."""
    fields = {OTHER: 1, f"{OTHER[:6]} {OTHER[6:]}": 2}
    expected = {"pseudonymB": 2, "pseudonymB_": 1}
    assert recogniser().document(fields) == expected
    assert recogniser().document(dict(reversed(fields.items()))) == expected


def test_an_integer_of_more_than_64_bits():
    """It keeps its digits, unless they hold the person's own identifier."""
    own, other = LargeInteger(digits=f"{OWN}0000000000"), LargeInteger(digits="1" * 22)
    assert recogniser().document([own, other]) == ["pseudonymA0000000000", other]


@pytest.mark.promise("8")
@given(
    st.text(alphabet=string.printable + "é٠", max_size=40),
    st.sampled_from([text for _, _, text in CASES]),
    st.text(alphabet=string.printable, max_size=40),
)
def test_what_passes_at_a_glance_holds_nobody(before, text, after):
    """The quick look at a text lets nothing pass in which the close one finds an identifier."""
    text = before + text + after
    found = recogniser().find(text)
    assert bool(found) == (recogniser().text(text) is not text)
    assert not found or {text: 1} != recogniser().document({text: 1})


@given(st.text(), st.text(), st.sampled_from([text for _, d, text in CASES if d == OWN][:40]))
def test_nothing_around_hides_the_own_identifier_from_itself(before, after, text):
    """Separated by a letter that belongs to no encoding, any surroundings leave it findable."""
    found = recogniser().find(f"{before} zz {text} zz {after}")
    assert any(place.digits == OWN for place in found)


@given(st.text(alphabet=string.printable + "é０١²\u200b", max_size=60))
def test_what_was_replaced_once_stays(text):
    """A second pass finds nothing more, so that an upgrade may run again."""
    once = recogniser().text(text)
    assert recogniser().text(once) == once


def test_keys_that_differ_beside_the_identifier_stay_different():
    """Characters of base64 hold three bytes: what stands beside the identifier in them is kept."""
    ids = [
        *(f"{number}:{OWN}" for number in range(3)),
        *(f"{OWN}{letter}" for letter in "ABC"),
        *(f"{number}:{OTHER}" for number in range(3)),
        *(f"{OTHER}/{letter}" for letter in "ABC"),
    ]
    for encoded in (
        [base64.b64encode(text.encode()).decode() for text in ids],
        [base64.b64encode(base64.b64encode(text.encode())).decode() for text in ids],
        [base64.b64encode(text.encode("utf-16-le")).decode() for text in ids],
        [base64.b64encode(bytes([200 + at]) + OWN.encode()).decode() for at in range(3)],
    ):
        replaced = [recogniser().text(text) for text in encoded]
        assert len(set(encoded)) == len(set(replaced))
        assert all("pseudonym" in text for text in replaced)
        assert replaced == [recogniser().text(text) for text in replaced]


def test_two_identifiers_in_one_word():
    """Slashes and hyphens belong to base64: a path of two encoded identifiers is one word."""
    own, other = (base64.b64encode(digits.encode()).decode().rstrip("=") for digits in (OWN, OTHER))
    for between in "/relative/", "-", "_x_":
        replaced = recogniser().text(f"Patient/{own}{between}{other}")
        assert (replaced.count("pseudonymA"), replaced.count("pseudonymB")) == (1, 1)


@pytest.mark.parametrize(
    "text", ["fnr {}", " {}", '{{"offId":{}}}', "Svarrapport|{}", "-{}", "{}.0", "a {} b"]
)
def test_the_own_identifier_without_its_zero_within_a_text(text):
    """As a number of its own; within a longer number it is somebody else's."""
    own = "02013299997"
    found = Recogniser(lambda _: "pseudonymC", own=own, finds_others=False)
    assert text.format("pseudonymC") == found.text(text.format(own[1:]))
    assert (longer := text.format(f"7{own[1:]}")) == found.text(longer)


def test_a_uuid_stays_as_it_is():
    """Also one whose hexadecimal reads like digits, if they are nobody's."""
    uuid = "30313233-3435-3637-3839-303132333435"
    assert uuid == recogniser().text(uuid)


def test_characters_that_become_many_take_no_memory():
    """NFKC makes 18 letters of U+FDFA; without digits they are one."""
    text = "\ufdfa" * 80_000 + OWN
    tracemalloc.start()
    try:
        assert recogniser().text(text).endswith("pseudonymA")
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
