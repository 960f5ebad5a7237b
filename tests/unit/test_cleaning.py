"""What a record costs to be searched, and that no shortcut lets anything through.

The shortcuts are a glance at each text, what is remembered of texts and field names, and one walk
for identifiers and names together. Here they are compared with the long way.
"""

import base64
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.growth import grows_too_fast
from tests.support.identifier_spellings import spellings
from worker.core.authors import without_names
from worker.core.budgets import RECORD_BYTES_MAX
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.privacy import PrivacyRules
from worker.core.recogniser import Recogniser

pytestmark = pytest.mark.promise("8")

OWN, OTHER = "02013299997", "12057900499"
PERSON = Person(off_id=NationalId(OWN), person_key="pseudonymA")
RULES = PrivacyRules(key_of=lambda _: "pseudonymB")

TEXTS = st.lists(
    st.sampled_from([text for digits in (OWN, OTHER) for _, text in spellings(digits)])
    | st.text(alphabet=string.printable + "éø\u0661\uff10\u200b", max_size=12),
    max_size=3,
).map("".join)
NAMES = st.sampled_from(["id", "offId", "createdBy", "MODIFIEDBY", "name", "role", OWN, "12"])
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        TEXTS | st.sampled_from([7, -1, 1.5, None, True]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def replaced(text):
    """A text without identifiers, each of which is found by a close look alone."""
    if text == OWN.lstrip("0"):
        return "pseudonymA"
    result, end = "", 0
    for place in Recogniser(str, own=OWN).find(text):
        pseudonym = f"pseudonym{'A' if place.digits == OWN else 'B'}"
        result += text[end : place.start] + pseudonym + place.beside
        end = place.end
    return result + text[end:]


def replaced_within(value):
    """A document without identifiers, walked through without any shortcut."""
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, list):
        return [replaced_within(one) for one in value]
    if isinstance(value, dict):
        return {replaced(name): replaced_within(one) for name, one in value.items()}
    return value


@settings(max_examples=40)
@given(DOCUMENTS)
def test_the_quick_walk_does_what_two_slow_ones_do(document):
    """For identifiers and names together, also of what was met before."""
    cleaner = RULES.cleaner(PERSON)
    for _ in range(2):
        assert cleaner.record(document) == without_names(replaced_within(document))


def drawn(characters: str) -> str:
    return "".join(random.Random(13).choices(characters, k=RECORD_BYTES_MAX))


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


NIGHTLY = pytest.mark.nightly


@pytest.mark.promise("10")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: OTHER * RECORD_BYTES_MAX, id="identifiers"),
        pytest.param(lambda: "1 " * RECORD_BYTES_MAX, id="one digit after another"),
        pytest.param(lambda: "%252531" * RECORD_BYTES_MAX, id="percent"),
        pytest.param(lambda: "<b>1" * RECORD_BYTES_MAX, id="markup"),
        pytest.param(lambda: drawn(string.digits), id="digits", marks=NIGHTLY),
        pytest.param(lambda: drawn("%&=<>\\;#xu0123"), id="signs", marks=NIGHTLY),
        pytest.param(lambda: drawn(string.printable), id="characters", marks=NIGHTLY),
        pytest.param(
            lambda: in_base64(random.Random(13).randbytes(RECORD_BYTES_MAX)),
            id="random bytes in base64",
            marks=NIGHTLY,
        ),
        pytest.param(
            lambda: in_base64(f"{OTHER}é".encode() * RECORD_BYTES_MAX),
            id="identifiers in base64",
            marks=NIGHTLY,
        ),
        pytest.param(lambda: "¼①" * RECORD_BYTES_MAX, id="fractions", marks=NIGHTLY),
    ],
)
def test_the_worst_record_takes_linear_time(make):
    """A square would take minutes for the largest record."""
    text = make()
    size = RECORD_BYTES_MAX // 8
    assert not grows_too_fast(
        lambda bytes_: RULES.cleaner(PERSON).record({"n": text[:bytes_]}), size
    )
