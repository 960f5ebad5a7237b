"""Identifiers and keys do not print, and cannot be carried off by accident."""

import base64
import copy
import hashlib
import hmac
import pickle
import random

import msgspec
import pytest

from worker.core.identity import NationalId, PseudonymKey, pseudonymous, short_key
from worker.core.model import Record
from worker.http.response import HttpResponse
from worker.masking import masked

DIGITS = "16858399649"
RANDOM = random.Random(7).randbytes(32)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "show",
    [str, repr, "{}".format, "{!r:>40}".format, "%s".__mod__],
    ids=["str", "repr", "format", "padded", "percent"],
)
def test_an_identifier_does_not_print(show):
    """Every way to text gives the mask; neither an answer nor a record shows its content."""
    shown = show(NationalId(DIGITS))
    assert DIGITS not in shown
    assert "***" in shown
    answer = HttpResponse(status=200, headers={"x": ("hemmelig",)}, body=b"hemmelig")
    record = Record(key="k", content_hash=b"", columns=("hemmelig",), extra="hemmelig")
    assert "hemmelig" not in show(answer) + show(record)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "carry", [pickle.dumps, copy.deepcopy, msgspec.json.encode], ids=["pickle", "copy", "json"]
)
@pytest.mark.parametrize("secret", [NationalId(DIGITS), PseudonymKey(RANDOM)])
def test_an_identifier_is_not_carried_off(carry, secret):
    """Pickling, copying and JSON of it, or of the key of pseudonyms, fail instead of writing it."""
    with pytest.raises(TypeError):
        carry(secret)


@pytest.mark.promise("8")
def test_a_pseudonym_is_a_keyed_hash():
    """As docs/data-protection.md defines it, so that nobody finds it without the key."""
    expected = hmac.new(RANDOM, DIGITS.encode(), hashlib.sha256).hexdigest()
    identity = pseudonymous(PseudonymKey(RANDOM))
    assert identity.person_key(NationalId(DIGITS)) == expected
    assert identity.key_check != pseudonymous(PseudonymKey(RANDOM[::-1])).key_check


@pytest.mark.promise("8")
def test_a_person_is_shown_unmasked_whatever_the_pseudonym():
    """Of digits alone, too, which a log would take for an identifier if there were more."""
    assert short_key("01869912345") == "", "with identity = plain the key is the identifier"
    key = PseudonymKey(RANDOM)
    for number in range(2_000):
        shown = short_key(key.pseudonym(NationalId(f"{number:011d}")))
        assert shown == masked(shown)
    for digits in ("1" * 64, "0" * 64, "12345678901" * 6):
        assert masked(short_key(digits[:64])) == f"p-{digits[:8]}"


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("key", "says"),
    [
        (RANDOM[:31], "31 bytes"),
        (RANDOM[:16].hex().encode(), "16 bytes"),
        (base64.b64encode(RANDOM[:24]), "24 bytes"),
        (b"x" * 32, "24 bytes"),
        (b"correct horse battery staple\n" * 2, "is text"),
        (b"Correct-Horse-Battery-Staple-2026-11-26!", "is text"),
        ("Bl\u00e5b\u00e6rsyltet\u00f8y p\u00e5 skiva om morgenen!".encode(), "is text"),
        (b"\0" * 64, "a pattern"),
        (RANDOM[:8] * 4, "a pattern"),
        ((b"\0\1" * 16).hex().encode(), "a pattern"),
        (b"Q" * 44, "a pattern"),
    ],
)
def test_a_key_that_may_be_guessed_is_refused(key, says):
    """Short, also if it is written in more characters; a phrase; one byte, or a short pattern."""
    with pytest.raises(ValueError, match=says):
        PseudonymKey(key)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "write",
    [
        bytes,
        lambda key: base64.b64encode(key)[:20] + b"\r\n" + base64.b64encode(key)[20:] + b"\n",
        lambda key: key.hex().encode(),
        lambda key: key.hex().upper().encode() + b"\n",
        base64.b64encode,
        lambda key: base64.urlsafe_b64encode(key).rstrip(b"="),
    ],
    ids=["bytes", "lines", "hex", "upper", "base64", "base64url"],
)
def test_random_bytes_serve_however_they_are_written(write):
    """Two hundred keys as generators write them; none is refused."""
    source = random.Random(1)
    keys = [PseudonymKey(write(source.randbytes(32))) for _ in range(200)]
    assert len({key.check_value() for key in keys}) == 200


@pytest.mark.promise("8")
def test_no_key_prints():
    """The check value tells keys apart without telling them.

    The store keeps it: another one for the same key would lock the store.
    """
    assert repr(PseudonymKey(RANDOM)) == "PseudonymKey(***)"
    assert PseudonymKey(bytes(range(32))).check_value() == "347662f11e43b08b"
