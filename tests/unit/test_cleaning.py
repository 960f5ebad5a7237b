"""What a record costs to be searched for identifiers and names."""

import base64
import random
import string

import pytest

from tests.support.growth import grows_too_fast
from worker.core.budgets import RECORD_BYTES_MAX
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.privacy import PrivacyRules

pytestmark = pytest.mark.promise("8")

OWN, OTHER = "02013299997", "12057900499"
PERSON = Person(off_id=NationalId(OWN), person_key="pseudonymA")
RULES = PrivacyRules(key_of=lambda _: "pseudonymB")


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
