"""Identifiers are found in every spelling that we could think of, and nothing else is."""

import base64
import json
import string
import time
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.offid import checksum_ok, has_structure
from worker.core.recogniser import Recogniser

OWN, OTHER = "16858399649", "12057900499"
NAMES = {OWN: "pseudonymA", OTHER: "pseudonymB"}


def recogniser(own=OWN):
    return Recogniser(lambda digits: NAMES.get(digits, "pseudonymC"), own=own)


def spellings(digits):
    """How an identifier may be written: (what is peculiar, the text)."""
    day, rest = digits[:6], digits[6:]
    scripts = {
        "full width": 0xFF10,
        "Arabic": 0x660,
        "Devanagari": 0x966,
        "mathematical": 0x1D7CE,
    }
    yield "plain", digits
    for name, separator in {
        "space": " ", "hyphen": "-", "no-break space": "\u00a0", "en dash": "\u2013",
        "minus": "\u2212", "line feed": "\n", "slash": "/", "zero width": "\u200b",
        "bidi mark": "\u200f", "combining": "\u0301", "quotes": '", "', "percent space": "%20",
        "percent hyphen": "%2D", "twice percent": "%2520", "entity": "&nbsp;",
        "number entity": "&#45;", "dash entity": "&ndash;", "markup": "<br/>", "plus": "+",
        "underscore": "_", "NUL": "\0", "soft hyphen": "\u00ad", "escape": "\\u0020",
    }.items():  # fmt: skip
        yield f"grouped by {name}", f"{day}{separator}{rest}"
    for name, separator in {"spaces": " ", "hyphens": "-", "zero width": "\u200b"}.items():
        yield f"single digits with {name}", separator.join(digits)
    yield "percent space in a query", f"?after={day}%20{rest}&x"
    yield "percent space in a bracket", f"<{day}%20{rest}>"
    yield "dotted date", f"{digits[:2]}.{digits[2:4]}.{digits[4:6]}-{rest}"
    for name, zero in scripts.items():
        yield name, "".join(chr(zero + int(digit)) for digit in digits)
    yield "superscript", digits.translate(str.maketrans(string.digits, "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    yield "circled", digits.translate(str.maketrans(string.digits, "⓪①②③④⑤⑥⑦⑧⑨"))
    for name, form in {
        "percent": "%{:02X}", "percent lower": "%{:02x}", "percent twice": "%25{:02X}",
        "percent thrice": "%2525{:02X}", "entities": "&#{};", "padded entities": "&#{:05d};",
        "hexadecimal entities": "&#x{:x};", "bare entities": "&#{}", "u escapes": "\\u{:04x}",
        "x escapes": "\\x{:02x}", "quoted-printable": "={:02X}",
        "entities of percent": "&#37;{:02X}",
    }.items():  # fmt: skip
        yield name, "".join(form.format(ord(digit)) for digit in digits)
    encoded = base64.b64encode(digits.encode()).decode()
    document = json.dumps({"person": {"offId": digits}}).encode()
    yield "base64", encoded
    yield "base64 without padding", encoded.rstrip("=")
    yield "base64 for URLs", base64.urlsafe_b64encode(f"??>{digits}".encode()).decode()
    yield "base64 of a document", base64.b64encode(document).decode()
    yield "base64 twice", base64.b64encode(encoded.encode()).decode()
    yield "base64 behind a letter", f"x{encoded}"
    yield "base64 of UTF-16", base64.b64encode(digits.encode("utf-16")).decode()
    yield "base64 of groups", base64.b64encode(f"{day} {rest}".encode()).decode()
    yield "percent of base64", encoded.replace("=", "%3D")
    yield "a token", f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(document).decode()}."
    yield "hexadecimal", digits.encode().hex()
    yield "hexadecimal upper", digits.encode().hex().upper()
    yield "hexadecimal behind a digit", f"f{digits.encode().hex()}"
    for name, frame in {
        "letters": "fnr{}x", "path": "Patient/{}/_history/1", "query": "?a=b&id={}&c=d",
        "equals": "id={}", "percent": "%{}", "OID": "urn:oid:2.16.578.1.12.4.1.4.1.{}",
        "after a time": "2026-01-02T03:04:05.1234567Z|{}", "before a time": "{}|2026-01-02",
        "composite key": "S-1|{}|2", "JSON in a text": '{{"offId":"{}"}}', "markup": "<id>{}</id>",
        "mail": "{}@example.no", "a bracket": "<{}>", "escaped JSON": '{{\\"offId\\":\\"{}\\"}}',
    }.items():  # fmt: skip
        yield f"within {name}", frame.format(digits)


CASES = [(name, digits, text) for digits in (OWN, OTHER) for name, text in spellings(digits)]


def test_the_identifiers_are_what_the_rules_want():
    """Both of the tests' numbers have structure and control digits; else nothing is shown."""
    assert all(has_structure(digits) and checksum_ok(digits) for digits in (OWN, OTHER))
    assert len(CASES) >= 120


@pytest.mark.parametrize(
    ("digits", "text"),
    [(digits, text) for _, digits, text in CASES],
    ids=[f"{'own' if digits == OWN else 'other'}: {name}" for name, digits, _ in CASES],
)
def test_every_spelling_is_replaced(digits, text):
    """The person's own identifier and anybody else's, each by its own pseudonym."""
    replaced = recogniser().text(text)
    assert NAMES[digits] in replaced
    assert recogniser().text(replaced) == replaced
    assert digits not in "".join(char for char in replaced if char.isdigit())


@pytest.mark.parametrize("text", [f"1{OWN}2", f"{OWN}{OWN}", f"00{OWN}", f"4242{OWN}4242"])
def test_own_digits_are_found_within_longer_numbers(text):
    """Whoever was asked for is known, so that no boundary is needed."""
    assert "pseudonymA" in recogniser().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "1685839964", "168583996491", "16858399648", "99999999999",
        "2026-01-02T03:04:05.1234567Z",
        "2026-01-02 03:04:05.1", "2026-01-02T03:04:05.1234567+01:00", "9999-12-31",
        "urn:oid:2.16.578.1.12.4.1.1.9603", "123e4567-e89b-12d3-a456-426614174000",
        "a" * 64, "0123456789abcdef" * 4, "16858399649abcde" * 2, "+47 22 33 44 55",
        "T-04051234567x"[:5], "%", "&#", "\\u", "=", "<", "AAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)  # fmt: skip
def test_other_text_stays(text):
    """Times, UUIDs, digests, codes and numbers of other lengths; the very same object."""
    assert recogniser(own="").text(text) is text


def test_documents():
    """Values, field names and numbers at any depth; what is no identifier keeps its type."""
    document = {
        OWN: [{"a": OTHER, "b": int(OTHER), "c": float(OWN), "d": True, "e": None, "f": 1.5}],
        "kept": 1685839964,
        "createdBy": {"offId": OTHER, escape(f"<{OTHER}>"): 1},
    }
    assert {
        "pseudonymA": [
            {
                "a": "pseudonymB",
                "b": "pseudonymB",
                "c": "pseudonymA",
                "d": True,
                "e": None,
                "f": 1.5,
            }
        ],
        "kept": 1685839964,
        "createdBy": {"offId": "pseudonymB", "&lt;pseudonymB&gt;": 1},
    } == recogniser().document(document)


def test_a_lost_leading_zero():
    """As a number, or a text that is nothing else, the person's own identifier is known still."""
    own = "02013299997"
    assert ["pseudonymC"] * 3 == Recogniser(lambda _: "pseudonymC", own=own).document(
        [int(own), own.lstrip("0"), float(own)]
    )


def test_two_spellings_as_field_names_keep_both_values():
    """No field is lost where two names become one."""
    fields = {OTHER: 1, f"{OTHER[:6]} {OTHER[6:]}": 2}
    assert {"pseudonymB": 1, "pseudonymB_": 2} == recogniser().document(fields)


@pytest.mark.parametrize(
    "unit",
    [
        "%",
        "&",
        "&#",
        "=",
        "\\u003",
        "1 ",
        "A",
        "31",
        "1",
        "-",
        "2026-01-02 ",
        "<",
        "<a",
        "%25",
        "&amp;",
    ],
)
def test_time_is_linear(unit):
    """32 KiB of anything take less than 0.5 s of processor time; a square would take minutes."""
    text = (unit * 200_000)[: 32 * 1024]
    taken_s = []
    for _ in range(3):
        began_s = time.thread_time()
        recogniser().find(text)
        taken_s.append(time.thread_time() - began_s)
    assert min(taken_s) < 0.5


@given(st.text(), st.text(), st.sampled_from([text for _, d, text in CASES if d == OWN][:40]))
def test_nothing_around_hides_the_own_identifier_from_itself(before, after, text):
    """Separated by a letter that belongs to no encoding, any surroundings leave it findable."""
    found = recogniser().find(f"{before} zz {text} zz {after}")
    assert any(place.digits == OWN for place in found)


@given(st.text(alphabet=string.printable + "é０١²\u200b", max_size=60))
def test_what_was_replaced_once_stays(text):
    """A second pass finds nothing more, so that an upgrade may run again."""
    once = recogniser().text(text)
    assert recogniser().text(once) == once
