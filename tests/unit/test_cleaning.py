"""What a record costs to be searched, and that no shortcut lets anything through.

The shortcuts are a glance at each text, what is remembered of texts and field names, and one walk
for identifiers and names together. Here they are compared with the long way: each text looked at
closely, and one walk after the other.
"""

import base64
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.identifier_spellings import spellings
from worker.core.authors import AUTHOR_FIELDS, without_names
from worker.core.budgets import RECORD_BYTES_MAX
from worker.core.exact_json import LargeInteger
from worker.core.harmless import may_hold_digits
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.privacy import PrivacyRules
from worker.core.recogniser import Recogniser

pytestmark = pytest.mark.promise("8")

OWN, OTHER = "02013299997", "12057900499"
PERSON = Person(off_id=NationalId(OWN), person_key="pseudonymA")
RULES = PrivacyRules(key_of=lambda _: "pseudonymB")
SECONDS_PER_BYTE_MAX = 15e-6
"""256 KiB, the largest record, in 4 s of processor time; a square would take minutes."""

SPELLED = [text for digits in (OWN, OTHER) for _, text in spellings(digits)]
ORDINARY = st.sampled_from(
    ["2026-01-02T03:04:05.1234567Z", "123e4567-e89b-12d3-a456-426614174000", "a" * 32,
     "%31", "&#49;", "\\u0031", "=31", "<b>", "<", "⑩", "⒈", "¼", "½", "1", "12", " ", "ø"]
) | st.text(alphabet=string.printable + "éø\u0661\uff10\u200b\u017f", max_size=12)  # fmt: skip
TEXTS = st.lists(ORDINARY | st.sampled_from(SPELLED), max_size=6).map("".join)
UNPACKED = st.lists(ORDINARY | st.sampled_from([OWN, OTHER]), max_size=6).map("".join)
"""Texts without Base64: it is not looked for within hexadecimal (docs/security.md)."""
PACKED = TEXTS | st.one_of(
    UNPACKED.map(lambda text: base64.b64encode(text.encode()).decode().rstrip("=")),
    UNPACKED.map(lambda text: text.encode().hex()),
    UNPACKED.map(lambda text: "".join(f"%{byte:02x}" for byte in text.encode())),
)
NAMES = st.sampled_from(
    ["id", "value", "offId", "createdBy", "modifiedBy", "MODIFIEDBY", "name", "role", "system",
     OWN, f"by {OTHER}", "parentConfidentialObjectId", "12"]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [int(OWN), float(OWN), int(OTHER), 7, -1, 1.5, 1e300, LargeInteger(digits=OWN * 2)]
)
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        PACKED | NUMBERS | st.none() | st.booleans() | st.just(OWN.lstrip("0")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


def recogniser():
    """As ``RULES`` use it for this person."""
    return Recogniser(lambda digits: f"pseudonym{'A' if digits == OWN else 'B'}", own=OWN)


def replaced(text):
    """A text without identifiers, each of which is found by a close look alone."""
    if text == OWN.lstrip("0"):
        return "pseudonymA"
    result, end = "", 0
    for place in recogniser().find(text):
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
    if value is None or isinstance(value, bool):
        return value
    digits = value.digits if isinstance(value, LargeInteger) else f"{value!r}".removesuffix(".0")
    return value if replaced(digits) == digits else replaced(digits)


@pytest.mark.parametrize("text", SPELLED, ids=map(str, range(len(SPELLED))))
def test_a_glance_passes_no_spelling(text):
    """Each by itself, and within text that is passed."""
    assert may_hold_digits(text)
    assert may_hold_digits(f"før {text} og etter")


@given(PACKED)
def test_a_glance_passes_nothing_that_a_close_look_finds(text):
    """Neither digits spread over separators, nor escapes, nor other scripts, nor packed ones."""
    for finds_others in True, False:
        found = Recogniser(str, own=OWN, finds_others=finds_others).find(text)
        assert not found or may_hold_digits(text)


@given(st.lists(DOCUMENTS, min_size=1, max_size=2))
def test_the_quick_walk_does_what_two_slow_ones_do(documents):
    """For identifiers and names together, also of what was met before."""
    cleaner = RULES.cleaner(PERSON)
    for document in documents * 2:
        assert without_names(replaced_within(document)) == cleaner.record(document)


@pytest.mark.parametrize("field", sorted(AUTHOR_FIELDS))
def test_an_author_within_a_role_is_kept_as_by_itself(field):
    """What a role or an organisation says is kept as it is, whatever its fields are called."""
    document = {field: {"role": {"createdBy": "Kari Nordmann"}, "by": [OTHER, "Kari Nordmann"]}}
    assert RULES.cleaner(PERSON).record(document) == {
        field: {"role": {"createdBy": "Kari Nordmann"}, "by": ["pseudonymB", "(not kept)"]}
    }


def drawn(characters: str) -> str:
    return "".join(random.Random(13).choices(characters, k=RECORD_BYTES_MAX))


WORST = {
    "digits": lambda: "12" * RECORD_BYTES_MAX,
    "random digits": lambda: drawn(string.digits),
    "random hexadecimal": lambda: drawn("0123456789abcdef"),
    "random signs": lambda: drawn("%&=<>\\;#xu0123"),
    "random characters": lambda: drawn(string.printable),
    "random bytes in base64": lambda: base64.b64encode(
        random.Random(13).randbytes(RECORD_BYTES_MAX)
    ).decode(),
    "one digit after another": lambda: "1 " * RECORD_BYTES_MAX,
    "identifiers": lambda: OTHER * RECORD_BYTES_MAX,
    "own identifiers": lambda: OWN * RECORD_BYTES_MAX,
    "identifiers in base64": lambda: base64.b64encode(
        f"{OTHER}é".encode() * RECORD_BYTES_MAX
    ).decode(),
    "fractions": lambda: "¼" * RECORD_BYTES_MAX,
    "circled": lambda: "①" * RECORD_BYTES_MAX,
    "percent": lambda: "%252531" * RECORD_BYTES_MAX,
    "markup": lambda: "<b>1" * RECORD_BYTES_MAX,
    "times": lambda: "2026-01-02T03:04:05 " * RECORD_BYTES_MAX,
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_record_takes_a_second(name):
    """A limit of time for each byte, of a small record and of the largest one."""
    text = WORST[name]()
    for size in RECORD_BYTES_MAX // 8, RECORD_BYTES_MAX:
        taken_s = []
        for _ in range(3):
            began_s = time.thread_time()
            RULES.cleaner(PERSON).record({"note": text[:size]})
            taken_s.append(time.thread_time() - began_s)
            if taken_s[-1] < size * SECONDS_PER_BYTE_MAX:
                break
        assert min(taken_s) < size * SECONDS_PER_BYTE_MAX
