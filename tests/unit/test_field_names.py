"""Field names in messages, drift and logs: shown if they look like names, and never a person."""

import base64

import pytest

from tests.support.identifier_spellings import spellings
from worker.core.fields import safe_name

IDENTIFIER = "12018112345"


@pytest.mark.parametrize(
    "name", ["id", "newField", "@odata.count", "@odata.nextLink", "oid_2_16_578_1", "_links"]
)
def test_names_are_shown(name):
    """What a declaration could name."""
    assert name == safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "16858399649",
        "nin16858399649",
        "Kari Nordmann",
        "",
        "x" * 99,
        "m" + base64.b64encode(IDENTIFIER.encode()).decode().rstrip("="),
        "k" + base64.b64encode(b"1:" + b"16858399649").decode().rstrip("="),
        "_1201-81-1234.5",
        "f1201_8112_345",
        "next_1201-8112-345",
        "x" + IDENTIFIER.encode().hex(),
    ],
)
def test_a_name_that_holds_somebody_is_not(name):
    """Nor is one that is not like a name; digits in groups, in base64, in hexadecimal."""
    assert safe_name(name) == "?"


@pytest.mark.parametrize("digits", ["16858399649", "12057900499"])
def test_no_spelling_is_shown(digits):
    """None of those that are found in values."""
    assert {safe_name(f"f{text}") for _, text in spellings(digits)} == {"?"}
