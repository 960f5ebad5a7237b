"""Identifiers and keys do not print, and cannot be carried off by accident."""

import base64
import copy
import hashlib
import hmac
import pickle
import random

import orjson
import pytest

from worker.core.identity import NationalId, PseudonymKey, pseudonyms, short_key
from worker.core.model import Record
from worker.http.response import HttpResponse
from worker.offid import masked

DIGITS = "16858399649"


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
    "carry", [pickle.dumps, copy.deepcopy, orjson.dumps], ids=["pickle", "copy", "json"]
)
@pytest.mark.parametrize("secret", [NationalId(DIGITS), PseudonymKey(b"x" * 32)])
def test_an_identifier_is_not_carried_off(carry, secret):
    """Pickling, copying and JSON of it, or of the key of pseudonyms, fail instead of writing it."""
    with pytest.raises(TypeError):
        carry(secret)


@pytest.mark.promise("8")
def test_a_label_gives_another_pseudonym():
    """A key that is used for test and production does not link what they hold."""
    key = PseudonymKey(bytes(range(32)))
    production = key.under("production")
    message = b"pts-sync-worker pseudonym 1 production\0" + DIGITS.encode()
    expected = hmac.new(bytes(range(32)), message, hashlib.sha256).hexdigest()
    assert production.pseudonym(NationalId(DIGITS)) == expected
    assert len({one.check_value() for one in (key, production, key.under("test"))}) == 3


def test_an_identity_knows_every_label_that_its_key_was_used_with():
    """Whatever the environment is now; a store is settled by its check value."""
    key = PseudonymKey(RANDOM)
    identity = pseudonyms(key, "production")
    assert key.under("production").check_value() == identity.key_check
    assert key.under("other").check_value() == pseudonyms(key, None).key_check
    for label in ("test", "test-internet", "production", "other"):
        settled = identity.under(key.under(label).check_value())
        assert settled is not None
        person_key = settled.person_key(NationalId(DIGITS))
        assert person_key == key.under(label).pseudonym(NationalId(DIGITS))
    assert identity.under(PseudonymKey(b"x" * 32).check_value()) is None


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


RANDOM = random.Random(7).randbytes(32)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "key",
    [
        b"x" * 32, b"\0" * 64, b"ab" * 16, bytes(range(32)), bytes(range(255, 191, -1)),
        b"0123456789abcdef" * 4, b"qwertyuiopasdfghjklzxcvbnm123456", RANDOM[:8] * 4,
        b"correct horse battery staple\n" * 2, b"Correct-Horse-Battery-Staple-2026-11-26!",
        b"CorrectHorseBatteryStapleCorrectHorseBattery",
        (b"\0\1" * 16).hex().encode(), b"A" * 44,
        b"Password1" * 5, b"CorrectHorseBatteryStaple1234CorrectHorse44x",
        b"SommerferieIFjellheimen2026MedFamilienOgHunden", b"Correct\nHorse\nBattery\nStaple\n" * 2,
        "Bl\u00e5b\u00e6rsyltet\u00f8y p\u00e5 skiva om morgenen!".encode(),
        "Tr0ub4dor&3Tr0ub4dor&3".encode("utf-16"), b'{"kty":"oct","k":"' + RANDOM.hex().encode(),
        RANDOM[:16].hex().encode(), base64.b64encode(RANDOM[:24]),
    ],
)  # fmt: skip
def test_keys_that_may_be_guessed(key):
    """One byte, a short pattern, counting, text of a keyboard, words that could be Base64.

    ``openssl rand -hex 16`` makes 32 characters, and 16 bytes.
    """
    assert PseudonymKey(key).weakness()
    assert pseudonyms(PseudonymKey(key), "test").weakness


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "write",
    [
        bytes,
        lambda key: base64.b64encode(key)[:20] + b"\r\n" + base64.b64encode(key)[20:] + b"\n",
        lambda key: base64.b64encode(key).decode().encode("utf-16"),
        lambda key: base64.b64encode(key) + b"\r\n",
        lambda key: key.hex().encode(),
        lambda key: key.hex().upper().encode() + b"\n",
        base64.b64encode,
        lambda key: base64.urlsafe_b64encode(key).rstrip(b"="),
    ],
    ids=["bytes", "lines", "utf-16", "crlf", "hex", "upper", "base64", "base64url"],
)
def test_random_bytes_serve_however_they_are_written(write):
    """Two hundred keys as generators write them; none is refused."""
    source = random.Random(1)
    keys = [source.randbytes(32) for _ in range(200)]
    assert [key for key in keys if PseudonymKey(write(key)).weakness()] == []


@pytest.mark.promise("8")
def test_a_short_key_is_refused_and_no_key_prints():
    """At least 32 bytes; the check value tells keys apart without telling them.

    The store keeps it: another one for the same key would lock the store.
    """
    with pytest.raises(ValueError, match="31 bytes"):
        PseudonymKey(b"x" * 31)
    assert "x" * 5 not in repr(PseudonymKey(b"x" * 32))
    assert PseudonymKey(bytes(range(32))).check_value() == "347662f11e43b08b"
