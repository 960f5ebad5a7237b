"""One table of spellings of an identifier; wherever text goes, each is found in it."""

import pytest

from tests.support.identifier_spellings import spellings
from worker.core.fields import safe_name
from worker.core.harmless import may_hold_digits
from worker.core.masking import masked, masked_strictly
from worker.core.offid import checksum_ok, has_structure
from worker.core.recogniser import Recogniser

pytestmark = pytest.mark.promise("8")

OWN, OTHER = "16858399649", "12057900499"
PSEUDONYMS = {OWN: "pseudonymA", OTHER: "pseudonymB"}
SPELLINGS = [
    pytest.param(digits, text, id=f"{who}: {name}")
    for who, digits in (("own", OWN), ("other", OTHER))
    for name, text in spellings(digits)
]


def test_the_identifiers_are_what_the_rules_want():
    """Both of the tests' numbers have structure and control digits; else nothing is shown."""
    wrong = [
        digits for digits in (OWN, OTHER) if not (has_structure(digits) and checksum_ok(digits))
    ]
    assert wrong == []


@pytest.mark.parametrize(("digits", "text"), SPELLINGS)
def test_every_spelling_is_found(digits, text):
    """By the quick look, in values, in messages, and in what may be a field's name."""
    assert may_hold_digits(f"før {text} og etter")
    recogniser = Recogniser(lambda found: PSEUDONYMS.get(found, "pseudonymC"), own=OWN)
    replaced = recogniser.text(text)
    assert PSEUDONYMS[digits] in replaced
    assert digits not in "".join(char for char in replaced if char.isdigit())
    assert recogniser.text(replaced) == replaced, "a second pass finds nothing more"
    for mask in (masked, masked_strictly):
        shown = mask(f"the subject {text} is unknown")
        assert text not in shown
        assert "***" in shown
        assert shown.startswith("the subject ")
        assert shown.endswith(" is unknown")
    assert safe_name(f"f{text}") == "?"
