"""Masking of texts from outside, where they leave the worker."""

import pytest

from worker.errors import ConfigurationError
from worker.masking import mask_identifiers, masked

pytestmark = pytest.mark.promise("8")

ID = "16858399649"
DIGEST = "12345678901234567890a1b2c3d4e5f6" * 2
UUID = "16858399-1234-4123-8123-168583996491"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


def _of_an_error(text):
    return ConfigurationError(text).message


@pytest.mark.parametrize(
    "text",
    [
        *("168583.99649", "16 85 83 996 49", "16/85/83/99649", "168583-99649", "168583_99649.csv"),
        "168583\u00a099649",
        "17 16 8583996 49",  # the first eleven digits are none
    ],
)
def test_usual_groups_are_masked_too(text):
    """With one usual separator between the parts."""
    assert text not in masked(f"no file {text} here")


@pytest.mark.parametrize(
    "text",
    [
        "HID-1001: the parent organisation 999999999 is not on the list",
        "invalid_client, trace 7 of 12 at 2026-11-26T13:26:18.518204Z",
        "10.0.0.12:8443 did not respond in time",
        f"run {UUID}",
        "run 20261126-0312 of pts-worker 0.2.0",
        "/srv/roster-20260131020000.csv, /srv/roster-202601310200.csv, /srv/2026-01-31.csv",
        "written at 2035-07-18T13:11:54.685861650Z",
        # Host and port together may have eleven digits that are an identifier.
        " ".join(f"https://127.0.0.1:{port}/token" for port in range(30_000, 30_200)),
    ],
)
@pytest.mark.parametrize("mask", [masked, _of_an_error])
def test_what_helps_stays(mask, text):
    """Codes, organisation numbers, times, addresses and run keys are shown."""
    assert mask(text) == text


def test_a_pseudonym_stays_in_a_log():
    """It is no identifier."""
    assert masked(DIGEST) == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "16858399640",
        "ab2c2e8b-a6ab-40f1-8270-7261230e3444",
        "2035-07-18T13:11:34.4063677-05:00",
        "2035-07-18T13:11:54.685861650Z",
    ],
)
def test_what_is_stored_keeps_other_numbers(text):
    """Eleven digits with wrong check digits, a UUID, a time; but never the person's own."""
    assert (mask_identifiers(text), mask_identifiers("16858399640", "16858399640")) == (text, "***")


@pytest.mark.parametrize("name", [ID, f"a{ID}1", "168583-99649"])
def test_an_error_holds_no_identifier(name):
    """A path in its message, hint or problems may be one: only that part of it is masked."""
    error = ConfigurationError(f"no {name} here", hint=f"move {name}", problems=[f"key: {name}!"])
    texts = (str(error), error.message, error.hint, *error.problems)
    assert [text for text in texts if name in text or "***" not in text] == []
    first, _, problem = error.message.partition("\n")
    assert (first[:3], first[-5:]) == ("no ", " here")
    assert problem == f"  - {error.problems[0]}"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"person {ID}.", "person ***."),
        (f"x{ID}y", "x***y"),
        (f"{ID}{ID}", "***"),
        (f"token {JWT}", "token ***"),
        ("Authorization: DPoP abcdefghijklmnop12", "Authorization: DPoP ***"),
        ("bearer abcdefghijklmnop.qrst==", "bearer ***"),
        ("postgresql://u:hemmelig@h/db", "postgresql://u:***@h/db"),
        ("-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY----- x", "*** x"),
        ("-----BEGIN PRIVATE KEY-----\nMIG", "***"),  # cut off
        ('{"d": "abcdefghijklmnopqrst", "x": 1}', '{"d": "***", "x": 1}'),
        ("1234567890 requests, DPoP nonce learnt", "1234567890 requests, DPoP nonce learnt"),
        ("https://127.0.0.1:8801/x@y", "https://127.0.0.1:8801/x@y"),
    ],
)
def test_what_is_masked(text, redacted):
    """Identifiers, tokens, keys and passwords are masked; digests, ids and times are not."""
    assert masked(text) == redacted
