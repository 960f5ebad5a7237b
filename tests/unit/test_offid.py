"""The form and check digits of identifiers. All vectors are synthetic (pts reference, 9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.identity import is_h_number, normalise_off_id
from worker.masking import checksum_ok


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("16858399649", "16858399649"),
        ("168583 99649", "16858399649"),
        ("168583-99649", "16858399649"),
        (" 02013299997\t", "02013299997"),
        ("16858 399649", None),
        ("1685839964", None),
        ("168583996491", None),
        ("168583X99649", None),
        ("١٦٨٥٨٣٩٩٦٤٩", None),
        ("", None),
    ],
)
def test_normalise(text, digits):
    """Eleven ASCII digits, with at most one space or hyphen after the sixth."""
    assert normalise_off_id(text) == digits


def test_checksum_of_valid_numbers():
    """Today's rule and that of 2032 both count, for D-numbers and synthetic months, too."""
    numbers = [
        "02013299997",  # 2032 rule, remainder 0
        "02013299903",  # remainder 2
        "02013299911",  # remainder 3
        "30108299939",  # remainder 1
        "16858399649",  # month +80
        "57912075186",  # D-number, month +80
    ]
    assert [digits for digits in numbers if not checksum_ok(digits)] == []


def _direct(digits):
    figures = [int(figure) for figure in digits]
    first = sum(w * f for w, f in zip((3, 7, 6, 1, 8, 9, 4, 5, 2, 1), figures, strict=False))
    second = sum(w * f for w, f in zip((5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), figures, strict=True))
    return first % 11 in {0, 1, 2, 3} and second % 11 == 0


@given(st.integers(0, 10**11 - 1).map("{:011}".format))
def test_checksum_agrees_with_the_rule_written_out(digits):
    """It computes what the reference says."""
    assert checksum_ok(digits) == _direct(digits)


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("01410012345", True),
        ("31520012345", True),
        ("00410012345", False),  # no day
        ("01530012345", False),  # no month
        ("01400012345", False),  # no month
        ("01120012345", False),  # fødselsnummer
        ("41120012345", False),  # D-number
        ("41410012345", False),  # D-number, NAV's synthetic
        ("01810012345", False),  # Tenor's synthetic, month +80
        ("01660012345", False),  # NHN's synthetic, month +65
        ("81410012345", False),  # felles hjelpenummer
    ],
)
def test_h_numbers(digits, expected):
    """A day, and a month that is forty too large."""
    assert is_h_number(digits) == expected
