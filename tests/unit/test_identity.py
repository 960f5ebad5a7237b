"""Identifiers and keys do not print, and cannot be carried off by accident."""

import copy
import hashlib
import hmac
import pickle

import orjson
import pytest

from worker.core.identity import NationalId, PseudonymKey
from worker.core.model import Record
from worker.ports import HttpResponse

DIGITS = "16858399649"


@pytest.mark.parametrize(
    "show",
    [str, repr, "{}".format, "{!r:>40}".format, "%s".__mod__],
    ids=["str", "repr", "format", "padded", "percent"],
)
def test_an_identifier_does_not_print(show):
    """Every way to text gives the mask."""
    assert (False, True) == (
        DIGITS in show(NationalId(DIGITS)),
        "***" in show(NationalId(DIGITS)),
    )


@pytest.mark.parametrize(
    "value",
    [
        HttpResponse(status=200, headers={"x": ("hemmelig",)}, body=b"hemmelig"),
        Record(key="k", content_hash=b"", payload="hemmelig", columns=("hemmelig",)),
    ],
    ids=["answer", "record"],
)
def test_what_was_answered_does_not_print(value):
    """Neither an answer nor a record shows its content when it is printed."""
    assert "hemmelig" not in f"{value} {value!r}"


CARRY = pytest.mark.parametrize(
    "carry", [pickle.dumps, copy.deepcopy, orjson.dumps], ids=["pickle", "copy", "json"]
)


@CARRY
def test_an_identifier_is_not_carried_off(carry):
    """Pickling, copying and JSON fail instead of writing the digits somewhere."""
    with pytest.raises(TypeError):
        carry(NationalId(DIGITS))


@CARRY
def test_a_key_is_not_carried_off(carry):
    """Nor is the key that would turn pseudonyms back into persons."""
    with pytest.raises(TypeError):
        carry(PseudonymKey(b"x" * 32))


def test_identifiers_are_compared_by_their_digits():
    """The same person twice is one person; a text with the same digits is no identifier."""
    assert NationalId(DIGITS) == NationalId(DIGITS)
    assert NationalId(DIGITS) != NationalId("17912099997")
    assert NationalId(DIGITS) != DIGITS
    assert 2 == len({NationalId(DIGITS), NationalId(DIGITS), NationalId("17912099997")})
    assert hash(NationalId(DIGITS)) != hash(NationalId("17912099997"))


def test_the_pseudonym_is_the_keyed_hmac():
    """HMAC-SHA256 of the digits, in hex: whoever holds the key can compute it elsewhere."""
    key = bytes(range(32))
    expected = hmac.new(key, DIGITS.encode(), hashlib.sha256).hexdigest()
    assert expected == PseudonymKey(key).pseudonym(NationalId(DIGITS))


def test_a_short_key_is_refused_and_no_key_prints():
    """At least 32 bytes; the check value tells keys apart without telling them."""
    with pytest.raises(ValueError, match="31 bytes"):
        PseudonymKey(b"x" * 31)
    key = PseudonymKey(b"x" * 32)
    assert "x" * 5 not in repr(key)
    assert key.check_value() != PseudonymKey(b"y" * 32).check_value()


def test_a_key_is_known_again_by_every_version():
    """The store keeps the check value: another one for the same key would lock the store."""
    assert "347662f11e43b08b" == PseudonymKey(bytes(range(32))).check_value()
